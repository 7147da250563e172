use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use identity::DirectoryStore;
use metering::LedgerStore;
use sqlx::{AnyConnection, Connection, PgConnection};
use storage::{Database, DatabaseOptions, StorageError};
use tempfile::TempDir;

use crate::fixture::{self, Fixture, sql};

on_each_database! {
    openers_at_the_same_time_migrate_once
    opening_again_changes_nothing
    a_newer_schema_is_refused
    a_changed_migration_is_refused
    a_renamed_migration_is_refused
    a_migration_that_fails_leaves_nothing
}

async fn open(url: &str) -> Result<Database, StorageError> {
    Database::open(url, &DatabaseOptions::default()).await
}

async fn openers_at_the_same_time_migrate_once(fixture: &Fixture) {
    let url = fixture.another().await;
    if let Some(path) = url.strip_prefix("sqlite://") {
        std::fs::write(path, "").unwrap();
    }
    // Where the table is there already, looking what is in it takes no lock by itself.
    sql(
        &url,
        "CREATE TABLE schema_migrations (number BIGINT PRIMARY KEY, name TEXT, checksum TEXT)",
    )
    .await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let url = url.clone();
        tasks.push(tokio::spawn(async move { open(&url).await }));
    }
    for task in tasks {
        let database = task.await.unwrap().unwrap();
        assert_eq!(database.since(0, 1).await.unwrap(), []);
        database.append(&[crate::ledger::entry(1)]).await.unwrap();
    }
}

async fn opening_again_changes_nothing(fixture: &Fixture) {
    fixture.database.append(&[crate::ledger::entry(1)]).await.unwrap();
    fixture.database.close().await;
    let again = fixture.open().await;
    let entries = again.entries(&Default::default(), None, 9).await.unwrap();
    assert_eq!(entries, [crate::ledger::entry(1)]);
}

async fn a_newer_schema_is_refused(fixture: &Fixture) {
    sql(&fixture.url, "INSERT INTO schema_migrations VALUES (9999, '9999_future', 'x')").await;
    let error = open(&fixture.url).await.unwrap_err();
    assert!(matches!(&error, StorageError::NewerSchema { name } if name == "9999_future"));
    assert!(error.to_string().contains("restore a backup"), "{error}");
    // Refusing changed nothing: without that migration it opens.
    sql(&fixture.url, "DELETE FROM schema_migrations WHERE number = 9999").await;
    fixture.open().await;
}

async fn a_changed_migration_is_refused(fixture: &Fixture) {
    sql(&fixture.url, "UPDATE schema_migrations SET checksum = 'x' WHERE number = 2").await;
    let error = open(&fixture.url).await.unwrap_err();
    assert!(matches!(&error, StorageError::ForeignSchema { name } if name == "0002_ledger"));
}

async fn a_renamed_migration_is_refused(fixture: &Fixture) {
    sql(&fixture.url, "UPDATE schema_migrations SET name = 'x' WHERE number = 1").await;
    let error = open(&fixture.url).await.unwrap_err();
    assert!(matches!(&error, StorageError::ForeignSchema { name } if name == "x"));
}

/// Somebody's table is where one of ours must be: all goes back, and once it is away all comes.
async fn a_migration_that_fails_leaves_nothing(fixture: &Fixture) {
    let url = fixture.another().await;
    if let Some(path) = url.strip_prefix("sqlite://") {
        std::fs::write(path, "").unwrap();
    }
    sql(&url, "CREATE TABLE ledger (theirs TEXT)").await;
    for _ in 0..2 {
        // The second time says the same: the first left no table behind.
        let error = open(&url).await.unwrap_err();
        assert!(
            error.to_string().contains("\"ledger\"") || error.to_string().contains("table ledger"),
            "{error}"
        );
    }
    sql(&url, "DROP TABLE ledger").await;
    open(&url).await.unwrap().ping().await.unwrap();
}

/// Another process migrates: whoever opens meanwhile waits for it to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openers_wait_for_the_one_that_migrates_postgresql() {
    const WAITING: &str =
        "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let fixture = fixture::postgres().await;
    let url = fixture.another().await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(x'6c6c6d70'::bigint)")
        .execute(&mut other)
        .await
        .unwrap();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    loop {
        assert!(!tasks.iter().any(|task| task.is_finished()), "one did not wait");
        let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&mut other).await.unwrap();
        if waiting == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.close().await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap().ping().await.unwrap();
    }
}

/// Another process migrates: what it writes is waited for and then seen.
#[tokio::test]
async fn an_opener_waits_for_the_one_that_migrates_sqlite() {
    let fixture = fixture::sqlite().await;
    let url = fixture.another().await;
    // Made and taken back to where only the second migration is missing.
    open(&url).await.unwrap().close().await;
    let mut other = AnyConnection::connect(&url).await.unwrap();
    let undo = "BEGIN; DROP TABLE ledger; DELETE FROM schema_migrations WHERE number = 2; COMMIT;
         BEGIN IMMEDIATE; INSERT INTO schema_migrations VALUES (9999, '9999_future', 'x')";
    sqlx::raw_sql(undo).execute(&mut other).await.unwrap();
    let opening = tokio::spawn(async move { open(&url).await });
    // Long enough for the other to have read, if it does not wait.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!opening.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let error = opening.await.unwrap().unwrap_err();
    assert!(matches!(error, StorageError::NewerSchema { .. }), "{error}");
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    for url in [
        "",
        "proxy.db",
        "mysql://localhost/x",
        "postgres:",
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://file:x",
        "sqlite://proxy.db?mode=rwc",
    ] {
        let error = open(url).await.unwrap_err();
        assert!(matches!(error, StorageError::Url), "{url}: {error}");
    }
}

#[tokio::test]
async fn files_have_any_name_and_are_for_their_owner_alone() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("none")).unwrap();
    for name in ["plain.db", "a b/Журнал %20 #1 🎄.db", "deep/er/x.db"] {
        let path = folder.path().join(name);
        let shown = path.display();
        for url in [
            format!("sqlite://{shown}"),
            format!("sqlite:{shown}"),
            format!("sqlite:///{shown}"),
            format!("sqlite://{}/none/../{name}", folder.path().display()),
        ] {
            let database = open(&url).await.unwrap();
            database.append(&[crate::ledger::entry(1)]).await.unwrap();
            let mut files = 0;
            for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
                let metadata = file.unwrap().metadata().unwrap();
                if metadata.is_file() {
                    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
                    files += 1;
                }
            }
            // The database, what it writes ahead, and its index.
            assert_eq!(files, 3, "{name}");
            database.close().await;
        }
    }
    let made = std::fs::metadata(folder.path().join("deep/er")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn what_is_no_database_is_said_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("text.db");
    std::fs::write(&path, "this is a text and not a database ".repeat(100)).unwrap();
    let error = open(&format!("sqlite://{}", path.display())).await.unwrap_err();
    assert!(error.to_string().contains("not a database"), "{error}");
    // A file where a folder must be.
    let error = open(&format!("sqlite://{}/x.db", path.display())).await.unwrap_err();
    assert!(matches!(error, StorageError::File { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let fixture = fixture::postgres().await;
    let wrong = fixture.url.replace("only-for-tests", "hunter2");
    assert_ne!(wrong, fixture.url);
    let error = open(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("password authentication failed"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = open("postgres://user:hunter2@[::x/db").await.unwrap_err().to_string();
    assert!(error.contains("address") && !error.contains("hunter2"), "{error}");
    assert!(!format!("{:?}", fixture.database).contains("only-for-tests"));
}
