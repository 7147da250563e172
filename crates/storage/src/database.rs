use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection};

use crate::migrations::migrate;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Why a database cannot be used. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Neither `sqlite://` nor `postgres://`.
    #[error("the database must be sqlite://FILE or postgres://USER@HOST/NAME")]
    Url,
    /// A folder or file of SQLite that cannot be made.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A newer version of the program has been here.
    #[error(
        "the database was made by a newer llm-proxy (migration {name}); start that version, or \
         restore a backup from before"
    )]
    NewerSchema {
        /// The first migration that is not known.
        name: String,
    },
    /// A migration is not the one that this program knows.
    #[error("the database's migration {name} differs from this program's; it is not ours")]
    ForeignSchema {
        /// Which.
        name: String,
    },
    /// The database refused, or cannot be reached.
    #[error("the database is not available: {0}")]
    Database(String),
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(explain(&error))
    }
}

/// What the database said, without what could hold a secret.
pub(crate) fn explain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(_) => "its address cannot be read".to_owned(),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        other => other.to_string(),
    }
}

/// The text as both databases can keep it: PostgreSQL refuses NUL, and with it all that would have
/// been written together.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The places of `rows` times `columns` values: `($1, $2), ($3, $4)`.
///
/// SQLite gets `(?, ?), (?, ?)`: `sqlx` asks it for the name of each place, and it looks for that
/// among all named ones, which takes most of the time where there are thousands.
pub(crate) fn places(engine: Engine, rows: usize, columns: usize) -> String {
    let mut sql = String::new();
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            sql.push_str(if column == 1 { "" } else { ", " });
            // Writing to a string does not fail.
            _ = match engine {
                Engine::Sqlite => sql.write_char('?'),
                Engine::Postgres => write!(sql, "${}", row * columns + column),
            };
        }
        sql.push(')');
    }
    sql
}

/// How a database is used.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Most connections at a time (PostgreSQL; SQLite has one writer and needs few).
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { max_connections: 10, connect_timeout: Duration::from_secs(5) }
    }
}

/// Everything that is kept for good. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Database {
    pub(crate) pool: AnyPool,
    /// For what is written all the time. With SQLite a single connection: each keeps pages of its
    /// own in memory, and forgets them when another one has written.
    pub(crate) writer: AnyPool,
    pub(crate) engine: Engine,
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens `sqlite://FILE` (made if it is not there, with its folder) or `postgres://...`, and
    /// brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached, or its schema is not one that this program knows.
    pub async fn open(url: &str, options: &DatabaseOptions) -> Result<Self, StorageError> {
        sqlx::any::install_default_drivers();
        let (engine, url) = if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            // Nothing in memory, where each connection would see another database, and no
            // parameters: how the file is used is decided here.
            let is_file = !path.starts_with(':') && !path.starts_with("file:");
            if path.is_empty() || !is_file || path.contains('?') {
                return Err(StorageError::Url);
            }
            (Engine::Sqlite, sqlite_url(&prepare_file(Path::new(path))?))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            (Engine::Postgres, url.to_owned())
        } else {
            return Err(StorageError::Url);
        };
        let connect = AnyConnectOptions::from_str(&url)?;
        let on_connect = match engine {
            // FULL: what the ledger has taken is forgotten by the journal, so it must be on the disk.
            // The ledger grows at the end of its indices, so 8 MiB of pages in memory for each
            // connection are enough; with a checkpoint for each 16 MiB, those that do not grow at
            // the end are not written again for each few entries.
            Engine::Sqlite => {
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
                 PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192; \
                 PRAGMA wal_autocheckpoint = 4096"
            }
            Engine::Postgres => {
                "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
                 SET idle_in_transaction_session_timeout = '60s'"
            }
        };
        if engine == Engine::Sqlite {
            // The pool would try again what cannot be put right by waiting, and then only say that
            // it waited.
            let mut connection = AnyConnection::connect_with(&connect).await?;
            sqlx::raw_sql(on_connect).execute(&mut connection).await?;
            connection.close().await?;
        }
        let pool_of = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(options.connect_timeout)
                // Nothing is between us and a file that could have been lost.
                .test_before_acquire(engine == Engine::Postgres)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        sqlx::raw_sql(on_connect).execute(connection).await?;
                        Ok(())
                    })
                })
        };
        let (pool, writer) = match engine {
            Engine::Sqlite => {
                let pool = pool_of(4).connect_with(connect.clone()).await?;
                (pool, pool_of(1).connect_lazy_with(connect))
            }
            Engine::Postgres => {
                let pool = pool_of(options.max_connections).connect_with(connect).await?;
                (pool.clone(), pool)
            }
        };
        migrate(&pool, engine).await?;
        Ok(Self { pool, writer, engine })
    }

    /// Whether it can be reached now.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn ping(&self) -> Result<(), StorageError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.writer.close().await;
        self.pool.close().await;
    }
}

/// The address of a file as `sqlx` reads it, whatever its name.
fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// Makes the file of a database, readable to this user alone. Its absolute path.
fn prepare_file(path: &Path) -> Result<PathBuf, StorageError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let fault = |path: &Path| {
        let path = path.display().to_string();
        move |reason| StorageError::File { path, reason }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(fault(folder))?;
    }
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(fault(path))?;
    // A URL would lose what is before `..`, and the second of two slashes.
    path.canonicalize().map_err(fault(path))
}
