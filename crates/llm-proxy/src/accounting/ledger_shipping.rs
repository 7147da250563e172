use std::sync::Arc;
use std::time::Duration;

use gateway::accounting::{recovered_entry, shipped_entry};
use journal::{Journal, Recovery};
use metering::{LedgerEntry, LedgerError, LedgerStore};
use storage::Database;
use telemetry::Metrics;
use tokio::sync::Mutex;

use super::now_ms;

/// Entries that go to the database at once.
const BATCH: usize = 1000;
/// Pause when there is nothing to ship: also how far the database lags behind. A batch costs a
/// commit, and a write of each page of an index it touches, however few entries it has.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause after the database did not take entries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Charges the attempts that were running when an earlier process died.
pub(super) fn recover(journal: &Journal, recovery: &Recovery) -> Result<(), String> {
    let found = recovery.unfinished.len();
    for unfinished in &recovery.unfinished {
        let payload = match recovered_entry(unfinished, now_ms()) {
            Some(entry) => serde_json::to_vec(&entry).unwrap_or_default(),
            None => {
                tracing::error!(event = "journal_damaged", "a record of the journal is not ours");
                Vec::new()
            }
        };
        journal
            .close_unfinished(unfinished, &payload)
            .map_err(|error| format!("storage.journal: {error}"))?;
    }
    if found > 0 || recovery.damaged > 0 {
        tracing::warn!(
            event = "journal_recovered",
            unfinished = found,
            damaged = recovery.damaged,
            "an earlier process died; what it was serving is charged as far as it is known"
        );
    }
    Ok(())
}

/// Takes entries from the journal to the database.
pub(super) struct Shipping {
    journal: Arc<Journal>,
    database: Arc<Database>,
    metrics: Arc<Metrics>,
    /// Whoever ships: two at a time would count the same entries twice.
    turn: Mutex<()>,
}

impl Shipping {
    pub(super) fn new(
        journal: Arc<Journal>,
        database: Arc<Database>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { journal, database, metrics, turn: Mutex::new(()) }
    }

    /// Ships until nothing is left that waited when this was called.
    pub(super) async fn ship_all(&self) -> Result<(), LedgerError> {
        while self.ship().await? >= BATCH {}
        Ok(())
    }

    /// Gives the database what waits in the journal. How many records.
    async fn ship(&self) -> Result<usize, LedgerError> {
        let _turn = self.turn.lock().await;
        let batch = self.journal.next_batch(BATCH);
        let Some(last) = batch.last() else { return Ok(0) };
        let mut entries: Vec<LedgerEntry> = Vec::with_capacity(batch.len());
        for record in &batch {
            match shipped_entry(&record.payload) {
                Ok(entry) => entries.extend(entry),
                Err(error) => {
                    tracing::error!(%error, event = "journal_damaged", "a record cannot be read");
                }
            }
        }
        self.database.append(&entries).await?;
        self.metrics.accounting.ledger_entries.inc_by(entries.len() as u64);
        if let Err(error) = self.journal.acknowledge(last.sequence) {
            // They come again, and the database knows them by their ids.
            tracing::warn!(%error, "the journal could not note what was shipped");
        }
        Ok(batch.len())
    }

    /// Ships for as long as the process runs.
    pub(super) async fn run(self: Arc<Self>) {
        let metrics = &self.metrics.accounting;
        let mut pause = PAUSE;
        loop {
            match self.ship().await {
                Ok(shipped) => {
                    pause = PAUSE;
                    metrics.ledger_waiting.set(0);
                    if shipped >= BATCH {
                        continue;
                    }
                }
                Err(error) => {
                    metrics.ledger_failures.inc();
                    metrics.ledger_waiting.set(self.journal.next_batch(100_000).len() as i64);
                    tracing::warn!(
                        %error,
                        event = "ledger_delayed",
                        "usage waits in the journal for the database"
                    );
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}
