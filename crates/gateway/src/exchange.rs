//! One request while it is served, and its end: counted and logged exactly once, whatever happens.

mod ending;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chat::{ApiError, ErrorKind, Usage};
use dialects::Adaptation;
use identity::Principal;
use metering::{ChargedUsage, LedgerEntry, LedgerOutcome, Price};
use providers::Timeouts;
use telemetry::{AttemptLabels, AttemptOutcome, Stage};

use crate::accounting::{Attempt, Charged, Delivered, Held};
use crate::codec;
use crate::failover;
use crate::gateway::Gateway;
use crate::guard::Guarded;
use crate::race::Race;
use crate::routing::{Decided, Watch};
use crate::snapshot::{Deployment, Route, Snapshot};
use crate::surface::{Surface, Vendor};
use crate::worker::record_id;

/// The status that stands for a caller who went away before the answer (nginx's).
const CALLER_GONE: u16 = 499;

/// Tokens of a running stream after which limits and budgets are told anew what it has used.
const OVERRUN_SLICE: u64 = 64;

/// One request while it is served. Dropping it settles it: metrics and log say how it ended, and
/// an exchange that nobody finished ended because its caller went away.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) surface: Surface,
    /// In whose words the caller is answered.
    pub(crate) vendor: Vendor,
    pub(crate) request_id: String,
    /// Unique, unlike the request id, which may be the caller's own.
    record_id: String,
    pub(crate) started: Instant,
    pub(crate) principal: Option<Principal>,
    pub(crate) route: Option<Arc<Route>>,
    /// The deployment that serves it, or was last tried.
    pub(crate) deployment: Option<Arc<Deployment>>,
    pub(crate) attempts: u32,
    /// Time spent waiting for providers before the first byte of the answer.
    pub(crate) waited: Duration,
    pub(crate) adaptations: Vec<Adaptation>,
    pub(crate) usage: Option<Usage>,
    /// The provider's name of the model that answered, where it said.
    pub(crate) response_model: Option<String>,
    pub(crate) streamed: bool,
    pub(crate) time_to_first_token: Option<Duration>,
    /// Where the caller calls from.
    pub(crate) peer: Option<IpAddr>,
    /// Names by which the request's spend can be told apart.
    pub(crate) tags: Vec<String>,
    /// Its place in the limits and its promises of money.
    pub(crate) held: Held,
    /// Tokens of the prompt, an estimate.
    pub(crate) prompt_estimate: u64,
    /// Pictures in the prompt, counted where they cost something by themselves.
    pub(crate) images: u64,
    /// What went out of the running attempt so far.
    pub(crate) delivered: Delivered,
    /// The call to a provider that is running and may be charged for.
    attempt: Option<Attempt>,
    /// Delivered tokens at which limits and budgets were last told of more than was reserved.
    overrun_noted: u64,
    /// What attempts before the running one were charged with.
    charged_before: Usage,
    charged: Charged,
    /// What lies between this call and others for the same request.
    pub(crate) race: Option<Arc<Race>>,
    /// Whether it stands for the request, not for a further call only.
    pub(crate) first_call: bool,
    /// How its deployment was chosen.
    pub(crate) decided: Option<Box<Decided>>,
    /// Watches how the deployment does.
    pub(crate) watch: Option<Watch>,
    /// What the guard found, and what is to be put back into the answer.
    pub(crate) guarded: Option<Arc<Guarded>>,
    /// When nobody waits for the answer any more.
    pub(crate) deadline: Option<Instant>,
    stage_started: Instant,
    stages: [Duration; 6],
    status: u16,
    error: Option<ErrorKind>,
    error_code: Option<String>,
    /// The model, or its provider's filter, would not answer.
    pub(crate) declined: bool,
    finished: bool,
}

impl Exchange {
    pub(crate) fn begin(
        gateway: Arc<Gateway>,
        snapshot: Arc<Snapshot>,
        surface: Surface,
        request_id: String,
    ) -> Box<Self> {
        let now = Instant::now();
        gateway.metrics().in_flight.inc();
        Box::new(Self {
            gateway,
            snapshot,
            surface,
            vendor: surface.vendor(),
            request_id,
            record_id: record_id(now_ms()),
            started: now,
            principal: None,
            route: None,
            deployment: None,
            attempts: 0,
            waited: Duration::ZERO,
            adaptations: Vec::new(),
            usage: None,
            response_model: None,
            streamed: false,
            time_to_first_token: None,
            peer: None,
            tags: Vec::new(),
            held: Held::default(),
            prompt_estimate: 0,
            images: 0,
            delivered: Delivered::default(),
            attempt: None,
            overrun_noted: 0,
            charged_before: Usage::default(),
            charged: Charged::default(),
            race: None,
            first_call: true,
            decided: None,
            watch: None,
            deadline: None,
            guarded: None,
            stage_started: now,
            stages: [Duration::ZERO; 6],
            status: CALLER_GONE,
            error: None,
            error_code: None,
            declined: false,
            finished: false,
        })
    }

    /// The exchange of a further call for the same request.
    pub(crate) fn begin_further(first: &Self) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            gateway: Arc::clone(&first.gateway),
            snapshot: Arc::clone(&first.snapshot),
            surface: first.surface,
            vendor: first.vendor,
            request_id: first.request_id.clone(),
            record_id: first.record_id.clone(),
            started: first.started,
            principal: first.principal.clone(),
            route: first.route.clone(),
            deployment: None,
            attempts: first.attempts,
            waited: first.waited,
            adaptations: Vec::new(),
            usage: None,
            response_model: None,
            streamed: false,
            time_to_first_token: None,
            peer: first.peer,
            tags: first.tags.clone(),
            held: Held::default(),
            prompt_estimate: first.prompt_estimate,
            images: first.images,
            delivered: Delivered::default(),
            attempt: None,
            overrun_noted: 0,
            charged_before: Usage::default(),
            charged: Charged::default(),
            race: None,
            first_call: false,
            decided: None,
            watch: None,
            deadline: first.deadline,
            guarded: first.guarded.clone(),
            stage_started: now,
            stages: first.stages,
            status: CALLER_GONE,
            error: None,
            error_code: None,
            declined: false,
            finished: false,
        })
    }

    /// A stage of the pipeline is over.
    pub(crate) fn stage(&mut self, stage: Stage) {
        let now = Instant::now();
        let took = now - self.stage_started;
        self.stage_started = now;
        self.stages[stage as usize] = took;
        self.gateway.metrics().observe_stage(stage, took);
    }

    /// What the proxy itself has added so far.
    pub(crate) fn overhead(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited)
    }

    /// The stages so far as a `Server-Timing` value (W3C Server Timing).
    pub(crate) fn server_timing(&self) -> String {
        let names = ["identify", "receive", "guard", "plan", "dispatch", "encode"];
        let entries: Vec<String> = names
            .iter()
            .zip(self.stages)
            .map(|(name, took)| format!("{name};dur={:.3}", took.as_secs_f64() * 1000.0))
            .collect();
        entries.join(", ")
    }

    /// The answer went out whole, with this status.
    pub(crate) fn finish(&mut self, status: u16) {
        self.status = status;
        self.finished = true;
        if let Some(watch) = self.watch.take() {
            watch.completed(self.usage.map(|usage| usage.completion_tokens));
        }
    }

    /// The request was refused or failed.
    pub(crate) fn fail(&mut self, status: u16, error: &ApiError) {
        if let Some(watch) = self.watch.take() {
            watch.failed(error);
        }
        self.error = Some(error.kind);
        self.error_code.clone_from(&error.code);
        self.finish(status);
    }

    /// How long to wait for a deployment: not beyond the caller's own deadline.
    pub(crate) fn timeouts(&self, deployment: &Deployment) -> Timeouts {
        let mut timeouts = deployment.timeouts;
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            timeouts.first_byte = timeouts.first_byte.min(left);
            timeouts.total = timeouts.total.min(left);
        }
        timeouts
    }

    /// Whether something was taken out of the request that is to be put back into the answer.
    pub(crate) fn restores(&self) -> bool {
        self.guarded.as_ref().is_some_and(|guarded| !guarded.pseudonyms.is_empty())
    }

    /// Whether there is a choice of deployments, so that it matters how good their answers are.
    pub(crate) fn has_choice(&self) -> bool {
        let decided = self.decided.as_ref();
        decided.is_some_and(|decided| decided.route.deployments.len() > 1)
    }

    /// What it was charged so far, nano-roubles.
    pub(crate) fn charged_nanos(&self) -> i64 {
        self.charged.nanos
    }

    /// A provider is about to be called: from here on it may charge.
    ///
    /// # Errors
    /// When that cannot be recorded, or the price is not known and must be.
    pub(crate) fn begin_attempt(&mut self, deployment: &Deployment) -> Result<(), ApiError> {
        let now_ms = now_ms();
        let prices = deployment.prices.as_ref();
        let price = match prices.and_then(|prices| prices.at(now_ms)) {
            Some(price) => Arc::clone(price),
            None => Arc::new(Price::free()),
        };
        let owned = |id: Option<&Arc<str>>| id.map(|id| id.as_ref().to_owned());
        let principal = self.principal.as_ref();
        let key_tags = principal.map(Principal::tags).unwrap_or_default();
        let entry = LedgerEntry {
            id: format!("{}-{}", self.record_id, self.attempts),
            request_id: self.request_id.clone(),
            at_ms: now_ms,
            tenant: owned(principal.and_then(Principal::tenant_id)).unwrap_or_default(),
            team: owned(principal.and_then(Principal::team_id)),
            user: owned(principal.and_then(Principal::user_id)),
            key: principal.map_or_else(String::new, |principal| match principal.key_id() {
                Some(id) => id.as_ref().to_owned(),
                None => principal.name().to_owned(),
            }),
            tags: key_tags
                .iter()
                .map(|tag| tag.as_ref().to_owned())
                .chain(self.tags.iter().cloned())
                .collect(),
            surface: self.surface.name().to_owned(),
            route: self.route.as_ref().map(|route| route.name.clone()).unwrap_or_default(),
            provider: deployment.provider.name().to_owned(),
            model: deployment.model.clone(),
            usage: ChargedUsage {
                prompt_tokens: self.prompt_estimate,
                images: self.images,
                ..ChargedUsage::default()
            },
            cost_nanos: 0,
            avoided_nanos: 0,
            price: String::new(),
            estimated: false,
            outcome: LedgerOutcome::Recovered,
        };
        self.forget_attempt();
        let journal = self.gateway.accounting().journal();
        self.attempt = Some(Attempt::begin(journal, entry, price)?);
        Ok(())
    }

    /// Another deployment is tried: nothing is known of its answer yet.
    pub(crate) fn start_over(&mut self) {
        self.usage = None;
        self.charged_before = Usage::default();
    }

    /// The provider failed in a way that it does not charge for.
    pub(crate) fn forget_attempt(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.forget();
        }
        self.delivered = Delivered::default();
        self.overrun_noted = 0;
    }

    /// More of the answer went out.
    pub(crate) fn note_delivered(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        let delivered = self.delivered.tokens();
        attempt.progress(delivered);
        if delivered < self.overrun_noted.saturating_add(OVERRUN_SLICE) {
            return;
        }
        self.overrun_noted = delivered;
        let used = self.charged.tokens.saturating_add(self.prompt_estimate + delivered);
        if let Some(admission) = &mut self.held.admission {
            admission.used_so_far(self.gateway.accounting().now_ns(), used);
        }
        if !self.held.reservations.is_empty() {
            let usage = Usage {
                prompt_tokens: self.prompt_estimate,
                completion_tokens: delivered,
                ..Usage::default()
            };
            let nanos = self.charged.nanos.saturating_add(attempt.cost_of(&usage));
            for reservation in &mut self.held.reservations {
                reservation.grow_to(nanos);
            }
        }
    }

    /// What the running attempt costs by what is known of it, nano-roubles.
    pub(crate) fn cost_so_far(&self) -> Option<i64> {
        let attempt = self.attempt.as_ref()?;
        let usage = self.usage?;
        Some(self.charged.nanos.saturating_add(attempt.cost_of(&self.since_charged(&usage))))
    }

    fn since_charged(&self, usage: &Usage) -> Usage {
        let before = &self.charged_before;
        Usage {
            prompt_tokens: usage.prompt_tokens.saturating_sub(before.prompt_tokens),
            cached_prompt_tokens: usage
                .cached_prompt_tokens
                .saturating_sub(before.cached_prompt_tokens),
            cache_write_tokens: usage.cache_write_tokens.saturating_sub(before.cache_write_tokens),
            completion_tokens: usage.completion_tokens.saturating_sub(before.completion_tokens),
            reasoning_tokens: usage.reasoning_tokens.saturating_sub(before.reasoning_tokens),
        }
    }

    /// The running attempt is over and is charged for.
    pub(crate) fn charge_attempt(&mut self, outcome: LedgerOutcome) {
        let Some(attempt) = self.attempt.take() else { return };
        let usage = self.usage.map(|usage| self.since_charged(&usage));
        let delivered = std::mem::take(&mut self.delivered).tokens();
        let charged = attempt.charge(usage.as_ref(), delivered, outcome, now_ms());
        self.charged_before = self.usage.unwrap_or_default();
        self.charged.tokens = self.charged.tokens.saturating_add(charged.tokens);
        self.charged.nanos = self.charged.nanos.saturating_add(charged.nanos);
        self.gateway.metrics().accounting.count_spend(charged.nanos);
    }

    /// Charges what is to be charged and gives back what was held.
    fn settle(&mut self) {
        let answered = self.finished && self.error.is_none();
        if answered {
            self.charge_attempt(LedgerOutcome::Completed);
        } else if !self.finished || self.delivered.tokens() > 0 || self.usage.is_some() {
            // Cut by either side: what was delivered was made, and what is running is cancelled.
            self.charge_attempt(LedgerOutcome::Cut);
        } else {
            self.forget_attempt();
        }
        let held = std::mem::take(&mut self.held);
        let Charged { tokens, nanos } = self.charged;
        self.gateway.accounting().settle(held, now_ms(), tokens, nanos);
    }

    /// `error` as the caller is told it: what the provider holds against the proxy is no fault of
    /// the caller's.
    pub(crate) fn told(&self, error: ApiError) -> ApiError {
        let too_late = |deadline| deadline <= Instant::now();
        if error.kind == ErrorKind::Timeout && self.deadline.is_some_and(too_late) {
            return failover::deadline_exceeded();
        }
        match &self.deployment {
            Some(deployment) => codec::whose_fault(error, self.surface, deployment),
            None => error,
        }
    }

    /// A call to `deployment` failed; another may follow.
    pub(crate) fn attempt_failed(&self, deployment: &Deployment, error: &ApiError) {
        self.count_attempt(deployment, AttemptOutcome::failed, error.kind.name());
        tracing::warn!(
            request_id = self.request_id,
            gen_ai.provider.name = deployment.provider.name(),
            gen_ai.request.model = deployment.model,
            error.type = error.kind.name(),
            error.code = error.code.as_deref().unwrap_or_default(),
            provider_status = error.provider_status,
            "a provider failed"
        );
    }

    fn count_attempt(
        &self,
        deployment: &Deployment,
        outcome: AttemptOutcome,
        error_type: &'static str,
    ) {
        self.gateway.metrics().count_attempt(&AttemptLabels {
            gen_ai_provider_name: deployment.provider.name().to_owned(),
            gen_ai_request_model: deployment.model.clone(),
            outcome,
            error_type,
        });
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.streamed {
            self.gateway.metrics().open_streams.dec();
        }
        if self.has_lost() {
            self.settle_loser();
            return;
        }
        self.gateway.metrics().in_flight.dec();
        self.settle();
        let took = self.started.elapsed();
        self.remember(took);
        self.measure(took);
        self.log(took);
    }
}
