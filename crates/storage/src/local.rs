//! The shared state within one process: for a gateway without replicas, and for tests with some.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::shared::{
    BudgetDemand, BudgetGrant, Granted, LEASE_TIME, LimitDemand, Membership, Notice, Notices,
    PRESENCE_TIME, SharedBudgets, SharedError, SharedLimits, check_budgets, check_limits,
};

type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the replicas of a process share.
#[derive(Clone)]
pub struct LocalHub {
    clock: Clock,
    state: Arc<Mutex<State>>,
    notices: broadcast::Sender<Notice>,
}

#[derive(Default)]
struct State {
    limits: HashMap<String, u64>,
    sweep_at: usize,
    budgets: HashMap<(String, String), Budget>,
    /// When each replica was heard of last.
    heard: HashMap<String, u64>,
}

#[derive(Default)]
struct Budget {
    spent: i64,
    leases: HashMap<String, i64>,
}

impl LocalHub {
    /// By the clock of the machine, which never goes back.
    pub fn new() -> Self {
        let begun = Instant::now();
        Self::with_clock(Arc::new(move || {
            u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
        }))
    }

    /// By a clock in microseconds from any beginning.
    pub fn with_clock(clock: Clock) -> Self {
        let (notices, _) = broadcast::channel(1024);
        Self { clock, state: Arc::default(), notices }
    }

    /// A replica. It is heard of whenever it does something and when it is made.
    pub fn replica(&self, id: &str) -> LocalShared {
        self.state.lock().heard.insert(id.to_owned(), (self.clock)());
        LocalShared { hub: self.clone(), id: id.to_owned(), known: AtomicU64::new(1) }
    }
}

impl Default for LocalHub {
    fn default() -> Self {
        Self::new()
    }
}

/// One replica's view of a [`LocalHub`].
pub struct LocalShared {
    hub: LocalHub,
    id: String,
    known: AtomicU64,
}

#[async_trait]
impl SharedLimits for LocalShared {
    async fn exchange(&self, demands: &[LimitDemand]) -> Result<Vec<Granted>, SharedError> {
        check_limits(demands)?;
        let now = (self.hub.clock)();
        let mut state = self.hub.state.lock();
        let granted = demands.iter().map(|demand| grant(&mut state.limits, demand, now)).collect();
        // Full again: nothing to remember. Looked for only when there are twice as many.
        if state.limits.len() > state.sweep_at {
            state.limits.retain(|_, tat| *tat > now);
            state.sweep_at = state.limits.len().max(1024) * 2;
        }
        Ok(granted)
    }
}

fn grant(limits: &mut HashMap<String, u64>, demand: &LimitDemand, now: u64) -> Granted {
    let period = u128::from(demand.period_us);
    let burst = u128::from(demand.burst);
    let time = |units: u64| u64::try_from((u128::from(units) * period).div_ceil(burst));
    let time = |units: u64| time(units).unwrap_or(u64::MAX);
    let tat = limits.get(&demand.key).copied().unwrap_or(0).max(now);
    let used = time(demand.used.unsigned_abs());
    let mut tat =
        if demand.used < 0 { tat.saturating_sub(used).max(now) } else { tat.saturating_add(used) };
    let end = now.saturating_add(demand.period_us);
    let there = u128::from(end.saturating_sub(tat)) * burst / period;
    let granted = demand.wanted.min(u64::try_from(there).unwrap_or(u64::MAX));
    tat = tat.saturating_add(time(granted));
    limits.insert(demand.key.clone(), tat);
    let available_in_us = tat.saturating_add(time(1)).saturating_sub(end);
    Granted { granted, available_in_us, reset_after_us: tat - now }
}

#[async_trait]
impl SharedBudgets for LocalShared {
    async fn lease_budget(
        &self,
        demands: &[BudgetDemand],
    ) -> Result<Vec<BudgetGrant>, SharedError> {
        check_budgets(demands)?;
        let now = (self.hub.clock)();
        let mut state = self.hub.state.lock();
        state.heard.insert(self.id.clone(), now);
        let State { budgets, heard, .. } = &mut *state;
        Ok(demands.iter().map(|demand| lease(budgets, heard, &self.id, demand, now)).collect())
    }
}

fn lease(
    budgets: &mut HashMap<(String, String), Budget>,
    heard: &HashMap<String, u64>,
    id: &str,
    demand: &BudgetDemand,
    now: u64,
) -> BudgetGrant {
    let name = (demand.key.clone(), demand.window.clone());
    if !budgets.contains_key(&name) && demand.seed.is_none() {
        return BudgetGrant {
            granted: 0,
            leased: 0,
            total_spent: 0,
            total_leased: 0,
            needs_seed: true,
        };
    }
    let budget = budgets
        .entry(name)
        .or_insert_with(|| Budget { spent: demand.seed.unwrap_or(0), leases: HashMap::new() });
    let lost = LEASE_TIME.as_micros() as u64;
    budget
        .leases
        .retain(|id, _| heard.get(id).is_some_and(|heard| now.saturating_sub(*heard) < lost));

    let mut own = budget.leases.get(id).copied().unwrap_or(0);
    budget.spent = budget.spent.saturating_add(demand.settled_delta);
    own = (own - demand.settled_delta.max(0)).max(0);
    let others: i64 =
        budget.leases.iter().filter(|(other, _)| *other != id).map(|(_, lease)| lease).sum();
    let free = demand.limit_nanos.saturating_sub(budget.spent) - others;
    let free = free.saturating_sub(own).max(0);
    let granted = demand.wanted.min(free).max(-own);
    own += granted;
    if own > 0 {
        budget.leases.insert(id.to_owned(), own);
    } else {
        budget.leases.remove(id);
    }
    BudgetGrant {
        granted,
        leased: own,
        total_spent: budget.spent,
        total_leased: others + own,
        needs_seed: false,
    }
}

#[async_trait]
impl Membership for LocalShared {
    async fn replicas(&self) -> Result<u64, SharedError> {
        let now = (self.hub.clock)();
        let mut state = self.hub.state.lock();
        state.heard.insert(self.id.clone(), now);
        let gone = PRESENCE_TIME.as_micros() as u64;
        let there =
            state.heard.values().filter(|heard| now.saturating_sub(**heard) < gone).count() as u64;
        self.known.store(there, Ordering::Relaxed);
        Ok(there)
    }

    fn known_replicas(&self) -> u64 {
        self.known.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Notices for LocalShared {
    async fn publish(&self, topic: &str, payload: &str) -> Result<(), SharedError> {
        let notice = Notice::Published { topic: topic.to_owned(), payload: payload.to_owned() };
        // Nobody listening is no error.
        let _ = self.hub.notices.send(notice);
        Ok(())
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.hub.notices.subscribe()
    }
}
