use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};

use crate::database::{Engine, StorageError};

/// All migrations, in order. One that was released never changes.
const MIGRATIONS: [(&str, &str); 3] = [
    ("0001_directory", include_str!("migrations/0001_directory.sql")),
    ("0002_ledger", include_str!("migrations/0002_ledger.sql")),
    ("0003_decisions", include_str!("migrations/0003_decisions.sql")),
];

/// A number that only this program's migrations lock in PostgreSQL.
const LOCK: i64 = 0x6c6c_6d70;

/// Brings the schema to what this program needs. Whoever comes second waits for the first.
pub(crate) async fn migrate(pool: &AnyPool, engine: Engine) -> Result<(), StorageError> {
    let mut connection = pool.acquire().await?;
    let (begin, lock) = match engine {
        Engine::Sqlite => ("BEGIN EXCLUSIVE", None),
        Engine::Postgres => {
            ("BEGIN", Some(format!("DO $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); END $$")))
        }
    };
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    if let Some(lock) = lock {
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *connection).await?;
    }
    match apply(&mut connection, engine).await {
        Ok(()) => {
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
            Ok(())
        }
        Err(error) => {
            // The connection goes back to the pool: the transaction must not stay open on it.
            _ = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
            Err(error)
        }
    }
}

async fn apply(connection: &mut AnyConnection, engine: Engine) -> Result<(), StorageError> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
            number BIGINT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            checksum TEXT NOT NULL
        )",
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let number: i64 = row.try_get(0)?;
        let name: String = row.try_get(1)?;
        let checksum: String = row.try_get(2)?;
        let known =
            usize::try_from(number.saturating_sub(1)).ok().and_then(|place| MIGRATIONS.get(place));
        match known {
            None => return Err(StorageError::NewerSchema { name }),
            Some((known, sql)) if *known != name || digest(sql) != checksum => {
                return Err(StorageError::ForeignSchema { name });
            }
            Some(_) => {}
        }
    }
    for (place, (name, sql)) in MIGRATIONS.iter().enumerate().skip(rows.len()) {
        sqlx::raw_sql(AssertSqlSafe(dialect(sql, engine))).execute(&mut *connection).await?;
        sqlx::query("INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)")
            .bind(i64::try_from(place + 1).unwrap_or(i64::MAX))
            .bind(*name)
            .bind(digest(sql))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The migration as this engine takes it. PostgreSQL sorts and compares texts by the database's
/// language unless told otherwise; pages and groups go by bytes, as in SQLite.
fn dialect(sql: &str, engine: Engine) -> String {
    match engine {
        Engine::Sqlite => sql.to_owned(),
        Engine::Postgres => sql.replace(" TEXT", " TEXT COLLATE \"C\""),
    }
}

fn digest(sql: &str) -> String {
    identity::KeyDigest::of(sql).to_hex()
}
