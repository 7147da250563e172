use std::sync::Arc;
use std::time::Duration;

use config::Config;
use gateway::Gateway;
use routing::{DecisionError, DecisionStore};
use storage::Database;

use crate::accounting::now_ms;

/// How often decisions go to the database and those of others are read.
const INTERVAL: Duration = Duration::from_millis(200);
/// Decisions that a start learns from.
const LEARNED_FROM: usize = 20_000;
/// Decisions that are read at a time.
const PAGE: usize = 1_000;
/// Rounds after which old decisions are looked for.
const FORGET_EVERY: u32 = 5 * 60 * 60;

/// Learns what earlier processes have learned, and goes on doing so.
pub(super) async fn start(
    config: &Config,
    gateway: &Arc<Gateway>,
    database: &Arc<Database>,
) -> Result<tokio::task::JoinHandle<()>, DecisionError> {
    let memory = gateway.decisions();
    memory.keep_in(Arc::clone(database) as _);
    let snapshot = gateway.snapshot();
    let known = database.last(LEARNED_FROM).await?;
    memory.follow(&snapshot, &known, 0);
    let reached = known.last().map_or(0, |stored| stored.sequence);
    let days = config.routing.decisions.keep_days;
    Ok(tokio::spawn(run(Arc::clone(gateway), Arc::clone(database), reached, days)))
}

async fn run(gateway: Arc<Gateway>, database: Arc<Database>, mut reached: i64, keep_days: u32) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    let mut round = 0u32;
    loop {
        ticks.tick().await;
        let done = async {
            ship(&gateway, &database).await?;
            follow(&gateway, &database, &mut reached).await?;
            if round.is_multiple_of(FORGET_EVERY) {
                let kept_ms = i64::from(keep_days) * 86_400_000;
                database.forget(now_ms().saturating_sub(kept_ms)).await?;
            }
            Ok::<(), DecisionError>(())
        };
        match done.await {
            Ok(()) => failing = false,
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!(%error, event = "decisions_delayed", "decisions wait");
            }
            Err(_) => {}
        }
        round = round.wrapping_add(1);
    }
}

async fn ship(gateway: &Gateway, database: &Database) -> Result<(), DecisionError> {
    let pending = gateway.decisions().take_pending();
    if pending.is_empty() {
        return Ok(());
    }
    let stored = database.append(&pending).await;
    if stored.is_err() {
        gateway.decisions().put_back(pending);
    }
    stored
}

async fn follow(
    gateway: &Gateway,
    database: &Database,
    reached: &mut i64,
) -> Result<(), DecisionError> {
    loop {
        let news = database.since(*reached, PAGE).await?;
        let Some(last) = news.last() else { return Ok(()) };
        gateway.decisions().follow(&gateway.snapshot(), &news, *reached);
        *reached = last.sequence;
        if news.len() < PAGE {
            return Ok(());
        }
    }
}

/// The last ones before the process ends.
pub(super) async fn flush(gateway: &Gateway, database: &Database) {
    if let Err(error) = ship(gateway, database).await {
        tracing::warn!(%error, "the newest decisions were not kept");
    }
}
