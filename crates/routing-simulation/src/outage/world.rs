use std::cmp::Reverse;
use std::collections::BinaryHeap;

use routing::{CallOutcome, FailureClass, Millis};

use super::strategy::Strategy;

/// A deployment of the simulated world.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Median time to the first token when idle, milliseconds.
    pub first_token_ms: f64,
    /// Sigma of the log-normal factor of it.
    pub sigma: f64,
    /// Time for each further token, milliseconds.
    pub token_ms: f64,
    /// Requests at a time at which the first token takes twice as long.
    pub capacity: f64,
    /// What is wrong with it.
    pub fault: Fault,
    /// When it cannot be reached: from, to, milliseconds.
    pub outages: Vec<(Millis, Millis)>,
}

/// What is wrong with a deployment all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Everything takes so many times as long.
    Slow(f64),
    /// This share of calls fails with a 500.
    Errors(f64),
    /// So many requests a minute; 429 with `Retry-After` beyond.
    RateLimit(u32),
}

impl Default for Simulated {
    fn default() -> Self {
        Self {
            first_token_ms: 300.0,
            sigma: 0.4,
            token_ms: 15.0,
            capacity: 60.0,
            fault: Fault::None,
            outages: Vec::new(),
        }
    }
}

/// Deployments and the requests that arrive.
#[derive(Debug, Clone)]
pub struct World {
    /// The deployments, equals by configuration.
    pub deployments: Vec<Simulated>,
    /// Requests a second, a Poisson process.
    pub rate: f64,
    /// How long requests arrive, milliseconds.
    pub duration_ms: Millis,
    /// Seed of everything.
    pub seed: u64,
}

/// What callers and providers saw.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Time to the first token of each request that got one, milliseconds, from its arrival.
    pub first_tokens: Vec<Millis>,
    /// Requests.
    pub requests: u32,
    /// Requests that failed before their first token.
    pub lost: u32,
    /// Requests whose answer broke off after its first token.
    pub broken: u32,
    /// Calls to providers.
    pub calls: u32,
    /// Calls by deployment and second.
    pub by_second: Vec<Vec<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// A request tries again.
    Again(usize),
    FirstToken(usize),
    End(usize),
}

struct Request {
    arrived: Millis,
    tokens: u64,
    calls: u32,
    tried: Vec<usize>,
}

struct Call {
    request: usize,
    deployment: usize,
    started: Millis,
    first_token: Option<Millis>,
    outcome: CallOutcome,
}

struct Engine<'w> {
    world: &'w World,
    rng: fastrand::Rng,
    events: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    count: u64,
    requests: Vec<Request>,
    calls: Vec<Call>,
    in_flight: Vec<u32>,
    /// Requests of the present minute, by deployment.
    minutes: Vec<(Millis, u32)>,
    run: Run,
}

/// Lets the requests of a world run through a strategy.
pub fn run(world: &World, strategy: &mut dyn Strategy) -> Run {
    let count = world.deployments.len();
    let seconds = usize::try_from(world.duration_ms / 1_000 + 1).unwrap_or(0);
    let mut engine = Engine {
        world,
        rng: fastrand::Rng::with_seed(world.seed),
        events: BinaryHeap::new(),
        count: 0,
        requests: Vec::new(),
        calls: Vec::new(),
        in_flight: vec![0; count],
        minutes: vec![(0, 0); count],
        run: Run { by_second: vec![vec![0; seconds]; count], ..Run::default() },
    };
    engine.at(0, Event::Arrival);
    while let Some(Reverse((now, _, event))) = engine.events.pop() {
        match event {
            Event::Arrival => engine.arrive(now, strategy),
            Event::Again(request) => engine.call(now, request, strategy),
            Event::FirstToken(call) => engine.first_token(now, call, strategy),
            Event::End(call) => engine.end(now, call, strategy),
        }
    }
    engine.run
}

impl Engine<'_> {
    fn at(&mut self, when: Millis, event: Event) {
        self.count += 1;
        self.events.push(Reverse((when, self.count, event)));
    }

    fn normal(&mut self) -> f64 {
        let (one, other) = (self.rng.f64().max(1e-12), self.rng.f64());
        (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }

    fn arrive(&mut self, now: Millis, strategy: &mut dyn Strategy) {
        let pause = -self.rng.f64().max(1e-12).ln() / self.world.rate * 1_000.0;
        let next = now + (pause as Millis).max(1);
        if next < self.world.duration_ms {
            self.at(next, Event::Arrival);
        }
        let tokens = (100.0 * (0.6 * self.normal()).exp()) as u64 + 1;
        self.requests.push(Request { arrived: now, tokens, calls: 0, tried: Vec::new() });
        self.run.requests += 1;
        strategy.arrived(now);
        self.call(now, self.requests.len() - 1, strategy);
    }

    fn call(&mut self, now: Millis, number: usize, strategy: &mut dyn Strategy) {
        let request = &self.requests[number];
        let Some(deployment) = strategy.choose(now, number, &request.tried, &mut self.rng) else {
            self.run.lost += 1;
            return;
        };
        let tokens = request.tokens;
        self.requests[number].calls += 1;
        self.requests[number].tried.push(deployment);
        self.run.calls += 1;
        let second = usize::try_from(now / 1_000).unwrap_or(usize::MAX);
        if let Some(calls) = self.run.by_second[deployment].get_mut(second) {
            *calls += 1;
        }
        strategy.started(now, number, deployment, tokens);
        let (first_token, ends, outcome) = self.fate(now, deployment, tokens);
        self.in_flight[deployment] += 1;
        let call = Call { request: number, deployment, started: now, first_token, outcome };
        self.calls.push(call);
        let id = self.calls.len() - 1;
        if let Some(first) = first_token {
            self.at(first, Event::FirstToken(id));
        }
        self.at(ends, Event::End(id));
    }

    /// When the first token comes, when the call ends, and how.
    fn fate(
        &mut self,
        now: Millis,
        number: usize,
        tokens: u64,
    ) -> (Option<Millis>, Millis, CallOutcome) {
        let failed = |class| CallOutcome::Failed(class);
        let deployment = self.world.deployments[number].clone();
        let down = |from: Millis, to: Millis| {
            let outages = deployment.outages.iter();
            outages
                .filter(|(start, end)| *start <= to && from < *end)
                .map(|(start, _)| *start)
                .min()
        };
        if down(now, now).is_some() {
            return (None, now + 1, failed(FailureClass::Connect));
        }
        let mut slow = 1.0;
        match deployment.fault {
            Fault::None => {}
            Fault::Slow(times) => slow = times,
            Fault::Errors(share) if self.rng.f64() < share => {
                return (None, now + 20 + self.rng.u64(..80), failed(FailureClass::ServerError));
            }
            Fault::Errors(_) => {}
            Fault::RateLimit(most) => {
                let (minute, sent) = &mut self.minutes[number];
                if now / 60_000 != *minute {
                    (*minute, *sent) = (now / 60_000, 0);
                }
                if *sent >= most {
                    let left = 60_000 - now % 60_000;
                    let outcome = CallOutcome::Throttled { retry_after_ms: Some(left) };
                    return (None, now + 20, outcome);
                }
                *sent += 1;
            }
        }
        let busy = f64::from(self.in_flight[number]) / deployment.capacity;
        let factor = (deployment.sigma * self.normal()).exp() * slow * (1.0 + busy * busy);
        let first_ms = (deployment.first_token_ms * factor) as Millis + 1;
        let total_ms = first_ms + (deployment.token_ms * slow * tokens as f64) as Millis;
        let (first, end) = (now + first_ms, now + total_ms);
        match down(now, end) {
            Some(at) if at <= first => (None, at, failed(FailureClass::Connect)),
            Some(at) => (Some(first), at, failed(FailureClass::BrokenAnswer)),
            None => {
                let outcome = CallOutcome::Completed {
                    first_token_ms: first_ms,
                    total_ms,
                    completion_tokens: tokens,
                };
                (Some(first), end, outcome)
            }
        }
    }

    fn first_token(&mut self, now: Millis, id: usize, strategy: &mut dyn Strategy) {
        let call = &self.calls[id];
        self.run.first_tokens.push(now - self.requests[call.request].arrived);
        strategy.first_token(now, call.request, call.deployment, now - call.started);
    }

    fn end(&mut self, now: Millis, id: usize, strategy: &mut dyn Strategy) {
        let call = &self.calls[id];
        let (number, deployment, outcome) = (call.request, call.deployment, call.outcome);
        let begun = call.first_token.is_some();
        self.in_flight[deployment] -= 1;
        strategy.ended(now, number, deployment, &outcome);
        let completed = matches!(outcome, CallOutcome::Completed { .. });
        if begun {
            self.run.broken += u32::from(!completed);
            return;
        }
        let calls = self.requests[number].calls;
        match strategy.again(now, number, calls, &outcome, &mut self.rng) {
            Some(pause) => self.at(now + pause, Event::Again(number)),
            None => self.run.lost += 1,
        }
    }
}
