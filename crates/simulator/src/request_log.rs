//! The last requests received and how each ended: a test's view from the far side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use parking_lot::Mutex;
use serde::Serialize;

use crate::bill::key_label;

/// Headers whose values are shown hashed.
const SECRET_HEADERS: &[&str] =
    &["authorization", "api-key", "x-api-key", "proxy-authorization", "cookie", "x-goog-api-key"];

/// Bodies longer than this are logged by length only.
const LOGGED_BODY_LIMIT: usize = 64 * 1024;

/// How a request ended.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not yet.
    Running,
    /// The whole answer was handed to the connection.
    Completed,
    /// The caller went away before the end.
    ClientGone,
    /// The script broke the connection.
    Broken,
}

pub(crate) struct Record {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// HTTP version and place in the world's order of arrival.
    pub(crate) version: http::Version,
    pub(crate) ordinal: u64,
    status: AtomicU16,
    outcome: AtomicU8,
    events: AtomicU64,
}

impl Record {
    pub(crate) fn new(parts: http::request::Parts, body: Bytes, ordinal: u64) -> Self {
        Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            version: parts.version,
            ordinal,
            status: AtomicU16::new(0),
            outcome: AtomicU8::new(0),
            events: AtomicU64::new(0),
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, outcome: Outcome, events: u64) {
        self.events.store(events, Ordering::Relaxed);
        self.outcome.store(outcome as u8, Ordering::Release);
    }

    fn outcome(&self) -> Outcome {
        match self.outcome.load(Ordering::Acquire) {
            1 => Outcome::Completed,
            2 => Outcome::ClientGone,
            3 => Outcome::Broken,
            _ => Outcome::Running,
        }
    }

    fn view(&self) -> ReceivedRequest {
        let headers = self.headers.iter().map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let secret = SECRET_HEADERS.contains(&name.as_str());
            (name.as_str().to_owned(), if secret { hashed_credential(&text) } else { text.into() })
        });
        let body = (self.body.len() <= LOGGED_BODY_LIMIT)
            .then(|| String::from_utf8_lossy(&self.body).into_owned());
        ReceivedRequest {
            ordinal: self.ordinal,
            method: self.method.as_str().to_owned(),
            path: self
                .uri
                .path_and_query()
                .map(|path| path.as_str().to_owned())
                .unwrap_or_default(),
            version: format!("{:?}", self.version),
            headers: headers.collect(),
            body_bytes: self.body.len(),
            body,
            status: self.status.load(Ordering::Relaxed),
            outcome: self.outcome(),
            events_sent: self.events.load(Ordering::Relaxed),
        }
    }
}

fn hashed_credential(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, credential)) => format!("{scheme} {}", key_label(credential)),
        None => key_label(value),
    }
}

/// A request as `/_sim/requests` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ReceivedRequest {
    /// Place in the order of arrival since the start, from 0.
    pub ordinal: u64,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Headers in order; credentials that do not start with `sim` are hashed.
    pub headers: Vec<(String, String)>,
    /// Length of the body in bytes.
    pub body_bytes: usize,
    /// The body, when it is at most 64 KiB.
    pub body: Option<String>,
    /// Status answered; 0 before (or without) an answer.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Content events of a stream that were sent.
    pub events_sent: u64,
}

pub(crate) struct RequestLog {
    kept: Mutex<VecDeque<Arc<Record>>>,
    capacity: usize,
}

impl RequestLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { kept: Mutex::new(VecDeque::with_capacity(capacity.min(4096))), capacity }
    }

    pub(crate) fn push(&self, record: Arc<Record>) {
        if self.capacity == 0 {
            return;
        }
        let mut kept = self.kept.lock();
        let dropped = if kept.len() >= self.capacity { kept.pop_front() } else { None };
        kept.push_back(record);
        drop(kept);
        // Freed outside the lock: a record may own a large body.
        drop(dropped);
    }

    /// Oldest first.
    pub(crate) fn view(&self) -> Vec<ReceivedRequest> {
        let kept: Vec<Arc<Record>> = self.kept.lock().iter().cloned().collect();
        kept.iter().map(|record| record.view()).collect()
    }

    /// Requests below `path` among those kept that have not ended.
    pub(crate) fn running(&self, path: &str) -> u64 {
        let kept = self.kept.lock();
        let below = |record: &&Arc<Record>| record.uri.path().starts_with(path);
        let running = kept.iter().filter(|record| record.outcome() == Outcome::Running);
        running.filter(below).count() as u64
    }

    pub(crate) fn clear(&self) {
        self.kept.lock().clear();
    }
}
