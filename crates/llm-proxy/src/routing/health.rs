use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Gateway, router_now, tell_transition};
use routing::SharedHealth;
use serde::{Deserialize, Serialize};
use storage::redis::SharedState;
use storage::shared::{Notice, Notices};

/// How often health is looked at.
const INTERVAL: Duration = Duration::from_millis(300);
/// Rounds after which what is known already is said again, for those who just came.
const REPEAT_EVERY: u32 = 5;
const TOPIC: &str = "health";

/// What one replica tells the others of a deployment.
#[derive(Debug, Serialize, Deserialize)]
struct News {
    from: u64,
    deployment: String,
    health: SharedHealth,
}

/// Tells other replicas of deployments that are not well, and listens to what they tell.
pub(super) async fn share(gateway: Arc<Gateway>, shared: Arc<SharedState>) {
    let own = fastrand::u64(..);
    let mut notices = shared.subscribe();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    let mut round = 0u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                round = round.wrapping_add(1);
                let again = round.is_multiple_of(REPEAT_EVERY);
                for news in news(&gateway, own, &mut said, again) {
                    let Ok(payload) = serde_json::to_string(&news) else { continue };
                    // Each replica protects itself alone while Redis is away.
                    _ = shared.publish(TOPIC, &payload).await;
                }
            }
            notice = notices.recv() => match notice {
                Ok(Notice::Published { topic, payload }) if topic == TOPIC => {
                    if let Ok(news) = serde_json::from_str::<News>(&payload) && news.from != own {
                        take(&gateway, &news);
                    }
                }
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

/// What is to be said: what changed, and, `again`, what was said before and still holds.
fn news(gateway: &Gateway, own: u64, said: &mut BTreeMap<String, u64>, again: bool) -> Vec<News> {
    let now = router_now();
    let snapshot = gateway.snapshot();
    let mut news = Vec::new();
    for deployment in snapshot.routes.values().flat_map(|route| &route.deployments) {
        let Some(health) = deployment.state().shared_health(now) else { continue };
        let version = health.version.wrapping_add(health.cooldown_version << 32);
        let known = said.insert(deployment.name().to_owned(), version) == Some(version);
        let away = health.open_remaining_ms > 0 || health.cooldown_remaining_ms > 0;
        if !known || (again && away) {
            news.push(News { from: own, deployment: deployment.name().to_owned(), health });
        }
    }
    news
}

fn take(gateway: &Gateway, news: &News) {
    let now = router_now();
    let snapshot = gateway.snapshot();
    let mut told = false;
    for deployment in snapshot.routes.values().flat_map(|route| &route.deployments) {
        if deployment.name() != news.deployment {
            continue;
        }
        let transition = deployment.state().merge_health(now, &news.health);
        if let Some(transition) = transition
            && !std::mem::replace(&mut told, true)
        {
            tell_transition(deployment, transition);
        }
    }
}
