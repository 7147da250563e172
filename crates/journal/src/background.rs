//! The thread that prepares the next segment and writes changed pages to the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::FullCause;
use crate::journal::Inner;
use crate::segment::Segment;

/// How long after a refusal of the file system the next segment is tried again, if nothing was
/// deleted meanwhile.
const DISK_RETRY: Duration = Duration::from_secs(1);

pub(crate) fn start(inner: Arc<Inner>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("journal".to_owned()).spawn(move || run(&inner))
}

fn run(inner: &Inner) {
    let mut refused: Option<Instant> = None;
    loop {
        let (stop, prepare, begun) = {
            let mut slot = inner.slot.lock();
            let lacking = slot.spare.is_none() && slot.failure.is_none();
            if !(slot.stop || slot.retry || slot.sync_wanted || lacking) {
                inner.work.wait_for(&mut slot, inner.options.sync_interval);
            }
            slot.sync_wanted = false;
            let retry = std::mem::take(&mut slot.retry);
            let prepare = slot.spare.is_none()
                && (retry || refused.is_none_or(|at| at.elapsed() >= DISK_RETRY));
            slot.syncs_begun += 1;
            (slot.stop, prepare && !slot.stop, slot.syncs_begun)
        };
        if prepare {
            refused = self::prepare(inner);
        }
        let error = flush(inner);
        {
            let mut slot = inner.slot.lock();
            slot.syncs_done = begun;
            slot.sync_error = error;
            inner.changed.notify_all();
        }
        if stop {
            return;
        }
    }
}

/// Makes the next segment. The time of a refusal of the file system.
fn prepare(inner: &Inner) -> Option<Instant> {
    let number = inner.segments.lock().last_key_value().map_or(0, |(number, _)| *number);
    let number = number.max(inner.floor);
    let room = inner.total_bytes().saturating_add(inner.options.segment_bytes)
        <= inner.options.max_total_bytes;
    let made = match number.checked_add(1) {
        Some(number) if room => {
            Segment::create(&inner.dir, number, inner.options.words(), fastrand::u64(..))
                .map_err(|error| FullCause::Disk(error.kind()))
        }
        _ => Err(FullCause::Limit),
    };
    match made {
        Ok(segment) => {
            let segment = Arc::new(segment);
            inner.segments.lock().insert(segment.number, Arc::clone(&segment));
            let mut slot = inner.slot.lock();
            slot.spare = Some(segment);
            slot.failure = None;
            inner.spare_ready.store(true, Ordering::SeqCst);
            inner.changed.notify_all();
            None
        }
        Err(cause) => {
            let mut slot = inner.slot.lock();
            slot.failure = Some(cause);
            inner.changed.notify_all();
            matches!(cause, FullCause::Disk(_)).then(Instant::now)
        }
    }
}

fn flush(inner: &Inner) -> Option<io::ErrorKind> {
    let segments: Vec<_> = inner.segments.lock().values().cloned().collect();
    let mut failed = None;
    for segment in segments {
        if let Err(error) = segment.flush() {
            inner.sync_failures.fetch_add(1, Ordering::Relaxed);
            failed = Some(error.kind());
        }
        segment.release();
    }
    failed
}
