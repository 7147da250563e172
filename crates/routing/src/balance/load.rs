use crate::Millis;
use crate::steady::SteadyClock;

/// In what time an estimate forgets, milliseconds.
const MEMORY_MS: f64 = 10_000.0;
/// In what time an estimate of a deployment that nothing is sent to goes down further than what
/// was taken for granted before anything was measured, milliseconds: so that it is tried again
/// even if the others are better than that.
const CURIOSITY_MS: f64 = 60_000.0;
/// Tokens of an answer that make as much load as one request, in [`LoadMeter::score`].
const TYPICAL_TOKENS: f64 = 500.0;
/// Tokens of a prompt that are as much work as one of an answer.
const PROMPT_TOKENS_PER_TOKEN: u64 = 10;
/// Weight of one call in the share of failures.
const FAILURE_MEMORY: f64 = 0.05;
/// How much worse a deployment looks of which all calls fail.
const FAILURE_PENALTY: f64 = 10.0;

/// What a deployment is doing and how fast it is.
///
/// - Time to the first token: a moving average that jumps up with a slow answer and comes down
///   over 10 s (peak-EWMA, after Finagle).
/// - Time for each further token: a moving average over 10 s. An answer that comes whole is divided
///   between the two as they were before.
/// - Share of calls that failed: over about 20 calls, forgotten in 10 s.
/// - Requests and tokens in flight.
///
/// A first token that does not come counts before it comes: while requests wait, the estimate is
/// at least the time since the last sign of life, so traffic leaves a deployment that hangs within
/// a small multiple of the time the others take. When nothing is sent there, the estimate goes to
/// what the configuration says within 10 s, and then below within minutes: one that was slow once
/// is tried again.
#[derive(Debug, Clone)]
pub struct LoadMeter {
    clock: SteadyClock,
    prior_first_token_ms: f64,
    prior_token_ms: f64,
    weight: f64,
    first_token: Estimate,
    token: Estimate,
    failures: f64,
    failures_at: Millis,
    requests: u32,
    tokens: u64,
    /// Requests that will tell how long a first token takes.
    untold: u32,
    /// Those of them of which that will be known as soon as it came.
    waiting: u32,
    /// Since when these have been waiting without a sign of life.
    waiting_since: Millis,
}

/// A value measured at a time.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    value: f64,
    at: Millis,
    known: bool,
}

/// A request under way, to be given back to [`LoadMeter::finish`] of the same meter.
#[derive(Debug)]
#[must_use = "the meter counts it as under way until it is finished"]
pub struct InFlight {
    tokens: u64,
    began: Millis,
    streamed: bool,
    untold: bool,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The answer came to its end.
    Done {
        /// Tokens of the answer.
        completion_tokens: u64,
        /// From sending the request to the end of the answer, milliseconds.
        total_ms: Millis,
        /// From sending the request to the first token, milliseconds; `None`: not known, because
        /// the answer came whole.
        first_token_ms: Option<Millis>,
    },
    /// The deployment failed.
    Failed,
    /// Neither: the caller went away, or the request was at fault, or another was faster.
    Abandoned,
}

impl LoadMeter {
    /// A meter of a deployment of which nothing is known but what its configuration says, in
    /// milliseconds. `weight` is its capacity relative to the mean of its equals (1: like the
    /// others); with 0 or less it counts as a thousandth.
    #[must_use]
    pub fn new(prior_first_token_ms: f64, prior_token_ms: f64, weight: f64) -> Self {
        let first = positive(prior_first_token_ms);
        let token = positive(prior_token_ms);
        Self {
            clock: SteadyClock::default(),
            prior_first_token_ms: first,
            prior_token_ms: token,
            weight: positive(weight).max(0.001),
            first_token: Estimate { value: first, at: 0, known: false },
            token: Estimate { value: token, at: 0, known: false },
            failures: 0.0,
            failures_at: 0,
            requests: 0,
            tokens: 0,
            untold: 0,
            waiting: 0,
            waiting_since: 0,
        }
    }

    /// A request goes there. `streamed`: its first token will be told.
    pub fn begin(
        &mut self,
        now: Millis,
        prompt_tokens: u64,
        expected_output: u64,
        streamed: bool,
    ) -> InFlight {
        let at = self.clock.tick(now);
        if streamed {
            if self.waiting == 0 {
                self.waiting_since = at;
            }
            self.waiting = self.waiting.saturating_add(1);
        }
        let tokens = (prompt_tokens / PROMPT_TOKENS_PER_TOKEN).saturating_add(expected_output);
        self.requests = self.requests.saturating_add(1);
        self.untold = self.untold.saturating_add(1);
        self.tokens = self.tokens.saturating_add(tokens);
        InFlight { tokens, began: at, streamed, untold: true }
    }

    /// The first token of a request came, `took_ms` after the request was sent. Only the first
    /// call for each request counts.
    pub fn first_token(&mut self, now: Millis, request: &mut InFlight, took_ms: Millis) {
        let at = self.clock.tick(now);
        if self.told(at, request) {
            self.measured_first_token(at, took_ms as f64);
        }
    }

    /// The deployment answers again after it was out of service: how slow it was when it failed says
    /// nothing of it now, so what is measured next stands alone. To be called before that.
    pub fn answers_again(&mut self) {
        self.first_token.known = false;
        self.token.known = false;
        self.failures = 0.0;
    }

    /// A request ended.
    pub fn finish(&mut self, now: Millis, mut request: InFlight, how: Finish) {
        let at = self.clock.tick(now);
        let silent = self.told(at, &mut request);
        self.requests = self.requests.saturating_sub(1);
        self.tokens = self.tokens.saturating_sub(request.tokens);
        let waited = at.saturating_sub(request.began) as f64;
        if silent && !matches!(how, Finish::Done { .. }) && waited > self.first_token.value {
            // Its first token would have taken even longer.
            self.measured_first_token(at, waited);
        }
        let failed = match how {
            Finish::Abandoned => return,
            Finish::Failed => 1.0,
            Finish::Done { .. } => 0.0,
        };
        self.failures = self.failures_at(at) * (1.0 - FAILURE_MEMORY) + failed * FAILURE_MEMORY;
        self.failures_at = at;
        let Finish::Done { completion_tokens, total_ms, first_token_ms } = how else { return };
        let further = completion_tokens.saturating_sub(1) as f64;
        match first_token_ms {
            Some(first) => {
                if silent {
                    self.measured_first_token(at, first as f64);
                }
                if further > 0.0 {
                    let each = total_ms.saturating_sub(first) as f64 / further;
                    self.token.average(at, each);
                }
            }
            // In which parts is not known, so both are as much off as the whole.
            None if silent => {
                let (first, each) = (self.first_token.value, self.token.value);
                let expected = first + each * further;
                if expected > 0.0 {
                    let ratio = total_ms as f64 / expected;
                    self.measured_first_token(at, first * ratio);
                    if further > 0.0 {
                        self.token.average(at, each * ratio);
                    }
                } else {
                    self.measured_first_token(at, total_ms as f64);
                }
            }
            None => {}
        }
    }

    /// Expected time until a request with an answer of `expected_output` tokens would be complete,
    /// milliseconds, longer the more is under way there and the more calls failed of late. For
    /// comparison with others only.
    #[must_use]
    pub fn score(&self, now: Millis, expected_output: u64) -> f64 {
        let at = self.clock.at(now);
        let service = self.first_token_at(at) + self.token_at(at) * expected_output as f64;
        let load = (f64::from(self.requests) + self.tokens as f64 / TYPICAL_TOKENS) / 2.0;
        // A deployment without any latency would be worth nothing to compare.
        service.max(1.0)
            * (1.0 + load / self.weight)
            * (1.0 + FAILURE_PENALTY * self.failures_at(at))
    }

    /// Expected time to the first token, milliseconds.
    #[must_use]
    pub fn first_token_ms(&self, now: Millis) -> f64 {
        self.first_token_at(self.clock.at(now))
    }

    /// Expected time for each further token, milliseconds.
    #[must_use]
    pub fn token_ms(&self, now: Millis) -> f64 {
        self.token_at(self.clock.at(now))
    }

    /// Share of the recent calls that failed, 0 to 1.
    #[must_use]
    pub fn failure_share(&self, now: Millis) -> f64 {
        self.failures_at(self.clock.at(now))
    }

    /// Whether nothing was ever sent there, so that all that is known is what the configuration says.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        !self.first_token.known && self.requests == 0 && self.failures == 0.0
    }

    /// Requests under way.
    #[must_use]
    pub fn requests_in_flight(&self) -> u32 {
        self.requests
    }

    /// Tokens under way: those expected of answers, and a tenth of those of prompts.
    #[must_use]
    pub fn tokens_in_flight(&self) -> u64 {
        self.tokens
    }

    /// From now on, nothing more is to be learnt from the request about first tokens. Whether
    /// there was until now.
    fn told(&mut self, at: Millis, request: &mut InFlight) -> bool {
        let untold = std::mem::take(&mut request.untold);
        if untold {
            self.untold = self.untold.saturating_sub(1);
            if request.streamed {
                self.waiting = self.waiting.saturating_sub(1);
                self.waiting_since = at;
            }
        }
        untold
    }

    fn measured_first_token(&mut self, at: Millis, took_ms: f64) {
        let current = self.first_token.value;
        if self.first_token.known && took_ms < current {
            self.first_token.average(at, took_ms);
        } else {
            self.first_token = Estimate { value: took_ms, at, known: true };
        }
    }

    fn first_token_at(&self, at: Millis) -> f64 {
        let estimate = self.first_token.idle(at, self.prior_first_token_ms, self.untold > 0);
        if self.waiting == 0 {
            return estimate;
        }
        estimate.max(at.saturating_sub(self.waiting_since) as f64)
    }

    fn token_at(&self, at: Millis) -> f64 {
        self.token.idle(at, self.prior_token_ms, self.requests > 0)
    }

    fn failures_at(&self, at: Millis) -> f64 {
        self.failures * forgotten(at.saturating_sub(self.failures_at), MEMORY_MS)
    }
}

impl Estimate {
    /// Takes a measurement into the average; the longer ago the last was, the more it counts.
    fn average(&mut self, at: Millis, measured: f64) {
        let old = if self.known { forgotten(at.saturating_sub(self.at), MEMORY_MS) } else { 0.0 };
        *self = Self { value: self.value * old + measured * (1.0 - old), at, known: true };
    }

    /// The value at a time at which nothing was measured: on its way to `prior` if that is less,
    /// and from there down, unless something is under way that will tell.
    fn idle(&self, at: Millis, prior: f64, busy: bool) -> f64 {
        if !self.known || busy {
            return self.value;
        }
        let age = at.saturating_sub(self.at);
        let above = (self.value - prior).max(0.0);
        let rest = self.value.min(prior);
        above * forgotten(age, MEMORY_MS) + rest * forgotten(age, CURIOSITY_MS)
    }
}

/// What is left of a value after a time.
fn forgotten(age: Millis, memory_ms: f64) -> f64 {
    (-(age as f64) / memory_ms).exp()
}

/// Between 0 and a value with which one can still calculate.
fn positive(value: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, 1e12) } else { 0.0 }
}
