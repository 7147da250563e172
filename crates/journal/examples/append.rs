//! Prints what an append costs: `cargo run --release -p journal --example append [threads]`.

use std::path::Path;
use std::time::Instant;

use journal::{Journal, Options};

const RECORDS: usize = 25_000;
const PAYLOAD: [u8; 500] = [0x5a; 500];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |threads| threads.parse::<usize>())?;
    let dir = std::env::temp_dir().join(format!("journal-append-{}", std::process::id()));
    let outcome = measure(&dir, threads);
    std::fs::remove_dir_all(&dir)?;
    outcome
}

fn measure(dir: &Path, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    // One segment for all, so that the cost of a record is not mixed with that of making segments.
    let options = Options { segment_bytes: 1 << 26, ..Options::default() };
    let (journal, _) = Journal::open(dir, options)?;
    journal.sync().map_err(std::io::Error::from)?;
    let mut took: Vec<u128> = std::thread::scope(|scope| {
        let work: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut took = Vec::with_capacity(RECORDS);
                    for _ in 0..RECORDS {
                        let begun = Instant::now();
                        let done = journal.append(&PAYLOAD);
                        took.push(begun.elapsed().as_nanos());
                        if let Err(error) = done {
                            eprintln!("{error}");
                        }
                    }
                    took
                })
            })
            .collect();
        work.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or(0);
    let mean = took.iter().sum::<u128>() / took.len().max(1) as u128;
    println!(
        "{threads} threads, {} bytes: mean {mean} ns, median {} ns, 99 % {} ns, 99.9 % {} ns",
        PAYLOAD.len(),
        at(0.5),
        at(0.99),
        at(0.999),
    );
    Ok(())
}
