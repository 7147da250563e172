//! What replicas of the gateway share while they run: rate limits, leases of budgets, who is
//! there, notices of changes. The truth about money is the ledger; this is what keeps replicas from
//! promising the same rouble twice in the meantime.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

/// How long a replica that does not say it is there keeps its leases.
pub const LEASE_TIME: Duration = Duration::from_secs(30);
/// How long a replica that does not say it is there is counted.
pub const PRESENCE_TIME: Duration = Duration::from_secs(5);
/// How often a replica says it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// The shared state was not asked, or did not answer. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// The configuration cannot be used.
    #[error("shared state: {0}")]
    Config(&'static str),
    /// There is no connection; one is being made.
    #[error("shared state is not reachable")]
    Unavailable,
    /// No answer in time. It may have been done or not.
    #[error("shared state did not answer within {0:?}")]
    Timeout(Duration),
    /// The server refused, with this code (`NOPERM`, `WRONGPASS`, `READONLY`, `OOM`, ...).
    #[error("shared state refused: {0}")]
    Refused(String),
    /// The answer was not understood.
    #[error("shared state gave an answer of another form")]
    Answer,
    /// An argument is out of its range; nothing was done.
    #[error("shared state: {0} is out of range")]
    Argument(&'static str),
}

/// What a replica used of a limit, and what it wants to use next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitDemand {
    /// The limit; equal on all replicas.
    pub key: String,
    /// In what time `burst` units come back, microseconds; 1 to 10^12 (11 days).
    pub period_us: u64,
    /// Units that can be used at once; 1 to 10^12. One unit comes back every `period_us / burst`.
    pub burst: u64,
    /// Units used without having been granted, charged whatever the limit says; negative: granted
    /// and not used, given back. Magnitude up to 10^12.
    pub used: i64,
    /// Units wanted now; up to 10^12.
    pub wanted: u64,
}

/// The answer to a [`LimitDemand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Units that may be used: they are charged already. At most what was wanted.
    pub granted: u64,
    /// After how long at least one more unit can be granted, microseconds; 0: now.
    pub available_in_us: u64,
    /// After how long all units are back, microseconds.
    pub reset_after_us: u64,
}

/// What a replica spent of a budget, and what it wants to spend next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetDemand {
    /// The budget; equal on all replicas.
    pub key: String,
    /// The period, such as `2026-11`; each counts for itself.
    pub window: String,
    /// How much may be spent, nano-roubles; not negative.
    pub limit_nanos: i64,
    /// Spent since the last call, nano-roubles; taken out of the replica's lease as far as that
    /// goes. Negative: a correction.
    pub settled_delta: i64,
    /// How much more to lease, nano-roubles; negative: give so much of the lease back.
    pub wanted: i64,
    /// What the ledger says was spent in the window before, nano-roubles; not negative. Taken if
    /// nobody said it yet, ignored after that.
    pub seed: Option<i64>,
}

/// The answer to a [`BudgetDemand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetGrant {
    /// Added to the replica's lease, nano-roubles; negative: taken from it.
    pub granted: i64,
    /// The replica's lease now. Less than the replica thinks if it was away for longer than
    /// [`LEASE_TIME`]: it must spend no more than this.
    pub leased: i64,
    /// Spent by all.
    pub total_spent: i64,
    /// Leased to all and not spent.
    pub total_leased: i64,
    /// Nobody said yet what was spent before: nothing was done. Ask the ledger, then again with
    /// [`BudgetDemand::seed`].
    pub needs_seed: bool,
}

/// News for all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Published by a replica, this one included.
    Published {
        /// What it is about, such as `directory`.
        topic: String,
        /// A few bytes of text.
        payload: String,
    },
    /// The connection was made anew: notices may have been missed; read again what they are about.
    Missed,
}

/// Rate limits across replicas: GCRA, by the clock of the shared state.
#[async_trait]
pub trait SharedLimits: Send + Sync {
    /// Charges what was used and grants what there is, for all limits in one round trip, each for
    /// itself; the answers are in the order of the demands.
    ///
    /// For each: `tat = max(tat, now) + used * T`, then `min(wanted, (now + burst * T - tat) / T)`
    /// is granted and charged, with `T = period_us / burst`.
    ///
    /// # Errors
    ///
    /// See [`SharedError`]. After a timeout it is not known whether it was charged.
    async fn exchange(&self, demands: &[LimitDemand]) -> Result<Vec<Granted>, SharedError>;
}

/// Leases of budgets across replicas.
///
/// Spent and leased together never exceed the limit by a grant. What can exceed it: a replica that
/// settles more than it leased (tokens already promised), a limit that was lowered, a replica that
/// goes on spending a lease it has lost because nobody heard of it for [`LEASE_TIME`] (at most its
/// lease; it must stop when it was not answered for that long), and grants that Redis forgot in a
/// failover (at most those of the time its replication lagged).
#[async_trait]
pub trait SharedBudgets: Send + Sync {
    /// Settles and leases, for all budgets in one round trip, each for itself; the answers are in
    /// the order of the demands.
    ///
    /// # Errors
    ///
    /// See [`SharedError`]. After a timeout it is not known whether it was done: ask with zeros.
    async fn lease_budget(&self, demands: &[BudgetDemand])
    -> Result<Vec<BudgetGrant>, SharedError>;
}

/// Who else is there.
#[async_trait]
pub trait Membership: Send + Sync {
    /// How many replicas said within [`PRESENCE_TIME`] that they are there, this one included.
    ///
    /// # Errors
    ///
    /// See [`SharedError`].
    async fn replicas(&self) -> Result<u64, SharedError>;

    /// The number known last, at least 1: for a share of a limit while the shared state is away.
    fn known_replicas(&self) -> u64;
}

/// Small news between replicas: at most once, not kept.
#[async_trait]
pub trait Notices: Send + Sync {
    /// Tells all that listen.
    ///
    /// # Errors
    ///
    /// See [`SharedError`].
    async fn publish(&self, topic: &str, payload: &str) -> Result<(), SharedError>;

    /// Listens from now on. A receiver that lags behind loses the oldest, as
    /// [`broadcast::error::RecvError::Lagged`]: treat it as [`Notice::Missed`].
    fn subscribe(&self) -> broadcast::Receiver<Notice>;
}

/// All that replicas share.
pub trait Shared: SharedLimits + SharedBudgets + Membership + Notices {}

impl<T: SharedLimits + SharedBudgets + Membership + Notices> Shared for T {}

const MOST: u64 = 1_000_000_000_000;

pub(crate) fn check_limits(demands: &[LimitDemand]) -> Result<(), SharedError> {
    for demand in demands {
        let wrong = if !(1..=MOST).contains(&demand.period_us) {
            "period_us"
        } else if !(1..=MOST).contains(&demand.burst) {
            "burst"
        } else if demand.used.unsigned_abs() > MOST {
            "used"
        } else if demand.wanted > MOST {
            "wanted"
        } else {
            continue;
        };
        return Err(SharedError::Argument(wrong));
    }
    Ok(())
}

pub(crate) fn check_budgets(demands: &[BudgetDemand]) -> Result<(), SharedError> {
    // Sums of a few amounts must stay amounts.
    let most = i64::MAX / 8;
    for demand in demands {
        let wrong = if !(0..=most).contains(&demand.limit_nanos) {
            "limit_nanos"
        } else if demand.settled_delta.unsigned_abs() > most.unsigned_abs() {
            "settled_delta"
        } else if demand.wanted.unsigned_abs() > most.unsigned_abs() {
            "wanted"
        } else if demand.seed.is_some_and(|seed| !(0..=most).contains(&seed)) {
            "seed"
        } else {
            continue;
        };
        return Err(SharedError::Argument(wrong));
    }
    Ok(())
}
