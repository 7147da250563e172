use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dialects::Unsupported;
use http::HeaderValue;
use identity::KeyRing;
use metering::{DatedPrices, Limits, Price};
use providers::{Provider, Timeouts};
use routing::local::EngineKind;
use routing::{
    BreakerOptions, DeploymentProfile, HedgeOptions, KnownRateLimit, LearnedOptions, PlanOptions,
    QualityPriors, RetryOptions, Sensitivity,
};
use telemetry::{DeploymentLabels, DeploymentMetrics, Metrics};

use crate::guard::GuardSetup;
use crate::limits::BodyLimits;
use crate::oidc::OidcIssuers;
use crate::routing::{DeploymentState, Pool, RouteState};

/// Everything that requests are served by, immutable. A change of configuration makes a new one.
#[derive(Debug)]
pub struct Snapshot {
    /// What holds for all requests.
    pub settings: Settings,
    /// Who may call.
    pub keys: KeyRing,
    /// Whose tokens are taken instead of keys; `None`: nobody's.
    pub issuers: Option<Arc<OidcIssuers>>,
    /// Public model names.
    pub routes: BTreeMap<String, Arc<Route>>,
    /// What looks at requests and answers; `None`: nothing does.
    pub guard: Option<Arc<GuardSetup>>,
    /// When it was made, seconds since 1970: the `created` of models.
    pub created: u64,
}

/// What holds for all requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a request body may be.
    pub body: BodyLimits,
    /// Most bytes of a provider's whole answer.
    pub max_answer_bytes: usize,
    /// How long a stream may be silent before the caller gets a comment as a sign of life.
    pub heartbeat_interval: Duration,
    /// `Strict-Transport-Security`, where TLS is on.
    pub hsts: Option<HeaderValue>,
    /// Whether `Server-Timing` is sent.
    pub expose_server_timing: bool,
    /// Which requests are logged.
    pub access_log: AccessLog,
    /// Limits of all requests together.
    pub everybody_limits: Limits,
    /// What is done with deployments whose price is not known.
    pub missing_price: MissingPrice,
}

/// What is done with deployments whose price is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingPrice {
    /// They serve nobody.
    #[default]
    Refuse,
    /// They serve, and cost nothing; a warning says so.
    Free,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body: BodyLimits::default(),
            max_answer_bytes: 64 << 20,
            heartbeat_interval: Duration::from_secs(15),
            hsts: None,
            expose_server_timing: false,
            access_log: AccessLog::All,
            everybody_limits: Limits::default(),
            missing_price: MissingPrice::default(),
        }
    }
}

/// Which requests are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Each.
    #[default]
    All,
    /// Those that failed.
    Errors,
    /// None.
    Off,
}

/// How long a conversation's deployment is remembered where nothing else is said, milliseconds.
const STICKINESS_MS: u64 = 3_600_000;

/// A public model name and the deployments that may serve it.
#[derive(Debug)]
pub struct Route {
    /// What callers ask for.
    pub name: String,
    /// Lowest priority number first.
    pub deployments: Vec<Arc<Deployment>>,
    /// Limits of all requests for it together.
    pub limits: Limits,
    /// How it chooses.
    pub plan: PlanOptions,
    /// Whether a request may name another policy.
    pub allows_policy_override: bool,
    /// How sensitive the content of its requests is at least.
    pub sensitivity: Sensitivity,
    /// How often a request is tried.
    pub retries: RetryOptions,
    /// When a second deployment is asked because the first is slow.
    pub hedging: HedgeOptions,
    /// What the policy `learned` learns by.
    pub learned: LearnedOptions,
    /// Who serves instead.
    pub fallbacks: Fallbacks,
    /// Guard policy of its requests, which narrows the general one.
    pub guard: Option<String>,
    /// What was observed of it.
    pub state: Arc<RouteState>,
    /// What the router knows of the deployments, in their order.
    pub(crate) profiles: Vec<DeploymentProfile>,
    /// The name as a header value.
    pub(crate) header: HeaderValue,
}

/// Routes whose deployments serve what the own ones cannot, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// When all own deployments failed or cannot be asked.
    pub unavailable: Vec<String>,
    /// When the prompt is longer than the model can read.
    pub context_window: Vec<String>,
    /// When a provider's content policy refused.
    pub content_policy: Vec<String>,
}

impl Route {
    /// A route over `deployments`, in order of their priority; equals stay in the order given.
    #[must_use]
    pub fn new(name: String, mut deployments: Vec<Arc<Deployment>>) -> Self {
        deployments.sort_by_key(|deployment| deployment.profile.priority);
        let header = header_value(&name);
        let profiles = deployments.iter().map(|deployment| deployment.profile.clone()).collect();
        let (retries, hedging, learned) = Default::default();
        let engines =
            deployments.iter().any(|deployment: &Arc<Deployment>| deployment.pool.is_some());
        let state = RouteState::new(&retries, &hedging, &learned, STICKINESS_MS, engines);
        Self {
            name,
            deployments,
            limits: Limits::default(),
            plan: PlanOptions::default(),
            allows_policy_override: true,
            sensitivity: Sensitivity::default(),
            retries,
            hedging,
            learned,
            fallbacks: Fallbacks::default(),
            guard: None,
            state: Arc::new(state),
            profiles,
            header,
        }
    }

    /// Whether some of its deployments are local engines in a pool.
    #[must_use]
    pub fn has_engines(&self) -> bool {
        self.deployments.iter().any(|deployment| deployment.pool.is_some())
    }

    /// Names and declared qualities of its deployments, in their order.
    pub fn priors(&self) -> impl Iterator<Item = (&str, &QualityPriors)> {
        self.profiles.iter().map(|profile| (&*profile.name, &profile.quality))
    }

    /// The same route with limits of its own.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

/// What a deployment is made of.
#[derive(Debug)]
pub struct DeploymentOptions {
    /// Who serves it.
    pub provider: Arc<Provider>,
    /// The provider's name of the model.
    pub model: String,
    /// What the router knows of it; its name and provider are put in here.
    pub profile: DeploymentProfile,
    /// When it is left alone.
    pub breaker: BreakerOptions,
    /// Limits that its provider is known to have.
    pub rate_limits: KnownRateLimit,
    /// The pool of local engines that it belongs to.
    pub pool: Option<Arc<Pool>>,
    /// The engine whose metrics can be read.
    pub engine: Option<EngineKind>,
    /// What to do with what the provider cannot do.
    pub unsupported: Unsupported,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// Output limit where the dialect demands one and the caller gave none.
    pub default_max_output_tokens: u64,
    /// Whether the provider takes `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Whether the provider knows the output limit only as `max_tokens`.
    pub legacy_max_tokens: bool,
    /// What it costs; `None`: nobody knows.
    pub prices: Option<DatedPrices>,
}

/// One model at one provider.
pub struct Deployment {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: String,
    pub(crate) profile: DeploymentProfile,
    pub(crate) breaker: BreakerOptions,
    pub(crate) rate_limits: KnownRateLimit,
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) engine: Option<EngineKind>,
    /// What was observed of it.
    pub(crate) state: Arc<DeploymentState>,
    pub(crate) unsupported: Unsupported,
    pub(crate) timeouts: Timeouts,
    pub(crate) default_max_output_tokens: u64,
    pub(crate) stream_usage: bool,
    pub(crate) legacy_max_tokens: bool,
    pub(crate) prices: Option<DatedPrices>,
    pub(crate) chat_metrics: DeploymentMetrics,
    pub(crate) embedding_metrics: DeploymentMetrics,
    pub(crate) provider_header: HeaderValue,
    pub(crate) model_header: HeaderValue,
}

impl fmt::Debug for Deployment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Deployment")
            .field("provider", &self.provider.name())
            .field("model", &self.model)
            .field("priority", &self.profile.priority)
            .finish_non_exhaustive()
    }
}

impl Deployment {
    /// A deployment, measured in `metrics`.
    #[must_use]
    pub fn new(options: DeploymentOptions, metrics: &Metrics) -> Self {
        let provider = options.provider.name();
        let profile = DeploymentProfile {
            name: format!("{provider}/{}", options.model).into(),
            provider: provider.into(),
            ..options.profile
        };
        let state = DeploymentState::new(&profile, &options.breaker, &options.rate_limits);
        let measured = |operation| {
            metrics.deployment(&DeploymentLabels {
                gen_ai_operation_name: operation,
                gen_ai_provider_name: options.provider.name().to_owned(),
                gen_ai_request_model: options.model.clone(),
            })
        };
        Self {
            chat_metrics: measured("chat"),
            embedding_metrics: measured("embeddings"),
            provider_header: header_value(options.provider.name()),
            model_header: header_value(&options.model),
            provider: options.provider,
            model: options.model,
            profile,
            breaker: options.breaker,
            rate_limits: options.rate_limits,
            pool: options.pool,
            engine: options.engine,
            state: Arc::new(state),
            unsupported: options.unsupported,
            timeouts: options.timeouts,
            default_max_output_tokens: options.default_max_output_tokens,
            stream_usage: options.stream_usage,
            legacy_max_tokens: options.legacy_max_tokens,
            prices: options.prices,
        }
    }
}

impl Deployment {
    /// The same deployment with what was observed of it under the configuration before, where that
    /// still means something.
    #[must_use]
    pub fn continuing(self, before: Option<&Self>) -> Self {
        let same = |before: &&Self| {
            before.rate_limits == self.rate_limits
                && before.profile.first_token_ms.to_bits() == self.profile.first_token_ms.to_bits()
                && before.profile.weight.to_bits() == self.profile.weight.to_bits()
        };
        let Some(before) = before.filter(same) else { return self };
        if before.breaker != self.breaker {
            before.state.reconfigure(&self.breaker);
        }
        Self { state: Arc::clone(&before.state), ..self }
    }

    /// `provider/model`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.profile.name
    }

    /// Who serves it.
    #[must_use]
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// How long to wait for it.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The pool of local engines that it belongs to.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// The engine whose metrics can be read.
    #[must_use]
    pub fn engine(&self) -> Option<EngineKind> {
        self.engine
    }

    /// What was observed of it.
    #[must_use]
    pub fn state(&self) -> &Arc<DeploymentState> {
        &self.state
    }

    /// The provider's name in the configuration.
    #[must_use]
    pub fn provider_name(&self) -> &str {
        self.provider.name()
    }

    /// The provider's name of the model.
    #[must_use]
    pub fn model_name(&self) -> &str {
        &self.model
    }

    /// What it costs at a time, milliseconds since 1970; `None`: nobody knows.
    #[must_use]
    pub fn price_at(&self, at_ms: i64) -> Option<Arc<Price>> {
        self.prices.as_ref()?.at(at_ms).cloned()
    }
}

impl Snapshot {
    /// Each provider once, with the timeouts of one of its deployments.
    pub(crate) fn providers(&self) -> Vec<(&Arc<Provider>, Timeouts)> {
        let mut providers: Vec<(&Arc<Provider>, Timeouts)> = Vec::new();
        for deployment in self.routes.values().flat_map(|route| &route.deployments) {
            let provider = &deployment.provider;
            if !providers.iter().any(|(known, _)| Arc::ptr_eq(known, provider)) {
                providers.push((provider, deployment.timeouts));
            }
        }
        providers
    }

    /// Providers whose credentials cannot be had at the moment, and why.
    pub(crate) fn credential_faults(&self) -> BTreeMap<String, String> {
        let deployments = self.routes.values().flat_map(|route| &route.deployments);
        deployments
            .filter_map(|deployment| {
                let provider = &deployment.provider;
                Some((provider.name().to_owned(), provider.credential_fault()?))
            })
            .collect()
    }
}

/// `text` as a header value; what a header cannot carry is percent-encoded (RFC 3986).
fn header_value(text: &str) -> HeaderValue {
    let mut value = Vec::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            value.push(byte);
        } else {
            value.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn russian_names_fit_into_headers() {
        assert_eq!(header_value("чат").to_str().unwrap(), "%D1%87%D0%B0%D1%82");
        assert_eq!(header_value("qwen/3-32b").to_str().unwrap(), "qwen/3-32b");
    }
}
