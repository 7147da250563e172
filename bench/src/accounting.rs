//! What a request costs for its key, its limits, its budget and its ledger entry: the parts that
//! `llm-proxy` puts together, one after the other on one thread, without HTTP around them.

use std::sync::Arc;
use std::time::Instant;

use identity::{DirectoryView, KeyRing, Presented, Record, RecordKind, generate_key};
use journal::{Journal, Options};
use metering::{
    Budget, BudgetMeter, BudgetPeriod, BudgetScope, ChargedUsage, LevelKind, LevelLimiter, Limits,
    PriceCatalogue, TimeZone, admit,
};

use crate::error::{Doing, Result};

/// Keys in memory: the lookup must not depend on how many there are.
const KEYS: u32 = 100_000;
/// A ledger entry and its intent have about this size.
const RECORD_BYTES: usize = 700;

/// Measures `requests` requests and prints a table.
pub(crate) fn run(requests: u32) -> Result<bool> {
    let folder = tempfile::tempdir().doing(|| "making a folder".to_owned())?;
    let (view, secret) = directory();
    let ring = KeyRing::default();
    let limits = Limits {
        requests_per_minute: Some(u64::from(u32::MAX)),
        tokens_per_minute: Some(50_000_000_000),
        parallel_requests: Some(1000),
        ..Limits::default()
    };
    let kinds = [LevelKind::Key, LevelKind::User, LevelKind::Team, LevelKind::Tenant];
    let levels: Vec<_> =
        kinds.iter().map(|kind| Arc::new(LevelLimiter::new(*kind, "x", limits))).collect();
    let budget = Budget {
        id: "bud_1".to_owned(),
        tenant: "ten_1".to_owned(),
        name: "bench".to_owned(),
        scope: BudgetScope::Tenant,
        period: BudgetPeriod::Month,
        amount_nanos: i64::MAX,
        hard: true,
        alert_url: None,
    };
    let meter = Arc::new(BudgetMeter::new(Arc::new(budget), TimeZone::UTC, 0, 0));
    let catalogue = PriceCatalogue::shipped(&[]).map_err(std::io::Error::other);
    let catalogue = catalogue.doing(|| "reading prices".to_owned())?;
    let prices = catalogue.resolve("gigachat", "GigaChat-2-Pro", None);
    let prices = prices.map_err(std::io::Error::other).doing(|| "finding a price".to_owned())?;
    let journal = Journal::open(folder.path(), Options::default()).map_err(std::io::Error::other);
    let (journal, _) = journal.doing(|| "opening a journal".to_owned())?;
    let payload = vec![b'x'; RECORD_BYTES];
    let usage = ChargedUsage { prompt_tokens: 300, completion_tokens: 200, ..Default::default() };

    let mut parts = [("key check", 0u128), ("limits, 4 levels", 0), ("budget", 0), ("ledger", 0)];
    let started = Instant::now();
    for number in 0..requests {
        let mut from = Instant::now();
        let mut lap = |part: usize| {
            let now = Instant::now();
            parts[part].1 += (now - from).as_nanos();
            from = now;
        };
        let presented = Presented { key: &secret, now_ms: 1, address: None };
        let known = ring.identify(Some(&view), &presented).is_ok();
        assert!(known, "the key is in the directory");
        lap(0);
        let now = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut admission = admit(levels.clone(), 1324, now).ok();
        lap(1);
        let price = prices.at(1_795_000_000_000);
        let nanos = price.map_or(0, |price| price.cost(&usage).nanos);
        let reservation = meter.reserve(0, nanos).ok();
        lap(2);
        let record = journal.open_record(&payload, RECORD_BYTES + 256).ok();
        if let Some(record) = record {
            _ = record.close(&payload);
        }
        lap(3);
        if let Some(admission) = &mut admission {
            admission.settle(now, 500);
        }
        drop(admission);
        lap(1);
        if let Some(reservation) = reservation {
            meter.settle(0, reservation, nanos);
        }
        lap(2);
        if number.is_multiple_of(1000)
            && let Some(last) = journal.next_batch(4000).last()
        {
            _ = journal.acknowledge(last.sequence);
        }
    }
    println!("{KEYS} keys in memory, {requests} requests, one thread; us a request");
    let mut sum = 0.0;
    for (part, nanos) in parts {
        let micros = nanos as f64 / f64::from(requests) / 1000.0;
        sum += micros;
        println!("| {part:<17} | {micros:>6.2} |");
    }
    println!("| {:<17} | {sum:>6.2} | goal: at most 10 (without encoding the entry)", "together");
    Ok(sum <= 10.0)
}

/// A directory of many keys, and the secret of one of them.
fn directory() -> (DirectoryView, String) {
    let mut view = DirectoryView::default();
    let mut revision = 0;
    let mut add = |kind, id: &str, body: String| {
        revision += 1;
        let record = Record {
            kind,
            id: id.to_owned(),
            tenant: "ten_1".to_owned(),
            revision,
            body: Some(body),
        };
        assert!(view.apply(&record).is_ok(), "{id} can be read");
    };
    add(RecordKind::Tenant, "ten_1", r#"{"id":"ten_1","name":"t"}"#.to_owned());
    add(RecordKind::Team, "team_1", r#"{"id":"team_1","tenant":"ten_1","name":"t"}"#.to_owned());
    let mut secret = String::new();
    for number in 0..KEYS {
        let mut random = [7; 32];
        random[..4].copy_from_slice(&number.to_le_bytes());
        let key = generate_key(random);
        let body = format!(
            r#"{{"id":"key_{number}","tenant":"ten_1","team":"team_1","name":"k","digest":"{}","hint":"x","issued_ms":0}}"#,
            key.digest.to_hex()
        );
        add(RecordKind::Key, &format!("key_{number}"), body);
        secret = key.secret;
    }
    (view, secret)
}
