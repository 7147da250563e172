//! The runs of a comparison: what is sent, how, and for how long.

use std::time::Duration;

use crate::load::{Pace, Plan};
use crate::workload::{Exchange, SHORT_PROMPT, long_prompt, stream_prompt};

/// Rate of the open loops, requests per second.
pub(crate) const OPEN_RATE: f64 = 500.0;

/// Bytes of the long prompt.
const LONG_PROMPT: usize = 1_000_000;

/// How thorough a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Length of a run.
    pub(crate) run: Duration,
    /// Unmeasured load before each run.
    pub(crate) warm_up: Duration,
    /// Open streams held while memory is read.
    pub(crate) held_streams: usize,
    /// How often each run is repeated, the systems taking turns.
    pub(crate) repeat: u32,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        run: Duration::from_millis(3_000),
        warm_up: Duration::from_millis(500),
        held_streams: 2_000,
        repeat: 3,
    };

    /// For a smoke test: the whole comparison in less than a minute.
    pub(crate) const QUICK: Self = Self {
        run: Duration::from_millis(400),
        warm_up: Duration::from_millis(100),
        held_streams: 200,
        repeat: 1,
    };
}

/// One kind of run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// First part of the names of its metrics.
    pub(crate) id: &'static str,
    pub(crate) exchange: Exchange,
    pub(crate) streamed: bool,
    pub(crate) prompt: String,
    pub(crate) plan: Plan,
}

/// Every scenario of a comparison, in order.
pub(crate) fn all(effort: &Effort) -> Vec<Scenario> {
    use Exchange::{FixedAnswer, FromAnthropic, SameDialect, ToGigaChat};
    let closed = |connections| Plan {
        pace: Pace::Closed,
        connections,
        duration: effort.run,
        grace: Duration::from_secs(10),
        max_requests: 1_000_000,
    };
    let open =
        Plan { pace: Pace::Open { rate: OPEN_RATE }, grace: Duration::from_secs(2), ..closed(64) };
    let scenario = |id, exchange, plan| Scenario {
        id,
        exchange,
        streamed: false,
        prompt: SHORT_PROMPT.to_owned(),
        plan,
    };
    let stream = |id, exchange, plan, chunks, between_ms| Scenario {
        streamed: true,
        prompt: stream_prompt(chunks, between_ms),
        ..scenario(id, exchange, plan)
    };
    let long = Scenario {
        prompt: long_prompt(LONG_PROMPT),
        ..scenario("long_prompt", SameDialect, Plan { max_requests: 200, ..closed(1) })
    };
    vec![
        scenario("saturation", SameDialect, closed(64)),
        scenario("ceiling", FixedAnswer, closed(64)),
        scenario("steady", SameDialect, open),
        scenario("alone", SameDialect, closed(1)),
        stream("first_token", SameDialect, open, 4, 0),
        stream("burst", SameDialect, closed(16), 500, 0),
        stream("paced", SameDialect, closed(100), 50, 10),
        long,
        scenario("gigachat_saturation", ToGigaChat, closed(64)),
        scenario("gigachat_steady", ToGigaChat, open),
        stream("gigachat_first_token", ToGigaChat, open, 4, 0),
        stream("gigachat_burst", ToGigaChat, closed(16), 500, 0),
        stream("gigachat_paced", ToGigaChat, closed(100), 50, 10),
        scenario("anthropic_saturation", FromAnthropic, closed(64)),
        scenario("anthropic_steady", FromAnthropic, open),
        stream("anthropic_burst", FromAnthropic, closed(16), 500, 0),
    ]
}

/// A stream that stays open while memory is read: one event a second for two minutes.
pub(crate) fn held_stream_prompt() -> String {
    stream_prompt(120, 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_comparison_of_three_systems_stays_within_a_minute() {
        let scenarios = all(&Effort::QUICK).len() as u32;
        let sent = (Effort::QUICK.run + Effort::QUICK.warm_up) * scenarios * 3;
        // Streams outlast the run by up to their own length.
        assert!(sent < Duration::from_secs(30), "{sent:?}");
    }

    #[test]
    fn names_are_unique() {
        let mut ids: Vec<_> = all(&Effort::FULL).iter().map(|scenario| scenario.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
