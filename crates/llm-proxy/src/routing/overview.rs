use std::sync::Arc;

use admin::{Decisions, DeploymentRow};
use async_trait::async_trait;
use gateway::{Gateway, router_now};
use serde_json::Value;

/// What the admin API tells of the router.
pub(crate) struct RouterOverview(pub(crate) Arc<Gateway>);

#[async_trait]
impl Decisions for RouterOverview {
    async fn decision(
        &self,
        tenant: Option<&str>,
        request_id: &str,
    ) -> Result<Option<Value>, String> {
        let memory = self.0.decisions();
        let stored = match memory.store() {
            Some(store) => {
                store.get(tenant, request_id).await.map_err(|error| error.to_string())?
            }
            None => None,
        };
        let found = stored.or_else(|| memory.recent(tenant, request_id));
        found.map(|record| serde_json::to_value(record).map_err(|e| e.to_string())).transpose()
    }

    fn patterns(&self) -> Vec<Value> {
        let snapshot = self.0.snapshot();
        let rows = snapshot.routes.values().flat_map(|route| route.state.patterns());
        rows.filter_map(|row| serde_json::to_value(row).ok()).collect()
    }

    fn deployments(&self) -> Vec<DeploymentRow> {
        let now = router_now();
        let snapshot = self.0.snapshot();
        let mut rows = Vec::new();
        for route in snapshot.routes.values() {
            for deployment in &route.deployments {
                let state = deployment.state();
                let observed = state.observed(now);
                rows.push(DeploymentRow {
                    route: route.name.clone(),
                    deployment: deployment.name().to_owned(),
                    health: state.health(now).name().to_owned(),
                    first_token_ms: thousandths(observed.first_token_ms),
                    token_ms: thousandths(observed.token_ms),
                    failure_share: thousandths(observed.failure_share),
                    in_flight: observed.in_flight,
                    pool: deployment.pool().map(|pool| pool.name().to_owned()),
                    engine: state.engine_load().map(|load| (load.running, load.waiting)),
                });
            }
        }
        rows
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
