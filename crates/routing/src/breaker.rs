//! Takes deployments that fail out of service, and brings them back with care.

mod options;
mod sharing;
mod types;
mod window;

use std::sync::Arc;

pub use options::BreakerOptions;
pub use sharing::{SharedHealth, SharedState};
pub use types::{Admittance, Health, OpenReason, Transition};

use self::sharing::Sharing;
use self::window::CallWindow;
use crate::Millis;
use crate::failure::{CallOutcome, FailureClass};
use crate::steady::SteadyClock;

/// How long a request waits that finds all probes under way, milliseconds.
const PROBE_WAIT_MS: Millis = 1_000;
/// Pause after a first 429 without `Retry-After`, milliseconds.
const THROTTLED_MS: Millis = 1_000;

/// The circuit breaker of one deployment.
///
/// ```text
///            failures                 time is over, or an active probe
///   Closed ------------> Open <----------------+      succeeds
///     ^                   |  \                 | a probe fails
///     |                   |   +----------> HalfOpen
///     | last step over    | failures           | all probes succeed
///     +-------------- Ramping <----------------+
/// ```
///
/// Beside that, an answer 429 makes it cool down, which is no failure. The way from one state to
/// the next by time needs no timer: every call brings the state up to date.
///
/// Of calls that were admitted before it opened, only those that end while it is closed or ramping
/// count.
#[derive(Debug, Clone)]
pub struct Breaker {
    options: Arc<BreakerOptions>,
    clock: SteadyClock,
    state: State,
    window: CallWindow,
    /// Failures since the last success.
    consecutive: u32,
    /// How often it opened since it last served all traffic.
    openings: u32,
    /// Since when it is open.
    opened_at: Millis,
    /// Until when it is open by what was seen here.
    own_until: Millis,
    own_reason: OpenReason,
    /// Until when it is left alone by answers that were seen here.
    cool_until: Millis,
    /// Pauses one after the other for which the provider did not say how long.
    throttles: u32,
    /// Probes admitted and not heard of since. They keep their places when it opens again.
    outstanding: u32,
    probed_at: Millis,
    sharing: Sharing,
    /// The last change that nobody was told.
    noted: Option<Transition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    HalfOpen { succeeded: u32, slow: u32 },
    Ramping { since: Millis },
}

impl Breaker {
    /// A breaker that is closed.
    #[must_use]
    pub fn new(options: &BreakerOptions) -> Self {
        Self {
            window: CallWindow::new(options.window_ms),
            options: Arc::new(options.clone()),
            clock: SteadyClock::default(),
            state: State::Closed,
            consecutive: 0,
            openings: 0,
            opened_at: 0,
            own_until: 0,
            own_reason: OpenReason::Told,
            cool_until: 0,
            throttles: 0,
            outstanding: 0,
            probed_at: 0,
            sharing: Sharing::default(),
            noted: None,
        }
    }

    /// Goes on with other options: times that run keep their ends, the window begins anew.
    pub fn reconfigure(&mut self, options: &BreakerOptions) {
        self.window = CallWindow::new(options.window_ms);
        self.options = Arc::new(options.clone());
    }

    /// Whether a request may go there. Takes a probe's place where the answer is
    /// [`Admittance::Probe`]; a place that is not returned within
    /// [`BreakerOptions::max_open_ms`] of the last probe is free again.
    pub fn admit(&mut self, now: Millis, rng: &mut fastrand::Rng) -> Admittance {
        if !self.options.enabled {
            return Admittance::Admit;
        }
        let at = self.advance(now);
        let cool_until = self.cool_until();
        if at < cool_until {
            return Admittance::Refuse { until: self.clock.outside(cool_until) };
        }
        match self.state {
            State::Closed => Admittance::Admit,
            State::Open => Admittance::Refuse { until: self.clock.outside(self.open_until()) },
            State::HalfOpen { succeeded, .. } => {
                if self.outstanding.saturating_add(succeeded) >= self.probes() {
                    let until = self.clock.outside(at.saturating_add(PROBE_WAIT_MS));
                    return Admittance::Refuse { until };
                }
                self.outstanding += 1;
                self.probed_at = at;
                Admittance::Probe
            }
            State::Ramping { since } => {
                let share = self.ramp_share(at, since).unwrap_or(1.0);
                if share >= 1.0 || rng.f64() < share {
                    Admittance::Admit
                } else {
                    Admittance::Deflect
                }
            }
        }
    }

    /// Its state, without changing it.
    #[must_use]
    pub fn peek(&self, now: Millis) -> Health {
        if !self.options.enabled {
            return Health::Closed;
        }
        let mut clock = self.clock;
        let at = clock.tick(now);
        let cool_until = self.cool_until();
        let until = |inner| clock.outside(inner);
        match self.state_at(at) {
            State::Open => Health::Open { until: until(self.open_until().max(cool_until)) },
            _ if at < cool_until => Health::Cooling { until: until(cool_until) },
            State::Closed => Health::Closed,
            State::HalfOpen { succeeded, .. } => {
                let taken = self.outstanding_at(at).saturating_add(succeeded);
                Health::HalfOpen { free_probes: self.probes().saturating_sub(taken) }
            }
            State::Ramping { since } => {
                Health::Ramping { share: self.ramp_share(at, since).unwrap_or(1.0) }
            }
        }
    }

    /// Takes note of how a call ended. `was_probe`: it was admitted as [`Admittance::Probe`] and
    /// its place was not returned since. A change of state that nobody was told yet is returned.
    pub fn record(
        &mut self,
        now: Millis,
        outcome: &CallOutcome,
        was_probe: bool,
    ) -> Option<Transition> {
        if !self.options.enabled {
            return None;
        }
        let at = self.advance(now);
        if was_probe {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        match *outcome {
            CallOutcome::Neutral => {}
            CallOutcome::Throttled { retry_after_ms } => self.cool_down(at, retry_after_ms),
            CallOutcome::Completed { first_token_ms, .. } => {
                let slow = self.options.slow_call_ms.is_some_and(|limit| first_token_ms > limit);
                self.succeeded(at, slow, was_probe);
            }
            CallOutcome::Failed(class) => self.failed(at, class, was_probe),
        }
        self.noted.take()
    }

    /// The first token of a probe came: that is success enough, and frees its place long before a
    /// streamed answer ends. What becomes of the answer is recorded with `was_probe` false.
    pub fn probe_answered(&mut self, now: Millis, first_token_ms: Millis) -> Option<Transition> {
        let at = self.advance(now);
        self.outstanding = self.outstanding.saturating_sub(1);
        let slow = self.options.slow_call_ms.is_some_and(|limit| first_token_ms > limit);
        self.probe_succeeded(at, slow);
        self.noted.take()
    }

    /// A probe ended without a result (nothing was sent, or the caller went away): its place is
    /// free again.
    pub fn abandon_probe(&mut self, now: Millis) {
        self.advance(now);
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Takes note of an active probe, which no caller waits for.
    ///
    /// A failed one counts as a failed call. A successful one lets requests try the deployment out
    /// before its time is over, but no earlier than [`BreakerOptions::reopen_on_probe_ms`], and
    /// not if its account was exhausted; nor does it make failed calls forgotten: that a server
    /// tells its models says little about whether they answer.
    pub fn probe_result(&mut self, now: Millis, ok: bool) -> Option<Transition> {
        let at = self.advance(now);
        match (self.state, ok) {
            (State::HalfOpen { .. }, false) => {
                self.open(at, OpenReason::Failures(FailureClass::Connect));
            }
            (_, false) => self.failed(at, FailureClass::Connect, false),
            (State::Open, true) => {
                let least = self.lengthened(self.options.reopen_on_probe_ms);
                let exhausted = at < self.own_until
                    && self.own_reason == OpenReason::Failures(FailureClass::Exhausted);
                if !exhausted && at.saturating_sub(self.opened_at) >= least {
                    self.own_until = at;
                    self.sharing.forget_told(at);
                    self.advance(now);
                }
            }
            (_, true) => {}
        }
        self.noted.take()
    }

    /// The last change of state that nobody was told yet.
    pub fn take_transition(&mut self) -> Option<Transition> {
        self.noted.take()
    }

    /// Brings the state up to date and gives the inner time.
    fn advance(&mut self, now: Millis) -> Millis {
        let at = self.clock.tick(now);
        let state = self.state_at(at);
        if state != self.state {
            self.state = state;
            match state {
                State::HalfOpen { .. } => self.noted = Some(Transition::HalfOpened),
                State::Closed => {
                    self.openings = 0;
                    self.noted = Some(Transition::Closed);
                }
                State::Open | State::Ramping { .. } => {}
            }
        }
        self.outstanding = self.outstanding_at(at);
        at
    }

    fn state_at(&self, at: Millis) -> State {
        match self.state {
            State::Open if at >= self.open_until() => State::HalfOpen { succeeded: 0, slow: 0 },
            State::Ramping { since } if self.ramp_share(at, since).is_none() => State::Closed,
            state => state,
        }
    }

    /// Probes of which nothing was heard for the longest time that a breaker is open are lost:
    /// whoever sent them died without a word.
    fn outstanding_at(&self, at: Millis) -> u32 {
        let lease = self.options.max_open_ms.max(PROBE_WAIT_MS);
        if at.saturating_sub(self.probed_at) >= lease { 0 } else { self.outstanding }
    }

    fn probes(&self) -> u32 {
        self.options.half_open_probes.max(1)
    }

    fn open_until(&self) -> Millis {
        self.own_until.max(self.sharing.told_until)
    }

    fn cool_until(&self) -> Millis {
        self.cool_until.max(self.sharing.told_cool_until)
    }

    /// `None`: the ramp is over.
    fn ramp_share(&self, at: Millis, since: Millis) -> Option<f64> {
        let step = at.saturating_sub(since).checked_div(self.options.ramp_step_ms)?;
        self.options.ramp_steps.get(usize::try_from(step).ok()?).copied()
    }

    /// Whether the calls that end now tell whether to open. They also do while only another
    /// replica keeps it open.
    fn counts(&self, at: Millis) -> bool {
        match self.state {
            State::Closed | State::Ramping { .. } => true,
            State::Open => at >= self.own_until,
            State::HalfOpen { .. } => false,
        }
    }

    fn succeeded(&mut self, at: Millis, slow: bool, was_probe: bool) {
        if at >= self.cool_until {
            self.throttles = 0;
        }
        if self.counts(at) {
            self.consecutive = 0;
            self.window.add(at, false, slow);
            if slow {
                let counts = self.window.counts(at);
                if counts.calls >= self.options.min_calls.max(1)
                    && counts.slow_share() >= self.options.slow_rate
                {
                    self.open(at, OpenReason::SlowCalls);
                }
            }
        } else if was_probe {
            self.probe_succeeded(at, slow);
        }
    }

    fn probe_succeeded(&mut self, at: Millis, is_slow: bool) {
        let State::HalfOpen { succeeded, slow } = self.state else { return };
        let (succeeded, slow) = (succeeded + 1, slow + u32::from(is_slow));
        if succeeded < self.probes() {
            self.state = State::HalfOpen { succeeded, slow };
        } else if slow > 0 && f64::from(slow) / f64::from(succeeded) >= self.options.slow_rate {
            self.open(at, OpenReason::SlowCalls);
        } else {
            self.state = State::Ramping { since: at };
            self.window.clear();
            self.consecutive = 0;
            self.noted = Some(Transition::Recovering);
            self.sharing.recovered(at, self.options.max_open_ms);
        }
    }

    fn failed(&mut self, at: Millis, class: FailureClass, was_probe: bool) {
        if self.counts(at) {
            self.consecutive = self.consecutive.saturating_add(1);
            self.window.add(at, true, false);
            let counts = self.window.counts(at);
            if class.lasts()
                || self.consecutive >= self.options.consecutive_failures.max(1)
                || (counts.calls >= self.options.min_calls.max(1)
                    && counts.failure_share() >= self.options.failure_rate)
            {
                self.open(at, OpenReason::Failures(class));
            }
        } else if was_probe && matches!(self.state, State::HalfOpen { .. }) {
            self.open(at, OpenReason::Failures(class));
        }
    }

    fn open(&mut self, at: Millis, reason: OpenReason) {
        self.openings = self.openings.saturating_add(1);
        let first = match reason {
            OpenReason::Failures(class) if class.lasts() => self.options.lasting_open_ms,
            _ => self.options.open_ms,
        };
        let for_ms = self.lengthened(first).min(self.options.max_open_ms).max(1);
        self.own_until = at.saturating_add(for_ms);
        self.own_reason = reason;
        self.consecutive = 0;
        self.window.clear();
        self.sharing.opened();
        self.stay_open(at, for_ms, reason);
    }

    fn stay_open(&mut self, at: Millis, for_ms: Millis, reason: OpenReason) {
        if self.state != State::Open {
            self.opened_at = at;
        }
        self.state = State::Open;
        self.noted = Some(Transition::Opened { for_ms, reason });
    }

    /// Twice as long for each opening after the first.
    fn lengthened(&self, first: Millis) -> Millis {
        first.saturating_mul(1 << self.openings.saturating_sub(1).min(30))
    }

    fn cool_down(&mut self, at: Millis, retry_after_ms: Option<u64>) {
        let for_ms = match retry_after_ms {
            Some(asked) if asked > 0 => asked,
            // Answers to calls that were under way when it began to cool down tell nothing new.
            _ if at < self.cool_until => return,
            _ => {
                self.throttles = self.throttles.saturating_add(1);
                THROTTLED_MS.saturating_mul(1 << (self.throttles - 1).min(30))
            }
        };
        let for_ms = for_ms.min(self.options.max_cooldown_ms);
        let until = at.saturating_add(for_ms);
        if until > self.cool_until {
            let began = at >= self.cool_until;
            self.cool_until = until;
            self.sharing.cooled();
            if began {
                self.noted = Some(Transition::Cooling { for_ms });
            }
        }
    }
}
