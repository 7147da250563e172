use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gcra::Refused;
use crate::limits::Limits;
use crate::shared_rate::SharedRate;

const MINUTE_NS: u64 = 60_000_000_000;
const DAY_NS: u64 = 86_400_000_000_000;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LevelKind {
    Key,
    User,
    Team,
    Tenant,
    Model,
    Everybody,
}

impl LevelKind {
    /// The name in errors and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Team => "team",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Everybody => "everybody",
        }
    }
}

/// One of the limits of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LimitKind {
    RequestsPerMinute,
    RequestsPerDay,
    TokensPerMinute,
    TokensPerDay,
    ParallelRequests,
}

impl LimitKind {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::RequestsPerDay => "requests_per_day",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::ParallelRequests => "parallel_requests",
        }
    }
}

/// The counters of one level: of one key, one team and so on.
#[derive(Debug)]
pub struct LevelLimiter {
    kind: LevelKind,
    id: String,
    limits: Limits,
    requests_per_minute: Option<SharedRate>,
    requests_per_day: Option<SharedRate>,
    tokens_per_minute: Option<SharedRate>,
    tokens_per_day: Option<SharedRate>,
    /// Requests in flight; shared with the limiter that replaces this one.
    parallel: Arc<AtomicU64>,
}

/// A request that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRefusal {
    /// Whose limit.
    pub level: LevelKind,
    /// Of whom exactly.
    pub id: String,
    /// Which limit.
    pub limit: LimitKind,
    /// How much it is.
    pub value: u64,
    /// Nanoseconds after which the request may fit; `None`: it never fits, or nobody knows when.
    pub retry_after_ns: Option<u64>,
}

impl fmt::Display for LimitRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, id, limit, value, .. } = self;
        write!(formatter, "the limit {} of {} of the {}", limit.name(), value, level.name())?;
        if id.is_empty() { Ok(()) } else { write!(formatter, " `{id}`") }?;
        match (limit, self.retry_after_ns) {
            (LimitKind::ParallelRequests, _) => {
                formatter.write_str(" is reached; try again when a request has finished")
            }
            (_, None) => formatter.write_str(" is smaller than this one request"),
            (_, Some(wait)) => {
                write!(formatter, " is reached; try again in {:.1} s", wait as f64 / 1e9)
            }
        }
    }
}

impl LevelLimiter {
    /// Counters for the limits of a level. Nothing has been used yet.
    #[must_use]
    pub fn new(kind: LevelKind, id: impl Into<String>, limits: Limits) -> Self {
        let rate = |limit: Option<u64>, period| limit.map(|limit| SharedRate::new(limit, period));
        Self {
            kind,
            id: id.into(),
            limits,
            requests_per_minute: rate(limits.requests_per_minute, MINUTE_NS),
            requests_per_day: rate(limits.requests_per_day, DAY_NS),
            tokens_per_minute: rate(limits.tokens_per_minute, MINUTE_NS),
            tokens_per_day: rate(limits.tokens_per_day, DAY_NS),
            parallel: Arc::default(),
        }
    }

    /// Counters for other limits of the same level, with what this one has used.
    #[must_use]
    pub fn reconfigured(&self, limits: Limits, now: u64) -> Self {
        let mut next = Self::new(self.kind, self.id.clone(), limits);
        next.parallel = Arc::clone(&self.parallel);
        for (before, after) in self.rates().into_iter().zip(next.rates()) {
            if let (Some((_, before)), Some((_, after))) = (before, after) {
                let used = before.rate().limit().saturating_sub(before.rate().remaining(now));
                after.rate().debit(now, used);
            }
        }
        next
    }

    /// Whose counters they are.
    #[must_use]
    pub fn level(&self) -> (LevelKind, &str) {
        (self.kind, &self.id)
    }

    /// The limits that are counted.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The rates, in a fixed order, for exchanges between replicas.
    #[must_use]
    pub fn rates(&self) -> [Option<(LimitKind, &SharedRate)>; 4] {
        [
            self.requests_per_minute.as_ref().map(|rate| (LimitKind::RequestsPerMinute, rate)),
            self.requests_per_day.as_ref().map(|rate| (LimitKind::RequestsPerDay, rate)),
            self.tokens_per_minute.as_ref().map(|rate| (LimitKind::TokensPerMinute, rate)),
            self.tokens_per_day.as_ref().map(|rate| (LimitKind::TokensPerDay, rate)),
        ]
    }

    fn refusal(&self, limit: LimitKind, value: u64, retry_after_ns: Option<u64>) -> LimitRefusal {
        LimitRefusal { level: self.kind, id: self.id.clone(), limit, value, retry_after_ns }
    }

    /// Takes one request and its tokens, all or nothing.
    fn take(&self, now: u64, tokens: u64) -> Result<(), LimitRefusal> {
        if let Some(limit) = self.limits.parallel_requests {
            let running = self.parallel.fetch_add(1, Ordering::Relaxed);
            if running >= limit {
                self.parallel.fetch_sub(1, Ordering::Relaxed);
                return Err(self.refusal(LimitKind::ParallelRequests, limit, None));
            }
        } else {
            self.parallel.fetch_add(1, Ordering::Relaxed);
        }
        let rates = self.rates();
        for (number, rate) in rates.iter().enumerate() {
            let Some((kind, rate)) = rate else { continue };
            if let Err(refused) = rate.try_take(now, units(*kind, tokens)) {
                for (kind, taken) in rates.iter().take(number).flatten() {
                    taken.refund(units(*kind, tokens));
                }
                self.parallel.fetch_sub(1, Ordering::Relaxed);
                let wait = match refused {
                    Refused::Wait(wait) => Some(wait),
                    Refused::Never => None,
                };
                return Err(self.refusal(*kind, rate.rate().limit(), wait));
            }
        }
        Ok(())
    }

    /// Gives back all of what a refused request took.
    fn give_back(&self, tokens: u64) {
        for (kind, rate) in self.rates().into_iter().flatten() {
            rate.refund(units(kind, tokens));
        }
        self.parallel.fetch_sub(1, Ordering::Relaxed);
    }

    fn adjust_tokens(&self, now: u64, reserved: u64, actual: u64) {
        for rate in [&self.tokens_per_minute, &self.tokens_per_day].into_iter().flatten() {
            if actual > reserved {
                rate.debit(now, actual - reserved);
            } else {
                rate.refund(reserved - actual);
            }
        }
    }
}

fn units(kind: LimitKind, tokens: u64) -> u64 {
    match kind {
        LimitKind::TokensPerMinute | LimitKind::TokensPerDay => tokens,
        _ => 1,
    }
}

/// A request that fits into the limits of all its levels. Dropping it ends the request: what was
/// reserved stays used unless it was settled.
#[derive(Debug)]
pub struct Admission {
    levels: Vec<Arc<LevelLimiter>>,
    tokens: u64,
}

/// Admits a request that reserves `tokens` at every level, or at none.
///
/// # Errors
/// The first limit that it does not fit into; nothing was taken then.
pub fn admit(
    levels: Vec<Arc<LevelLimiter>>,
    tokens: u64,
    now: u64,
) -> Result<Admission, LimitRefusal> {
    for (number, level) in levels.iter().enumerate() {
        if let Err(refusal) = level.take(now, tokens) {
            for taken in levels.iter().take(number) {
                taken.give_back(tokens);
            }
            return Err(refusal);
        }
    }
    Ok(Admission { levels, tokens })
}

impl Admission {
    /// Tokens that are reserved or, once that is more, used.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// More was used so far than was reserved: counted at once, so that others see it.
    pub fn used_so_far(&mut self, now: u64, tokens: u64) {
        if tokens > self.tokens {
            self.settle(now, tokens);
        }
    }

    /// So many tokens were used in the end.
    pub fn settle(&mut self, now: u64, tokens: u64) {
        for level in &self.levels {
            level.adjust_tokens(now, self.tokens, tokens);
        }
        self.tokens = tokens;
    }

    /// How the tightest limits stand, for rate-limit headers: of requests, and of tokens.
    #[must_use]
    pub fn standing(&self, now: u64) -> (Option<RateStanding>, Option<RateStanding>) {
        let tightest = |wanted: fn(&LevelLimiter) -> &Option<SharedRate>| {
            let rates = self.levels.iter().filter_map(|level| wanted(level).as_ref());
            rates.map(|rate| RateStanding::of(rate, now)).min_by_key(|standing| standing.remaining)
        };
        (tightest(|level| &level.requests_per_minute), tightest(|level| &level.tokens_per_minute))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        for level in &self.levels {
            level.parallel.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How a rate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateStanding {
    /// Units in a period.
    pub limit: u64,
    /// Units that are there now.
    pub remaining: u64,
    /// Nanoseconds until all are.
    pub reset_after_ns: u64,
}

impl RateStanding {
    fn of(rate: &SharedRate, now: u64) -> Self {
        Self {
            limit: rate.rate().limit(),
            remaining: rate.rate().remaining(now),
            reset_after_ns: rate.rate().reset_after(now),
        }
    }
}

/// A duration as OpenAI's `x-ratelimit-reset-*` writes it: `12ms`, `1.5s`, `6m0s`, `1h0m0s`.
#[must_use]
pub fn format_reset(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds.div_ceil(1_000_000);
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if seconds == 0 {
        format!("{rest}ms")
    } else if minutes == 0 {
        let text = format!("{seconds}.{rest:03}");
        format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
    } else if hours == 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else {
        format!("{hours}h{}m{}s", minutes % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(kind: LevelKind, limits: Limits) -> Arc<LevelLimiter> {
        Arc::new(LevelLimiter::new(kind, "k", limits))
    }

    fn tokens_per_minute(limit: u64) -> Limits {
        Limits { tokens_per_minute: Some(limit), ..Limits::default() }
    }

    #[test]
    fn parallel_calls_cannot_pass_a_token_limit() {
        let key = level(LevelKind::Key, tokens_per_minute(100));
        let first = admit(vec![Arc::clone(&key)], 80, 0).unwrap();
        let refusal = admit(vec![Arc::clone(&key)], 30, 0).unwrap_err();
        assert_eq!(refusal.limit, LimitKind::TokensPerMinute);
        assert_eq!(refusal.value, 100);
        assert_eq!(refusal.retry_after_ns, Some(10 * (MINUTE_NS / 100)));
        drop(first);
        assert!(admit(vec![key], 30, 0).is_err(), "what was not settled stays used");
    }

    #[test]
    fn settling_gives_back_what_was_not_used() {
        let key = level(LevelKind::Key, tokens_per_minute(100));
        let mut first = admit(vec![Arc::clone(&key)], 80, 0).unwrap();
        first.settle(0, 10);
        drop(first);
        let mut second = admit(vec![Arc::clone(&key)], 90, 0).unwrap();
        second.used_so_far(0, 95);
        assert_eq!(second.standing(0).1.unwrap().remaining, 0);
    }

    #[test]
    fn a_refusal_at_one_level_takes_nothing_at_the_others() {
        let one = Limits { requests_per_minute: Some(1), ..Limits::default() };
        let ten = Limits { requests_per_minute: Some(10), parallel_requests: Some(5), ..one };
        let (key, team) = (level(LevelKind::Key, ten), level(LevelKind::Team, one));
        let levels = || vec![Arc::clone(&key), Arc::clone(&team)];
        let admitted = admit(levels(), 1, 0).unwrap();
        for _ in 0..20 {
            assert_eq!(admit(levels(), 1, 0).unwrap_err().level, LevelKind::Team);
        }
        assert_eq!(admitted.standing(0).0.unwrap().remaining, 0);
        assert_eq!(key.rates()[0].unwrap().1.rate().remaining(0), 9);
        assert_eq!(key.parallel.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn requests_in_flight_are_counted_and_given_back() {
        let two = Limits { parallel_requests: Some(2), ..Limits::default() };
        let key = level(LevelKind::Key, two);
        let first = admit(vec![Arc::clone(&key)], 0, 0).unwrap();
        let _second = admit(vec![Arc::clone(&key)], 0, 0).unwrap();
        let refusal = admit(vec![Arc::clone(&key)], 0, 0).unwrap_err();
        assert_eq!(refusal.limit, LimitKind::ParallelRequests);
        drop(first);
        assert!(admit(vec![key], 0, 0).is_ok());
    }

    #[test]
    fn other_limits_keep_what_was_used() {
        let key = level(LevelKind::Key, tokens_per_minute(100));
        let running = admit(vec![Arc::clone(&key)], 60, 0).unwrap();
        let tighter = Arc::new(key.reconfigured(tokens_per_minute(80), 0));
        assert!(admit(vec![Arc::clone(&tighter)], 21, 0).is_err());
        assert!(admit(vec![tighter], 20, 0).is_ok());
        drop(running);
    }

    #[test]
    fn resets_are_written_as_openai_writes_them() {
        for (nanoseconds, text) in [
            (0, "0ms"),
            (12_000_000, "12ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (360_000_000_000, "6m0s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format_reset(nanoseconds), text);
        }
    }

    #[test]
    fn refusals_say_whose_limit_it_is() {
        let key = level(LevelKind::Key, tokens_per_minute(10));
        let refusal = admit(vec![key], 11, 0).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "the limit tokens_per_minute of 10 of the key `k` is smaller than this one request"
        );
    }
}
