//! Random operations against a model, and random damage.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use journal::{Journal, OpenRecord, Options, Unfinished};
use proptest::prelude::*;

const SEGMENT: u64 = 64 * 1024;

fn open(dir: &Path) -> (Journal, journal::Recovery) {
    let options =
        Options { segment_bytes: SEGMENT, max_total_bytes: 256 * SEGMENT, ..Options::default() };
    Journal::open(dir, options).unwrap()
}

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Open(usize),
    Progress(usize, u64, u64),
    Close(usize, usize),
    Deliver { take: usize, acknowledge: bool },
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let size = prop_oneof![4 => 0_usize..300, 1 => 0_usize..8192];
    prop::collection::vec(
        prop_oneof![
            8 => size.clone().prop_map(Op::Append),
            3 => size.clone().prop_map(Op::Open),
            3 => (any::<usize>(), any::<u64>(), any::<u64>())
                .prop_map(|(which, first, second)| Op::Progress(which, first, second)),
            3 => (any::<usize>(), size).prop_map(|(which, size)| Op::Close(which, size)),
            3 => (1_usize..40, any::<bool>())
                .prop_map(|(take, acknowledge)| Op::Deliver { take, acknowledge }),
            1 => Just(Op::Restart),
        ],
        1..150,
    )
}

/// Payloads that differ, and begin with what they are.
fn payload(id: u64, size: usize) -> Vec<u8> {
    let mut payload = id.to_le_bytes().to_vec();
    payload.extend((0..size).map(|at| (at as u64 ^ id) as u8));
    payload.truncate(size.max(8));
    payload
}

enum Handle {
    Live(OpenRecord),
    Left(Unfinished),
}

struct Open {
    payload: Vec<u8>,
    progress: [u64; 2],
    handle: Handle,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_operations_agree_with_a_model(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        // By sequence: finished and not acknowledged, and open.
        let mut finished: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut opened: BTreeMap<u64, Open> = BTreeMap::new();
        let mut id = 0;
        for op in ops {
            id += 1;
            match op {
                Op::Append(size) => {
                    let payload = payload(id, size);
                    let sequence = journal.append(&payload).unwrap().as_u64();
                    prop_assert!(finished.keys().all(|before| *before < sequence));
                    finished.insert(sequence, payload);
                }
                Op::Open(size) => {
                    let payload = payload(id, size);
                    let record = journal.open_record(&payload, 64).unwrap();
                    let sequence = record.sequence().as_u64();
                    let handle = Handle::Live(record);
                    opened.insert(sequence, Open { payload, progress: [0, 0], handle });
                }
                Op::Progress(which, first, second) if !opened.is_empty() => {
                    let which = which % opened.len();
                    let open = opened.values_mut().nth(which).unwrap();
                    if let Handle::Live(record) = &open.handle {
                        record.progress(first, second);
                        open.progress = [first, second];
                    }
                }
                Op::Close(which, size) if !opened.is_empty() => {
                    let sequence = *opened.keys().nth(which % opened.len()).unwrap();
                    let payload = payload(id, size);
                    let closed = match opened.remove(&sequence).unwrap().handle {
                        Handle::Live(record) => record.close(&payload).unwrap(),
                        Handle::Left(left) => journal.close_unfinished(&left, &payload).unwrap(),
                    };
                    finished.insert(closed.as_u64(), payload);
                }
                Op::Progress(..) | Op::Close(..) => {}
                Op::Deliver { take, acknowledge } => {
                    let batch = journal.next_batch(take);
                    let expected: Vec<_> = finished.iter().take(take).collect();
                    prop_assert_eq!(batch.len(), expected.len());
                    for (entry, (sequence, payload)) in batch.iter().zip(expected) {
                        prop_assert_eq!(entry.sequence.as_u64(), *sequence);
                        prop_assert_eq!(&entry.payload, payload);
                    }
                    if let (Some(last), true) = (batch.last(), acknowledge) {
                        journal.acknowledge(last.sequence).unwrap();
                        finished = finished.split_off(&(last.sequence.as_u64() + 1));
                    }
                }
                Op::Restart => {
                    let before: Vec<_> = std::mem::take(&mut opened)
                        .into_iter()
                        .map(|(sequence, open)| (sequence, open.payload, open.progress))
                        .collect();
                    drop(journal);
                    let (again, recovery) = open(dir.path());
                    journal = again;
                    prop_assert_eq!(recovery.damaged, 0);
                    prop_assert_eq!(recovery.finished, finished.len() as u64);
                    let found: Vec<_> = recovery
                        .unfinished
                        .iter()
                        .map(|open| (open.sequence.as_u64(), open.payload.clone(), open.progress))
                        .collect();
                    prop_assert_eq!(&found, &before);
                    for left in recovery.unfinished {
                        let (payload, progress) = (left.payload.clone(), left.progress);
                        let sequence = left.sequence.as_u64();
                        let handle = Handle::Left(left);
                        opened.insert(sequence, Open { payload, progress, handle });
                    }
                }
            }
        }
        let left: Vec<_> =
            journal.next_batch(usize::MAX).into_iter().map(|entry| entry.payload).collect();
        prop_assert_eq!(left, finished.into_values().collect::<Vec<_>>());
    }

    /// Damage of a few bytes costs the records it lies in, and no other.
    #[test]
    fn damage_costs_only_what_it_touches(
        sizes in prop::collection::vec(0_usize..400, 1..120),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..24, any::<u8>()), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        let mut records = BTreeMap::new();
        for (id, size) in sizes.iter().enumerate() {
            let payload = payload(id as u64, *size);
            let sequence = journal.append(&payload).unwrap().as_u64();
            records.insert(sequence, payload);
        }
        drop(journal);
        let path = dir.path().join("0000000001.seg");
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // Records of the first segment, behind its header.
        let begin = |sequence: u64| (sequence as u32 as usize) * 8;
        let first: Vec<_> = records
            .iter()
            .filter(|(sequence, _)| **sequence >> 32 == 1)
            .map(|(sequence, payload)| (*sequence, begin(*sequence), payload.len()))
            .collect();
        let (_, last, length) = *first.last().unwrap();
        let span = 128..last + 32 + length;
        let mut touched = Vec::new();
        for (index, bytes, mask) in damage {
            let from = span.start + index.index(span.len());
            let until = (from + bytes).min(span.end);
            let mut there = vec![0; until - from];
            file.read_exact_at(&mut there, from as u64).unwrap();
            for byte in &mut there {
                *byte ^= mask | 1;
            }
            file.write_all_at(&there, from as u64).unwrap();
            touched.push(from..until);
        }
        let (journal, _) = open(dir.path());
        let batch = journal.next_batch(usize::MAX);
        for entry in &batch {
            prop_assert_eq!(records.get(&entry.sequence.as_u64()), Some(&entry.payload));
        }
        for (sequence, from, length) in first {
            let untouched = touched
                .iter()
                .all(|touched| touched.end <= from || touched.start >= from + 32 + length);
            let delivered = batch.iter().any(|entry| entry.sequence.as_u64() == sequence);
            prop_assert!(delivered || !untouched, "record at byte {} is lost", from);
        }
        let elsewhere = records.keys().filter(|sequence| **sequence >> 32 != 1).count();
        let found = batch.iter().filter(|entry| entry.sequence.as_u64() >> 32 != 1).count();
        prop_assert_eq!(found, elsewhere);
        // And it goes on.
        let sequence = journal.append(b"behind the damage").unwrap();
        let last = journal.next_batch(usize::MAX).pop().unwrap();
        prop_assert_eq!(last.sequence, sequence);
    }

    /// Whatever lies in the directory, opening and reading do not panic.
    #[test]
    fn rubbish_does_no_harm(
        rubbish in prop::collection::vec(any::<u8>(), 0..4096),
        at in 0_u64..4096,
        position in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        for id in 0..20 {
            journal.append(&payload(id, 100)).unwrap();
        }
        drop(journal);
        let path = dir.path().join("0000000001.seg");
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(&rubbish, at).unwrap();
        fs::write(dir.path().join("position"), &position).unwrap();
        let options = Options { segment_bytes: SEGMENT, ..Options::default() };
        if let Ok((journal, recovery)) = Journal::open(dir.path(), options) {
            prop_assert!(recovery.position_lost != position.is_empty());
            for entry in journal.next_batch(usize::MAX) {
                journal.acknowledge(entry.sequence).unwrap();
            }
            journal.append(b"more").unwrap();
            prop_assert_eq!(journal.next_batch(9).len(), 1);
        }
    }
}
