use std::collections::BTreeMap;
use std::sync::Arc;

use chat::Residency;
use config::{Config, RecordedDecisions, WhenFull};
use gateway::{
    Deployment, Fallbacks, Gateway, Pool, PoolOptions, Recorded, Route, RouteState, Snapshot,
};
use routing::{DeploymentProfile, PlanOptions};

/// What the router knows of a deployment by its configuration.
pub(crate) fn profile(
    config: &Config,
    deployment: &config::Deployment,
    provider: &config::Provider,
) -> DeploymentProfile {
    let sensitivity = deployment.resolved_sensitivity(config).unwrap_or_default();
    let unsaid = DeploymentProfile::default();
    DeploymentProfile {
        priority: deployment.priority,
        weight: deployment.weight,
        residency: match provider.resolved_residency() {
            config::Residency::Global => Residency::Global,
            config::Residency::Russia => Residency::Russia,
            config::Residency::OnPremise => Residency::OnPremise,
        },
        sensitivity,
        capabilities: deployment.capabilities.into(),
        context_tokens: deployment.context_tokens,
        quality: deployment.quality.as_ref().map_or(unsaid.quality, config::Quality::priors),
        first_token_ms: deployment.first_token_ms.map_or(unsaid.first_token_ms, f64::from),
        ..unsaid
    }
}

/// What runs of the configuration before.
pub(crate) fn observed_before(
    before: Option<&Snapshot>,
    deployment: &Deployment,
) -> Option<Arc<Deployment>> {
    let routes = before?.routes.values();
    let mut deployments = routes.flat_map(|route| &route.deployments);
    deployments.find(|other| other.name() == deployment.name()).cloned()
}

/// The pools of a configuration; those of the one before go on.
pub(crate) fn pools(config: &Config, before: Option<&Snapshot>) -> BTreeMap<String, Arc<Pool>> {
    let running = |name: &str| {
        let routes = before?.routes.values();
        let mut pools =
            routes.flat_map(|route| &route.deployments).filter_map(|deployment| deployment.pool());
        pools.find(|pool| pool.name() == name).cloned()
    };
    let pool = |(name, pool): (&String, &config::Pool)| {
        let options = PoolOptions {
            queue: pool.queue.clone(),
            queue_before_elsewhere: pool.when_full == WhenFull::Queue,
            prefix_affinity: pool.prefix_affinity,
            coalesce: pool.coalesce,
            batch_embeddings: pool.batch_embeddings,
        };
        let pool = match running(name) {
            Some(pool) => {
                pool.reconfigure(options);
                pool
            }
            None => Arc::new(Pool::new(name, options)),
        };
        (name.clone(), pool)
    };
    config.routing.pools.iter().map(pool).collect()
}

/// Adds to a route how it chooses.
pub(crate) fn route(
    config: &Config,
    model: &config::Model,
    mut route: Route,
    before: Option<&Snapshot>,
) -> Route {
    let general = &config.routing;
    let own = &model.routing;
    let hedging = own.hedging.unwrap_or(general.hedging);
    let known = before.and_then(|before| before.routes.get(&model.name));
    // What was learned goes on; budgets begin anew where they changed.
    let same = known.filter(|known| {
        known.retries == general.retries
            && known.hedging == hedging
            && known.deployments.len() == route.deployments.len()
            && known.has_engines() == route.has_engines()
    });
    let state = same.map_or_else(
        || {
            Arc::new(RouteState::new(
                &general.retries,
                &hedging,
                &general.learned,
                general.stickiness_ttl_s.saturating_mul(1_000),
                route.has_engines(),
            ))
        },
        |known| Arc::clone(&known.state),
    );
    state.reload(&general.learned, route.priors());
    route.plan = PlanOptions {
        policy: own.policy.unwrap_or(general.policy),
        weights: own.weights.unwrap_or(general.weights),
        tie_tolerance: general.tie_tolerance,
        stickiness_margin: general.stickiness_margin,
    };
    route.allows_policy_override = general.allow_policy_override;
    route.sensitivity = own.sensitivity;
    route.guard.clone_from(&model.guard);
    route.retries = general.retries;
    route.hedging = hedging;
    route.learned = general.learned.clone();
    route.fallbacks = Fallbacks {
        unavailable: own.fallbacks.unavailable.clone(),
        context_window: own.fallbacks.context_window.clone(),
        content_policy: own.fallbacks.content_policy.clone(),
    };
    route.state = state;
    route
}

/// Takes over what is not in a snapshot.
pub(crate) fn reconfigure(gateway: &Gateway, config: &Config) {
    gateway.decisions().set_recorded(match config.routing.decisions.record {
        RecordedDecisions::All => Recorded::All,
        RecordedDecisions::Learned => Recorded::Learned,
        RecordedDecisions::Judged => Recorded::Judged,
    });
}
