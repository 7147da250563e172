//! One file of the journal.
//!
//! The first 16 words are two copies of the header (magic, version, number, words of the file,
//! salt, CRC-32 of these, two zeros); records follow. A segment is written under another name, with
//! zeros over its whole length, and renamed when that is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use crate::error::OpenError;
use crate::map::Words;
use crate::record::{self, Look, Record};

const MAGIC: u64 = u64::from_le_bytes(*b"llmpjrnl");
const VERSION: u64 = 1;
const COPY_WORDS: usize = 8;
/// Bytes written or read at once, past the mapping.
const BLOCK: usize = 64 * 1024;
/// So many words are written or read before the memory of a segment is given back: 1 MiB.
const RESIDENT_WORDS: usize = 128 * 1024;
/// Words before the first record.
pub(crate) const HEADER_WORDS: usize = 2 * COPY_WORDS;
const SEALED: usize = 1 << (usize::BITS - 1);

/// A mapped segment.
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    words: Words,
    salt: u64,
    /// The word behind the last one that was not zero when the segment was made or found.
    used: usize,
    /// First word that is not reserved; the top bit says that no more are.
    tail: AtomicUsize,
    /// Records before this word were there when the journal was opened: what is not a record there
    /// never will be.
    pub(crate) recovered_until: usize,
    /// Open records in it.
    pub(crate) open: AtomicU64,
    /// A record was written since the last flush began.
    dirty: AtomicBool,
    /// The first word changed in place since the last flush began.
    changed_from: AtomicUsize,
    /// The last flush took words before this one.
    flushed: AtomicUsize,
    /// About so many words were written or read since memory was given back.
    touched: AtomicUsize,
}

/// A segment found at start, and whether its file is shorter than it was made.
pub(crate) struct Found {
    pub(crate) segment: Segment,
    pub(crate) truncated: bool,
}

pub(crate) fn file_name(number: u32) -> String {
    format!("{number:010}.seg")
}

/// The number of a segment by its file name; `None` for another file.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

fn header(number: u32, words: usize, salt: u64) -> [u64; COPY_WORDS] {
    let mut header = [MAGIC, VERSION, u64::from(number), words as u64, salt, 0, 0, 0];
    header[5] = header_crc(&header);
    header
}

fn header_crc(header: &[u64]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for value in header.iter().take(5) {
        hasher.update(&value.to_le_bytes());
    }
    u64::from(hasher.finalize())
}

impl Segment {
    /// Makes a segment of `words` words whose every byte has its place on the disk.
    ///
    /// # Errors
    ///
    /// The file system refuses: `StorageFull` for one that is full.
    pub(crate) fn create(dir: &Path, number: u32, words: usize, salt: u64) -> io::Result<Self> {
        let path = dir.join(file_name(number));
        let made = path.with_extension("tmp");
        match Self::create_at(&made, &path, number, words, salt) {
            Ok(segment) => Ok(segment),
            Err(error) => {
                // What was written would keep a full disk full.
                let _ = fs::remove_file(&made);
                Err(error)
            }
        }
    }

    fn create_at(
        made: &Path,
        path: &Path,
        number: u32,
        words: usize,
        salt: u64,
    ) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(made)?;
        let copy: Vec<u8> =
            header(number, words, salt).iter().flat_map(|value| value.to_le_bytes()).collect();
        file.write_all(&copy)?;
        file.write_all(&copy)?;
        let zeros = vec![0_u8; BLOCK];
        let mut left = words.saturating_sub(HEADER_WORDS).saturating_mul(8);
        while left > 0 {
            let piece = zeros.get(..left).unwrap_or(&zeros);
            file.write_all(piece)?;
            left -= piece.len();
        }
        file.sync_all()?;
        let mapped = Words::map(&file, words)?;
        fs::rename(made, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Self {
            number,
            path: path.to_path_buf(),
            bytes: words as u64 * 8,
            words: mapped,
            salt,
            used: HEADER_WORDS,
            tail: AtomicUsize::new(HEADER_WORDS),
            recovered_until: HEADER_WORDS,
            open: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            changed_from: AtomicUsize::new(usize::MAX),
            flushed: AtomicUsize::new(HEADER_WORDS),
            touched: AtomicUsize::new(0),
        })
    }

    /// Maps a segment that is there. `None`: it is too short to hold anything.
    ///
    /// # Errors
    ///
    /// It is not a segment, or of another version.
    pub(crate) fn open(path: &Path, number: u32) -> Result<Option<Found>, OpenError> {
        let io = |source| OpenError::Io { path: path.to_path_buf(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let there = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
        if there < HEADER_WORDS {
            return Ok(None);
        }
        let used = used(&file, there).map_err(io)?;
        let mapped = Words::map(&file, there).map_err(io)?;
        let (words, salt) = read_header(&mapped, path, number)?;
        let truncated = there < words;
        let end = words.min(there);
        Ok(Some(Found {
            segment: Self {
                number,
                path: path.to_path_buf(),
                bytes,
                salt,
                used,
                tail: AtomicUsize::new(end | SEALED),
                recovered_until: end,
                open: AtomicU64::new(0),
                dirty: AtomicBool::new(false),
                changed_from: AtomicUsize::new(usize::MAX),
                flushed: AtomicUsize::new(HEADER_WORDS),
                touched: AtomicUsize::new(0),
                words: mapped,
            },
            truncated,
        }))
    }

    /// Goes on behind what was written before the journal was opened.
    pub(crate) fn resume(&mut self, at: usize) {
        self.recovered_until = at;
        self.tail = AtomicUsize::new(at);
    }

    /// The word behind the last one that was not zero when the segment was made or found.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Words of the segment, header included.
    pub(crate) fn len(&self) -> usize {
        self.words.as_slice().len()
    }

    /// Where the next record would begin.
    pub(crate) fn tail(&self) -> usize {
        self.tail.load(Ordering::SeqCst) & !SEALED
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.tail.load(Ordering::SeqCst) & SEALED != 0
    }

    /// Nothing is reserved in it any more.
    pub(crate) fn seal(&self) {
        self.tail.fetch_or(SEALED, Ordering::SeqCst);
    }

    /// Takes `words` words, if `keep()` stay free behind them. `None`: there is no room.
    pub(crate) fn reserve(&self, words: usize, keep: impl Fn() -> usize) -> Option<usize> {
        let mut tail = self.tail.load(Ordering::SeqCst);
        loop {
            if tail & SEALED != 0 {
                return None;
            }
            // Asked for again after each failed exchange: whoever took words may have made a
            // promise before.
            if tail.saturating_add(words).saturating_add(keep()) > self.len() {
                return None;
            }
            let taken = self.tail.compare_exchange_weak(
                tail,
                tail + words,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            match taken {
                Ok(at) => return Some(at),
                Err(now) => tail = now,
            }
        }
    }

    /// The sequence of a record at `at`.
    pub(crate) fn sequence(&self, at: usize) -> u64 {
        (u64::from(self.number) << 32) | at as u64
    }

    /// Writes a record into reserved words.
    pub(crate) fn write(&self, at: usize, kind: record::Kind, link: u64, payload: &[u8]) -> u64 {
        let sequence = self.sequence(at);
        let place = self.words.as_slice().get(at..).unwrap_or_default();
        record::write(place, self.salt, sequence, kind, link, payload);
        // The fence keeps the processor from reading what follows before the write is seen by
        // others: a flush that clears the flag or has passed this place has seen the write, or the
        // next one will.
        fence(Ordering::SeqCst);
        if at < self.flushed.load(Ordering::Relaxed) {
            self.changed_from.fetch_min(at, Ordering::SeqCst);
        }
        if !self.dirty.load(Ordering::Acquire) {
            self.dirty.store(true, Ordering::Release);
        }
        sequence
    }

    /// Changes a word of a record in place.
    pub(crate) fn set(&self, at: usize, value: u64) {
        record::store(self.words.as_slice(), at, value);
        self.changed_from.fetch_min(at, Ordering::SeqCst);
    }

    pub(crate) fn look(&self, at: usize) -> Look {
        let place = self.words.as_slice().get(at..).unwrap_or_default();
        record::look(place, self.salt, self.sequence(at))
    }

    /// The first record at or behind `at` and before `end`, with the place where it stands.
    pub(crate) fn find(&self, at: usize, end: usize) -> Option<(usize, Record)> {
        (at..end).find_map(|at| match self.look(at) {
            Look::Record(record) => Some((at, record)),
            Look::Empty | Look::Damaged => None,
        })
    }

    /// Whether any word from `from` to `until` is not zero.
    pub(crate) fn any(&self, from: usize, until: usize) -> bool {
        let words = self.words.as_slice().get(from..until).unwrap_or_default();
        words.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Notes that so many words were written or read: pages of them are in memory now.
    pub(crate) fn touch(&self, words: usize) {
        self.touched.fetch_add(words, Ordering::Relaxed);
    }

    /// Gives back the memory of what was written and read, if it has become much, or nothing more
    /// is written here. It is read from the page cache when it is needed again.
    pub(crate) fn release(&self) {
        let touched = self.touched.load(Ordering::Relaxed);
        if touched >= RESIDENT_WORDS || touched > 0 && self.is_sealed() {
            self.touched.store(0, Ordering::Relaxed);
            // Refused, it stays in memory, which is no fault.
            _ = self.words.release(self.tail());
        }
    }

    /// Writes to the disk what changed since the last time. No more than that: a page that is
    /// written to the disk costs a fault at the next write.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let dirty = self.dirty.swap(false, Ordering::SeqCst);
        let changed = self.changed_from.swap(usize::MAX, Ordering::SeqCst);
        if !dirty && changed == usize::MAX {
            return Ok(());
        }
        let tail = self.tail().min(self.len());
        let from = self.flushed.load(Ordering::Relaxed).min(changed);
        // Records reserved and not yet written lie before `tail` too; who writes them will see
        // this.
        self.touch(tail.saturating_sub(self.flushed.swap(tail, Ordering::SeqCst)));
        fence(Ordering::SeqCst);
        self.words.flush(from, tail.saturating_sub(from)).inspect_err(|_| {
            self.dirty.store(true, Ordering::Release);
            self.changed_from.fetch_min(from, Ordering::SeqCst);
        })
    }
}

/// The word behind the last one of `words` that is not zero. Read, not mapped: most of a segment
/// is not in use yet, and would be in memory for this alone.
fn used(file: &File, words: usize) -> io::Result<usize> {
    let mut block = vec![0_u8; BLOCK];
    let mut end = words.saturating_mul(8);
    while end > 0 {
        let length = (end - 1) % BLOCK + 1;
        let begin = end - length;
        let block = block.get_mut(..length).unwrap_or_default();
        file.read_exact_at(block, begin as u64)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok((begin + last) / 8 + 1);
        }
        end = begin;
    }
    Ok(0)
}

fn read_header(mapped: &Words, path: &Path, number: u32) -> Result<(usize, u64), OpenError> {
    let words = mapped.as_slice();
    for copy in words.chunks(COPY_WORDS).take(2) {
        let copy: Vec<u64> = (0..COPY_WORDS).map(|at| record::load(copy, at)).collect();
        let &[MAGIC, version, of, length, salt, crc, ..] = copy.as_slice() else { continue };
        if crc != header_crc(&copy) || of != u64::from(number) {
            continue;
        }
        if version != VERSION {
            let path = path.to_path_buf();
            return Err(OpenError::Version { path, version, known: VERSION });
        }
        return Ok((usize::try_from(length).unwrap_or(usize::MAX), salt));
    }
    Err(OpenError::Foreign(path.to_path_buf()))
}
