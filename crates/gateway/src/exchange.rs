//! One request while it is served, and its end: counted and logged exactly once, whatever happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat::{ApiError, ErrorKind, Usage};
use dialects::Adaptation;
use identity::Principal;
use telemetry::{AttemptLabels, AttemptOutcome, DeploymentMetrics, RequestLabels, Stage};

use crate::gateway::Gateway;
use crate::snapshot::{AccessLog, Deployment, Route, Snapshot};
use crate::surface::Surface;

/// The status that stands for a caller who went away before the answer (nginx's).
const CALLER_GONE: u16 = 499;

/// One request while it is served. Dropping it settles it: metrics and log say how it ended, and
/// an exchange that nobody finished ended because its caller went away.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) surface: Surface,
    pub(crate) request_id: String,
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
    stage_started: Instant,
    stages: [Duration; 5],
    status: u16,
    error: Option<ErrorKind>,
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
            request_id,
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
            stage_started: now,
            stages: [Duration::ZERO; 5],
            status: CALLER_GONE,
            error: None,
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
        let names = ["identify", "receive", "plan", "dispatch", "encode"];
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
    }

    /// The request was refused or failed.
    pub(crate) fn fail(&mut self, status: u16, error: &ApiError) {
        self.error = Some(error.kind);
        self.finish(status);
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

    fn metrics_of<'d>(&self, deployment: &'d Deployment) -> &'d DeploymentMetrics {
        match self.surface {
            Surface::Embeddings => &deployment.embedding_metrics,
            _ => &deployment.chat_metrics,
        }
    }

    fn measure(&self, took: Duration) {
        let metrics = self.gateway.metrics();
        metrics.count_request(&RequestLabels {
            surface: self.surface.name(),
            route: self.route.as_ref().map(|route| route.name.clone()).unwrap_or_default(),
            status: self.status,
            error_type: self.error.map(ErrorKind::name).unwrap_or_default(),
        });
        let Some(deployment) = &self.deployment else { return };
        if !self.finished {
            self.count_attempt(deployment, AttemptOutcome::cancelled, "");
        }
        let measured = self.metrics_of(deployment);
        if self.finished && self.error.is_none() {
            measured.completed.inc();
            measured.duration.observe(took.as_secs_f64());
        }
        if let Some(first) = self.time_to_first_token {
            measured.time_to_first_token.observe(first.as_secs_f64());
        }
        if let Some(usage) = self.usage {
            measured.input_tokens.observe(usage.prompt_tokens as f64);
            measured.output_tokens.observe(usage.completion_tokens as f64);
        }
    }

    fn log(&self, took: Duration) {
        let failed = self.status >= 400;
        match self.snapshot.settings.access_log {
            AccessLog::All => {}
            AccessLog::Errors if failed => {}
            AccessLog::Errors | AccessLog::Off => return,
        }
        let usage = self.usage.unwrap_or_default();
        tracing::info!(
            request_id = self.request_id,
            surface = self.surface.name(),
            key = self.principal.as_ref().map(|principal| principal.name()),
            gen_ai.request.model = self.route.as_ref().map(|route| route.name.as_str()),
            gen_ai.provider.name =
                self.deployment.as_ref().map(|deployment| deployment.provider.name()),
            gen_ai.response.model = self.response_model.as_deref(),
            gen_ai.usage.input_tokens = usage.prompt_tokens,
            gen_ai.usage.output_tokens = usage.completion_tokens,
            http.response.status_code = self.status,
            error.type = self.error.map(ErrorKind::name),
            attempts = self.attempts,
            stream = self.streamed,
            duration_ms = took.as_millis() as u64,
            "request"
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let metrics = self.gateway.metrics();
        metrics.in_flight.dec();
        if self.streamed {
            metrics.open_streams.dec();
        }
        let took = self.started.elapsed();
        self.measure(took);
        self.log(took);
    }
}
