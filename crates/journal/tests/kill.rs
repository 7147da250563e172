//! A process is killed while it appends: what an append returned for is read back once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use journal::{Journal, Options};

const DIR: &str = "JOURNAL_KILL_TEST_DIR";
const ROUND: &str = "JOURNAL_KILL_TEST_ROUND";
const THREADS: u64 = 4;

fn open(dir: &Path) -> (Journal, journal::Recovery) {
    let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
    Journal::open(dir, options).unwrap()
}

/// Not a test: what the child does. It says what was returned for, one line each, unbuffered.
#[test]
#[ignore = "runs in a child process of the test below"]
fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let (journal, _) = open(Path::new(&dir));
    let say = |line: String| std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, round, say) = (&journal, &round, &say);
            scope.spawn(move || {
                for number in 0.. {
                    let id = format!("{round}.{thread}.{number}");
                    let filled = format!("{id} {}", "я".repeat(number % 500));
                    if number % 3 == 0 {
                        let record = journal.open_record(filled.as_bytes(), 64).unwrap();
                        say(format!("\n#opened {id} 0\n"));
                        for step in 1..4 {
                            record.progress(step, step * 2);
                            say(format!("\n#opened {id} {step}\n"));
                        }
                        record.close(id.as_bytes()).unwrap();
                    } else {
                        journal.append(filled.as_bytes()).unwrap();
                    }
                    say(format!("\n#done {id}\n"));
                }
            });
        }
    });
}

#[test]
fn nothing_that_was_returned_for_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    for (round, lines) in [1, 40, 500, 3000, 777, 10_000].into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        let mut line = Vec::new();
        let mut killed = false;
        while output.read_until(b'\n', &mut line).unwrap() > 0 {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if text.starts_with('#') && line.ends_with(b"\n") {
                said.push(text);
            }
            line.clear();
            if said.len() == lines && !killed {
                // SIGKILL. What was said until then is still in the pipe.
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");

        let mut done = BTreeSet::new();
        let mut opened = BTreeMap::new();
        for line in said {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            if words[0] == "#done" {
                opened.remove(&words[1]);
                done.insert(words[1].clone());
            } else {
                opened.insert(words[1].clone(), words[2].parse::<u64>().unwrap());
            }
        }

        let (journal, recovery) = open(dir.path());
        assert!(!recovery.position_lost);
        let batch = journal.next_batch(usize::MAX);
        assert_eq!(batch.len() as u64, recovery.finished);
        let mut found = BTreeSet::new();
        for entry in &batch {
            let payload = String::from_utf8(entry.payload.clone()).unwrap();
            let id = payload.split(' ').next().unwrap().to_owned();
            assert!(found.insert(id.clone()), "{id} is there twice");
        }
        let lost: Vec<_> = done.difference(&found).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        // At most one a thread was finished and not said.
        assert!(found.len() <= done.len() + THREADS as usize);

        let mut unfinished = BTreeMap::new();
        for open in &recovery.unfinished {
            let payload = String::from_utf8(open.payload.clone()).unwrap();
            let id = payload.split(' ').next().unwrap().to_owned();
            assert!(!found.contains(&id), "{id} is closed and open");
            unfinished.insert(id, open.progress);
            journal.close_unfinished(open, b"gone").unwrap();
        }
        assert!(unfinished.len() <= THREADS as usize);
        for (id, step) in opened {
            if found.contains(&id) {
                continue;
            }
            let [first, second] = unfinished[&id];
            assert!(first >= step && second >= step * 2, "{id}: {first} {second}, said {step}");
        }
        for open in recovery.unfinished {
            drop(open);
        }
        let last = journal.next_batch(usize::MAX).pop().unwrap();
        journal.acknowledge(last.sequence).unwrap();
    }
}
