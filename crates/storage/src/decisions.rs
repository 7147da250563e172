use async_trait::async_trait;
use routing::{
    DecisionRecord, DecisionStore, DecisionStoreError, Feedback, Lesson, LessonPosition,
    RememberedDecision,
};
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::database::{Database, Engine, explain, places, storable};

/// Records of one statement.
const BATCH: usize = 200;

/// Most that is said of one decision and read back.
const MOST_SAID: i64 = 1_000;

/// A number that only writers of decisions lock in PostgreSQL: positions must become visible in
/// their order, or a reader would pass over one.
const LOCK: i64 = 0x6465_6369;

fn unavailable(error: sqlx::Error) -> DecisionStoreError {
    DecisionStoreError::Unavailable(explain(&error))
}

fn written<T: serde::Serialize>(value: &T) -> Result<String, DecisionStoreError> {
    let text = serde_json::to_string(value);
    text.map(|text| storable(&text)).map_err(|error| DecisionStoreError::Damaged(error.to_string()))
}

fn read<T: DeserializeOwned>(row: &AnyRow, column: usize) -> Result<T, DecisionStoreError> {
    let text: String = row.try_get(column).map_err(unavailable)?;
    serde_json::from_str(&text).map_err(|error| DecisionStoreError::Damaged(error.to_string()))
}

async fn in_order(connection: &mut AnyConnection, engine: Engine) -> Result<(), sqlx::Error> {
    if engine == Engine::Postgres {
        let lock = format!("DO $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); END $$");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(connection).await?;
    }
    Ok(())
}

#[async_trait]
impl DecisionStore for Database {
    async fn append(&self, records: &[DecisionRecord]) -> Result<(), DecisionStoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        in_order(&mut transaction, self.engine).await.map_err(unavailable)?;
        for batch in records.chunks(BATCH) {
            let sql = format!(
                "INSERT INTO decisions (id, request_id, tenant, at_ms, record) VALUES {} \
                 ON CONFLICT (id) DO NOTHING",
                places(self.engine, batch.len(), 5)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for record in batch {
                query = query
                    .bind(storable(&record.id))
                    .bind(storable(&record.request_id))
                    .bind(storable(&record.tenant))
                    .bind(record.at_ms)
                    .bind(written(record)?);
            }
            query.execute(&mut *transaction).await.map_err(unavailable)?;
        }
        transaction.commit().await.map_err(unavailable)
    }

    async fn find(
        &self,
        tenant: Option<&str>,
        request_id: &str,
    ) -> Result<Option<RememberedDecision>, DecisionStoreError> {
        let of_tenant = if tenant.is_some() { " AND tenant = $2" } else { "" };
        let sql = format!(
            "SELECT record FROM decisions WHERE request_id = $1{of_tenant} \
             ORDER BY position DESC LIMIT 1"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(storable(request_id));
        if let Some(tenant) = tenant {
            query = query.bind(storable(tenant));
        }
        let Some(row) = query.fetch_optional(&self.pool).await.map_err(unavailable)? else {
            return Ok(None);
        };
        let record: DecisionRecord = read(&row, 0)?;
        let rows = sqlx::query(
            "SELECT feedback FROM decision_feedback WHERE decision_id = $1 \
             ORDER BY position LIMIT $2",
        )
        .bind(storable(&record.id))
        .bind(MOST_SAID)
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        let feedback = rows.iter().map(|row| read(row, 0)).collect::<Result<_, _>>()?;
        Ok(Some(RememberedDecision { record, feedback }))
    }

    async fn say(&self, decision: &str, feedback: &Feedback) -> Result<(), DecisionStoreError> {
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        in_order(&mut transaction, self.engine).await.map_err(unavailable)?;
        sqlx::query(
            "INSERT INTO decision_feedback (decision_id, at_ms, feedback) VALUES ($1, $2, $3)",
        )
        .bind(storable(decision))
        .bind(feedback.at_ms)
        .bind(written(feedback)?)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn lessons(
        &self,
        after: LessonPosition,
        limit: u32,
    ) -> Result<(Vec<Lesson>, LessonPosition), DecisionStoreError> {
        let mut lessons = Vec::new();
        let mut reached = after;
        let rows = sqlx::query(
            "SELECT position, record FROM decisions WHERE position > $1 \
             ORDER BY position LIMIT $2",
        )
        .bind(after.decisions)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        for row in &rows {
            reached.decisions = row.try_get(0).map_err(unavailable)?;
            lessons.push(Lesson::Decided(Box::new(read(row, 1)?)));
        }
        let rows = sqlx::query(
            "SELECT said.position, said.feedback, decided.record FROM decision_feedback AS said \
             JOIN decisions AS decided ON decided.id = said.decision_id \
             WHERE said.position > $1 ORDER BY said.position LIMIT $2",
        )
        .bind(after.feedback)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        for row in &rows {
            reached.feedback = row.try_get(0).map_err(unavailable)?;
            let record = Box::new(read(row, 2)?);
            lessons.push(Lesson::Said { record, feedback: read(row, 1)? });
        }
        Ok((lessons, reached))
    }

    async fn position_before(&self, count: u32) -> Result<LessonPosition, DecisionStoreError> {
        let row = sqlx::query("SELECT CAST(COALESCE(MAX(position), 0) AS BIGINT) FROM decisions")
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        let newest: i64 = row.try_get(0).map_err(unavailable)?;
        let decisions = newest.saturating_sub(i64::from(count)).max(0);
        // Feedback that was given before the first of these decisions is not about any of them.
        let row = sqlx::query(
            "SELECT CAST(COALESCE(MIN(said.position), 1) AS BIGINT) - 1 FROM decision_feedback AS said \
             JOIN decisions AS decided ON decided.id = said.decision_id \
             WHERE decided.position > $1",
        )
        .bind(decisions)
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        let feedback: i64 = row.try_get(0).map_err(unavailable)?;
        Ok(LessonPosition { decisions, feedback })
    }

    async fn forget_before(&self, at_ms: i64) -> Result<u64, DecisionStoreError> {
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        sqlx::query(
            "DELETE FROM decision_feedback WHERE decision_id IN \
             (SELECT id FROM decisions WHERE at_ms < $1)",
        )
        .bind(at_ms)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
        let gone = sqlx::query("DELETE FROM decisions WHERE at_ms < $1")
            .bind(at_ms)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(gone.rows_affected())
    }
}
