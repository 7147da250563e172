//! What was observed of deployments and routes. It outlives the configuration, and is shared by all
//! workers; locks are held for the few steps of a state machine and never across a wait.

use std::hash::RandomState;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use routing::local::{
    EngineLoad, EngineOptions, EngineState, OutputFeatures, OutputPredictor, PredictorOptions,
    PrefixIndex,
};
use routing::{
    Admittance, Breaker, BreakerOptions, CallOutcome, DeploymentProfile, Extra, Finish,
    FirstTokenQuantile, Health, HedgeBudget, HedgeOptions, InFlight, KnownRateLimit,
    LearnedOptions, LearnedPolicy, LoadMeter, Millis, PatternBook, PatternRow, PromptFeatures,
    QualityBook, QualityPriors, RateWindow, RetryBudget, RetryOptions, SharedHealth, Stickiness,
    Taken, Transition, hedge_delay,
};

use super::coalesce::Coalescer;
use super::turns::AnsweredTurns;

/// Milliseconds since the process began to count: the clock of the router.
#[must_use]
pub fn now() -> Millis {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    // Not from zero: what was a while ago must have a time too.
    const BEGINNING: Millis = 86_400_000;
    let elapsed = STARTED.get_or_init(Instant::now).elapsed().as_millis();
    BEGINNING + u64::try_from(elapsed).unwrap_or(u64::MAX / 2)
}

/// What was observed of a deployment.
#[derive(Debug)]
pub struct DeploymentState {
    breaker: Mutex<Breaker>,
    load: Mutex<LoadMeter>,
    window: Option<Mutex<RateWindow>>,
    engine: Mutex<EngineState>,
    first_tokens: Mutex<FirstTokenQuantile>,
}

/// How fast a deployment is, as far as was observed.
#[derive(Debug, Clone, Copy)]
pub struct ObservedSpeed {
    /// Expected time to the first token, milliseconds.
    pub first_token_ms: f64,
    /// Expected time for each further token, milliseconds.
    pub token_ms: f64,
    /// Share of the recent calls that failed, 0 to 1.
    pub failure_share: f64,
    /// Requests of this process under way there.
    pub in_flight: u32,
}

/// What a deployment looks like to a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) health: Health,
    /// When the provider's known limits let the request through; `None`: now.
    pub(super) limited_until: Option<Millis>,
    pub(super) first_token_ms: f64,
    pub(super) total_ms: f64,
    pub(super) load: f64,
}

impl DeploymentState {
    /// Nothing was observed yet.
    #[must_use]
    pub fn new(
        profile: &DeploymentProfile,
        breaker: &BreakerOptions,
        limits: &KnownRateLimit,
    ) -> Self {
        let load = LoadMeter::new(profile.first_token_ms, profile.token_ms, profile.weight);
        let limited = *limits != KnownRateLimit::default();
        Self {
            breaker: Mutex::new(Breaker::new(breaker)),
            load: Mutex::new(load),
            window: limited.then(|| Mutex::new(RateWindow::new(*limits))),
            engine: Mutex::default(),
            first_tokens: Mutex::default(),
        }
    }

    /// Goes on with other options.
    pub fn reconfigure(&self, breaker: &BreakerOptions) {
        self.breaker.lock().reconfigure(breaker);
    }

    /// How it looks to a request, without changing anything.
    pub(super) fn seen(&self, now: Millis, tokens: u64, expected_output: u64) -> Seen {
        let health = self.breaker.lock().peek(now);
        let limited_until =
            self.window.as_ref().and_then(|window| match window.lock().fits_in(now, tokens) {
                Some(0) => None,
                Some(wait) => Some(now.saturating_add(wait)),
                None => Some(Millis::MAX),
            });
        let engine = {
            let engine = self.engine.lock();
            let busy = |load: EngineLoad| (load, engine.score(now, &EngineOptions::default()));
            engine.load().map(busy).map(|(_, busy)| f64::from(busy))
        };
        let load = self.load.lock();
        let first_token_ms = load.first_token_ms(now);
        // Each is tried, and not only the one that happened to be first.
        let untried = if load.is_untried() { 0.0 } else { 1.0 };
        Seen {
            health,
            limited_until,
            first_token_ms,
            total_ms: first_token_ms + load.token_ms(now) * expected_output as f64,
            // What others do to an engine shows in its own word only.
            load: untried
                * load.score(now, expected_output)
                * (1.0 + engine.unwrap_or(0.0) / BUSY_ENGINE),
        }
    }

    /// Asks whether a request may go to it now, and takes its places if so.
    pub(super) fn admit(&self, now: Millis, tokens: u64) -> Result<(bool, Option<Taken>), Millis> {
        let taken = match &self.window {
            Some(window) => {
                let mut window = window.lock();
                match window.fits_in(now, tokens) {
                    Some(0) => Some(window.take(now, tokens)),
                    Some(wait) => return Err(now.saturating_add(wait)),
                    None => return Err(Millis::MAX),
                }
            }
            None => None,
        };
        let admittance = self.breaker.lock().admit(now, &mut fastrand::Rng::new());
        match admittance {
            // Who has nowhere else to go is not sent away by a ramp: the plan has asked already.
            Admittance::Admit | Admittance::Deflect => Ok((false, taken)),
            Admittance::Probe => Ok((true, taken)),
            Admittance::Refuse { until } => {
                if let (Some(window), Some(taken)) = (&self.window, taken) {
                    window.lock().give_back(now, taken);
                }
                Err(until)
            }
        }
    }

    /// What was taken of the provider's known limits was used to this extent.
    pub(super) fn settle(&self, now: Millis, taken: Option<Taken>, used: u64) {
        if let (Some(window), Some(taken)) = (&self.window, taken) {
            window.lock().settle(now, taken, used);
        }
    }

    /// A call begins.
    pub(super) fn begin(
        &self,
        now: Millis,
        prompt: u64,
        expected_output: u64,
        streamed: bool,
    ) -> InFlight {
        self.engine.lock().began();
        self.load.lock().begin(now, prompt, expected_output, streamed)
    }

    /// The first token of a call came.
    pub(super) fn first_token(
        &self,
        now: Millis,
        in_flight: &mut InFlight,
        took_ms: Millis,
        was_probe: bool,
    ) -> Option<Transition> {
        {
            let mut load = self.load.lock();
            if was_probe {
                load.answers_again();
            }
            load.first_token(now, in_flight, took_ms);
        }
        was_probe.then(|| self.breaker.lock().probe_answered(now, took_ms)).flatten()
    }

    /// A call ended.
    pub(super) fn finish(
        &self,
        now: Millis,
        in_flight: InFlight,
        finish: Finish,
        outcome: &CallOutcome,
        was_probe: bool,
    ) -> Option<Transition> {
        self.engine.lock().ended();
        {
            let mut load = self.load.lock();
            if was_probe && matches!(finish, Finish::Done { .. }) {
                load.answers_again();
            }
            load.finish(now, in_flight, finish);
        }
        self.breaker.lock().record(now, outcome, was_probe)
    }

    /// Takes note of a question that cost no tokens.
    pub fn probed(&self, now: Millis, healthy: bool) -> Option<Transition> {
        self.breaker.lock().probe_result(now, healthy)
    }

    /// What other replicas should know of it; `None`: nothing.
    #[must_use]
    pub fn shared_health(&self, now: Millis) -> Option<SharedHealth> {
        self.breaker.lock().shared(now)
    }

    /// Takes over what another replica knows.
    pub fn merge_health(&self, now: Millis, health: &SharedHealth) -> Option<Transition> {
        self.breaker.lock().merge(now, health)
    }

    /// How it is.
    #[must_use]
    pub fn health(&self, now: Millis) -> Health {
        self.breaker.lock().peek(now)
    }

    /// How fast it is, as far as was observed.
    #[must_use]
    pub fn observed(&self, now: Millis) -> ObservedSpeed {
        let load = self.load.lock();
        ObservedSpeed {
            first_token_ms: load.first_token_ms(now),
            token_ms: load.token_ms(now),
            failure_share: load.failure_share(now),
            in_flight: load.requests_in_flight(),
        }
    }

    /// What its engine said of itself.
    pub fn scraped(&self, load: EngineLoad) {
        self.engine.lock().scraped(load);
    }

    /// What its engine said of itself last.
    #[must_use]
    pub fn engine_load(&self) -> Option<EngineLoad> {
        self.engine.lock().load()
    }

    /// Requests under way there, as far as is known.
    pub(super) fn requests(&self, now: Millis) -> f32 {
        self.engine.lock().score(now, &EngineOptions::default())
    }

    /// A first token took so long.
    pub(super) fn observe_first_token(&self, took_ms: Millis) {
        self.first_tokens.lock().add(took_ms);
    }

    /// How long to wait for a first token before another deployment is asked besides; `None`: for
    /// as long as it takes.
    pub(crate) fn hedge_delay(&self, options: &HedgeOptions) -> Option<Millis> {
        hedge_delay(options, &self.first_tokens.lock())
    }
}

/// What was observed of a route.
#[derive(Debug)]
pub struct RouteState {
    pub(super) quality: Mutex<QualityBook>,
    pub(super) learned: Mutex<LearnedPolicy>,
    retries: Mutex<RetryBudget>,
    hedges: Mutex<HedgeBudget>,
    lengths: Mutex<OutputPredictor>,
    pub(super) conversations: Mutex<Stickiness>,
    pub(super) patterns: Mutex<PatternBook>,
    pub(super) turns: Mutex<AnsweredTurns>,
    /// Calls that identical requests share.
    pub(crate) coalescer: Arc<Coalescer>,
    /// Which engines have which beginnings of prompts in their caches; `None`: there are no pools.
    pub(super) prefixes: Option<Mutex<PrefixIndex>>,
    hasher: RandomState,
}

/// Requests in an engine that make it look twice as loaded as without them.
const BUSY_ENGINE: f64 = 8.0;

impl RouteState {
    /// Nothing was observed yet.
    #[must_use]
    pub fn new(
        retries: &RetryOptions,
        hedges: &HedgeOptions,
        learned: &LearnedOptions,
        stickiness_ms: Millis,
        has_engines: bool,
    ) -> Self {
        Self {
            quality: Mutex::default(),
            learned: Mutex::new(LearnedPolicy::new(learned.clone())),
            retries: Mutex::new(RetryBudget::new(retries)),
            hedges: Mutex::new(HedgeBudget::new(hedges)),
            lengths: Mutex::new(OutputPredictor::new(&PredictorOptions {
                slots: 256,
                ..PredictorOptions::default()
            })),
            conversations: Mutex::new(Stickiness::new(16_384, stickiness_ms)),
            patterns: Mutex::default(),
            turns: Mutex::default(),
            coalescer: Arc::default(),
            prefixes: has_engines.then(super::decide::prefix_index),
            hasher: RandomState::new(),
        }
    }

    /// The key of the hashes that name conversations.
    pub(super) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// What outcomes have taught, by kind of request and deployment.
    #[must_use]
    pub fn patterns(&self) -> Vec<PatternRow> {
        self.patterns.lock().rows().collect()
    }

    /// Goes on with another configuration: deployments by name and declared quality.
    pub fn reload<'d>(
        &self,
        learned: &LearnedOptions,
        deployments: impl IntoIterator<Item = (&'d str, &'d QualityPriors)>,
    ) {
        self.learned.lock().reload(learned.clone(), deployments);
    }

    /// A request came: it adds to what may be tried again and hedged.
    pub(crate) fn deposit(&self, now: Millis) {
        self.retries.lock().deposit(now);
        self.hedges.lock().deposit();
    }

    pub(crate) fn with_retries<T>(&self, with: impl FnOnce(&mut RetryBudget) -> T) -> T {
        with(&mut self.retries.lock())
    }

    /// Whether a second deployment may be asked besides.
    pub(crate) fn permits_hedge(&self, now: Millis) -> bool {
        let permitted = self.hedges.lock().permits();
        if permitted && !self.retries.lock().permits(now, Extra::Addition) {
            self.hedges.lock().give_back();
            return false;
        }
        permitted
    }

    /// The second deployment was not asked after all.
    pub(crate) fn give_hedge_back(&self) {
        self.hedges.lock().give_back();
        self.retries.lock().give_back();
    }

    /// Tokens that an answer to such a request has, at this quantile.
    pub(super) fn expected_output(
        &self,
        features: &PromptFeatures,
        prompt_tokens: u64,
        quantile: f32,
    ) -> u64 {
        self.lengths.lock().predict(&output_features(features, prompt_tokens), quantile)
    }

    /// An answer had so many tokens.
    pub(super) fn observe_output(
        &self,
        features: &PromptFeatures,
        prompt_tokens: u64,
        tokens: u64,
    ) {
        self.lengths.lock().observe(&output_features(features, prompt_tokens), tokens);
    }
}

fn output_features(features: &PromptFeatures, prompt_tokens: u64) -> OutputFeatures {
    let PromptFeatures { class, complexity, .. } = *features;
    OutputFeatures { route: 0, class, complexity, prompt_tokens }
}
