//! Prints how many entries a second SQLite's ledger takes:
//! `cargo run --release -p storage --example ledger_write [entries]`.

use std::time::Instant;

use metering::{
    ChargedUsage, Dimension, LedgerEntry, LedgerFilter, LedgerOutcome, LedgerStore, LedgerSum,
};
use storage::{Database, DatabaseOptions};

const BATCH: usize = 1000;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let entries = std::env::args().nth(1).map_or(Ok(200_000), |entries| entries.parse())?;
    let dir = std::env::temp_dir().join(format!("ledger-write-{}", std::process::id()));
    let url = format!("sqlite://{}/ledger.db", dir.display());
    let outcome = measure(&url, entries).await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(url: &str, entries: usize) -> Result<(), Failure> {
    let database = Database::open(url, &DatabaseOptions::default()).await?;
    let mut times = Vec::new();
    for from in (0..entries).step_by(BATCH) {
        let batch: Vec<LedgerEntry> = (from..entries.min(from + BATCH)).map(entry).collect();
        let begun = Instant::now();
        database.append(&batch).await?;
        times.push(begun.elapsed());
    }
    let whole: f64 = times.iter().map(std::time::Duration::as_secs_f64).sum();
    let slowest = times.iter().max().copied().unwrap_or_default();
    println!(
        "{entries} entries in batches of {BATCH}: {:.0} entries/s, slowest batch {} ms",
        entries as f64 / whole,
        slowest.as_millis()
    );
    let begun = Instant::now();
    let sums = database.sums(&LedgerFilter::default(), &[Dimension::Tenant]).await?;
    let took = begun.elapsed();
    let stored: u64 = sums.iter().map(|sum: &LedgerSum| sum.entries).sum();
    println!("{stored} stored; sums by tenant took {} ms", took.as_millis());
    database.close().await;
    Ok(())
}

/// An entry as large as they are, with an id in no order.
fn entry(number: usize) -> LedgerEntry {
    let request_id = format!("req_{:016x}{number:08x}", fastrand::u64(..));
    LedgerEntry {
        id: format!("{request_id}-1"),
        request_id,
        at_ms: 1_795_392_000_000 + number as i64,
        tenant: format!("ten_{}", number % 50),
        team: Some(format!("team_{}", number % 200)),
        user: None,
        key: format!("key_{:016x}", number % 1000),
        tags: vec!["production".to_owned(), "assistant".to_owned()],
        surface: "chat".to_owned(),
        route: "gigachat-max".to_owned(),
        provider: "gigachat".to_owned(),
        model: "GigaChat-2-Max".to_owned(),
        usage: ChargedUsage {
            prompt_tokens: 1500,
            cached_tokens: 400,
            completion_tokens: 350,
            ..ChargedUsage::default()
        },
        cost_nanos: 1_202_500_000,
        avoided_nanos: 1_202_500_000,
        price: "gigachat/2026-02-01".to_owned(),
        estimated: false,
        outcome: LedgerOutcome::Completed,
    }
}
