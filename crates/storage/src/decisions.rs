use async_trait::async_trait;
use routing::{
    DecisionError, DecisionRecord, DecisionStore, FeedbackRecord, FeedbackResult, StoredDecision,
};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::database::{Database, explain, places, storable};

/// Records of one statement.
const BATCH: usize = 200;

const COLUMNS: &str = "sequence, first_sequence, record, feedback";

fn unavailable(error: sqlx::Error) -> DecisionError {
    DecisionError::Unavailable(explain(&error))
}

fn damaged(error: serde_json::Error) -> DecisionError {
    DecisionError::Damaged(error.to_string())
}

fn written<T: serde::Serialize>(value: &T) -> Result<String, DecisionError> {
    serde_json::to_string(value).map(|text| storable(&text)).map_err(damaged)
}

/// Takes so many sequence numbers; the last of them. Whoever comes second waits until the first has
/// committed, so that numbers become visible in their order.
async fn take_numbers(connection: &mut AnyConnection, count: usize) -> Result<i64, DecisionError> {
    let row =
        sqlx::query("UPDATE decision_counter SET value = value + $1 WHERE id = 1 RETURNING value")
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_one(connection)
            .await
            .map_err(unavailable)?;
    row.try_get(0).map_err(unavailable)
}

fn stored(row: &AnyRow) -> Result<StoredDecision, DecisionError> {
    let text = |column: usize| row.try_get::<String, _>(column).map_err(unavailable);
    let mut record: DecisionRecord = serde_json::from_str(&text(2)?).map_err(damaged)?;
    let feedback = text(3)?;
    if !feedback.is_empty() {
        record.feedback = Some(serde_json::from_str(&feedback).map_err(damaged)?);
    }
    Ok(StoredDecision {
        sequence: row.try_get(0).map_err(unavailable)?,
        first_sequence: row.try_get(1).map_err(unavailable)?,
        record,
    })
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl DecisionStore for Database {
    async fn append(&self, records: &[DecisionRecord]) -> Result<(), DecisionError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writer.begin().await.map_err(unavailable)?;
        let last = take_numbers(&mut transaction, records.len()).await?;
        let mut next = last - bound(records.len());
        for batch in records.chunks(BATCH) {
            let sql = format!(
                "INSERT INTO decisions (sequence, first_sequence, tenant, request_id, at_ms, \
                 record, feedback) VALUES {} ON CONFLICT (request_id, tenant) DO NOTHING",
                places(self.engine, batch.len(), 7)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(batch.len() == BATCH);
            for record in batch {
                next += 1;
                query = query
                    .bind(next)
                    .bind(next)
                    .bind(storable(&record.tenant))
                    .bind(storable(&record.request_id))
                    .bind(record.at_ms)
                    .bind(written(record)?)
                    .bind(record.feedback.as_ref().map_or(Ok(String::new()), written)?);
            }
            query.execute(&mut *transaction).await.map_err(unavailable)?;
        }
        transaction.commit().await.map_err(unavailable)
    }

    async fn set_feedback(
        &self,
        tenant: Option<&str>,
        feedback: &FeedbackRecord,
    ) -> Result<FeedbackResult, DecisionError> {
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        let number = take_numbers(&mut transaction, 1).await?;
        let of_tenant = if tenant.is_some() { " AND tenant = $4" } else { "" };
        let sql = format!(
            "UPDATE decisions SET sequence = $1, feedback = $2 WHERE sequence = \
             (SELECT MAX(sequence) FROM decisions WHERE request_id = $3{of_tenant})"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(number)
            .bind(written(feedback)?)
            .bind(storable(&feedback.request_id));
        if let Some(tenant) = tenant {
            query = query.bind(storable(tenant));
        }
        let changed = query.execute(&mut *transaction).await.map_err(unavailable)?;
        if changed.rows_affected() == 0 {
            transaction.rollback().await.map_err(unavailable)?;
            return Ok(FeedbackResult::Unknown);
        }
        transaction.commit().await.map_err(unavailable)?;
        Ok(FeedbackResult::Kept)
    }

    async fn get(
        &self,
        tenant: Option<&str>,
        request_id: &str,
    ) -> Result<Option<DecisionRecord>, DecisionError> {
        let of_tenant = if tenant.is_some() { " AND tenant = $2" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM decisions WHERE request_id = $1{of_tenant} \
             ORDER BY sequence DESC LIMIT 1"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(storable(request_id));
        if let Some(tenant) = tenant {
            query = query.bind(storable(tenant));
        }
        let row = query.fetch_optional(&self.pool).await.map_err(unavailable)?;
        row.map(|row| stored(&row).map(|stored| stored.record)).transpose()
    }

    async fn since(
        &self,
        sequence: i64,
        limit: usize,
    ) -> Result<Vec<StoredDecision>, DecisionError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM decisions WHERE sequence > $1 ORDER BY sequence LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(sequence)
            .bind(bound(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        rows.iter().map(stored).collect()
    }

    async fn last(&self, limit: usize) -> Result<Vec<StoredDecision>, DecisionError> {
        let sql = format!("SELECT {COLUMNS} FROM decisions ORDER BY sequence DESC LIMIT $1");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(bound(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        rows.iter().rev().map(stored).collect()
    }

    async fn forget(&self, before_ms: i64) -> Result<u64, DecisionError> {
        let gone = sqlx::query("DELETE FROM decisions WHERE at_ms < $1")
            .bind(before_ms)
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(gone.rows_affected())
    }
}
