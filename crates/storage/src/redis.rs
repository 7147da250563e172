//! The shared state in Redis 6.2 or later: plain, with TLS, behind Sentinel, with ACL users.
//!
//! | URL | |
//! | --- | --- |
//! | `redis://[user:password@]host[:port][/db]` | one server |
//! | `rediss://...` | with TLS |
//! | `redis+sentinel://[user:password@]host:port,host:port/service[/db]` | the master that Sentinel names; user and password are those of the master |
//! | `rediss+sentinel://...` | with TLS to Sentinel and to the master |
//!
//! All keys begin with `llmp:{tag}:`; the braces put them into one slot. What an ACL user needs:
//! `~llmp:* &llmp:* +eval +evalsha +script|load +time +get +set +zadd +zscore +zcount
//! +zremrangebyscore +hget +hset +hdel +hgetall +pexpire +publish +subscribe +ping`, and `+select` for
//! a database other than 0; for Sentinel also `+role`.
//!
//! A call never waits for a connection: without one it fails at once, and one is made in the
//! background, again and again with pauses of 20 ms to 1 s. A connection is given up when it breaks,
//! when the server has become a replica, or after three calls in a row without an answer.

mod link;
mod notices;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::Script;
use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::shared::{
    BudgetDemand, BudgetGrant, Granted, HEARTBEAT, LEASE_TIME, LimitDemand, Membership, Notice,
    Notices, PRESENCE_TIME, SharedBudgets, SharedError, SharedLimits, check_budgets, check_limits,
};
use link::Link;

const NANOS: i64 = 1_000_000_000;
/// How long the state of a budget is kept that nobody asks for. After that it is seeded anew.
const KEEP_BUDGET: Duration = Duration::from_secs(40 * 24 * 3600);

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// Part of every key and of the channel: installations that share a server differ in it.
    /// Letters, digits, `-` and `_`, 1 to 64.
    pub tag: String,
    /// This replica: different for each process and each start. Characters as in `tag`.
    pub replica: String,
    /// How long a call waits for its answer; default 50 ms.
    pub timeout: Duration,
    /// PEM file with the only authorities to trust, instead of those of the machine.
    pub ca_file: Option<PathBuf>,
    /// User of the Sentinels themselves.
    pub sentinel_username: Option<String>,
    /// Password of the Sentinels themselves.
    pub sentinel_password: Option<String>,
}

impl RedisOptions {
    /// The defaults, with a random replica.
    pub fn new(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            replica: format!("{:016x}", fastrand::u64(..)),
            timeout: Duration::from_millis(50),
            ca_file: None,
            sentinel_username: None,
            sentinel_password: None,
        }
    }
}

/// What replicas share, in Redis. Made and dropped within a tokio runtime, which runs its
/// connection and its heartbeat; it may be used from others.
pub struct SharedState {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

struct Inner {
    link: Link,
    replica: String,
    prefix: String,
    known: AtomicU64,
    exchange: Script,
    lease: Script,
    heartbeat: Script,
    notices: broadcast::Sender<Notice>,
}

impl SharedState {
    /// Connects. A server that cannot be reached is not an error: it is tried again in the
    /// background.
    ///
    /// # Errors
    ///
    /// URL or options cannot be used, or the server was reached and refused.
    pub async fn connect(url: &str, options: RedisOptions) -> Result<Self, SharedError> {
        check_name(&options.tag, "tag: 1 to 64 letters, digits, - or _")?;
        check_name(&options.replica, "replica: 1 to 64 letters, digits, - or _")?;
        if options.timeout.is_zero() {
            return Err(SharedError::Config("timeout: must be positive"));
        }
        let link = Link::new(url::source(url, &options)?, options.timeout);
        let (notices, _) = broadcast::channel(1024);
        let inner = Arc::new(Inner {
            link,
            replica: options.replica,
            prefix: format!("llmp:{{{}}}:", options.tag),
            known: AtomicU64::new(1),
            exchange: Script::new(include_str!("redis/exchange.lua")),
            lease: Script::new(include_str!("redis/lease.lua")),
            heartbeat: Script::new(include_str!("redis/heartbeat.lua")),
            notices,
        });
        match inner.link.reconnect().await {
            Ok(()) | Err(SharedError::Unavailable | SharedError::Timeout(_)) => {}
            Err(error) => return Err(error),
        }
        let listener = notices::Listener::new(Arc::clone(&inner)).await;
        // Others see this replica from the beginning; if not now, then by the next heartbeat. What
        // another attempt does not mend is said now.
        if let Err(SharedError::Refused(code)) = inner.beat().await
            && matches!(code.as_str(), "NOAUTH" | "NOPERM" | "WRONGPASS")
        {
            return Err(SharedError::Refused(code));
        }
        let tasks = vec![
            tokio::spawn(keep_connected(Arc::clone(&inner))),
            tokio::spawn(keep_beating(Arc::clone(&inner))),
            tokio::spawn(listener.run()),
        ];
        Ok(Self { inner, tasks })
    }

    /// Whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.inner.link.is_connected()
    }
}

impl Drop for SharedState {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn keep_connected(inner: Arc<Inner>) {
    loop {
        inner.link.lost().await;
        tracing::warn!("connection to Redis lost");
        let mut pause = Duration::from_millis(20);
        while let Err(error) = inner.link.reconnect().await {
            tracing::debug!(%error, "Redis cannot be reached");
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        tracing::info!("connected to Redis again");
    }
}

async fn keep_beating(inner: Arc<Inner>) {
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        // A failure is seen by whoever asks, and mends the connection.
        let _ = inner.beat().await;
    }
}

impl Inner {
    async fn beat(&self) -> Result<u64, SharedError> {
        let mut call = self.heartbeat.key(format!("{}members", self.prefix));
        call.arg(&self.replica).arg(micros(PRESENCE_TIME)).arg(micros(LEASE_TIME));
        let there: u64 = self.link.script(&call).await?;
        let there = there.max(1);
        self.known.store(there, Ordering::Relaxed);
        Ok(there)
    }

    fn channel(&self) -> String {
        format!("{}notices", self.prefix)
    }
}

#[async_trait]
impl SharedLimits for SharedState {
    async fn exchange(&self, demands: &[LimitDemand]) -> Result<Vec<Granted>, SharedError> {
        check_limits(demands)?;
        if demands.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.inner.exchange.prepare_invoke();
        for demand in demands {
            call.key(format!("{}limit:{}", self.inner.prefix, demand.key));
            call.arg(demand.period_us).arg(demand.burst).arg(demand.used).arg(demand.wanted);
        }
        let answer: Vec<u64> = self.inner.link.script(&call).await?;
        let (answers, rest) = answer.as_chunks::<3>();
        if answers.len() != demands.len() || !rest.is_empty() {
            return Err(SharedError::Answer);
        }
        Ok(answers
            .iter()
            .map(|&[granted, available_in_us, reset_after_us]| Granted {
                granted,
                available_in_us,
                reset_after_us,
            })
            .collect())
    }
}

#[async_trait]
impl SharedBudgets for SharedState {
    async fn lease_budget(
        &self,
        demands: &[BudgetDemand],
    ) -> Result<Vec<BudgetGrant>, SharedError> {
        check_budgets(demands)?;
        if demands.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.inner.lease.key(format!("{}members", self.inner.prefix));
        call.arg(&self.inner.replica).arg(micros(LEASE_TIME)).arg(KEEP_BUDGET.as_millis() as u64);
        for demand in demands {
            // The window first: it has no colon of its own that could be taken for the key's.
            let window = demand.window.replace(':', "_");
            call.key(format!("{}budget:{window}:{}", self.inner.prefix, demand.key));
            let seed = demand.seed.unwrap_or(0);
            for amount in [demand.limit_nanos, demand.settled_delta, demand.wanted, seed] {
                call.arg(amount.div_euclid(NANOS)).arg(amount.rem_euclid(NANOS));
            }
            call.arg(u8::from(demand.seed.is_some()));
        }
        let answer: Vec<i64> = self.inner.link.script(&call).await?;
        let (grants, rest) = answer.as_chunks::<9>();
        if grants.len() != demands.len() || !rest.is_empty() {
            return Err(SharedError::Answer);
        }
        grants.iter().map(|grant| budget_grant(*grant).ok_or(SharedError::Answer)).collect()
    }
}

fn budget_grant(answer: [i64; 9]) -> Option<BudgetGrant> {
    let [granted, g, leased, l, spent, s, total, t, needs_seed] = answer;
    let amount = |whole: i64, nanos: i64| whole.checked_mul(NANOS)?.checked_add(nanos);
    Some(BudgetGrant {
        granted: amount(granted, g)?,
        leased: amount(leased, l)?,
        total_spent: amount(spent, s)?,
        total_leased: amount(total, t)?,
        needs_seed: needs_seed == 1,
    })
}

#[async_trait]
impl Membership for SharedState {
    async fn replicas(&self) -> Result<u64, SharedError> {
        self.inner.beat().await
    }

    fn known_replicas(&self) -> u64 {
        self.inner.known.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Notices for SharedState {
    async fn publish(&self, topic: &str, payload: &str) -> Result<(), SharedError> {
        let mut command = ::redis::cmd("PUBLISH");
        command.arg(self.inner.channel()).arg(notices::encode(topic, payload));
        self.inner.link.command(&command).await.map(|_: u64| ())
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn check_name(name: &str, problem: &'static str) -> Result<(), SharedError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=64).contains(&name.len()) && name.bytes().all(good) {
        Ok(())
    } else {
        Err(SharedError::Config(problem))
    }
}
