//! What a journal finds when it is opened.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{FullCause, OpenError};
use crate::options::Options;
use crate::position::Position;
use crate::reader::{Place, Reader, Sequence};
use crate::record::{KIND_AT, Kind, LINK_AT, Look, Record};
use crate::segment::{Found, HEADER_WORDS, Segment, number_of};

/// What was found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Open records that were never closed, in order. Close each with
    /// [`Journal::close_unfinished`](crate::Journal::close_unfinished), or it comes again.
    pub unfinished: Vec<Unfinished>,
    /// Finished records that are not acknowledged.
    pub finished: u64,
    /// Places with something that is no whole record: torn or damaged.
    pub damaged: u64,
    /// Segments whose file is shorter than it was made.
    pub truncated_segments: u64,
    /// Files in the directory that are no part of a journal; they are left alone.
    pub foreign_files: u64,
    /// The position could not be read: everything still there is delivered again.
    pub position_lost: bool,
}

/// An open record of a process that died.
pub struct Unfinished {
    /// Its place.
    pub sequence: Sequence,
    /// What it was opened with.
    pub payload: Vec<u8>,
    /// Its progress, as far as it came; zeros if there was none.
    pub progress: [u64; 2],
    pub(crate) segment: Arc<Segment>,
    pub(crate) at: usize,
}

impl std::fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unfinished")
            .field("sequence", &self.sequence)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// What a journal starts with.
pub(crate) struct Start {
    pub(crate) lock: File,
    pub(crate) current: Arc<Segment>,
    pub(crate) spare: Option<Arc<Segment>>,
    pub(crate) segments: BTreeMap<u32, Arc<Segment>>,
    pub(crate) reader: Reader,
    /// No new segment may have this number or a smaller one.
    pub(crate) floor: u32,
}

struct Files {
    segments: Vec<(u32, PathBuf)>,
    foreign: u64,
}

#[derive(Default)]
struct Scan {
    opens: Vec<(u32, usize, Record)>,
    /// Sequences of closing records by those of the records they close.
    closing: HashMap<u64, u64>,
    at: Place,
    finished: u64,
    damaged: u64,
}

pub(crate) fn recover(dir: &Path, options: &Options) -> Result<(Start, Recovery), OpenError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Io { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
    let lock = lock(dir)?;
    let files = list(dir).map_err(io(dir))?;
    let position_path = dir.join("position");
    let position = Position::open(&position_path).map_err(io(&position_path))?;
    let acknowledged = position.acknowledged;
    let mut recovery = Recovery {
        foreign_files: files.foreign,
        position_lost: position.damaged,
        ..Recovery::default()
    };
    let mut floor = (acknowledged >> 32) as u32;
    let mut found = Vec::new();
    for (number, path) in files.segments {
        floor = floor.max(number);
        match Segment::open(&path, number)? {
            Some(Found { segment, truncated }) => {
                recovery.truncated_segments += u64::from(truncated);
                found.push((segment, truncated));
            }
            None => recovery.truncated_segments += 1,
        }
    }

    let acknowledged_in = (acknowledged >> 32) as u32;
    let spare = take_spare(&mut found, acknowledged_in, options).map_err(io(dir))?;
    let mut scan = Scan { at: (0, HEADER_WORDS), ..Scan::default() };
    let last = found.len().saturating_sub(1);
    for (index, (segment, truncated)) in found.iter_mut().enumerate() {
        let end = scan.segment(segment, acknowledged);
        // Nothing is written before what was acknowledged, even if a power failure took that:
        // sequences there would never be delivered.
        if index == last && !*truncated && segment.number >= acknowledged_in {
            let here = acknowledged_in == segment.number;
            let behind = if here { acknowledged as u32 as usize + 1 } else { 0 };
            segment.resume(end.max(behind).min(segment.len()));
        }
    }
    let mut segments: BTreeMap<u32, Arc<Segment>> =
        found.into_iter().map(|(segment, _)| (segment.number, Arc::new(segment))).collect();
    let newest = segments.last_key_value().map(|(_, segment)| Arc::clone(segment));
    let current = match newest {
        // Full, perhaps, with no room for another: what is there can be read and acknowledged all
        // the same.
        Some(current) => current,
        None => {
            let number = floor.saturating_add(1);
            floor = number;
            let made = Segment::create(dir, number, options.words(), fastrand::u64(..));
            let made = made.map_err(|error| OpenError::Full(FullCause::Disk(error.kind())))?;
            let made = Arc::new(made);
            segments.insert(number, Arc::clone(&made));
            made
        }
    };
    if let Some(spare) = &spare {
        segments.insert(spare.number, Arc::clone(spare));
    }

    recovery.finished = scan.finished;
    recovery.damaged = scan.damaged;
    recovery.unfinished = unfinished(&scan, &segments, acknowledged);
    let reader = Reader { position, at: scan.at, delivered: acknowledged, damaged: 0 };
    let start = Start { lock, current, spare, segments, reader, floor };
    Ok((start, recovery))
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

fn list(dir: &Path) -> io::Result<Files> {
    let mut files = Files { segments: Vec::new(), foreign: 0 };
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(number) = number_of(&name) {
            files.segments.push((number, entry.path()));
        } else if let Some(number) = name.strip_suffix(".tmp")
            && number_of(&format!("{number}.seg")).is_some()
        {
            // Never became a segment.
            fs::remove_file(entry.path())?;
        } else if name != "lock" && name != "position" {
            files.foreign += 1;
        }
    }
    files.segments.sort();
    Ok(files)
}

/// Takes away the segments at the end in which nothing was written: one is the next segment of the
/// journal, if it is of the right size; the rest is deleted.
fn take_spare(
    found: &mut Vec<(Segment, bool)>,
    acknowledged_in: u32,
    options: &Options,
) -> io::Result<Option<Arc<Segment>>> {
    let mut spare: Option<Segment> = None;
    while found.len() > 1 && found.last().is_some_and(|(last, _)| last.used() <= HEADER_WORDS) {
        let Some((mut segment, truncated)) = found.pop() else { break };
        if let Some(other) = spare.take() {
            fs::remove_file(&other.path)?;
        }
        if truncated || segment.len() != options.words() || segment.number <= acknowledged_in {
            fs::remove_file(&segment.path)?;
        } else {
            segment.resume(HEADER_WORDS);
            spare = Some(segment);
        }
    }
    Ok(spare.map(Arc::new))
}

impl Scan {
    /// Reads a segment; where it could go on.
    fn segment(&mut self, segment: &Segment, acknowledged: u64) -> usize {
        let end = segment.used();
        let mut at = HEADER_WORDS;
        while at < end {
            let Look::Record(record) = segment.look(at) else {
                let behind = segment.find(at + 1, end).map_or(end, |(place, _)| place);
                self.damaged += u64::from(segment.any(at, behind));
                at = behind;
                continue;
            };
            let begin = at;
            at += record.words;
            let is_new = record.sequence > acknowledged;
            if !is_new {
                self.at = (segment.number, at);
            }
            match record.kind {
                Kind::Append => self.finished += u64::from(is_new),
                Kind::Close => {
                    self.finished += u64::from(is_new);
                    self.closing.insert(record.link, record.sequence);
                }
                Kind::Open | Kind::Opened => self.opens.push((segment.number, begin, record)),
            }
        }
        segment.touch(end);
        segment.release();
        at.max(end)
    }
}

fn unfinished(
    scan: &Scan,
    segments: &BTreeMap<u32, Arc<Segment>>,
    acknowledged: u64,
) -> Vec<Unfinished> {
    let mut unfinished = Vec::new();
    for (number, at, record) in &scan.opens {
        let Some(segment) = segments.get(number) else { continue };
        let has_closing = scan.closing.contains_key(&record.sequence);
        // An open record names what closed it. That is gone if it was acknowledged; if it was not,
        // a power failure took it, and the record is as good as open.
        let is_closed = has_closing || record.kind == Kind::Opened && record.link <= acknowledged;
        let kind = if is_closed { Kind::Opened } else { Kind::Open };
        if kind != record.kind {
            let closing = scan.closing.get(&record.sequence).copied().unwrap_or_default();
            segment.set(at + LINK_AT, closing);
            segment.set(at + KIND_AT, kind.word());
        }
        if !is_closed {
            segment.open.fetch_add(1, Ordering::SeqCst);
            unfinished.push(Unfinished {
                sequence: Sequence::new(record.sequence),
                payload: record.payload.clone(),
                progress: record.progress,
                segment: Arc::clone(segment),
                at: *at,
            });
        }
    }
    unfinished
}
