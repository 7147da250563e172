//! What a journal promises, one thing after the other.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use journal::{AppendError, Entry, FullCause, Journal, OpenError, Options, Recovery};

const SEGMENT: u64 = 64 * 1024;

fn options() -> Options {
    Options { segment_bytes: SEGMENT, max_total_bytes: 64 * SEGMENT, ..Options::default() }
}

fn open(dir: &Path) -> (Journal, Recovery) {
    Journal::open(dir, options()).unwrap()
}

fn payloads(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.payload.clone()).unwrap()).collect()
}

fn all(journal: &Journal) -> Vec<String> {
    payloads(&journal.next_batch(usize::MAX))
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn delivered_in_order_until_acknowledged_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.finished, 0);
    for number in 0..5 {
        journal.append(format!("запись {number}").as_bytes()).unwrap();
    }
    let batch = journal.next_batch(2);
    assert_eq!(payloads(&batch), ["запись 0", "запись 1"]);
    assert_eq!(journal.next_batch(2), batch);
    journal.acknowledge(batch[1].sequence).unwrap();
    assert_eq!(all(&journal), ["запись 2", "запись 3", "запись 4"]);
    drop(journal);

    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.finished, 3);
    journal.append("дальше".as_bytes()).unwrap();
    assert_eq!(all(&journal), ["запись 2", "запись 3", "запись 4", "дальше"]);
    assert_eq!(recovery.damaged, 0);
}

#[test]
fn only_what_was_delivered_can_be_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let sequence = journal.append(b"one").unwrap();
    journal.acknowledge(sequence).unwrap_err();
    assert_eq!(all(&journal), ["one"]);
    journal.acknowledge(sequence).unwrap();
    assert!(all(&journal).is_empty());
}

#[test]
fn an_open_record_holds_nothing_back_and_is_delivered_where_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let record = journal.open_record(b"intent", 10).unwrap();
    journal.append(b"after").unwrap();
    let opened = record.sequence();
    assert_eq!(all(&journal), ["after"]);
    record.close(b"outcome").unwrap();
    let batch = journal.next_batch(9);
    assert_eq!(payloads(&batch), ["after", "outcome"]);
    assert_eq!(batch[1].opened, Some(opened));
    assert_eq!(batch[0].opened, None);
}

#[test]
fn what_was_not_closed_is_found_with_its_progress_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let record = journal.open_record(b"stream", 100).unwrap();
    let closed = journal.open_record(b"short", 100).unwrap();
    record.progress(3, 4);
    record.progress(17, 42);
    closed.close(b"done").unwrap();
    drop((record, journal));

    for _ in 0..2 {
        let (journal, recovery) = open(dir.path());
        let [unfinished] = recovery.unfinished.as_slice() else { panic!("{recovery:?}") };
        assert_eq!(unfinished.payload, b"stream");
        assert_eq!(unfinished.progress, [17, 42]);
        assert_eq!(all(&journal), ["done"]);
    }
    let (journal, recovery) = open(dir.path());
    journal.close_unfinished(&recovery.unfinished[0], b"estimated").unwrap();
    let batch = journal.next_batch(9);
    assert_eq!(payloads(&batch), ["done", "estimated"]);
    assert_eq!(batch[1].opened, Some(recovery.unfinished[0].sequence));
    drop((journal, recovery));
    let (_journal, recovery) = open(dir.path());
    assert!(recovery.unfinished.is_empty());
}

#[test]
fn acknowledged_segments_go_but_for_those_with_an_open_record() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let record = journal.open_record(b"long", 10).unwrap();
    for _ in 0..400 {
        journal.append(&[7; 1000]).unwrap();
    }
    assert!(segments(dir.path()).len() >= 7);
    let last = journal.next_batch(usize::MAX).pop().unwrap().sequence;
    journal.acknowledge(last).unwrap();
    let left = segments(dir.path());
    // The one with the open record, the current one, and the prepared one if it is ready.
    assert!((2..=3).contains(&left.len()), "{left:?}");
    assert_eq!(left[0].file_name().unwrap(), "0000000001.seg");

    record.close(b"end").unwrap();
    let last = journal.next_batch(9).pop().unwrap();
    assert_eq!(last.payload, b"end");
    journal.acknowledge(last.sequence).unwrap();
    assert!(!segments(dir.path()).contains(&left[0]));
    drop(journal);
    let (_journal, recovery) = open(dir.path());
    assert!(recovery.unfinished.is_empty());
    assert_eq!(recovery.finished, 0);
}

#[test]
fn closed_stays_closed_when_the_segment_of_its_closing_record_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let pinned = journal.open_record(b"pinned", 10).unwrap();
    let record = journal.open_record(b"closed", 10).unwrap();
    let fill = |until: usize| {
        while segments(dir.path()).len() < until {
            journal.append(&[7; 1000]).unwrap();
        }
    };
    fill(4);
    record.close(b"end").unwrap();
    fill(7);
    let last = journal.next_batch(usize::MAX).pop().unwrap().sequence;
    journal.acknowledge(last).unwrap();
    drop((pinned, journal));
    let (_journal, recovery) = open(dir.path());
    let open: Vec<_> = recovery.unfinished.iter().map(|open| open.payload.clone()).collect();
    assert_eq!(open, [b"pinned"]);
}

#[test]
fn a_full_journal_says_so_keeps_its_promises_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_total_bytes: 2 * SEGMENT, ..options() };
    let (journal, _) = Journal::open(dir.path(), options.clone()).unwrap();
    let records: Vec<_> = (0..20).map(|_| journal.open_record(b"intent", 1000).unwrap()).collect();
    let mut written = 0;
    let error = loop {
        match journal.append(&[b'x'; 500]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, AppendError::Full(FullCause::Limit));
    assert_eq!(journal.health().1, Some(FullCause::Limit));
    assert!(written > 150, "{written}");
    assert!(journal.total_bytes() <= 2 * SEGMENT);
    // Room was kept for every one of these.
    for record in records {
        record.close(&[b'c'; 1000]).unwrap();
    }
    assert_eq!(journal.append(&[b'x'; 500]).unwrap_err(), AppendError::Full(FullCause::Limit));
    drop(journal);

    // Full, it can still be opened and emptied; then there is room again.
    let (journal, recovery) = Journal::open(dir.path(), options).unwrap();
    let batch = journal.next_batch(usize::MAX);
    assert_eq!(batch.len(), written + 20);
    assert_eq!(recovery.finished, batch.len() as u64);
    assert!(recovery.unfinished.is_empty());
    journal.acknowledge(batch.last().unwrap().sequence).unwrap();
    // The acknowledgement has woken the thread that makes the next segment; `sync` waits for it.
    journal.sync().unwrap();
    journal.append(&[b'x'; 500]).unwrap();
}

#[test]
fn records_and_reserves_that_are_too_large_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let limit = SEGMENT as usize / 8;
    let too_large = AppendError::TooLarge { bytes: limit + 1, limit };
    assert_eq!(journal.append(&vec![0; limit + 1]).unwrap_err(), too_large);
    assert_eq!(journal.open_record(b"", limit + 1).unwrap_err(), too_large);
    journal.append(&vec![0; limit]).unwrap();
    let record = journal.open_record(b"", 0).unwrap();
    let error = record.close(&vec![0; limit + 1]).unwrap_err();
    assert_eq!(error.error, too_large);
    error.record.close(b"less").unwrap();
    let held: Vec<_> = (0..3).map(|_| journal.open_record(b"", limit).unwrap()).collect();
    let error = journal.open_record(b"", limit).unwrap_err();
    assert_eq!(error, AppendError::Full(FullCause::Reserves));
    drop(held);
    journal.open_record(b"", limit).unwrap();
}

#[test]
fn a_second_journal_in_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let error = Journal::open(dir.path(), options()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    drop(journal);
    open(dir.path());
}

#[test]
fn files_are_for_the_owner_only_and_as_large_as_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("journal");
    let (journal, _) = open(&dir);
    journal.append(b"x").unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for path in segments(&dir) {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(metadata.len(), SEGMENT);
        assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 >= SEGMENT);
    }
}

#[test]
fn restarts_do_not_use_up_segments() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..20 {
        let (journal, recovery) = open(dir.path());
        assert_eq!(recovery.finished, number);
        journal.append(b"one").unwrap();
        journal.sync().unwrap();
    }
    assert_eq!(segments(dir.path()).len(), 2);
}

#[test]
fn foreign_files_and_unknown_versions_are_errors_and_others_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(b"x").unwrap();
    drop(journal);
    fs::write(dir.path().join("notes.txt"), "заметки").unwrap();
    fs::write(dir.path().join("0000000009.tmp"), "half").unwrap();
    let (_, recovery) = open(dir.path());
    assert_eq!(recovery.foreign_files, 1);
    assert!(!dir.path().join("0000000009.tmp").exists());

    let foreign = dir.path().join("0000000077.seg");
    fs::write(&foreign, vec![b'z'; 4096]).unwrap();
    let error = Journal::open(dir.path(), options()).map(|_| ()).unwrap_err();
    assert!(matches!(&error, OpenError::Foreign(path) if *path == foreign), "{error}");
    fs::remove_file(&foreign).unwrap();

    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut header = [0; 40];
    file.read_exact_at(&mut header, 0).unwrap();
    header[8] = 9;
    let crc = u64::from(crc32fast::hash(&header));
    file.write_all_at(&header, 0).unwrap();
    file.write_all_at(&crc.to_le_bytes(), 40).unwrap();
    let error = Journal::open(dir.path(), options()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Version { version: 9, known: 1, .. }), "{error}");
}

#[test]
fn a_truncated_segment_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for number in 0..100 {
        journal.append(format!("{number:0100}").as_bytes()).unwrap();
    }
    drop(journal);
    let path = segments(dir.path()).remove(0);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(128 + 10 * 136 + 50).unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.truncated_segments, 1);
    assert_eq!(all(&journal).len(), 10);
    journal.append(b"goes on").unwrap();
    assert_eq!(all(&journal).pop().unwrap(), "goes on");
    drop(journal);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(3).unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.truncated_segments, 1);
    assert_eq!(all(&journal), ["goes on"]);
}

#[test]
fn options_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        Options { segment_bytes: 4096, ..options() },
        Options { segment_bytes: SEGMENT + 1, ..options() },
        Options { max_total_bytes: SEGMENT, ..options() },
        Options { sync_interval: std::time::Duration::ZERO, ..options() },
    ] {
        let error = Journal::open(dir.path(), options).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Option { .. }), "{error}");
    }
}

#[test]
fn a_file_system_that_refuses_is_an_error_of_append() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (journal, _) = open(&path);
    journal.sync().unwrap();
    // Nothing can be made in a directory that is gone, whoever asks.
    fs::remove_dir_all(&path).unwrap();
    let error = loop {
        if let Err(error) = journal.append(&[1; 1000]) {
            break error;
        }
    };
    assert_eq!(error, AppendError::Full(FullCause::Disk(std::io::ErrorKind::NotFound)));
}

#[test]
fn a_record_whose_closing_record_is_lost_is_open_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let record = journal.open_record(b"intent", 100).unwrap();
    record.progress(1, 2);
    let closing = record.close(b"outcome").unwrap().as_u64();
    drop(journal);
    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let at = u64::from(closing as u32) * 8;
    file.write_all_at(&[0; 40], at).unwrap();
    let (journal, recovery) = open(dir.path());
    let [unfinished] = recovery.unfinished.as_slice() else { panic!("{recovery:?}") };
    assert_eq!((unfinished.payload.as_slice(), unfinished.progress), (&b"intent"[..], [1, 2]));
    assert!(all(&journal).is_empty());
}

#[test]
fn a_record_is_closed_although_the_process_died_before_it_was_marked() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let record = journal.open_record(b"intent", 100).unwrap();
    let opened = record.sequence().as_u64();
    record.close(b"outcome").unwrap();
    drop(journal);
    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let at = u64::from(opened as u32) * 8;
    file.write_all_at(&0x4f50_454e_3333_5a5a_u64.to_le_bytes(), at + 16).unwrap();
    file.write_all_at(&[0; 8], at + 24).unwrap();
    let (journal, recovery) = open(dir.path());
    assert!(recovery.unfinished.is_empty());
    assert_eq!(all(&journal), ["outcome"]);
}

#[test]
fn damage_while_it_is_open_is_counted_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(b"first").unwrap();
    let second = journal.append(b"second").unwrap().as_u64();
    journal.append(b"third").unwrap();
    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"X", u64::from(second as u32) * 8 + 33).unwrap();
    let batch = journal.next_batch(9);
    assert_eq!(payloads(&batch), ["first", "third"]);
    journal.acknowledge(batch[1].sequence).unwrap();
    assert_eq!(journal.damaged(), 1);
}

#[test]
fn an_opened_journal_goes_on_behind_what_was_acknowledged_even_if_that_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for _ in 0..10 {
        journal.append(&[1; 100]).unwrap();
    }
    let last = journal.next_batch(99).pop().unwrap().sequence;
    journal.acknowledge(last).unwrap();
    drop(journal);
    // As after a power failure that the position outlived.
    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0; SEGMENT as usize - 128], 128).unwrap();
    let (journal, _) = open(dir.path());
    assert!(journal.append(b"new").unwrap() > last);
    assert_eq!(all(&journal), ["new"]);
}

#[test]
fn nothing_is_written_before_what_was_acknowledged_when_its_segment_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let pinned = journal.open_record(b"pinned", 10).unwrap();
    while segments(dir.path()).len() < 4 {
        journal.append(&[1; 1000]).unwrap();
    }
    journal.sync().unwrap();
    let last = journal.next_batch(usize::MAX).pop().unwrap().sequence;
    journal.acknowledge(last).unwrap();
    drop((pinned, journal));
    for lost in segments(dir.path()).drain(1..) {
        OpenOptions::new().write(true).open(lost).unwrap().set_len(3).unwrap();
    }
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.unfinished.len(), 1);
    assert!(journal.append(b"new").unwrap() > last);
    assert_eq!(all(&journal), ["new"]);
}

#[test]
fn threads_write_while_the_consumer_empties_a_small_journal() {
    const THREADS: usize = 4;
    const RECORDS: usize = 3000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_total_bytes: 3 * SEGMENT, ..options() };
    let (journal, _) = Journal::open(dir.path(), options).unwrap();
    let again = |what: &dyn Fn() -> Result<(), AppendError>| {
        while let Err(error) = what() {
            assert_eq!(error, AppendError::Full(FullCause::Limit));
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, again) = (&journal, &again);
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let payload = format!("{thread} {number} {}", "x".repeat(number % 300));
                    if number % 4 > 0 {
                        again(&|| journal.append(payload.as_bytes()).map(|_| ()));
                        continue;
                    }
                    let opened = std::cell::RefCell::new(None);
                    again(&|| {
                        *opened.borrow_mut() = Some(journal.open_record(b"intent", 400)?);
                        Ok(())
                    });
                    // Never refused, however full it is.
                    opened.take().unwrap().close(payload.as_bytes()).unwrap();
                }
            });
        }
        let mut next = [0; THREADS];
        let mut last = None;
        while next != [RECORDS; THREADS] {
            let batch = journal.next_batch(100);
            for entry in &batch {
                assert!(last < Some(entry.sequence));
                last = Some(entry.sequence);
                let text = String::from_utf8(entry.payload.clone()).unwrap();
                let mut words = text.split(' ').map(|word| word.parse::<usize>());
                let thread = words.next().unwrap().unwrap();
                assert_eq!(words.next().unwrap().unwrap(), next[thread]);
                next[thread] += 1;
            }
            if let Some(entry) = batch.last() {
                journal.acknowledge(entry.sequence).unwrap();
            }
            assert!(journal.total_bytes() <= 3 * SEGMENT);
        }
    });
    assert!(journal.next_batch(1).is_empty());
    assert_eq!(journal.damaged(), 0);
}
