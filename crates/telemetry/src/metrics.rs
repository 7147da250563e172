use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::accounting::AccountingMetrics;
use crate::guard::GuardMetrics;
use crate::routing::RoutingMetrics;

/// A stage of the pipeline, for the histogram of their durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum Stage {
    /// Whom the key stands for.
    identify,
    /// Reading the body.
    receive,
    /// Looking for personal data and attacks.
    guard,
    /// Choosing deployments.
    plan,
    /// Everything until the provider's first byte.
    dispatch,
    /// Writing the answer in the caller's dialect (whole answers only).
    encode,
}

const STAGES: [Stage; 6] =
    [Stage::identify, Stage::receive, Stage::guard, Stage::plan, Stage::dispatch, Stage::encode];

/// Labels of a finished request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `chat_completions`, `messages`, ...
    pub surface: &'static str,
    /// Public model name; empty when the request did not get that far.
    pub route: String,
    /// HTTP status; 499 when the caller went away.
    pub status: u16,
    /// [`chat` error kind](https://opentelemetry.io/docs/specs/semconv/attributes-registry/error/);
    /// empty on success.
    pub error_type: &'static str,
}

/// Labels of a call to a provider, in OpenTelemetry's names for generative AI.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeploymentLabels {
    /// `chat`, `embeddings`, ...
    pub gen_ai_operation_name: &'static str,
    /// The provider's name in the configuration.
    pub gen_ai_provider_name: String,
    /// The provider's model.
    pub gen_ai_request_model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    gen_ai_provider_name: String,
    gen_ai_request_model: String,
    gen_ai_token_type: &'static str,
}

/// Labels of one attempt at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AttemptLabels {
    /// The provider's name in the configuration.
    pub gen_ai_provider_name: String,
    /// The provider's model.
    pub gen_ai_request_model: String,
    /// How it went.
    pub outcome: AttemptOutcome,
    /// Error kind; empty on success.
    pub error_type: &'static str,
}

/// How an attempt at a provider went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum AttemptOutcome {
    /// It answered, whole.
    completed,
    /// It failed.
    failed,
    /// The caller went away first.
    cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// Bounds of durations in seconds, from what a proxy adds to what a model takes (OpenTelemetry's
/// bounds for generative AI, extended downwards).
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5.12,
    20.48, 81.92,
];
const OVERHEAD_SECONDS: [f64; 12] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.01, 0.1,
    1.0,
];
const TOKENS: [f64; 10] =
    [1.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn overhead_seconds() -> Histogram {
    Histogram::new(OVERHEAD_SECONDS)
}

fn tokens() -> Histogram {
    Histogram::new(TOKENS)
}

/// All that is counted. One for the process; cheap to use from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    durations: Family<DeploymentLabels, Histogram, fn() -> Histogram>,
    first_tokens: Family<DeploymentLabels, Histogram, fn() -> Histogram>,
    tokens: Family<TokenLabels, Histogram, fn() -> Histogram>,
    stages: [Histogram; STAGES.len()],
    overhead: Histogram,
    reloads: Family<ReloadLabels, Counter>,
    /// Requests that are being served.
    pub in_flight: Gauge<i64, AtomicI64>,
    /// Streams that are open to callers.
    pub open_streams: Gauge<i64, AtomicI64>,
    /// Connections of callers.
    pub connections: Gauge<i64, AtomicI64>,
    /// Connections refused because there were too many.
    pub refused_connections: Counter<u64, AtomicU64>,
    /// Panics caught while serving a request: each is a defect.
    pub panics: Counter<u64, AtomicU64>,
    /// Limits, budgets and the ledger.
    pub accounting: AccountingMetrics,
    /// Health of deployments, hedges, pools.
    pub routing: RoutingMetrics,
    /// What the guard found.
    pub guard: GuardMetrics,
}

/// What is measured of one deployment; looked up once, when the configuration is taken.
#[derive(Debug, Clone)]
pub struct DeploymentMetrics {
    /// Whole calls, by the clock.
    pub duration: Histogram,
    /// Until the first piece of the answer.
    pub time_to_first_token: Histogram,
    /// Tokens of prompts.
    pub input_tokens: Histogram,
    /// Tokens of answers.
    pub output_tokens: Histogram,
    /// Attempts that ended well.
    pub completed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with everything in it at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("llm_proxy_requests", "Requests answered", requests.clone());
        let attempts = Family::default();
        registry.register("llm_proxy_attempts", "Calls to providers", attempts.clone());
        let durations =
            Family::<DeploymentLabels, Histogram, fn() -> Histogram>::new_with_constructor(seconds);
        registry.register_with_unit(
            "gen_ai_client_operation_duration",
            "Time that calls to providers took",
            Unit::Seconds,
            durations.clone(),
        );
        let first_tokens =
            Family::<DeploymentLabels, Histogram, fn() -> Histogram>::new_with_constructor(seconds);
        registry.register_with_unit(
            "gen_ai_server_time_to_first_token",
            "Time until a provider's first piece of a streamed answer",
            Unit::Seconds,
            first_tokens.clone(),
        );
        let token_usage =
            Family::<TokenLabels, Histogram, fn() -> Histogram>::new_with_constructor(tokens);
        registry.register("gen_ai_client_token_usage", "Tokens used", token_usage.clone());
        let stage_family =
            Family::<StageLabels, Histogram, fn() -> Histogram>::new_with_constructor(
                overhead_seconds,
            );
        registry.register_with_unit(
            "llm_proxy_stage_duration",
            "Time spent in a stage of the pipeline",
            Unit::Seconds,
            stage_family.clone(),
        );
        let overhead = overhead_seconds();
        registry.register_with_unit(
            "llm_proxy_overhead",
            "Time the proxy itself added before the first byte of the answer",
            Unit::Seconds,
            overhead.clone(),
        );
        let reloads = Family::default();
        registry.register("llm_proxy_config_reloads", "Configurations taken", reloads.clone());
        let in_flight = Gauge::default();
        registry.register(
            "llm_proxy_in_flight_requests",
            "Requests being served",
            in_flight.clone(),
        );
        let open_streams = Gauge::default();
        registry.register(
            "llm_proxy_open_streams",
            "Streams open to callers",
            open_streams.clone(),
        );
        let connections = Gauge::default();
        registry.register("llm_proxy_connections", "Connections of callers", connections.clone());
        let refused_connections = Counter::default();
        registry.register(
            "llm_proxy_refused_connections",
            "Connections refused because there were too many",
            refused_connections.clone(),
        );
        let panics = Counter::default();
        registry.register("llm_proxy_panics", "Panics caught, each a defect", panics.clone());
        let accounting = AccountingMetrics::new(&mut registry);
        let routing = RoutingMetrics::new(&mut registry);
        let guard = GuardMetrics::new(&mut registry);
        Self {
            accounting,
            routing,
            guard,
            registry,
            requests,
            attempts,
            durations,
            first_tokens,
            tokens: token_usage,
            stages: STAGES.map(|stage| stage_family.get_or_create_owned(&StageLabels { stage })),
            overhead,
            reloads,
            in_flight,
            open_streams,
            connections,
            refused_connections,
            panics,
        }
    }

    /// Counts an answered request.
    pub fn count_request(&self, labels: &RequestLabels) {
        self.requests.get_or_create(labels).inc();
    }

    /// The counter of successful requests of a surface and route, for callers that keep it.
    #[must_use]
    pub fn request_counter(&self, labels: &RequestLabels) -> Counter {
        self.requests.get_or_create_owned(labels)
    }

    /// Counts an attempt at a provider.
    pub fn count_attempt(&self, labels: &AttemptLabels) {
        self.attempts.get_or_create(labels).inc();
    }

    /// Counts a configuration that was taken (`applied`) or refused.
    pub fn count_reload(&self, applied: bool) {
        let result = if applied { "applied" } else { "refused" };
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
    }

    /// Notes how long a stage took.
    pub fn observe_stage(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].observe(took.as_secs_f64());
    }

    /// Notes what the proxy added before the first byte of the answer.
    pub fn observe_overhead(&self, took: Duration) {
        self.overhead.observe(took.as_secs_f64());
    }

    /// What is measured of one deployment.
    #[must_use]
    pub fn deployment(&self, labels: &DeploymentLabels) -> DeploymentMetrics {
        let tokens_of = |gen_ai_token_type| {
            self.tokens.get_or_create_owned(&TokenLabels {
                gen_ai_provider_name: labels.gen_ai_provider_name.clone(),
                gen_ai_request_model: labels.gen_ai_request_model.clone(),
                gen_ai_token_type,
            })
        };
        DeploymentMetrics {
            duration: self.durations.get_or_create_owned(labels),
            time_to_first_token: self.first_tokens.get_or_create_owned(labels),
            input_tokens: tokens_of("input"),
            output_tokens: tokens_of("output"),
            completed: self.attempts.get_or_create_owned(&AttemptLabels {
                gen_ai_provider_name: labels.gen_ai_provider_name.clone(),
                gen_ai_request_model: labels.gen_ai_request_model.clone(),
                outcome: AttemptOutcome::completed,
                error_type: "",
            }),
        }
    }

    /// Everything in the OpenMetrics text format, which Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_the_names_of_the_standard() {
        let metrics = Metrics::new();
        let deployment = metrics.deployment(&DeploymentLabels {
            gen_ai_operation_name: "chat",
            gen_ai_provider_name: "gigachat".to_owned(),
            gen_ai_request_model: "GigaChat-2-Pro".to_owned(),
        });
        deployment.duration.observe(0.2);
        deployment.input_tokens.observe(20.0);
        metrics.observe_stage(Stage::plan, Duration::from_micros(3));
        let text = metrics.encode();
        for line in [
            "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name=\"chat\",\
             gen_ai_provider_name=\"gigachat\",gen_ai_request_model=\"GigaChat-2-Pro\"} 1",
            "gen_ai_client_token_usage_sum{gen_ai_provider_name=\"gigachat\",\
             gen_ai_request_model=\"GigaChat-2-Pro\",gen_ai_token_type=\"input\"} 20.0",
            "llm_proxy_stage_duration_seconds_count{stage=\"plan\"} 1",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
