use std::fmt;

use chat::Residency;
use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::deployment::{DeploymentProfile, Sensitivity};
use crate::request::RouteRequest;

/// What is known of a deployment at the moment, for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// What the request is expected to cost there, nano-roubles; `None`: nobody knows.
    pub cost_nanos: Option<i64>,
    /// Expected time to the first token, milliseconds.
    pub first_token_ms: f64,
    /// Expected time to the last token, milliseconds.
    pub total_ms: f64,
    /// Expected quality of the answer, 0 to 1.
    pub quality: f64,
    /// Expected time to the end, given what is in flight there, milliseconds: compared among
    /// equals.
    pub load: f64,
    /// Whether it can be asked.
    pub availability: Availability,
    /// What the gateway holds against it: [`FilterReason::Surface`] or [`FilterReason::Price`].
    pub barred: Option<FilterReason>,
}

/// Whether a deployment can be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Availability {
    /// It can.
    Ready,
    /// It is coming back, and takes this share of what would be its requests.
    Ramping(f32),
    /// It may be well again; a few requests find out.
    Probing,
    /// It cannot before that time.
    Unavailable {
        /// When it can perhaps.
        until: Millis,
        /// Why it cannot.
        why: Unavailability,
    },
}

/// Why a deployment cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailability {
    /// It failed too often.
    CircuitOpen,
    /// It said when it wants to be asked again.
    Cooldown,
    /// Its provider's known limits would refuse.
    RateLimit,
    /// All places of its pool are taken.
    PoolFull,
}

impl Unavailability {
    /// Its name in answers, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::Cooldown => "cooldown",
            Self::RateLimit => "rate_limit",
            Self::PoolFull => "pool_full",
        }
    }
}

/// Why a deployment may not serve a request, whatever its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FilterReason {
    /// It does not offer what is asked for.
    Surface,
    /// The caller may not use the provider.
    Provider,
    /// It processes data elsewhere than demanded.
    Residency {
        /// Where it does.
        has: Residency,
        /// Where it should.
        wants: Residency,
    },
    /// It may not have data so sensitive.
    Sensitivity {
        /// What it may have.
        may: Sensitivity,
        /// What the request holds.
        holds: Sensitivity,
    },
    /// It cannot call tools.
    Tools,
    /// It cannot see pictures.
    Vision,
    /// It cannot answer in the form of a JSON schema.
    JsonSchema,
    /// The prompt, and the answer that is asked for, are longer than it can read.
    Context {
        /// Tokens of both.
        tokens: u64,
        /// Tokens that it can read.
        window: u64,
    },
    /// It is expected to cost more than demanded, or nobody knows what it costs.
    Cost {
        /// Expected, nano-roubles.
        nanos: Option<i64>,
        /// Demanded, nano-roubles.
        max: i64,
    },
    /// Nobody knows what it costs, and what cannot be charged for is not served.
    Price,
    /// Its first token is expected later than demanded.
    Latency {
        /// Expected, milliseconds.
        ms: u64,
        /// Demanded, milliseconds.
        max: u64,
    },
    /// It is expected to answer worse than demanded.
    Quality {
        /// Expected, 0 to 1.
        expected: f64,
        /// Demanded, 0 to 1.
        min: f64,
    },
}

impl FilterReason {
    /// Its name in answers, logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Surface => "surface",
            Self::Price => "price",
            Self::Provider => "provider",
            Self::Residency { .. } => "residency",
            Self::Sensitivity { .. } => "sensitivity",
            Self::Tools => "tools",
            Self::Vision => "vision",
            Self::JsonSchema => "json_schema",
            Self::Context { .. } => "context",
            Self::Cost { .. } => "cost",
            Self::Latency { .. } => "latency",
            Self::Quality { .. } => "quality",
        }
    }
}

impl fmt::Display for FilterReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surface => write!(formatter, "it does not offer this API"),
            Self::Price => write!(formatter, "nobody knows what it costs"),
            Self::Provider => write!(formatter, "the caller may not use its provider"),
            Self::Residency { has, wants } => {
                write!(formatter, "it keeps data in `{}`, not in `{}`", has.name(), wants.name())
            }
            Self::Sensitivity { may, holds } => write!(
                formatter,
                "it may have `{}` data, and this is `{}`",
                may.name(),
                holds.name()
            ),
            Self::Tools => write!(formatter, "it cannot call tools"),
            Self::Vision => write!(formatter, "it cannot see pictures"),
            Self::JsonSchema => write!(formatter, "it cannot keep to a JSON schema"),
            Self::Context { tokens, window } => {
                write!(formatter, "about {tokens} tokens are more than its {window}")
            }
            Self::Cost { nanos: Some(nanos), max } => write!(
                formatter,
                "about {:.4} RUB are more than {:.4}",
                *nanos as f64 / 1e9,
                *max as f64 / 1e9
            ),
            Self::Cost { nanos: None, .. } => write!(formatter, "nobody knows what it costs"),
            Self::Latency { ms, max } => {
                write!(formatter, "a first token after about {ms} ms is later than {max} ms")
            }
            Self::Quality { expected, min } => {
                write!(formatter, "an expected quality of {expected:.2} is less than {min:.2}")
            }
        }
    }
}

/// Why the deployment may not serve the request; `None`: it may. Of several reasons, the first in
/// the order of [`FilterReason`].
#[must_use]
pub fn filter(
    profile: &DeploymentProfile,
    facts: &Facts,
    request: &RouteRequest,
) -> Option<FilterReason> {
    let wanted = &request.requirements;
    if facts.barred.is_some() {
        return facts.barred;
    }
    if let Some(allowed) = &request.allowed_providers
        && !allowed.contains(&profile.provider)
    {
        return Some(FilterReason::Provider);
    }
    if let Some(wants) = wanted.residency
        && profile.residency < wants
    {
        return Some(FilterReason::Residency { has: profile.residency, wants });
    }
    let holds = wanted.sensitivity;
    if holds.is_restricted() && profile.sensitivity < holds {
        return Some(FilterReason::Sensitivity { may: profile.sensitivity, holds });
    }
    let (needs, has) = (request.needs, profile.capabilities);
    if needs.tools && !has.tools {
        return Some(FilterReason::Tools);
    }
    if needs.vision && !has.vision {
        return Some(FilterReason::Vision);
    }
    if needs.json_schema && !has.json_schema {
        return Some(FilterReason::JsonSchema);
    }
    let tokens = request.prompt_tokens.saturating_add(request.max_output_tokens.unwrap_or(0));
    if let Some(window) = profile.context_tokens
        && tokens > window
    {
        return Some(FilterReason::Context { tokens, window });
    }
    if let Some(max) = wanted.max_cost_nanos
        && facts.cost_nanos.is_none_or(|nanos| nanos > max)
    {
        return Some(FilterReason::Cost { nanos: facts.cost_nanos, max });
    }
    if let Some(max) = wanted.max_latency_ms
        && facts.first_token_ms > max as f64
    {
        return Some(FilterReason::Latency { ms: facts.first_token_ms as u64, max });
    }
    if let Some(min) = wanted.min_quality
        && facts.quality < min
    {
        return Some(FilterReason::Quality { expected: facts.quality, min });
    }
    None
}
