use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::options::OptionsFault;

/// When a deployment is taken out of service, and how it comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerOptions {
    /// Whether deployments are taken out of service and left alone at all; default true.
    pub enabled: bool,
    /// Failures one after the other that take it out; default 5.
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive_failures: u32,
    /// Share of failed calls within the window that takes it out, above 0 to 1; default 0.5.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub failure_rate: f64,
    /// Calls within the window before shares mean anything; default 20.
    #[schemars(range(min = 1, max = 100_000))]
    pub min_calls: u32,
    /// Length of the window, milliseconds; default 30,000.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub window_ms: Millis,
    /// Time to the first token from which a call counts as slow, milliseconds; default: no call
    /// is slow.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub slow_call_ms: Option<Millis>,
    /// Share of slow calls within the window that takes it out, above 0 to 1; default 0.8.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub slow_rate: f64,
    /// How long it stays out the first time, milliseconds; twice as long each further time until
    /// it served all traffic again; default 60,000.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub open_ms: Millis,
    /// How long it stays out the first time if the account is exhausted or the credentials are
    /// refused, milliseconds; default 300,000.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub lasting_open_ms: Millis,
    /// Longest time out, milliseconds; default 600,000.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub max_open_ms: Millis,
    /// Requests that try it out after that time, all of which must succeed; default 3.
    #[schemars(range(min = 1, max = 1000))]
    pub half_open_probes: u32,
    /// Shares of its traffic that it gets one after the other once it recovered, above 0 to 1;
    /// default 0.1, 0.5, 1. Failures take it out again, for twice as long, until the last is over.
    #[schemars(length(max = 16), inner(range(min = 0.01, max = 1.0)))]
    pub ramp_steps: Vec<f64>,
    /// How long each share lasts, milliseconds; default 10,000.
    #[schemars(range(min = 0, max = 3_600_000))]
    pub ramp_step_ms: Millis,
    /// Longest time that it is left alone after an answer 429, whatever its `Retry-After` says,
    /// milliseconds; default 600,000.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub max_cooldown_ms: Millis,
    /// Least time out before a successful active probe lets requests try it, milliseconds; doubles
    /// with the time out; default 5,000.
    #[schemars(range(min = 0, max = 3_600_000))]
    pub reopen_on_probe_ms: Millis,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive_failures: 5,
            failure_rate: 0.5,
            min_calls: 20,
            window_ms: 30_000,
            slow_call_ms: None,
            slow_rate: 0.8,
            open_ms: 60_000,
            lasting_open_ms: 300_000,
            max_open_ms: 600_000,
            half_open_probes: 3,
            ramp_steps: vec![0.1, 0.5, 1.0],
            ramp_step_ms: 10_000,
            max_cooldown_ms: 600_000,
            reopen_on_probe_ms: 5_000,
        }
    }
}

impl BreakerOptions {
    /// Whether all is within its range.
    ///
    /// # Errors
    /// The first setting that is not. A breaker with such settings still lets requests through at
    /// some time.
    pub fn check(&self) -> Result<(), OptionsFault> {
        let positive = "must be at least 1";
        let share = "must be above 0 and at most 1";
        let is_share = |value: f64| value > 0.0 && value <= 1.0;
        let known = "leave it out for the default";
        OptionsFault::unless(
            self.consecutive_failures > 0,
            "consecutive_failures",
            positive,
            "leave it out for 5",
        )?;
        OptionsFault::unless(
            is_share(self.failure_rate),
            "failure_rate",
            share,
            "leave it out for 0.5",
        )?;
        OptionsFault::unless(is_share(self.slow_rate), "slow_rate", share, "leave it out for 0.8")?;
        OptionsFault::unless(self.min_calls > 0, "min_calls", positive, known)?;
        OptionsFault::unless(self.window_ms > 0, "window_ms", positive, known)?;
        OptionsFault::unless(self.open_ms > 0, "open_ms", positive, known)?;
        OptionsFault::unless(self.half_open_probes > 0, "half_open_probes", positive, known)?;
        OptionsFault::unless(
            self.max_open_ms >= self.open_ms && self.max_open_ms >= self.lasting_open_ms,
            "max_open_ms",
            "is less than `open_ms` or `lasting_open_ms`",
            "make it at least as long as both",
        )?;
        OptionsFault::unless(
            self.ramp_steps.iter().all(|&step| is_share(step)),
            "ramp_steps",
            "has a share that is not above 0 and at most 1",
            "write shares such as [0.1, 0.5, 1.0], or [] for none",
        )?;
        OptionsFault::unless(
            self.ramp_steps.is_sorted(),
            "ramp_steps",
            "has a share that is less than the one before",
            "put them in ascending order",
        )
    }
}
