//! Who may use how much, and what was used: limits, budgets and the journal of usage, as requests
//! meet them. Nothing here waits for anybody: what replicas share and what the database keeps is
//! exchanged beside the requests.

mod attempt;
mod delivered;
mod estimate;
mod limiters;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use chat::{ApiError, ErrorKind};
use identity::{DirectoryView, Principal};
use journal::Journal;
use metering::{
    Admission, BudgetAlert, BudgetMeter, BudgetReservation, BudgetScope, LevelKind, LevelLimiter,
    Limits, admit,
};
use parking_lot::Mutex;
use telemetry::Metrics;

pub(crate) use attempt::{Attempt, Charged};
pub use attempt::{recovered_entry, shipped_entry};
pub(crate) use delivered::Delivered;
pub(crate) use estimate::{count_images, estimate_prompt, max_output};
pub use limiters::Limiters;

/// Told about shares of budgets that were passed.
pub type AlertSink = Box<dyn Fn(BudgetAlert) + Send + Sync>;

/// What requests are counted by.
pub struct Accounting {
    directory: ArcSwap<DirectoryView>,
    limiters: Limiters,
    budgets: ArcSwap<HashMap<Box<str>, Vec<Arc<BudgetMeter>>>>,
    journal: Option<Arc<Journal>>,
    alerts: AlertSink,
    metrics: Option<Arc<Metrics>>,
    /// Keys that were used since somebody asked, and when, milliseconds since 1970.
    key_use: Mutex<HashMap<Arc<str>, i64>>,
    /// Replicas cannot exchange what they have used.
    isolated: AtomicBool,
    started: Instant,
}

impl std::fmt::Debug for Accounting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Accounting").finish_non_exhaustive()
    }
}

impl Default for Accounting {
    fn default() -> Self {
        Self::new(None, Box::new(|_| ()), None)
    }
}

/// What a request holds while it runs: its place in the limits and its promises of money.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) admission: Option<Admission>,
    pub(crate) reservations: Vec<BudgetReservation>,
}

impl Accounting {
    /// Counts in memory, and into `journal` if there is one.
    #[must_use]
    pub fn new(
        journal: Option<Arc<Journal>>,
        alerts: AlertSink,
        metrics: Option<Arc<Metrics>>,
    ) -> Self {
        Self {
            directory: ArcSwap::default(),
            limiters: Limiters::default(),
            budgets: ArcSwap::default(),
            journal,
            alerts,
            metrics,
            key_use: Mutex::default(),
            isolated: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Tenants, teams, users and keys in force.
    #[must_use]
    pub fn directory(&self) -> Arc<DirectoryView> {
        self.directory.load_full()
    }

    /// Puts other tenants, teams, users and keys in force.
    pub fn publish_directory(&self, view: DirectoryView) {
        self.directory.store(Arc::new(view));
    }

    /// Puts other budgets in force, by tenant.
    pub fn publish_budgets(&self, budgets: HashMap<Box<str>, Vec<Arc<BudgetMeter>>>) {
        self.budgets.store(Arc::new(budgets));
    }

    /// The budgets in force, by tenant.
    #[must_use]
    pub fn budgets(&self) -> Arc<HashMap<Box<str>, Vec<Arc<BudgetMeter>>>> {
        self.budgets.load_full()
    }

    /// The limiters that are in use.
    #[must_use]
    pub fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    /// Where usage is journalled.
    #[must_use]
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref()
    }

    /// Whether replicas cannot exchange what they have used: tenants that fail closed are refused.
    pub fn set_isolated(&self, isolated: bool) {
        self.isolated.store(isolated, Ordering::Relaxed);
    }

    /// Tells of a share of a budget that was passed.
    pub fn alert(&self, alert: BudgetAlert) {
        (self.alerts)(alert);
    }

    /// Refuses a tenant that wants no service while limits and budgets are not exact.
    pub(crate) fn refuse_if_isolated(&self, principal: &Principal) -> Result<(), ApiError> {
        let closed = || principal.tenant().is_some_and(|tenant| tenant.fail_closed());
        if !self.isolated.load(Ordering::Relaxed) || !closed() {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorKind::Overloaded,
            "limits and budgets cannot be shared with the other replicas at the moment, and this \
             tenant wants no service without; try again later",
        )
        .with_code("shared_state_unavailable"))
    }

    /// Nanoseconds since the process began to count: the clock of the limits.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The keys used since the last call, and when.
    #[must_use]
    pub fn take_key_use(&self) -> Vec<(String, i64)> {
        let used = std::mem::take(&mut *self.key_use.lock());
        used.into_iter().map(|(id, at_ms)| (id.to_string(), at_ms)).collect()
    }

    /// Notes that a key was used; written to the database later and in bulk.
    pub(crate) fn note_key_use(&self, key: &Arc<str>, now_ms: i64) {
        let mut used = self.key_use.lock();
        match used.get_mut(key) {
            Some(at_ms) => *at_ms = now_ms,
            None => _ = used.insert(Arc::clone(key), now_ms),
        }
    }

    /// The limiters that a request of the principal to a route must pass; empty if none limits it.
    pub(crate) fn levels(
        &self,
        principal: &Principal,
        route: &str,
        route_limits: &Limits,
        everybody: &Limits,
    ) -> Vec<Arc<LevelLimiter>> {
        let mut levels = Vec::new();
        let mut add = |kind, id: &str, limits: &Limits| {
            if *limits != Limits::default() {
                levels.push(self.limiters.of(kind, id, limits, self.now_ns()));
            }
        };
        for level in principal.levels() {
            let kind = match level.kind {
                identity::LevelKind::Tenant => LevelKind::Tenant,
                identity::LevelKind::Team => LevelKind::Team,
                identity::LevelKind::User => LevelKind::User,
                identity::LevelKind::Key => LevelKind::Key,
            };
            add(kind, level.id, level.limits);
        }
        add(LevelKind::Model, route, route_limits);
        add(LevelKind::Everybody, "", everybody);
        levels
    }

    /// Takes a request's place in its limits.
    pub(crate) fn admit(
        &self,
        levels: Vec<Arc<LevelLimiter>>,
        tokens: u64,
    ) -> Result<Admission, ApiError> {
        admit(levels, tokens, self.now_ns()).map_err(|refusal| {
            if let Some(metrics) = &self.metrics {
                let (level, limit) = (refusal.level.name(), refusal.limit.name());
                metrics.accounting.count_limit_refusal(level, limit);
            }
            let mut error = ApiError::new(ErrorKind::RateLimited, refusal.to_string())
                .with_code("rate_limit_exceeded");
            error.retry_after = refusal.retry_after_ns.map(std::time::Duration::from_nanos);
            error
        })
    }

    /// The budgets that bound what the principal spends on a route.
    pub(crate) fn budgets_of(
        &self,
        principal: &Principal,
        route: &str,
        tags: &[String],
    ) -> Vec<Arc<BudgetMeter>> {
        let budgets = self.budgets.load();
        let Some(of_tenant) = principal.tenant_id().and_then(|tenant| budgets.get(tenant.as_ref()))
        else {
            return Vec::new();
        };
        let concerns = |meter: &&Arc<BudgetMeter>| match &meter.budget().scope {
            BudgetScope::Tenant => true,
            BudgetScope::Team(id) => principal.team_id().is_some_and(|team| **team == **id),
            BudgetScope::User(id) => principal.user_id().is_some_and(|user| **user == **id),
            BudgetScope::Key(id) => principal.key_id().is_some_and(|key| **key == **id),
            BudgetScope::Model(name) => name == route,
            BudgetScope::Tag(name) => {
                principal.tags().iter().any(|tag| **tag == **name) || tags.contains(name)
            }
        };
        of_tenant.iter().filter(concerns).cloned().collect()
    }

    /// Promises `nanos` out of each budget, or out of none.
    pub(crate) fn reserve(
        &self,
        meters: &[Arc<BudgetMeter>],
        now_ms: i64,
        nanos: i64,
    ) -> Result<Vec<BudgetReservation>, ApiError> {
        let reserve = |meter: &Arc<BudgetMeter>| meter.reserve(now_ms, nanos);
        meters.iter().map(reserve).collect::<Result<_, _>>().map_err(|exceeded| {
            if let Some(metrics) = &self.metrics {
                metrics.accounting.budget_refusals.inc();
            }
            // OpenAI's name for it; its SDKs do not repeat such a request.
            let mut error = ApiError::new(ErrorKind::QuotaExhausted, exceeded.to_string())
                .with_code("budget_exceeded");
            error.retry_after = exceeded.resets_at_ms.and_then(|at_ms| {
                let wait = u64::try_from(at_ms.saturating_sub(now_ms)).ok()?;
                Some(std::time::Duration::from_millis(wait))
            });
            error
        })
    }

    /// Ends a request: what it really used and spent.
    pub(crate) fn settle(&self, held: Held, now_ms: i64, tokens: u64, nanos: i64) {
        if let Some(mut admission) = held.admission {
            admission.settle(self.now_ns(), tokens);
        }
        for reservation in held.reservations {
            let meter = Arc::clone(reservation.meter());
            for alert in meter.settle(now_ms, reservation, nanos) {
                (self.alerts)(alert);
            }
        }
    }
}
