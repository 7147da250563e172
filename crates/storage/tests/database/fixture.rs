use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, PgConnection};
use storage::testing_postgres::PostgresServer;
use storage::{Database, DatabaseOptions};
use tempfile::TempDir;

/// An empty database; its file or server lives as long.
pub(crate) struct Fixture {
    pub(crate) database: Database,
    pub(crate) url: String,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Server(Arc<PostgresServer>),
}

impl Fixture {
    /// Opens the same database again.
    pub(crate) async fn open(&self) -> Database {
        Database::open(&self.url, &DatabaseOptions::default()).await.unwrap()
    }

    /// The address of another database, which nobody has opened yet.
    pub(crate) async fn another(&self) -> String {
        match &self.place {
            Place::Folder(folder) => format!("sqlite://{}/another.db", folder.path().display()),
            Place::Server(server) => new_database(server).await,
        }
    }
}

/// Runs this SQL in the database of this address.
pub(crate) async fn sql(url: &str, sql: &'static str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

pub(crate) async fn sqlite() -> Fixture {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/made/proxy.db", folder.path().display());
    let database = Database::open(&url, &DatabaseOptions::default()).await.unwrap();
    Fixture { database, url, place: Place::Folder(folder) }
}

pub(crate) async fn postgres() -> Fixture {
    let server = server();
    let url = new_database(&server).await;
    let database = Database::open(&url, &DatabaseOptions::default()).await.unwrap();
    Fixture { database, url, place: Place::Server(server) }
}

/// Makes a database of its own, and says its address.
pub(crate) async fn new_database(server: &PostgresServer) -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test_{}", LAST.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let sql = format!("CREATE DATABASE {name}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    server.url(&name)
}

/// One server for the tests that run at the same time; it stops with the last of them.
fn server() -> Arc<PostgresServer> {
    static SERVER: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap();
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(PostgresServer::start().unwrap());
    *shared = Arc::downgrade(&server);
    server
}

/// Makes a test on each database of each check, an `async fn(&Fixture)`.
macro_rules! on_each_database {
    ($($check:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(&crate::fixture::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(&crate::fixture::postgres().await).await;
            })*
        }
    };
}
