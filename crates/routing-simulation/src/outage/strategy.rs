use routing::{CallOutcome, FailureClass, Millis};

/// Who is asked, and what follows a failure before the first token.
pub trait Strategy {
    /// A request came.
    fn arrived(&mut self, now: Millis) {
        _ = now;
    }

    /// The deployment that a request is sent to; `None`: it fails.
    fn choose(
        &mut self,
        now: Millis,
        request: usize,
        tried: &[usize],
        rng: &mut fastrand::Rng,
    ) -> Option<usize>;

    /// It was sent.
    fn started(&mut self, now: Millis, request: usize, deployment: usize, tokens: u64) {
        _ = (now, request, deployment, tokens);
    }

    /// The first token came.
    fn first_token(&mut self, now: Millis, request: usize, deployment: usize, took_ms: Millis) {
        _ = (now, request, deployment, took_ms);
    }

    /// The call ended.
    fn ended(&mut self, now: Millis, request: usize, deployment: usize, outcome: &CallOutcome);

    /// After what pause the request is tried again after its call number `calls`, milliseconds;
    /// `None`: it is not.
    fn again(
        &mut self,
        now: Millis,
        request: usize,
        calls: u32,
        outcome: &CallOutcome,
        rng: &mut fastrand::Rng,
    ) -> Option<Millis>;
}

/// Further calls of the strategies that are compared with.
const RETRIES: u32 = 2;

fn retried(calls: u32) -> Option<Millis> {
    (calls <= RETRIES).then_some(0)
}

/// One after the other; two retries at the next.
#[derive(Debug, Default)]
pub struct RoundRobin {
    count: usize,
    next: usize,
}

impl RoundRobin {
    /// Over so many deployments.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { count, next: 0 }
    }
}

impl Strategy for RoundRobin {
    fn choose(&mut self, _: Millis, _: usize, _: &[usize], _: &mut fastrand::Rng) -> Option<usize> {
        self.next = (self.next + 1) % self.count;
        Some(self.next)
    }

    fn ended(&mut self, _: Millis, _: usize, _: usize, _: &CallOutcome) {}

    fn again(
        &mut self,
        _: Millis,
        _: usize,
        calls: u32,
        _: &CallOutcome,
        _: &mut fastrand::Rng,
    ) -> Option<Millis> {
        retried(calls)
    }
}

/// The one with the fewest requests in flight, of those not tried yet; two retries.
#[derive(Debug)]
pub struct LeastLoaded {
    in_flight: Vec<u32>,
}

impl LeastLoaded {
    /// Over so many deployments.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { in_flight: vec![0; count] }
    }
}

impl Strategy for LeastLoaded {
    fn choose(
        &mut self,
        _: Millis,
        _: usize,
        tried: &[usize],
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let fresh = (0..self.in_flight.len()).filter(|place| !tried.contains(place));
        fresh.min_by_key(|place| (self.in_flight[*place], rng.u32(..)))
    }

    fn started(&mut self, _: Millis, _: usize, deployment: usize, _: u64) {
        self.in_flight[deployment] += 1;
    }

    fn ended(&mut self, _: Millis, _: usize, deployment: usize, _: &CallOutcome) {
        self.in_flight[deployment] -= 1;
    }

    fn again(
        &mut self,
        _: Millis,
        _: usize,
        calls: u32,
        _: &CallOutcome,
        _: &mut fastrand::Rng,
    ) -> Option<Millis> {
        retried(calls)
    }
}

/// LiteLLM's `simple-shuffle` with its cooldown, as its documentation and issues describe it: a random
/// deployment that is not cooling; 5 s of cooldown after more than three failures within a minute, or
/// after half of at least five calls of the minute failed, or after a 429; errors of the connection are
/// not counted; two retries.
#[derive(Debug)]
pub struct LiteLlmShuffle {
    cooling_until: Vec<Millis>,
    /// Minute, calls, failures.
    minutes: Vec<(Millis, u32, u32)>,
}

impl LiteLlmShuffle {
    /// Over so many deployments.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { cooling_until: vec![0; count], minutes: vec![(0, 0, 0); count] }
    }
}

impl Strategy for LiteLlmShuffle {
    fn choose(
        &mut self,
        now: Millis,
        _: usize,
        _: &[usize],
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let ready: Vec<usize> = (0..self.cooling_until.len())
            .filter(|place| self.cooling_until[*place] <= now)
            .collect();
        (!ready.is_empty()).then(|| ready[rng.usize(..ready.len())])
    }

    fn ended(&mut self, now: Millis, _: usize, deployment: usize, outcome: &CallOutcome) {
        let (minute, calls, failures) = &mut self.minutes[deployment];
        if now / 60_000 != *minute {
            (*minute, *calls, *failures) = (now / 60_000, 0, 0);
        }
        *calls += 1;
        let counted = match outcome {
            CallOutcome::Failed(class) => *class != FailureClass::Connect,
            CallOutcome::Throttled { .. } => true,
            CallOutcome::Completed { .. } | CallOutcome::Neutral => false,
        };
        *failures += u32::from(counted);
        let throttled = matches!(outcome, CallOutcome::Throttled { .. });
        let many = *failures > 3 || (*calls >= 5 && *failures * 2 > *calls);
        if counted && (throttled || many) {
            self.cooling_until[deployment] = now + 5_000;
        }
    }

    fn again(
        &mut self,
        _: Millis,
        _: usize,
        calls: u32,
        _: &CallOutcome,
        _: &mut fastrand::Rng,
    ) -> Option<Millis> {
        retried(calls)
    }
}
