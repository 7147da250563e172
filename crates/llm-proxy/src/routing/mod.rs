//! What stands behind the router while the process runs: from the configuration to routes, looking
//! after providers and engines, sharing health with other replicas, keeping decisions.

mod compose;
mod decisions;
mod health;
mod overview;
mod probes;

use std::sync::Arc;

use config::Config;
use gateway::Gateway;
use storage::Database;
use storage::redis::SharedState;

pub(crate) use compose::{observed_before, pools, profile, reconfigure, route};
pub(crate) use overview::RouterOverview;

/// Starts what runs beside the requests. Must run within a tokio runtime that lives as long as the
/// process.
pub(crate) async fn start(
    config: &Config,
    gateway: &Arc<Gateway>,
    database: &Arc<Database>,
    shared: Option<&Arc<SharedState>>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, String> {
    let learned = decisions::start(config, gateway, database)
        .await
        .map_err(|error| format!("storage.database: {error}"))?;
    let mut tasks = vec![
        learned,
        tokio::spawn(probes::probe(Arc::clone(gateway), config.routing.probes)),
        tokio::spawn(probes::scrape(Arc::clone(gateway), config.routing.probes)),
    ];
    if let Some(shared) = shared {
        tasks.push(tokio::spawn(health::share(Arc::clone(gateway), Arc::clone(shared))));
    }
    Ok(tasks)
}

/// Gives the database the decisions that still wait.
pub(crate) async fn flush(gateway: &Gateway, database: &Database) {
    decisions::flush(gateway, database).await;
}
