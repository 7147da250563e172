//! Holds many open streams while memory is read.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::{Request, on_this_thread};
use crate::sse::EventScanner;

/// Streams that are being opened at the same time.
const OPENING_AT_ONCE: usize = 64;

/// Read buffer of a held connection in bytes.
const BUFFER_LEN: usize = 2 * 1024;

/// What became of the streams, and the reading taken while they were open.
#[derive(Debug)]
pub(crate) struct HeldStreams<T> {
    /// Streams open, their first event received, when the reading was taken.
    pub(crate) open: usize,
    /// Time until all were open.
    pub(crate) opened_in: Duration,
    pub(crate) reading: T,
}

/// Opens `count` streams, waits at most `patience` for each to have sent an event, takes a
/// reading, and closes them.
pub(crate) fn hold_streams<T>(
    request: Request,
    count: usize,
    patience: Duration,
    read: impl FnOnce() -> T,
) -> io::Result<HeldStreams<T>> {
    on_this_thread(hold(request, count, patience, read))
}

async fn hold<T>(
    request: Request,
    count: usize,
    patience: Duration,
    read: impl FnOnce() -> T,
) -> HeldStreams<T> {
    let started = Instant::now();
    let request = Rc::new(request);
    let open = Rc::new(Cell::new(0_usize));
    let settled = Rc::new(Cell::new(0_usize));
    let changed = Rc::new(Notify::new());
    let opening = Rc::new(Semaphore::new(OPENING_AT_ONCE));
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let request = Rc::clone(&request);
        let (open, settled) = (Rc::clone(&open), Rc::clone(&settled));
        let (changed, opening) = (Rc::clone(&changed), Rc::clone(&opening));
        tasks.spawn_local(async move {
            let mut slot = opening.acquire().await.ok();
            let mut scanner = EventScanner::default();
            let mut is_open = false;
            if let Ok(mut connection) = Connection::open(request.address, BUFFER_LEN).await {
                // How the stream ends does not matter: it left `open` when it did.
                let _ = connection
                    .exchange(&request.bytes, |piece| {
                        if scanner.feed(piece) > 0 && !is_open {
                            is_open = true;
                            open.set(open.get() + 1);
                            settled.set(settled.get() + 1);
                            slot = None;
                            changed.notify_one();
                        }
                    })
                    .await;
            }
            if is_open {
                open.set(open.get() - 1);
            } else {
                settled.set(settled.get() + 1);
                changed.notify_one();
            }
        });
    }
    let all = async {
        while settled.get() < count {
            changed.notified().await;
        }
    };
    // Streams that are late are simply not counted as open.
    let _ = timeout(patience, all).await;
    let opened_in = started.elapsed();
    let held = HeldStreams { open: open.get(), opened_in, reading: read() };
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    held
}
