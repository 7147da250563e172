//! What is left of a request: what the router remembers, what is measured, what is logged.

use std::time::Duration;

use chat::ErrorKind;
use routing::{OutcomeRecord, QualitySource};
use telemetry::{AttemptOutcome, DeploymentMetrics, RequestLabels};

use super::Exchange;
use crate::routing::Remembered;
use crate::snapshot::{AccessLog, Deployment};
use crate::surface::Surface;

impl Exchange {
    /// What came of the decision, for whoever asks and for what is learned.
    pub(super) fn remember(&mut self, took: Duration) {
        let Some(decided) = self.decided.take() else { return };
        let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let usage = self.usage.unwrap_or_default();
        let unfit = self.declined || self.error_code.as_deref() == Some("response_format_failed");
        let remembered = Remembered {
            request_id: self.request_id.clone(),
            tenant: self.principal.as_ref().and_then(|caller| caller.tenant_id().cloned()),
            decided,
            deployment: self.deployment.clone(),
            outcome: OutcomeRecord {
                status: self.status,
                first_token_ms: self.time_to_first_token.map(ms),
                total_ms: ms(took),
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                cost_nanos: self.charged.nanos,
                error: self
                    .error
                    .map(|kind| self.error_code.clone().unwrap_or_else(|| kind.name().to_owned())),
                attempts: self.attempts,
                quality: unfit.then_some(0.0),
                quality_source: unfit.then_some(QualitySource::Signal),
            },
        };
        self.gateway.decisions().remember(remembered);
    }

    fn metrics_of<'d>(&self, deployment: &'d Deployment) -> &'d DeploymentMetrics {
        match self.surface {
            Surface::Embeddings => &deployment.embedding_metrics,
            _ => &deployment.chat_metrics,
        }
    }

    pub(super) fn measure(&self, took: Duration) {
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

    pub(super) fn log(&self, took: Duration) {
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
            cost_nanos = self.charged.nanos,
            stream = self.streamed,
            duration_ms = took.as_millis() as u64,
            "request"
        );
    }
}
