//! What one run of load has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::stats::{Latencies, Quantiles};

/// Counters and latencies of a run while it goes on.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) completed: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) unfinished: u64,
    pub(crate) reconnects: u64,
    pub(crate) body_bytes: u64,
    pub(crate) events: u64,
    pub(crate) latency: Latencies,
    pub(crate) first_event: Latencies,
    pub(crate) event_gap: Latencies,
}

/// Result of a run as it is reported and stored.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Outcome {
    /// Length of the run in seconds, from the first request to the last answer.
    pub(crate) seconds: f64,
    pub(crate) completed: u64,
    /// Completed requests per second.
    pub(crate) rate: f64,
    /// Failed requests by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Requests due or under way when the run was cut off; their latencies count as lower bounds.
    pub(crate) unfinished: u64,
    /// Kept connections that the server had closed.
    pub(crate) reconnects: u64,
    pub(crate) body_bytes: u64,
    /// Server-sent events with data, `[DONE]` not counted.
    pub(crate) events: u64,
    /// Events per second.
    pub(crate) event_rate: f64,
    /// Request to whole answer; of an open loop from the time the request was due.
    pub(crate) latency_us: Quantiles,
    /// Request to first event with data.
    pub(crate) first_event_us: Quantiles,
    /// Time between one event and the next of the same stream.
    pub(crate) event_gap_us: Quantiles,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            completed: 0,
            failures: BTreeMap::new(),
            unfinished: 0,
            reconnects: 0,
            body_bytes: 0,
            events: 0,
            latency: Latencies::new(),
            first_event: Latencies::new(),
            event_gap: Latencies::new(),
        }
    }

    pub(crate) fn fail(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(crate) fn outcome(&self, elapsed: Duration) -> Outcome {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Outcome {
            seconds,
            completed: self.completed,
            rate: self.completed as f64 / seconds,
            failures: self.failures.clone(),
            unfinished: self.unfinished,
            reconnects: self.reconnects,
            body_bytes: self.body_bytes,
            events: self.events,
            event_rate: self.events as f64 / seconds,
            latency_us: self.latency.quantiles(),
            first_event_us: self.first_event.quantiles(),
            event_gap_us: self.event_gap.quantiles(),
        }
    }
}
