use std::sync::Arc;
use std::time::Duration;

use gateway::Gateway;
use gateway::accounting::Accounting;
use identity::{DirectoryStore, DirectoryView, RecordKind};
use storage::Database;
use tokio::sync::Notify;

use super::ledger_shipping::Shipping;
use super::{budgets, now_ms};

/// How often the database is asked for changes that others have made.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Looks between two writes of when keys were last used.
const KEY_USE_EVERY: u32 = 20;
/// Looks between two clean-ups of answers kept for idempotency keys: an hour.
const FORGET_EVERY: u32 = 7200;
/// How long answers are kept for idempotency keys.
const REPLAY_LIFE_MS: i64 = 86_400_000;
/// Records read at once.
const PAGE: usize = 5000;

/// Keeps the directory in memory as it is in the database.
pub(super) struct DirectorySync {
    database: Arc<Database>,
    shipping: Arc<Shipping>,
    view: DirectoryView,
    /// Budgets could not be made from the directory as it is now.
    budgets_due: bool,
}

impl DirectorySync {
    pub(super) fn new(database: Arc<Database>, shipping: Arc<Shipping>) -> Self {
        Self { database, shipping, view: DirectoryView::default(), budgets_due: true }
    }

    /// Takes all changes, and puts them in force.
    pub(super) async fn refresh(&mut self, accounting: &Accounting) -> Result<(), String> {
        let mut any = false;
        loop {
            let since = self.view.revision();
            let records =
                self.database.since(since, PAGE).await.map_err(|error| error.to_string())?;
            for record in &records {
                any = true;
                self.budgets_due |= matches!(record.kind, RecordKind::Budget | RecordKind::Tenant);
                if let Err(unreadable) = self.view.apply(record) {
                    tracing::error!(%unreadable, "a record of the directory counts as deleted");
                }
            }
            if records.len() < PAGE {
                break;
            }
        }
        if any {
            accounting.publish_directory(self.view.clone());
        }
        if self.budgets_due {
            // A new budget begins with what the ledger knows was spent.
            self.shipping.ship_all().await.map_err(|error| error.to_string())?;
            let running = accounting.budgets();
            let meters = budgets::meters(&self.view, &running, &self.database);
            accounting.publish_budgets(meters.await.map_err(|error| error.to_string())?);
            self.budgets_due = false;
        }
        Ok(())
    }

    /// Follows the database for as long as the process runs; `changed` says that it is worth a look
    /// at once.
    pub(super) async fn run(mut self, gateway: Arc<Gateway>, changed: Arc<Notify>) {
        let mut looks = 0u32;
        let mut failing = false;
        loop {
            _ = tokio::time::timeout(LOOK_INTERVAL, changed.notified()).await;
            looks = looks.wrapping_add(1);
            match self.refresh(gateway.accounting()).await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error,
                        event = "directory_stale",
                        "changes of tenants and keys are not seen at the moment"
                    );
                }
                Err(_) => {}
            }
            if looks.is_multiple_of(KEY_USE_EVERY) {
                flush_key_use(&gateway, &self.database).await;
            }
            if looks.is_multiple_of(FORGET_EVERY) {
                _ = self.database.forget_replays(now_ms() - REPLAY_LIFE_MS).await;
            }
        }
    }
}

/// Writes when keys were last used.
pub(super) async fn flush_key_use(gateway: &Gateway, database: &Database) {
    let uses = gateway.accounting().take_key_use();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = database.record_key_use(&uses).await {
        tracing::debug!(%error, "when keys were last used is not written");
    }
}
