//! Prints how many entries a second SQLite's ledger takes, and what CPU time an entry costs (Linux;
//! user and system, all threads, to 10 ms):
//! `cargo run --release -p storage --example ledger_write [entries] [batch] [random]`.
//! With `random` the ids come in no order; else they grow with time, as the gateway makes them.

use std::time::Instant;

use metering::{
    ChargedUsage, Dimension, LedgerEntry, LedgerFilter, LedgerOutcome, LedgerStore, LedgerSum,
};
use storage::{Database, DatabaseOptions};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let entries = arguments.next().map_or(Ok(200_000), |entries| entries.parse())?;
    let batch = arguments.next().map_or(Ok(1000), |batch| batch.parse())?;
    let in_order = arguments.next().is_none_or(|order| order != "random");
    let dir = std::env::temp_dir().join(format!("ledger-write-{}", std::process::id()));
    let url = format!("sqlite://{}/ledger.db", dir.display());
    let outcome = measure(&url, entries, batch, in_order).await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(url: &str, entries: usize, batch: usize, in_order: bool) -> Result<(), Failure> {
    let database = Database::open(url, &DatabaseOptions::default()).await?;
    let all: Vec<LedgerEntry> = (0..entries).map(|number| entry(number, in_order)).collect();
    let mut times = Vec::new();
    let cpu_before = cpu_ms()?;
    for batch in all.chunks(batch) {
        let begun = Instant::now();
        database.append(batch).await?;
        times.push(begun.elapsed());
    }
    let cpu = cpu_ms()? - cpu_before;
    let whole: f64 = times.iter().map(std::time::Duration::as_secs_f64).sum();
    let slowest = times.iter().max().copied().unwrap_or_default();
    println!(
        "{entries} entries in batches of {batch}: {:.0} entries/s, {:.1} us of CPU each, slowest \
         batch {} ms",
        entries as f64 / whole,
        cpu * 1000.0 / entries as f64,
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

/// CPU time of this process, milliseconds.
fn cpu_ms() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything: user and system time are the 12th and 13th, in
    // ticks of 10 ms.
    let (_, behind) = stat.rsplit_once(") ").ok_or("/proc/self/stat cannot be read")?;
    let ticks = behind.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? * 10.0)
}

/// An entry as large as they are.
fn entry(number: usize, in_order: bool) -> LedgerEntry {
    let random = fastrand::u64(..);
    let request_id = format!("req_{random:016x}{number:08x}");
    let first = if in_order { number as u64 / 3 } else { fastrand::u64(..) >> 32 };
    LedgerEntry {
        id: format!("{first:08x}{random:016x}-1"),
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
