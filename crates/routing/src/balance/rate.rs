use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::options::OptionsFault;
use crate::steady::SteadyClock;

const SECOND_MS: Millis = 1_000;
/// The seconds of a minute and the one that is not over.
const SECONDS: usize = 61;

/// What a provider is known to allow, so that what it would refuse is not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KnownRateLimit {
    /// Requests within any minute; default: not limited.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// Tokens of prompts and answers within any minute; default: not limited.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
}

impl KnownRateLimit {
    /// Whether all is within its range.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), OptionsFault> {
        for (limit, field) in [
            (self.requests_per_minute, "requests_per_minute"),
            (self.tokens_per_minute, "tokens_per_minute"),
        ] {
            OptionsFault::unless(
                limit != Some(0),
                field,
                "allows nothing",
                "leave it out for no limit, or remove the deployment",
            )?;
        }
        Ok(())
    }

    /// The part of one of `replicas` that share the limit evenly; at least one request and token.
    #[must_use]
    pub fn among(self, replicas: u32) -> Self {
        let part = |limit: u64| (limit / u64::from(replicas.max(1))).max(1);
        Self {
            requests_per_minute: self.requests_per_minute.map(part),
            tokens_per_minute: self.tokens_per_minute.map(part),
        }
    }
}

/// What was sent to a deployment within the last minute, against what its provider allows.
///
/// Counted in seconds, rounded so that never more than the limit falls into any 60 seconds, which
/// conforms to limits by windows, fixed or sliding, and by buckets that hold a minute's worth.
/// Bursts up to the whole limit pass, as does a request that needs it all; only 60/61 of the limit
/// can be used for long. A GCRA would need fewer bytes, but give up bursts or part of the rate to
/// keep the same bound.
#[derive(Debug, Clone)]
pub struct RateWindow {
    limit: KnownRateLimit,
    clock: SteadyClock,
    seconds: [Sent; SECONDS],
    /// The second up to which `seconds` and `sum` are.
    latest: u64,
    sum: Sent,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sent {
    requests: u64,
    tokens: u64,
}

/// What a request took of a [`RateWindow`].
#[derive(Debug)]
#[must_use = "what is not settled stays as it was estimated"]
pub struct Taken {
    second: u64,
    tokens: u64,
}

impl RateWindow {
    /// A window in which nothing was sent yet.
    #[must_use]
    pub fn new(limit: KnownRateLimit) -> Self {
        Self {
            limit,
            clock: SteadyClock::default(),
            seconds: [Sent::default(); SECONDS],
            latest: 0,
            sum: Sent::default(),
        }
    }

    /// Goes on with another limit; what was sent stays.
    pub fn set_limit(&mut self, limit: KnownRateLimit) {
        self.limit = limit;
    }

    /// Whether a request of that many tokens (of the prompt and expected of the answer) can be
    /// sent now.
    #[must_use]
    pub fn would_fit(&self, now: Millis, tokens: u64) -> bool {
        self.allows(self.sum_at(self.clock.at(now) / SECOND_MS), tokens)
    }

    /// In how many milliseconds it would fit if nothing else were sent; `None`: never, because it
    /// needs more than a minute's tokens.
    #[must_use]
    pub fn fits_in(&self, now: Millis, tokens: u64) -> Option<Millis> {
        let at = self.clock.at(now);
        let second = at / SECOND_MS;
        let mut sum = self.sum_at(second);
        if self.allows(sum, tokens) {
            return Some(0);
        }
        for next in oldest(second).max(oldest(self.latest))..=self.latest {
            sum.subtract(self.sent_in(next));
            if self.allows(sum, tokens) {
                let free = next.saturating_add(SECONDS as u64).saturating_mul(SECOND_MS);
                return Some(free.saturating_sub(at));
            }
        }
        None
    }

    /// Counts a request that is sent now, whether it fits or not.
    pub fn take(&mut self, now: Millis, tokens: u64) -> Taken {
        let second = self.advance(now);
        self.add(second, Sent { requests: 1, tokens });
        Taken { second, tokens }
    }

    /// The request was not sent after all, or came back unread: nothing of it counts.
    pub fn give_back(&mut self, now: Millis, taken: Taken) {
        self.advance(now);
        self.remove(taken.second, Sent { requests: 1, tokens: taken.tokens });
    }

    /// The request used that many tokens: what it did not is free again, what it used beyond
    /// counts from now.
    pub fn settle(&mut self, now: Millis, taken: Taken, used: u64) {
        let second = self.advance(now);
        if used >= taken.tokens {
            self.add(second, Sent { requests: 0, tokens: used - taken.tokens });
        } else {
            self.remove(taken.second, Sent { requests: 0, tokens: taken.tokens - used });
        }
    }

    fn allows(&self, sum: Sent, tokens: u64) -> bool {
        self.limit.requests_per_minute.is_none_or(|limit| sum.requests < limit)
            && self
                .limit
                .tokens_per_minute
                .is_none_or(|limit| sum.tokens.saturating_add(tokens) <= limit)
    }

    /// What was sent in the minute up to a second that is not before the latest.
    fn sum_at(&self, second: u64) -> Sent {
        let mut sum = self.sum;
        for gone in oldest(self.latest)..oldest(second).min(self.latest.saturating_add(1)) {
            sum.subtract(self.sent_in(gone));
        }
        sum
    }

    /// Forgets what is over a minute old, and gives the current second.
    fn advance(&mut self, now: Millis) -> u64 {
        let second = self.clock.tick(now) / SECOND_MS;
        if second.saturating_sub(self.latest) >= SECONDS as u64 {
            self.seconds = [Sent::default(); SECONDS];
            self.sum = Sent::default();
            self.latest = second;
        }
        while self.latest < second {
            self.latest += 1;
            if let Some(slot) = self.seconds.get_mut(slot(self.latest)) {
                self.sum.subtract(std::mem::take(slot));
            }
        }
        second
    }

    fn sent_in(&self, second: u64) -> Sent {
        self.seconds.get(slot(second)).copied().unwrap_or_default()
    }

    fn add(&mut self, second: u64, sent: Sent) {
        if let Some(slot) = self.seconds.get_mut(slot(second)) {
            slot.requests = slot.requests.saturating_add(sent.requests);
            slot.tokens = slot.tokens.saturating_add(sent.tokens);
            self.sum.requests = self.sum.requests.saturating_add(sent.requests);
            self.sum.tokens = self.sum.tokens.saturating_add(sent.tokens);
        }
    }

    fn remove(&mut self, second: u64, sent: Sent) {
        if self.latest.saturating_sub(second) >= SECONDS as u64 {
            return;
        }
        if let Some(slot) = self.seconds.get_mut(slot(second)) {
            slot.subtract(sent);
            self.sum.subtract(sent);
        }
    }
}

impl Sent {
    fn subtract(&mut self, other: Self) {
        self.requests = self.requests.saturating_sub(other.requests);
        self.tokens = self.tokens.saturating_sub(other.tokens);
    }
}

/// The oldest second that counts in another.
fn oldest(second: u64) -> u64 {
    second.saturating_sub(SECONDS as u64 - 1)
}

fn slot(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}
