use std::collections::HashMap;

use routing::{
    Admittance, Availability, Breaker, BreakerOptions, CallOutcome, Capabilities,
    DeploymentProfile, Extra, Facts, Finish, Health, InFlight, LoadMeter, Millis, PlanOptions,
    PromptFeatures, Requirements, RetryBudget, RetryOptions, RouteRequest, Situation,
    Unavailability, plan,
};

use super::strategy::Strategy;

/// Tokens that an answer is expected to have.
const EXPECTED: u64 = 120;
/// How much better a deployment looks that was never asked, as in the gateway.
const UNTRIED: f64 = 0.01;

/// The code that serves requests: plans over breakers and load, failover within a retry budget, as the
/// gateway composes it. No hedging, and no limits known in advance.
#[derive(Debug)]
pub struct Router {
    profiles: Vec<DeploymentProfile>,
    breakers: Vec<Breaker>,
    meters: Vec<LoadMeter>,
    budget: RetryBudget,
    retries: RetryOptions,
    options: PlanOptions,
    /// Calls under way and failovers so far, by request.
    under_way: HashMap<usize, (InFlight, bool)>,
    failovers: HashMap<usize, u32>,
    rng: fastrand::Rng,
}

impl Router {
    /// Over so many equal deployments, with the defaults of the configuration.
    #[must_use]
    pub fn new(count: usize, seed: u64) -> Self {
        let profile = |number: usize| DeploymentProfile {
            name: format!("provider/{number}").into(),
            ..DeploymentProfile::default()
        };
        let profiles: Vec<_> = (0..count).map(profile).collect();
        let retries = RetryOptions::default();
        Self {
            breakers: vec![Breaker::new(&BreakerOptions::default()); count],
            meters: profiles
                .iter()
                .map(|profile| LoadMeter::new(profile.first_token_ms, profile.token_ms, 1.0))
                .collect(),
            profiles,
            budget: RetryBudget::new(&retries),
            retries,
            options: PlanOptions::default(),
            under_way: HashMap::new(),
            failovers: HashMap::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    fn facts(&self, place: usize, now: Millis) -> Facts {
        let meter = &self.meters[place];
        let first_token_ms = meter.first_token_ms(now);
        let away = |until, why| Availability::Unavailable { until, why };
        let untried = if meter.is_untried() { UNTRIED } else { 1.0 };
        Facts {
            cost_nanos: Some(0),
            first_token_ms,
            total_ms: first_token_ms + meter.token_ms(now) * EXPECTED as f64,
            quality: 0.7,
            load: untried * meter.score(now, EXPECTED),
            availability: match self.breakers[place].peek(now) {
                Health::Closed => Availability::Ready,
                Health::Ramping { share } => Availability::Ramping(share as f32),
                Health::HalfOpen { free_probes: 0 } => {
                    away(now + 1_000, Unavailability::CircuitOpen)
                }
                Health::HalfOpen { .. } => Availability::Probing,
                Health::Open { until } => away(until, Unavailability::CircuitOpen),
                Health::Cooling { until } => away(until, Unavailability::Cooldown),
            },
            barred: None,
        }
    }
}

impl Strategy for Router {
    fn arrived(&mut self, now: Millis) {
        self.budget.deposit(now);
    }

    fn choose(
        &mut self,
        now: Millis,
        _: usize,
        tried: &[usize],
        _: &mut fastrand::Rng,
    ) -> Option<usize> {
        let request = RouteRequest {
            prompt_tokens: 100,
            max_output_tokens: None,
            expected_output_tokens: EXPECTED,
            needs: Capabilities::NONE,
            requirements: Requirements::default(),
            allowed_providers: None,
            features: PromptFeatures::default(),
            conversation: None,
            continues: false,
        };
        let facts: Vec<Facts> =
            (0..self.profiles.len()).map(|place| self.facts(place, now)).collect();
        let situation = Situation {
            profiles: &self.profiles,
            facts: &facts,
            request: &request,
            options: &self.options,
            learned: None,
            sticky: None,
        };
        let plan = plan(&situation, &mut self.rng).ok()?;
        let fresh = plan.order.into_iter().filter(|place| !tried.contains(place));
        for place in fresh {
            match self.breakers[place].admit(now, &mut self.rng) {
                Admittance::Refuse { .. } => {}
                Admittance::Admit | Admittance::Probe | Admittance::Deflect => return Some(place),
            }
        }
        None
    }

    fn started(&mut self, now: Millis, request: usize, deployment: usize, _: u64) {
        let probes = matches!(self.breakers[deployment].peek(now), Health::HalfOpen { .. });
        let in_flight = self.meters[deployment].begin(now, 100, EXPECTED, true);
        self.under_way.insert(request, (in_flight, probes));
    }

    fn first_token(&mut self, now: Millis, request: usize, deployment: usize, took_ms: Millis) {
        let Some((in_flight, probes)) = self.under_way.get_mut(&request) else { return };
        let probes = std::mem::take(probes);
        if probes {
            self.meters[deployment].answers_again();
        }
        self.meters[deployment].first_token(now, in_flight, took_ms);
        if probes {
            self.breakers[deployment].probe_answered(now, took_ms);
        }
    }

    fn ended(&mut self, now: Millis, request: usize, deployment: usize, outcome: &CallOutcome) {
        let Some((in_flight, probes)) = self.under_way.remove(&request) else { return };
        let finish = match *outcome {
            CallOutcome::Completed { first_token_ms, total_ms, completion_tokens } => {
                Finish::Done { completion_tokens, total_ms, first_token_ms: Some(first_token_ms) }
            }
            CallOutcome::Neutral => Finish::Abandoned,
            _ => Finish::Failed,
        };
        self.meters[deployment].finish(now, in_flight, finish);
        self.breakers[deployment].record(now, outcome, probes);
    }

    fn again(
        &mut self,
        now: Millis,
        request: usize,
        _: u32,
        outcome: &CallOutcome,
        _: &mut fastrand::Rng,
    ) -> Option<Millis> {
        let failovers = self.failovers.entry(request).or_default();
        let extra = Extra::of(outcome, true, *failovers);
        let worked = u32::from(outcome.worked());
        if *failovers + worked >= self.retries.max_attempts || !self.budget.permits(now, extra) {
            return None;
        }
        *failovers += worked;
        Some(0)
    }
}
