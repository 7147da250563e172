//! How often a request is tried again, after what pause, and how much load that may add.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::failure::CallOutcome;
use crate::options::OptionsFault;
use crate::steady::SteadyClock;

/// How a request is tried again before its first token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryOptions {
    /// Calls for a request that a provider may have worked on, at all deployments together, the
    /// first included; default 3. Deployments that did no work (no connection, 429) do not count.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// How often it is tried again at the same deployment where there is no other; default 1.
    #[schemars(range(min = 0, max = 100))]
    pub same_deployment: u32,
    /// Longest pause before the first retry at the same deployment, milliseconds; twice as long
    /// before each further one, and a random part of it is taken; default 100.
    #[schemars(range(min = 0, max = 600_000))]
    pub base_ms: Millis,
    /// Longest pause before any retry, milliseconds; default 2,000.
    #[schemars(range(min = 0, max = 600_000))]
    pub max_ms: Millis,
    /// Additional attempts for each request, 0 to 1; default 0.1. A first failover is not refused
    /// for it, and one away from a deployment that did no work is free.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub budget: f64,
    /// Additional attempts for each second however few requests there are; default 1.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub budget_min_per_s: f64,
    /// Most additional attempts that are saved up; default 10.
    #[schemars(range(min = 1.0, max = 10_000.0))]
    pub budget_reserve: f64,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            same_deployment: 1,
            base_ms: 100,
            max_ms: 2_000,
            budget: 0.1,
            budget_min_per_s: 1.0,
            budget_reserve: 10.0,
        }
    }
}

impl RetryOptions {
    /// Whether all is within its range.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), OptionsFault> {
        OptionsFault::unless(
            self.max_attempts > 0,
            "max_attempts",
            "must be at least 1",
            "write 1 for no further attempts",
        )?;
        OptionsFault::unless(
            (0.0..=1.0).contains(&self.budget),
            "budget",
            "must be between 0 and 1",
            "leave it out for 0.1",
        )?;
        OptionsFault::unless(
            (0.0..=1000.0).contains(&self.budget_min_per_s),
            "budget_min_per_s",
            "must be between 0 and 1000",
            "leave it out for 1",
        )?;
        OptionsFault::unless(
            (1.0..=10_000.0).contains(&self.budget_reserve),
            "budget_reserve",
            "must be between 1 and 10000",
            "leave it out for 10",
        )?;
        OptionsFault::unless(
            self.base_ms <= self.max_ms,
            "base_ms",
            "is more than `max_ms`",
            "make it at most as long",
        )
    }
}

/// The pause before retry number `attempt` at the same deployment (1: the first retry),
/// milliseconds: a random part of a time that doubles ("full jitter"), so that requests that
/// failed together do not come back together. Another deployment needs no pause.
#[must_use]
pub fn backoff(options: &RetryOptions, attempt: u32, rng: &mut fastrand::Rng) -> Millis {
    let doublings = attempt.saturating_sub(1).min(40);
    let longest = options.base_ms.saturating_mul(1 << doublings).min(options.max_ms);
    rng.u64(..=longest)
}

/// What a further attempt at a request costs the providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extra {
    /// Another deployment takes the place of one that did no work (no connection, 429, credentials
    /// refused): as many calls are worked on as there are requests. Free.
    Replacement,
    /// The first time that the request goes to another deployment, after one that may have worked
    /// on it. Always permitted; takes of the budget what there is.
    FirstFailover,
    /// Everything else: retries at the same deployment, further failovers, hedges. Only while
    /// there is budget.
    Addition,
}

impl Extra {
    /// What an attempt after `failed` is. `elsewhere`: it goes to another deployment than the one
    /// that failed; `failovers`: how often the request already went to another.
    #[must_use]
    pub fn of(failed: &CallOutcome, elsewhere: bool, failovers: u32) -> Self {
        match (elsewhere, failed.worked()) {
            (false, _) => Self::Addition,
            (true, false) => Self::Replacement,
            (true, true) if failovers == 0 => Self::FirstFailover,
            (true, true) => Self::Addition,
        }
    }
}

/// How many additional attempts a route may make.
///
/// Each request deposits [`RetryOptions::budget`] and each second
/// [`RetryOptions::budget_min_per_s`], up to [`RetryOptions::budget_reserve`]. An attempt that is
/// extra load withdraws 1; where there is less than that, the error is the caller's.
///
/// The bound: over any time of `s` seconds with `n` requests, there are at most
/// `reserve + budget * n + min_per_s * s` attempts of the kind [`Extra::Addition`]. Those of the
/// kind [`Extra::FirstFailover`] come first and leave the others less: beyond that bound they only
/// go when more than that share of the requests fails at a deployment which did the work, and
/// never more than one for each request; a breaker ends that at a failure rate of one half, or
/// after five failures in a row, but for the requests then under way. So a deployment that dies
/// with 200 requests under way loses none of them, and an outage of everything does not multiply
/// the load: what is open gets nothing, and nothing is tried more than
/// [`RetryOptions::max_attempts`] times.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    clock: SteadyClock,
    per_request: f64,
    per_ms: f64,
    reserve: f64,
    balance: f64,
    at: Millis,
}

impl RetryBudget {
    /// A budget with its reserve full, so that a service that just started can retry.
    #[must_use]
    pub fn new(options: &RetryOptions) -> Self {
        let reserve = finite(options.budget_reserve).max(1.0);
        Self {
            clock: SteadyClock::default(),
            per_request: finite(options.budget),
            per_ms: finite(options.budget_min_per_s) / 1_000.0,
            reserve,
            balance: reserve,
            at: 0,
        }
    }

    /// A request came: its first attempt deposits its share.
    pub fn deposit(&mut self, now: Millis) {
        self.advance(now);
        self.balance = (self.balance + self.per_request).min(self.reserve);
    }

    /// Whether an attempt may be made; if so, it is paid.
    #[must_use]
    pub fn permits(&mut self, now: Millis, extra: Extra) -> bool {
        self.advance(now);
        match extra {
            Extra::Replacement => true,
            Extra::FirstFailover => {
                self.balance = (self.balance - 1.0).max(0.0);
                true
            }
            Extra::Addition => {
                let paid = self.balance >= 1.0;
                if paid {
                    self.balance -= 1.0;
                }
                paid
            }
        }
    }

    /// Gives back what was paid for an attempt that was not made.
    pub fn give_back(&mut self) {
        self.balance = (self.balance + 1.0).min(self.reserve);
    }

    /// How many additional attempts could be made now.
    #[must_use]
    pub fn available(&self, now: Millis) -> f64 {
        let age = self.clock.at(now).saturating_sub(self.at);
        (self.balance + age as f64 * self.per_ms).min(self.reserve)
    }

    fn advance(&mut self, now: Millis) {
        let at = self.clock.tick(now);
        self.balance = self.available(now);
        self.at = at;
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::breaker::{Admittance, Breaker, BreakerOptions};
    use crate::failure::FailureClass;

    fn failed(class: FailureClass) -> CallOutcome {
        CallOutcome::Failed(class)
    }

    #[test]
    fn the_defaults_are_within_range() {
        let options = RetryOptions::default();
        options.check().expect("the defaults");
        for wrong in [
            RetryOptions { max_attempts: 0, ..options },
            RetryOptions { budget: f64::NAN, ..options },
            RetryOptions { budget_min_per_s: -1.0, ..options },
            RetryOptions { budget_reserve: 0.0, ..options },
            RetryOptions { base_ms: 3_000, ..options },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let options = RetryOptions::default();
        let mut rng = fastrand::Rng::with_seed(1);
        for (attempt, longest) in
            [(0, 100), (1, 100), (2, 200), (5, 1_600), (6, 2_000), (u32::MAX, 2_000)]
        {
            let pauses: Vec<_> = (0..1_000).map(|_| backoff(&options, attempt, &mut rng)).collect();
            assert!(pauses.iter().all(|&pause| pause <= longest));
            assert!(pauses.iter().any(|&pause| pause > longest * 9 / 10), "{attempt}");
            assert!(pauses.iter().any(|&pause| pause < longest / 10), "{attempt}");
        }
    }

    #[test]
    fn only_work_done_twice_is_extra() {
        let throttled = CallOutcome::Throttled { retry_after_ms: None };
        for outcome in [failed(FailureClass::Connect), failed(FailureClass::Exhausted), throttled] {
            assert_eq!(Extra::of(&outcome, true, 0), Extra::Replacement);
            assert_eq!(Extra::of(&outcome, true, 5), Extra::Replacement);
            assert_eq!(Extra::of(&outcome, false, 0), Extra::Addition);
        }
        for class in [FailureClass::Timeout, FailureClass::ServerError, FailureClass::BrokenAnswer]
        {
            assert_eq!(Extra::of(&failed(class), true, 0), Extra::FirstFailover);
            assert_eq!(Extra::of(&failed(class), true, 1), Extra::Addition);
            assert_eq!(Extra::of(&failed(class), false, 0), Extra::Addition);
        }
    }

    #[test]
    fn a_tenth_of_the_requests_may_be_tried_again() {
        let options = RetryOptions { budget_min_per_s: 0.0, ..RetryOptions::default() };
        let mut budget = RetryBudget::new(&options);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.deposit(0);
            retries += u32::from(budget.permits(0, Extra::Addition));
        }
        assert!((109..=110).contains(&retries), "{retries}: the reserve and a tenth");
    }

    #[test]
    fn a_quiet_service_can_retry() {
        let mut budget = RetryBudget::new(&RetryOptions::default());
        while budget.permits(0, Extra::Addition) {}
        assert!(!budget.permits(999, Extra::Addition));
        assert!(budget.permits(1_000, Extra::Addition));
        assert!(!budget.permits(1_000, Extra::Addition));
        assert!((budget.available(1 << 50) - 10.0).abs() < 1e-9, "no more than the reserve");
    }

    #[test]
    fn what_was_not_used_can_be_given_back() {
        let mut budget = RetryBudget::new(&RetryOptions::default());
        while budget.permits(0, Extra::Addition) {}
        budget.give_back();
        assert!(budget.permits(0, Extra::Addition));
    }

    #[test]
    fn first_failovers_leave_the_others_less() {
        let mut budget = RetryBudget::new(&RetryOptions::default());
        for _ in 0..200 {
            assert!(budget.permits(0, Extra::FirstFailover));
        }
        assert!(!budget.permits(0, Extra::Addition));
        assert!(budget.permits(0, Extra::Replacement));
        assert!(budget.permits(1_000, Extra::Addition), "no debts");
    }

    /// 200 requests are under way at a deployment when it dies: all go elsewhere, and the breaker
    /// keeps further ones away.
    #[test]
    fn a_deployment_that_dies_with_requests_under_way_loses_none() {
        for class in [FailureClass::Connect, FailureClass::BrokenAnswer, FailureClass::Timeout] {
            let mut budget = RetryBudget::new(&RetryOptions::default());
            let mut breaker = Breaker::new(&BreakerOptions::default());
            let mut rng = fastrand::Rng::with_seed(1);
            for _ in 0..200 {
                budget.deposit(0);
                assert_eq!(breaker.admit(0, &mut rng), Admittance::Admit);
            }
            let outcome = failed(class);
            for _ in 0..200 {
                breaker.record(10, &outcome, false);
                assert!(budget.permits(10, Extra::of(&outcome, true, 0)));
            }
            assert!(matches!(breaker.admit(11, &mut rng), Admittance::Refuse { .. }));
        }
    }

    #[test]
    fn a_clock_set_back_does_no_harm() {
        let mut budget = RetryBudget::new(&RetryOptions::default());
        while budget.permits(1 << 40, Extra::Addition) {}
        assert!(!budget.permits(0, Extra::Addition));
        assert!(budget.permits(1_001, Extra::Addition));
    }

    proptest! {
        /// The bound in the documentation, over every stretch of the history.
        #[test]
        fn additions_stay_within_the_bound(
            steps in prop::collection::vec((0_u64..1_500, 0_u8..8), 1..300),
        ) {
            let options = RetryOptions::default();
            let mut budget = RetryBudget::new(&options);
            let mut now = 0;
            // Time, requests and additions so far.
            let mut history = vec![(0_u64, 0_u32, 0_u32)];
            let (mut requests, mut additions) = (0, 0);
            for (wait, what) in steps {
                now += wait / 10;
                match what {
                    0..4 => {
                        budget.deposit(now);
                        requests += 1;
                    }
                    4 => prop_assert!(budget.permits(now, Extra::FirstFailover)),
                    _ => additions += u32::from(budget.permits(now, Extra::Addition)),
                }
                history.push((now, requests, additions));
            }
            for (index, start) in history.iter().enumerate() {
                for end in &history[index..] {
                    let allowed = options.budget_reserve
                        + options.budget * f64::from(end.1 - start.1)
                        + options.budget_min_per_s * (end.0 - start.0) as f64 / 1_000.0;
                    prop_assert!(f64::from(end.2 - start.2) <= allowed + 1e-6);
                }
            }
        }
    }
}
