//! What stands behind limits, budgets and the ledger while the process runs: the database, the
//! journal, the other replicas, the admin API. All of it runs beside the requests.

mod admin_server;
mod alerts;
mod budgets;
mod directory_sync;
mod ledger_shipping;
mod replicas;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Config;
use gateway::Gateway;
use gateway::accounting::Accounting;
use journal::{Journal, Options};
use metering::BudgetAlert;
use storage::{Database, DatabaseOptions};
use telemetry::Metrics;
use tokio::sync::{Notify, mpsc};

use directory_sync::DirectorySync;
use ledger_shipping::Shipping;

use crate::routing;

pub(crate) use admin_server::AdminAddress;

/// Bytes of a part of the journal. Half of one is the room that all running requests together may
/// keep for their ledger entries, some 1 KiB each: enough for 8,000 at a time.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The stores, open, with all that an earlier process left behind taken over.
pub(crate) struct Stores {
    database: Arc<Database>,
    shipping: Arc<Shipping>,
    alerts: mpsc::UnboundedReceiver<BudgetAlert>,
    sync: DirectorySync,
    changed: Arc<Notify>,
}

/// Opens database and journal, charges what an earlier process left unfinished, and reads who may
/// call. `folder` is what relative paths are taken from.
pub(crate) async fn open(
    config: &Config,
    folder: &Path,
    metrics: &Arc<Metrics>,
) -> Result<(Stores, Accounting), String> {
    let url = located(config.storage.database.expose(), folder);
    let database = Database::open(&url, &DatabaseOptions::default())
        .await
        .map_err(|error| format!("storage.database: {error}"))?;
    let database = Arc::new(database);
    let directory = folder.join(&config.storage.journal);
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        max_total_bytes: config.storage.journal_max_mb << 20,
        ..Options::default()
    };
    let (journal, recovery) = Journal::open(&directory, options)
        .map_err(|error| format!("storage.journal: {}: {error}", directory.display()))?;
    let journal = Arc::new(journal);
    ledger_shipping::recover(&journal, &recovery)?;
    let shipping = Shipping::new(Arc::clone(&journal), Arc::clone(&database), Arc::clone(metrics));
    let shipping = Arc::new(shipping);
    shipping.ship_all().await.map_err(|error| format!("storage.database: {error}"))?;
    let (sender, alerts) = mpsc::unbounded_channel();
    let counted = Arc::clone(metrics);
    let accounting = Accounting::new(
        Some(journal),
        Box::new(move |alert| {
            counted.accounting.budget_alerts.inc();
            _ = sender.send(alert);
        }),
        Some(Arc::clone(metrics)),
    );
    let mut sync = DirectorySync::new(Arc::clone(&database), Arc::clone(&shipping));
    sync.refresh(&accounting).await.map_err(|error| format!("storage.database: {error}"))?;
    let changed = Arc::new(Notify::new());
    Ok((Stores { database, shipping, alerts, sync, changed }, accounting))
}

/// `sqlite://FILE` with a relative file, from `folder`; anything else as it is.
fn located(url: &str, folder: &Path) -> String {
    let Some(rest) = url.strip_prefix("sqlite:") else { return url.to_owned() };
    let path: PathBuf = folder.join(rest.strip_prefix("//").unwrap_or(rest));
    format!("sqlite://{}", path.display())
}

/// What runs beside the requests, to be stopped with the process.
pub(crate) struct Running {
    database: Arc<Database>,
    shipping: Arc<Shipping>,
    gateway: Arc<Gateway>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Where the admin API is, if it is served.
    pub(crate) admin: Option<AdminAddress>,
}

/// Starts everything. Must run within a tokio runtime that lives as long as the process.
pub(crate) async fn start(
    stores: Stores,
    config: &Config,
    gateway: &Arc<Gateway>,
) -> Result<Running, String> {
    let Stores { database, shipping, alerts, sync, changed } = stores;
    let mut tasks = vec![
        tokio::spawn(Arc::clone(&shipping).run()),
        tokio::spawn(sync.run(Arc::clone(gateway), Arc::clone(&changed))),
        tokio::spawn(alerts::run(alerts)),
    ];
    let shared = replicas::connect(config).await?;
    if let Some(shared) = &shared {
        tasks.push(replicas::start(Arc::clone(shared), gateway));
    }
    tasks.extend(routing::start(config, gateway, &database, shared.as_ref()).await?);
    let admin = admin_server::start(config, gateway, &database, changed).await?;
    let admin = admin.map(|(address, task)| {
        tasks.push(task);
        address
    });
    Ok(Running { database, shipping, gateway: Arc::clone(gateway), tasks, admin })
}

impl Running {
    /// Stops, and gives the database what still waits in the journal, for as long as it takes it.
    pub(crate) async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        match tokio::time::timeout(Duration::from_secs(5), self.shipping.ship_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "usage stays in the journal until the next start");
            }
            Err(_) => tracing::warn!("usage stays in the journal until the next start"),
        }
        routing::flush(&self.gateway, &self.database).await;
        directory_sync::flush_key_use(&self.gateway, &self.database).await;
        self.database.close().await;
    }
}
