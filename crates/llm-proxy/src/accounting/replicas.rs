//! What replicas tell each other through Redis: what they have used of limits, what they have spent
//! and promised of budgets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Config;
use gateway::Gateway;
use metering::{BudgetMeter, EXCHANGE_NS, LevelLimiter, LimitKind};
use storage::redis::{RedisOptions, SharedState};
use storage::shared::{
    BudgetDemand, LimitDemand, Membership, SharedBudgets, SharedError, SharedLimits,
};

/// Without an exchange for so long, each replica keeps to its own share.
const ISOLATED_AFTER: Duration = Duration::from_secs(1);
/// Exchanges between two of which limits are exchanged that nobody used here.
const IDLE_EVERY: u32 = 10;

/// What replicas share, if there is a Redis.
pub(super) async fn connect(config: &Config) -> Result<Option<Arc<SharedState>>, String> {
    let Some(url) = &config.storage.redis else { return Ok(None) };
    let mut options = RedisOptions::new("default");
    options.ca_file.clone_from(&config.storage.redis_ca_bundle);
    let connected = SharedState::connect(url.expose(), options).await;
    connected
        .map(|shared| Some(Arc::new(shared)))
        .map_err(|error| format!("storage.redis: {error}"))
}

/// Starts exchanging.
pub(super) fn start(
    shared: Arc<SharedState>,
    gateway: &Arc<Gateway>,
) -> tokio::task::JoinHandle<()> {
    let exchange = Exchange {
        shared,
        gateway: Arc::clone(gateway),
        leased: HashMap::new(),
        last: Instant::now(),
        isolated: false,
        count: 0,
    };
    tokio::spawn(exchange.run())
}

struct Exchange {
    shared: Arc<SharedState>,
    gateway: Arc<Gateway>,
    /// What this replica holds of each budget, nano-roubles.
    leased: HashMap<String, i64>,
    last: Instant,
    isolated: bool,
    count: u32,
}

impl Exchange {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(Duration::from_nanos(EXCHANGE_NS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.count = self.count.wrapping_add(1);
            let limits = self.limits().await;
            let outcome = match limits {
                Ok(()) => self.budgets().await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {
                    self.last = Instant::now();
                    if std::mem::take(&mut self.isolated) {
                        self.gateway.accounting().set_isolated(false);
                        tracing::info!(event = "replicas_together", "Redis is there again");
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &SharedError) {
        self.gateway.metrics().accounting.exchange_failures.inc();
        if self.last.elapsed() < ISOLATED_AFTER {
            return;
        }
        let replicas = self.shared.known_replicas();
        for limiter in self.gateway.accounting().limiters().all() {
            for (_, rate) in limiter.rates().into_iter().flatten() {
                rate.isolate(replicas);
            }
        }
        if !std::mem::replace(&mut self.isolated, true) {
            self.gateway.accounting().set_isolated(true);
            tracing::warn!(
                event = "replicas_apart",
                %error,
                replicas,
                "Redis cannot be reached; this replica keeps to its share of limits and budgets"
            );
        }
    }

    async fn limits(&mut self) -> Result<(), SharedError> {
        let all = self.count.is_multiple_of(IDLE_EVERY);
        let mut told: Vec<(Arc<LevelLimiter>, usize, i64)> = Vec::new();
        let mut demands = Vec::new();
        for limiter in self.gateway.accounting().limiters().all() {
            for (place, rate) in limiter.rates().into_iter().enumerate() {
                let Some((kind, rate)) = rate else { continue };
                let used = rate.begin_exchange();
                if used == 0 && !all && !self.isolated {
                    continue;
                }
                demands.push(demand(&limiter, kind, rate.rate().limit(), used));
                told.push((Arc::clone(&limiter), place, used));
            }
        }
        if demands.is_empty() {
            return Ok(());
        }
        let answers = self.shared.exchange(&demands).await;
        let now = self.gateway.accounting().now_ns();
        let replicas = self.shared.known_replicas();
        for (number, (limiter, place, used)) in told.iter().enumerate() {
            let Some(Some((_, rate))) = limiter.rates().into_iter().nth(*place) else { continue };
            match answers.as_ref().ok().and_then(|answers| answers.get(number)) {
                Some(answer) => {
                    rate.end_exchange(now, answer.reset_after_us.saturating_mul(1000), replicas);
                }
                None => rate.fail_exchange(*used),
            }
        }
        answers.map(|_| ())
    }

    async fn budgets(&mut self) -> Result<(), SharedError> {
        let budgets = self.gateway.accounting().budgets();
        let meters: Vec<Arc<BudgetMeter>> = budgets.values().flatten().cloned().collect();
        if meters.is_empty() {
            return Ok(());
        }
        let now_ms = super::now_ms();
        let mut told = Vec::with_capacity(meters.len());
        let mut demands = Vec::with_capacity(meters.len());
        for meter in &meters {
            meter.advance(now_ms);
            let known = meter.spent();
            let (spent, reserved) = meter.begin_exchange();
            let window = meter.window().start_ms;
            let lease = format!("{}@{window}", meter.budget().id);
            let held = self.leased.get(&lease).copied().unwrap_or(0).saturating_sub(spent).max(0);
            demands.push(BudgetDemand {
                key: meter.budget().id.clone(),
                window: window.to_string(),
                limit_nanos: meter.budget().amount_nanos,
                settled_delta: spent,
                wanted: reserved.saturating_sub(held),
                // What was spent before the first exchange stands in the ledger.
                seed: Some(known.saturating_sub(spent).max(0)),
            });
            told.push((lease, spent, window));
        }
        let answers = self.shared.lease_budget(&demands).await;
        let replicas = self.shared.known_replicas();
        for (number, (meter, (lease, spent, window))) in meters.iter().zip(told).enumerate() {
            if meter.window().start_ms != window {
                // The answer is about a period that is over.
                continue;
            }
            match answers.as_ref().ok().and_then(|answers| answers.get(number)) {
                Some(answer) => {
                    let elsewhere = answer.total_leased.saturating_sub(answer.leased);
                    for alert in meter.end_exchange(answer.total_spent, elsewhere, replicas) {
                        self.gateway.accounting().alert(alert);
                    }
                    self.leased.insert(lease, answer.leased);
                }
                None => meter.fail_exchange(spent),
            }
        }
        answers.map(|_| ())
    }
}

fn demand(limiter: &LevelLimiter, kind: LimitKind, limit: u64, used: i64) -> LimitDemand {
    let (level, id) = limiter.level();
    let period_us = match kind {
        LimitKind::RequestsPerDay | LimitKind::TokensPerDay => 86_400_000_000,
        _ => 60_000_000,
    };
    LimitDemand {
        key: format!("{}:{id}:{}", level.name(), kind.name()),
        period_us,
        burst: limit.max(1),
        used,
        wanted: 0,
    }
}
