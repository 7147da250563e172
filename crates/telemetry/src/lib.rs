//! Metrics and structured logs. Neither ever holds a prompt, an answer or a secret: what may be
//! said about a request is a closed list of fields.

mod accounting;
mod guard;
mod logs;
mod metrics;
mod routing;

pub use accounting::AccountingMetrics;
pub use guard::GuardMetrics;
pub use logs::{LogFormat, LogInitError, init_logs, set_log_level};
pub use metrics::{
    AttemptLabels, AttemptOutcome, DeploymentLabels, DeploymentMetrics, Metrics, RequestLabels,
    Stage,
};
pub use routing::RoutingMetrics;
