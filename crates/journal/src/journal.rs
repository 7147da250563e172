use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Condvar, Mutex};

use crate::error::{AcknowledgeError, AppendError, FullCause, OpenError};
use crate::options::Options;
use crate::reader::{Entry, Reader, Sequence};
use crate::record::{KIND_AT, Kind, LINK_AT, PROGRESS_AT, words};
use crate::recovery::{Recovery, Unfinished};
use crate::segment::Segment;
use crate::{background, recovery};

/// A journal in a directory of its own. Share it by reference or in an `Arc`; dropping it writes
/// to the disk what is left.
pub struct Journal {
    inner: Arc<Inner>,
    background: Option<JoinHandle<()>>,
}

pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) current: ArcSwap<Segment>,
    /// The next segment is there. Set after it is, cleared before it becomes the current one.
    pub(crate) spare_ready: AtomicBool,
    /// Words promised to closing records of open ones.
    promised: AtomicUsize,
    pub(crate) slot: Mutex<Slot>,
    /// The slot changed, for those who wait for a segment or for the disk.
    pub(crate) changed: Condvar,
    /// There is something to do for the background thread.
    pub(crate) work: Condvar,
    /// All that exist, the prepared one too. Never taken before `slot` is released.
    pub(crate) segments: Mutex<BTreeMap<u32, Arc<Segment>>>,
    pub(crate) reader: Mutex<Reader>,
    pub(crate) sync_failures: AtomicU64,
    /// Segments made have greater numbers.
    pub(crate) floor: u32,
    /// Held as long as anybody can write.
    pub(crate) _lock: File,
}

/// What appenders and the background thread say to each other.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) spare: Option<Arc<Segment>>,
    /// Why there is no spare.
    pub(crate) failure: Option<FullCause>,
    /// Try again at once.
    pub(crate) retry: bool,
    pub(crate) sync_wanted: bool,
    pub(crate) syncs_begun: u64,
    pub(crate) syncs_done: u64,
    pub(crate) sync_error: Option<io::ErrorKind>,
    pub(crate) stop: bool,
}

impl Journal {
    /// Opens the journal in `dir`, which is made if it is missing, and says what it found.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; damage is not an error but counted in [`Recovery`].
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        options.check()?;
        let (start, recovery) = recovery::recover(dir, &options)?;
        let segments = Mutex::new(start.segments);
        start
            .reader
            .delete(&segments)
            .map_err(|source| OpenError::Io { path: dir.to_path_buf(), source })?;
        let inner = Arc::new(Inner {
            dir: dir.to_path_buf(),
            options,
            current: ArcSwap::new(start.current),
            spare_ready: AtomicBool::new(start.spare.is_some()),
            promised: AtomicUsize::new(0),
            slot: Mutex::new(Slot { spare: start.spare, ..Slot::default() }),
            changed: Condvar::new(),
            work: Condvar::new(),
            segments,
            reader: Mutex::new(start.reader),
            sync_failures: AtomicU64::new(0),
            floor: start.floor,
            _lock: start.lock,
        });
        let background = background::start(Arc::clone(&inner))
            .map_err(|source| OpenError::Io { path: dir.to_path_buf(), source })?;
        Ok((Self { inner, background: Some(background) }, recovery))
    }

    /// Writes a record. When this returns it survives the process.
    ///
    /// # Errors
    ///
    /// Too large, or the journal is full and no segment can be made; nothing was written.
    pub fn append(&self, payload: &[u8]) -> Result<Sequence, AppendError> {
        self.inner.fits(payload.len())?;
        self.inner.place(Kind::Append, 0, payload, false).map(|(_, _, at)| at)
    }

    /// Writes an intent, and keeps room for a closing record with a payload of up to `reserve`
    /// bytes: closing then cannot fail for want of room.
    ///
    /// # Errors
    ///
    /// Too large, or the journal is full; nothing was written.
    pub fn open_record(&self, payload: &[u8], reserve: usize) -> Result<OpenRecord, AppendError> {
        self.inner.fits(payload.len())?;
        self.inner.fits(reserve)?;
        let promise = words(Kind::Close, reserve);
        self.inner.promise(promise)?;
        match self.inner.place(Kind::Open, 0, payload, false) {
            Ok((segment, at, sequence)) => {
                let inner = Arc::clone(&self.inner);
                let segment = Guard::into_inner(segment);
                Ok(OpenRecord { inner, segment, at, sequence, promise })
            }
            Err(error) => {
                self.inner.promised.fetch_sub(promise, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// Closes a record that the process before left open.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`]; the record is still open then.
    pub fn close_unfinished(
        &self,
        unfinished: &Unfinished,
        payload: &[u8],
    ) -> Result<Sequence, AppendError> {
        self.inner.fits(payload.len())?;
        let opened = unfinished.sequence.as_u64();
        let (_, _, sequence) = self.inner.place(Kind::Close, opened, payload, false)?;
        Inner::mark_closed(&unfinished.segment, unfinished.at, sequence);
        Ok(sequence)
    }

    /// Up to `max` finished records that are not acknowledged, in order of sequence: those
    /// appended and those that close another. Open records hold nothing back. The same ones come
    /// again until they are acknowledged.
    pub fn next_batch(&self, max: usize) -> Vec<Entry> {
        self.inner.reader.lock().next_batch(&self.inner.segments, max)
    }

    /// Never again delivers records up to and including this one, and deletes the segments that
    /// are not needed any more.
    ///
    /// # Errors
    ///
    /// It was not delivered, or the position could not be written.
    pub fn acknowledge(&self, up_to: Sequence) -> Result<(), AcknowledgeError> {
        let done = self.inner.reader.lock().acknowledge(&self.inner.segments, up_to);
        self.inner.slot.lock().retry = true;
        self.inner.work.notify_one();
        done
    }

    /// Waits until all that was written before is on the disk.
    ///
    /// # Errors
    ///
    /// The disk refused; the records are in the page cache still, and tried again.
    pub fn sync(&self) -> Result<(), io::ErrorKind> {
        let mut slot = self.inner.slot.lock();
        let target = slot.syncs_begun + 1;
        while slot.syncs_done < target {
            slot.sync_wanted = true;
            self.inner.work.notify_one();
            self.inner.changed.wait(&mut slot);
        }
        slot.sync_error.map_or(Ok(()), Err)
    }

    /// Bytes of all segments.
    pub fn total_bytes(&self) -> u64 {
        self.inner.total_bytes()
    }

    /// How often pages could not be written to the disk, and why no next segment can be made.
    pub fn health(&self) -> (u64, Option<FullCause>) {
        (self.inner.sync_failures.load(Ordering::Relaxed), self.inner.slot.lock().failure)
    }

    /// Records skipped because they were damaged while the journal was open.
    pub fn damaged(&self) -> u64 {
        self.inner.reader.lock().damaged
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.inner.slot.lock().stop = true;
        self.inner.work.notify_one();
        if let Some(thread) = self.background.take() {
            // A panic there was printed by the thread.
            let _ = thread.join();
        }
    }
}

impl Inner {
    pub(crate) fn total_bytes(&self) -> u64 {
        self.segments.lock().values().map(|segment| segment.bytes).sum()
    }

    fn fits(&self, bytes: usize) -> Result<(), AppendError> {
        let limit = self.options.payload_limit();
        if bytes > limit { Err(AppendError::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    // At most half a segment is promised: whatever is left unused at the end of the current one,
    // the prepared one has room for all closing records.
    fn promise(&self, promise: usize) -> Result<(), AppendError> {
        let most = self.options.words() / 2;
        let take = |promised: usize| {
            let then = promised.saturating_add(promise);
            (then <= most).then_some(then)
        };
        self.promised
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .map(|_| ())
            .map_err(|_| AppendError::Full(FullCause::Reserves))
    }

    fn place(
        &self,
        kind: Kind,
        link: u64,
        payload: &[u8],
        promised: bool,
    ) -> Result<(Guard<Arc<Segment>>, usize, Sequence), AppendError> {
        let needed = words(kind, payload.len());
        loop {
            // Before `spare_ready` is read: if the prepared segment becomes the current one in
            // between, this one is sealed and nothing is reserved in it.
            let segment = self.current.load();
            let keep = || match promised || self.spare_ready.load(Ordering::SeqCst) {
                true => 0,
                false => self.promised.load(Ordering::SeqCst),
            };
            if let Some(at) = segment.reserve(needed, keep) {
                if kind == Kind::Open {
                    // Before it is published: nobody may see a segment without open records.
                    segment.open.fetch_add(1, Ordering::SeqCst);
                }
                let sequence = segment.write(at, kind, link, payload);
                return Ok((segment, at, Sequence::new(sequence)));
            }
            let segment = Guard::into_inner(segment);
            self.make_room(&segment, needed)?;
        }
    }

    /// Makes the prepared segment the current one, waiting for it if it is not ready.
    fn make_room(&self, full: &Arc<Segment>, needed: usize) -> Result<(), AppendError> {
        let mut slot = self.slot.lock();
        loop {
            if !Arc::ptr_eq(&self.current.load(), full) {
                return Ok(());
            }
            if slot.spare.is_some() && full.tail() + needed <= full.len() {
                return Ok(());
            }
            if let Some(next) = slot.spare.take() {
                self.spare_ready.store(false, Ordering::SeqCst);
                full.seal();
                self.current.store(next);
                self.work.notify_one();
                self.changed.notify_all();
                return Ok(());
            }
            if let Some(cause) = slot.failure {
                return Err(AppendError::Full(cause));
            }
            if slot.stop {
                return Err(AppendError::Closed);
            }
            self.work.notify_one();
            self.changed.wait(&mut slot);
        }
    }

    fn mark_closed(segment: &Segment, at: usize, closing: Sequence) {
        // After the closing record is there: until then the record is open, whatever happens.
        segment.set(at + LINK_AT, closing.as_u64());
        segment.set(at + KIND_AT, Kind::Opened.word());
        segment.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A record that is open. Dropped without being closed it stays open: its segment is kept, and the
/// next start finds it unfinished.
pub struct OpenRecord {
    inner: Arc<Inner>,
    segment: Arc<Segment>,
    at: usize,
    sequence: Sequence,
    promise: usize,
}

/// A record could not be closed; it is still open.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct CloseError {
    /// Why.
    pub error: AppendError,
    /// The record, to try again, or with less.
    pub record: OpenRecord,
}

impl OpenRecord {
    /// Its place in the journal, which the closing record will name.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Overwrites both numbers of the record's progress, from any thread. Each is whole after a
    /// crash, but one may be newer than the other.
    pub fn progress(&self, first: u64, second: u64) {
        self.segment.set(self.at + PROGRESS_AT, first);
        self.segment.set(self.at + PROGRESS_AT + 1, second);
    }

    /// Writes the closing record.
    ///
    /// # Errors
    ///
    /// Only if the payload is larger than the reserve: then as [`Journal::append`].
    pub fn close(self, payload: &[u8]) -> Result<Sequence, CloseError> {
        let promised = words(Kind::Close, payload.len()) <= self.promise;
        let written = self.inner.fits(payload.len()).and_then(|()| {
            self.inner.place(Kind::Close, self.sequence.as_u64(), payload, promised)
        });
        match written {
            Ok((_, _, sequence)) => {
                Inner::mark_closed(&self.segment, self.at, sequence);
                Ok(sequence)
            }
            Err(error) => Err(CloseError { error, record: self }),
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        // After the closing record took its words, or when none will come.
        self.inner.promised.fetch_sub(self.promise, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for OpenRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRecord").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
