use std::collections::BTreeMap;

use async_trait::async_trait;
use identity::{
    AdminEvent, DirectoryError, DirectoryStore, Expected, Record, RecordKind, Replay, Write,
};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::database::{Database, explain, places, storable};

impl From<DatabaseFault> for DirectoryError {
    fn from(fault: DatabaseFault) -> Self {
        Self::Unavailable(explain(&fault.0))
    }
}

/// Lets `?` turn what the database said into the directory's error.
struct DatabaseFault(sqlx::Error);

impl From<sqlx::Error> for DatabaseFault {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

/// Keys of one statement.
const BATCH: usize = 500;

const COLUMNS: &str = "kind, id, tenant, revision, body";

fn record(row: &AnyRow) -> Result<Record, DatabaseFault> {
    let kind: String = row.try_get(0)?;
    let kind = RecordKind::parse(&kind)
        .ok_or_else(|| sqlx::Error::Protocol(format!("a record of the unknown kind {kind}")))?;
    Ok(Record {
        kind,
        id: row.try_get(1)?,
        tenant: row.try_get(2)?,
        revision: row.try_get(3)?,
        body: row.try_get(4)?,
    })
}

fn records(rows: &[AnyRow]) -> Result<Vec<Record>, DatabaseFault> {
    rows.iter().map(record).collect()
}

/// The revision of a record that exists.
async fn present_revision(
    connection: &mut AnyConnection,
    write: &Write,
) -> Result<Option<i64>, DatabaseFault> {
    let row = sqlx::query(
        "SELECT revision FROM directory_records WHERE kind = $1 AND id = $2 AND body IS NOT NULL",
    )
    .bind(write.kind.name())
    .bind(storable(&write.id))
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn write_one(
    connection: &mut AnyConnection,
    write: &Write,
    revision: i64,
) -> Result<(), DirectoryError> {
    let found = present_revision(connection, write).await?;
    let as_expected = match write.expected {
        Expected::Absent => found.is_none(),
        Expected::Present => found.is_some(),
        Expected::Revision(expected) => found == Some(expected),
    };
    if !as_expected {
        return Err(DirectoryError::Conflict { kind: write.kind, id: write.id.clone(), found });
    }
    sqlx::query(
        "INSERT INTO directory_records (kind, id, tenant, revision, body)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (kind, id) DO UPDATE
         SET tenant = excluded.tenant, revision = excluded.revision, body = excluded.body",
    )
    .bind(write.kind.name())
    .bind(storable(&write.id))
    .bind(storable(&write.tenant))
    .bind(revision)
    .bind(write.body.as_deref().map(storable))
    .execute(connection)
    .await
    .map_err(DatabaseFault)?;
    Ok(())
}

#[async_trait]
impl DirectoryStore for Database {
    async fn write(
        &self,
        writes: &[Write],
        event: &AdminEvent,
        replay: Option<&Replay>,
    ) -> Result<Vec<i64>, DirectoryError> {
        let mut transaction = self.pool.begin().await.map_err(DatabaseFault)?;
        // The first statement takes the lock that puts writers in order.
        let steps = i64::try_from(writes.len().max(1)).unwrap_or(i64::MAX);
        let row = sqlx::query(
            "UPDATE directory_clock SET revision = revision + $1 WHERE one = 1 RETURNING revision",
        )
        .bind(steps)
        .fetch_one(&mut *transaction)
        .await
        .map_err(DatabaseFault)?;
        let last: i64 = row.try_get(0).map_err(DatabaseFault)?;
        let first = last - steps + 1;
        let mut revisions = Vec::with_capacity(writes.len());
        for (revision, write) in (first..).zip(writes) {
            write_one(&mut transaction, write, revision).await?;
            revisions.push(revision);
        }
        sqlx::query(
            "INSERT INTO admin_events (number, at_ms, actor, tenant, action, resource, details)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(last)
        .bind(event.at_ms)
        .bind(storable(&event.actor))
        .bind(storable(&event.tenant))
        .bind(storable(&event.action))
        .bind(storable(&event.resource))
        .bind(storable(&event.details))
        .execute(&mut *transaction)
        .await
        .map_err(DatabaseFault)?;
        if let Some(replay) = replay {
            sqlx::query(
                "INSERT INTO idempotent_answers (name, request_digest, answer, at_ms)
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(storable(&replay.key))
            .bind(storable(&replay.request_digest))
            .bind(storable(&replay.answer))
            .bind(replay.at_ms)
            .execute(&mut *transaction)
            .await
            .map_err(DatabaseFault)?;
        }
        transaction.commit().await.map_err(DatabaseFault)?;
        Ok(revisions)
    }

    async fn since(&self, revision: i64, limit: usize) -> Result<Vec<Record>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT kind, id, tenant, revision, body FROM directory_records
             WHERE revision > $1 ORDER BY revision LIMIT $2",
        )
        .bind(revision)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(DatabaseFault)?;
        Ok(records(&rows)?)
    }

    async fn get(&self, kind: RecordKind, id: &str) -> Result<Option<Record>, DirectoryError> {
        let row = sqlx::query(
            "SELECT kind, id, tenant, revision, body FROM directory_records
             WHERE kind = $1 AND id = $2 AND body IS NOT NULL",
        )
        .bind(kind.name())
        .bind(storable(id))
        .fetch_optional(&self.pool)
        .await
        .map_err(DatabaseFault)?;
        Ok(row.as_ref().map(record).transpose()?)
    }

    async fn list(
        &self,
        kind: RecordKind,
        tenant: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Record>, DirectoryError> {
        let of_tenant = if tenant.is_some() { "AND tenant = $4" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM directory_records
             WHERE kind = $1 AND id > $2 AND body IS NOT NULL {of_tenant} ORDER BY id LIMIT $3"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(kind.name())
            .bind(storable(after))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        if let Some(tenant) = tenant {
            query = query.bind(storable(tenant));
        }
        let rows = query.fetch_all(&self.pool).await.map_err(DatabaseFault)?;
        Ok(records(&rows)?)
    }

    async fn replay(&self, key: &str) -> Result<Option<Replay>, DirectoryError> {
        let row = sqlx::query(
            "SELECT name, request_digest, answer, at_ms FROM idempotent_answers WHERE name = $1",
        )
        .bind(storable(key))
        .fetch_optional(&self.pool)
        .await
        .map_err(DatabaseFault)?;
        let Some(row) = row else { return Ok(None) };
        let read = || -> Result<Replay, sqlx::Error> {
            Ok(Replay {
                key: row.try_get(0)?,
                request_digest: row.try_get(1)?,
                answer: row.try_get(2)?,
                at_ms: row.try_get(3)?,
            })
        };
        Ok(Some(read().map_err(DatabaseFault)?))
    }

    async fn forget_replays(&self, before_ms: i64) -> Result<u64, DirectoryError> {
        let done = sqlx::query("DELETE FROM idempotent_answers WHERE at_ms < $1")
            .bind(before_ms)
            .execute(&self.pool)
            .await
            .map_err(DatabaseFault)?;
        Ok(done.rows_affected())
    }

    async fn events(
        &self,
        tenant: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, AdminEvent)>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT number, at_ms, actor, tenant, action, resource, details FROM admin_events
             WHERE number > $1 AND ($2 = 1 OR tenant = $3) ORDER BY number LIMIT $4",
        )
        .bind(after)
        .bind(i64::from(tenant.is_none()))
        .bind(storable(tenant.unwrap_or_default()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(DatabaseFault)?;
        let event = |row: &AnyRow| -> Result<(i64, AdminEvent), sqlx::Error> {
            let event = AdminEvent {
                at_ms: row.try_get(1)?,
                actor: row.try_get(2)?,
                tenant: row.try_get(3)?,
                action: row.try_get(4)?,
                resource: row.try_get(5)?,
                details: row.try_get(6)?,
            };
            Ok((row.try_get(0)?, event))
        };
        Ok(rows.iter().map(event).collect::<Result<_, _>>().map_err(DatabaseFault)?)
    }

    async fn record_key_use(&self, uses: &[(String, i64)]) -> Result<(), DirectoryError> {
        // Each key once: a statement cannot change a row twice. Always in the same order: two
        // replicas that lock the same rows in different orders would wait for each other.
        let mut latest: BTreeMap<String, i64> = BTreeMap::new();
        for (id, at_ms) in uses {
            let latest = latest.entry(storable(id)).or_insert(*at_ms);
            *latest = (*latest).max(*at_ms);
        }
        let latest: Vec<(String, i64)> = latest.into_iter().collect();
        let mut transaction = self.writer.begin().await.map_err(DatabaseFault)?;
        for batch in latest.chunks(BATCH) {
            let sql = format!(
                "INSERT INTO key_use (id, last_used_ms) VALUES {}
                 ON CONFLICT (id) DO UPDATE SET last_used_ms = excluded.last_used_ms
                 WHERE key_use.last_used_ms < excluded.last_used_ms",
                places(self.engine, batch.len(), 2)
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for (id, at_ms) in batch {
                query = query.bind(id.as_str()).bind(*at_ms);
            }
            query.execute(&mut *transaction).await.map_err(DatabaseFault)?;
        }
        transaction.commit().await.map_err(DatabaseFault)?;
        Ok(())
    }

    async fn key_use(&self, ids: &[String]) -> Result<Vec<(String, i64)>, DirectoryError> {
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for batch in ids.chunks(BATCH) {
            let sql = format!(
                "SELECT id, last_used_ms FROM key_use WHERE id IN {}",
                places(self.engine, 1, batch.len())
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for id in batch {
                query = query.bind(storable(id));
            }
            for row in query.fetch_all(&self.pool).await.map_err(DatabaseFault)? {
                let read = || Ok((row.try_get(0)?, row.try_get(1)?));
                let (id, at_ms) = read().map_err(DatabaseFault)?;
                found.insert(id, at_ms);
            }
        }
        let use_of = |id: &String| Some((id.clone(), *found.get(&storable(id))?));
        Ok(ids.iter().filter_map(use_of).collect())
    }
}
