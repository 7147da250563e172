//! Where the pure decisions of the crate `routing` meet requests: facts go in, calls come out.

mod coalesce;
mod decide;
mod memory;
mod pool;
mod request;
mod state;
mod turns;
mod watch;

use routing::Transition;

pub(crate) use coalesce::{Lead, Part, SharedAnswer, follow, key as coalesce_key};
pub(crate) use decide::{Decided, decide, expected, job};
pub(crate) use memory::Remembered;
pub use memory::{DecisionMemory, Recorded};
pub use pool::{Pool, PoolOptions};
pub(crate) use request::conversation_name;
pub use state::{DeploymentState, RouteState, now as router_now};
pub(crate) use watch::Watch;

use crate::snapshot::Deployment;

/// Tells that the health of a deployment changed.
pub fn tell_transition(deployment: &Deployment, transition: Transition) {
    let (provider, model) = (deployment.provider_name(), deployment.model_name());
    match transition {
        Transition::Opened { for_ms, reason } => tracing::warn!(
            event = "circuit_opened",
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            for_ms,
            reason = reason.name(),
            "a deployment is out of service"
        ),
        Transition::Cooling { for_ms } => tracing::info!(
            event = "cooldown",
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            for_ms,
            "a deployment wants to be left alone"
        ),
        Transition::HalfOpened => tracing::info!(
            event = "circuit_half_open",
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            "a deployment is tried out"
        ),
        Transition::Recovering => tracing::info!(
            event = "circuit_recovering",
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            "a deployment is in service again with part of its traffic"
        ),
        Transition::Closed => tracing::info!(
            event = "circuit_closed",
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            "a deployment has all its traffic"
        ),
    }
}
