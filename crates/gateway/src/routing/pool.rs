//! Pools of local engines: a bounded number of requests at a time, the others wait their turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use chat::{ApiError, ErrorKind};
use parking_lot::Mutex;
use routing::Millis;
use routing::local::{
    AdmissionOptions, AdmissionQueue, Enqueued, Job, Next, RefusalReason, Ticket,
};
use tokio::sync::oneshot;

use super::state::now;

/// How a pool is used.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolOptions {
    /// How many requests at a time, and how the others wait.
    pub queue: AdmissionOptions,
    /// Whether requests wait although another deployment could serve them.
    pub queue_before_elsewhere: bool,
    /// Whether requests whose prompts begin alike go to the same engine.
    pub prefix_affinity: bool,
    /// Whether identical deterministic requests that are in flight share one call.
    pub coalesce: bool,
    /// Whether requests for embeddings are sent together.
    pub batch_embeddings: bool,
}

/// A pool of local engines.
#[derive(Debug)]
pub struct Pool {
    name: Box<str>,
    options: ArcSwap<PoolOptions>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: AdmissionQueue,
    waiting: HashMap<Ticket, oneshot::Sender<bool>>,
}

/// A request's place in a pool. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct PoolPlace {
    pool: Arc<Pool>,
    ticket: Option<Ticket>,
}

/// A pool did not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolRefusal {
    pub(crate) reason: RefusalReason,
    /// How long it would have waited, milliseconds.
    pub(crate) expected_wait_ms: u64,
}

impl PoolRefusal {
    /// As the caller is told.
    pub(crate) fn error(self, route: &str) -> ApiError {
        let why = match self.reason {
            RefusalReason::QueueFull => "too many requests wait for it",
            RefusalReason::TenantQueueFull => "too many of your requests wait for it",
            RefusalReason::Deadline => "it would have to wait for too long",
        };
        let mut error = ApiError::new(
            ErrorKind::Overloaded,
            format!(
                "`{route}` is busy: {why}; try again in about {} s",
                self.expected_wait_ms.div_ceil(1_000).max(1)
            ),
        )
        .with_code("pool_full");
        error.retry_after = Some(Duration::from_millis(self.expected_wait_ms.max(1_000)));
        error
    }
}

impl Pool {
    /// An idle pool.
    #[must_use]
    pub fn new(name: &str, options: PoolOptions) -> Self {
        let queue = AdmissionQueue::new(options.queue.clone());
        Self {
            name: name.into(),
            options: ArcSwap::from_pointee(options),
            inner: Mutex::new(Inner { queue, waiting: HashMap::new() }),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Goes on with other options; who waits keeps the place.
    pub fn reconfigure(&self, options: PoolOptions) {
        self.inner.lock().queue.set_options(options.queue.clone());
        self.options.store(Arc::new(options));
    }

    pub(crate) fn options(&self) -> Guard<Arc<PoolOptions>> {
        self.options.load()
    }

    /// When a place may be free for a job; `None`: now.
    pub(super) fn full_until(&self, now: Millis, job: &Job) -> Option<Millis> {
        let inner = self.inner.lock();
        if inner.queue.has_room(job) {
            return None;
        }
        Some(now.saturating_add(inner.queue.expected_wait(now, job)))
    }

    /// Waits for a place.
    pub(crate) async fn enter(self: &Arc<Self>, job: Job) -> Result<PoolPlace, PoolRefusal> {
        let (ticket, turn) = {
            let mut inner = self.inner.lock();
            match inner.queue.enqueue(now(), job) {
                Enqueued::StartNow(ticket) => return Ok(self.place(ticket)),
                Enqueued::Refused { reason, expected_wait_ms } => {
                    return Err(PoolRefusal { reason, expected_wait_ms });
                }
                Enqueued::Wait(ticket) => {
                    let (sender, receiver) = oneshot::channel();
                    inner.waiting.insert(ticket, sender);
                    (ticket, receiver)
                }
            }
        };
        // From here on, who goes away gives the place back.
        let place = self.place(ticket);
        let longest = self.options.load().queue.max_wait_ms;
        let started = tokio::time::timeout(Duration::from_millis(longest + 1), turn).await;
        match started {
            Ok(Ok(true)) => Ok(place),
            _ => Err(PoolRefusal {
                reason: RefusalReason::Deadline,
                expected_wait_ms: self.inner.lock().queue.expected_wait(now(), &job),
            }),
        }
    }

    fn place(self: &Arc<Self>, ticket: Ticket) -> PoolPlace {
        PoolPlace { pool: Arc::clone(self), ticket: Some(ticket) }
    }

    /// Requests that are served, and those that wait.
    #[must_use]
    pub fn occupancy(&self) -> (u32, usize) {
        let inner = self.inner.lock();
        (inner.queue.running(), inner.waiting.len())
    }
}

impl Inner {
    /// Tells those whose turn has come.
    fn advance(&mut self, now: Millis) {
        while let Some(next) = self.queue.next(now) {
            let (ticket, begins) = match next {
                Next::Start(ticket) => (ticket, true),
                Next::Expired(ticket) => (ticket, false),
            };
            let told = self.waiting.remove(&ticket).is_some_and(|turn| turn.send(begins).is_ok());
            if begins && !told {
                self.queue.cancel(now, ticket);
            }
        }
    }
}

impl PoolPlace {
    /// The answer came to its end with so many tokens.
    pub(super) fn finish(mut self, tokens: u64) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut inner = self.pool.inner.lock();
        let now = now();
        inner.queue.finish(now, ticket, tokens);
        inner.advance(now);
    }
}

impl Drop for PoolPlace {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut inner = self.pool.inner.lock();
        let now = now();
        inner.waiting.remove(&ticket);
        inner.queue.cancel(now, ticket);
        inner.advance(now);
    }
}
