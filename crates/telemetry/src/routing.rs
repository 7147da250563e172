use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Which deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HealthLabels {
    gen_ai_provider_name: String,
    gen_ai_request_model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

/// What is measured of health, second calls and pools.
#[derive(Debug)]
pub struct RoutingMetrics {
    health: Family<HealthLabels, Gauge<i64, AtomicI64>>,
    running: Family<PoolLabels, Gauge<i64, AtomicI64>>,
    waiting: Family<PoolLabels, Gauge<i64, AtomicI64>>,
    /// Second calls because the first was slow.
    pub hedges: Counter,
    /// Requests that got the answer of an identical one.
    pub coalesced: Counter,
}

impl RoutingMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let health = Family::default();
        registry.register(
            "llm_proxy_deployment_health",
            "0 in service, 1 ramping, 2 tried out, 3 cooling down, 4 out of service",
            health.clone(),
        );
        let running = Family::default();
        registry.register(
            "llm_proxy_pool_running",
            "Requests that a pool of local engines serves",
            running.clone(),
        );
        let waiting = Family::default();
        registry.register(
            "llm_proxy_pool_waiting",
            "Requests that wait for a place in a pool",
            waiting.clone(),
        );
        let hedges = Counter::default();
        registry.register(
            "llm_proxy_hedges",
            "Second calls because the first token was late",
            hedges.clone(),
        );
        let coalesced = Counter::default();
        registry.register(
            "llm_proxy_coalesced",
            "Requests that got the answer of an identical one in flight",
            coalesced.clone(),
        );
        Self { health, running, waiting, hedges, coalesced }
    }

    /// Says how a deployment is: 0 in service, 1 ramping, 2 tried out, 3 cooling down, 4 out of
    /// service.
    pub fn set_health(&self, provider: &str, model: &str, health: i64) {
        let labels = HealthLabels {
            gen_ai_provider_name: provider.to_owned(),
            gen_ai_request_model: model.to_owned(),
        };
        self.health.get_or_create(&labels).set(health);
    }

    /// Says how many requests a pool serves and how many wait for it.
    pub fn set_pool(&self, pool: &str, running: i64, waiting: i64) {
        let labels = PoolLabels { pool: pool.to_owned() };
        self.running.get_or_create(&labels).set(running);
        self.waiting.get_or_create(&labels).set(waiting);
    }

    /// Forgets deployments and pools that are no more.
    pub fn forget_all(&self) {
        self.health.clear();
        self.running.clear();
        self.waiting.clear();
    }
}
