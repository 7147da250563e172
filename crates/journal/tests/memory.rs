//! How much of a journal is in the memory of the process.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use journal::{Journal, Options};

const KIB: u64 = 1024;
const RECORD: [u8; 1000] = [0x5a; 1000];

/// Bytes of the journal's segments that are resident in this process.
fn resident(dir: &Path) -> u64 {
    let dir = fs::canonicalize(dir).unwrap();
    let dir = dir.to_str().unwrap();
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut ours = false;
    let mut mappings = 0;
    let mut kib = 0;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Rss:") if ours => kib += words.next().unwrap().parse::<u64>().unwrap(),
            Some(first) if !first.ends_with(':') => {
                ours = line.contains(dir) && line.ends_with(".seg");
                mappings += usize::from(ours);
            }
            _ => {}
        }
    }
    assert!(mappings > 0, "the segments are mapped");
    kib * KIB
}

fn open(dir: &Path) -> Journal {
    let (journal, _) = Journal::open(dir, Options::default()).unwrap();
    // The background thread has made the next segment by then.
    journal.sync().unwrap();
    journal
}

fn append(journal: &Journal, bytes: usize) {
    for _ in 0..bytes / RECORD.len() {
        journal.append(&RECORD).unwrap();
    }
}

#[test]
fn a_journal_without_records_is_hardly_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert!(resident(dir.path()) < 512 * KIB, "{}", resident(dir.path()));
    append(&journal, 10_000);
    drop(journal);

    let _journal = open(dir.path());
    assert!(resident(dir.path()) < 512 * KIB, "{}", resident(dir.path()));
}

#[test]
fn what_was_written_does_not_stay_in_memory_whether_it_is_taken_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    // More than two segments, and most of a third.
    append(&journal, 45_000_000);
    journal.sync().unwrap();
    assert!(resident(dir.path()) < 3072 * KIB, "{}", resident(dir.path()));

    drop(journal);
    let journal = open(dir.path());
    assert!(resident(dir.path()) < 3072 * KIB, "{}", resident(dir.path()));

    let mut taken = 0;
    loop {
        let batch = journal.next_batch(1000);
        let Some(last) = batch.last() else { break };
        assert!(batch.iter().all(|entry| entry.payload == RECORD));
        taken += batch.len();
        journal.acknowledge(last.sequence).unwrap();
    }
    assert_eq!(taken, 45_000);
    journal.sync().unwrap();
    assert!(resident(dir.path()) < 3072 * KIB, "{}", resident(dir.path()));
}
