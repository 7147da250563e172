//! Databases that die in the middle, and processes that do.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use identity::{AdminEvent, DirectoryError, DirectoryStore, RecordKind};
use metering::{LedgerError, LedgerFilter, LedgerStore};
use storage::testing_postgres::PostgresServer;
use storage::{Database, DatabaseOptions, StorageError};
use tempfile::TempDir;

use crate::ledger::entry;

const BATCH: u32 = 20;

fn batch(number: u32) -> Vec<metering::LedgerEntry> {
    (number * BATCH..(number + 1) * BATCH).map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_unavailable_and_works_again_after_its_restart() {
    let mut server = PostgresServer::start().unwrap();
    let options = DatabaseOptions {
        connect_timeout: Duration::from_millis(500),
        ..DatabaseOptions::default()
    };
    let database = Database::open(&server.url("postgres"), &options).await.unwrap();

    let (appended, mut count) = tokio::sync::watch::channel(0_u32);
    let writer = database.clone();
    let writing = tokio::spawn(async move {
        // Until the first that fails.
        for number in 0.. {
            if let Err(error) = writer.append(&batch(number)).await {
                return (number, error);
            }
            appended.send_replace(number + 1);
        }
        unreachable!()
    });
    count.wait_for(|count| *count >= 5).await.unwrap();
    server.stop();
    let (failed, error) = writing.await.unwrap();
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");

    // Every operation says the same.
    let any = LedgerFilter::default();
    for error in [
        database.append(&batch(failed)).await.unwrap_err(),
        database.sums(&any, &[]).await.unwrap_err(),
        database.entries(&any, None, 1).await.unwrap_err(),
    ] {
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    }
    let event = AdminEvent {
        at_ms: 1,
        actor: String::new(),
        tenant: String::new(),
        action: String::new(),
        resource: String::new(),
        details: String::new(),
    };
    for error in [
        database.write(&[], &event, None).await.unwrap_err(),
        database.since(0, 1).await.unwrap_err(),
        database.get(RecordKind::Key, "k").await.unwrap_err(),
        database.list(RecordKind::Key, None, "", 1).await.unwrap_err(),
        database.replay("k").await.unwrap_err(),
        database.forget_replays(1).await.unwrap_err(),
        database.events(None, 0, 1).await.unwrap_err(),
        database.record_key_use(&[("k".to_owned(), 1)]).await.unwrap_err(),
        database.key_use(&["k".to_owned()]).await.unwrap_err(),
    ] {
        assert!(matches!(error, DirectoryError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("only-for-tests"), "{error}");
    }
    assert!(matches!(database.ping().await.unwrap_err(), StorageError::Database(_)));

    server.start_again().unwrap();
    database.ping().await.unwrap();
    // The one that failed may have been stored or not; sent again it is there once.
    database.append(&batch(failed)).await.unwrap();
    let entries = database.entries(&any, None, usize::MAX).await.unwrap();
    assert_eq!(entries, (0..(failed + 1) * BATCH).map(entry).collect::<Vec<_>>());
    database.write(&[], &event, None).await.unwrap();
}

const CHILD_URL: &str = "STORAGE_TEST_CHILD_URL";

/// Appends until it is killed, and says so after each; what the test below starts.
#[tokio::test]
#[ignore = "started by the test of a killed process"]
async fn child_that_appends() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let database = Database::open(&url, &DatabaseOptions::default()).await.unwrap();
    let from = database.sums(&LedgerFilter::default(), &[]).await.unwrap()[0].entries;
    for number in u32::try_from(from).unwrap().div_ceil(BATCH).. {
        database.append(&batch(number)).await.unwrap();
        eprintln!("appended {number}");
    }
}

#[tokio::test]
async fn what_a_killed_process_stored_in_sqlite_is_there() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/proxy.db", folder.path().display());
    let mut least = 0;
    // The next one finds what the one before left.
    for acknowledged in [3, 40, 7] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "outage::child_that_appends", "--ignored", "--nocapture"])
            .env(CHILD_URL, &url)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            let Some(number) = line.strip_prefix("appended ") else { continue };
            least = number.parse::<u32>().unwrap() + 1;
            seen += 1;
            // It goes on meanwhile; what it still says is read to the end.
            if seen == acknowledged {
                child.kill().unwrap();
            }
        }
        assert!(seen >= acknowledged, "{seen}");
        assert!(!child.wait().unwrap().success());
        let database = Database::open(&url, &DatabaseOptions::default()).await.unwrap();
        let entries = database.entries(&LedgerFilter::default(), None, usize::MAX).await.unwrap();
        let stored = u32::try_from(entries.len()).unwrap();
        // All that was acknowledged, and of the last one all or nothing.
        assert!(stored == least * BATCH || stored == (least + 1) * BATCH, "{stored} {least}");
        assert_eq!(entries, (0..stored).map(entry).collect::<Vec<_>>());
        database.close().await;
    }
    assert!(least >= 50);
}
