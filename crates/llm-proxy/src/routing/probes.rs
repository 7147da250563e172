use std::sync::Arc;
use std::time::Duration;

use config::Probes;
use gateway::{Deployment, Gateway, router_now, tell_transition};
use providers::{HttpClient, Provider, Timeouts};
use routing::local::EngineLoad;

/// Longest wait for an answer to a question that no caller waits for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an engine's metrics.
const MAX_METRICS: usize = 4 << 20;

fn timeouts(patience: Duration) -> Timeouts {
    Timeouts { connect: patience, first_byte: patience, idle: patience, total: patience }
}

/// The deployments of each provider.
fn by_provider(gateway: &Gateway) -> Vec<(Arc<Provider>, Vec<Arc<Deployment>>)> {
    let mut found: Vec<(Arc<Provider>, Vec<Arc<Deployment>>)> = Vec::new();
    let snapshot = gateway.snapshot();
    for deployment in snapshot.routes.values().flat_map(|route| &route.deployments) {
        let provider = deployment.provider();
        match found.iter_mut().find(|(known, _)| Arc::ptr_eq(known, provider)) {
            Some((_, deployments)) => {
                let state = deployment.state();
                if !deployments.iter().any(|other| Arc::ptr_eq(other.state(), state)) {
                    deployments.push(Arc::clone(deployment));
                }
            }
            None => found.push((Arc::clone(provider), vec![Arc::clone(deployment)])),
        }
    }
    found
}

/// Asks each provider now and then whether it is there.
pub(super) async fn probe(gateway: Arc<Gateway>, probes: Probes) {
    if probes.interval_s == 0 {
        return;
    }
    let http = HttpClient::new();
    let interval = Duration::from_secs(probes.interval_s);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    loop {
        ticks.tick().await;
        let asked = by_provider(&gateway).into_iter().map(|(provider, deployments)| {
            let http = &http;
            async move {
                let timeouts = timeouts(PATIENCE);
                // Tokens are of interest to requests, and they renew them.
                let healthy = provider.probe(http, &timeouts).await.unwrap_or(false);
                for deployment in deployments {
                    let transition = deployment.state().probed(router_now(), healthy);
                    if let Some(transition) = transition {
                        tell_transition(&deployment, transition);
                    }
                }
            }
        });
        futures_util::future::join_all(asked).await;
    }
}

/// Reads the metrics of local engines.
pub(super) async fn scrape(gateway: Arc<Gateway>, probes: Probes) {
    if probes.engine_interval_ms == 0 {
        return;
    }
    let http = HttpClient::new();
    let interval = Duration::from_millis(probes.engine_interval_ms);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = by_provider(&gateway).into_iter().map(|(provider, deployments)| {
            let http = &http;
            async move {
                let Some(kind) = deployments.iter().find_map(|deployment| deployment.engine())
                else {
                    return;
                };
                let Some(text) = metrics(&provider, http).await else { return };
                if let Ok(load) = EngineLoad::parse(kind, &text, router_now()) {
                    for deployment in deployments {
                        deployment.state().scraped(load);
                    }
                }
            }
        });
        futures_util::future::join_all(asked).await;
    }
}

async fn metrics(provider: &Provider, http: &HttpClient) -> Option<String> {
    let timeouts = timeouts(PATIENCE);
    let mut answer = provider.engine_metrics(http, &timeouts).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = answer.body.next().await {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_METRICS {
            return None;
        }
    }
    String::from_utf8(text).ok()
}
