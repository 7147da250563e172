use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;

/// How urgent a request is.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PriorityClass {
    /// Somebody looks at the screen and waits.
    Interactive,
    /// Everything that is not marked.
    #[default]
    Normal,
    /// Whenever there is room.
    Batch,
}

impl PriorityClass {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All, the most urgent first, in the order of [`PriorityClass::index`].
    pub const ALL: [Self; Self::COUNT] = [Self::Interactive, Self::Normal, Self::Batch];

    /// Its place in arrays, below [`PriorityClass::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in configuration, headers and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// How many requests a pool of engines serves at a time, and how the others wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionOptions {
    /// Most requests in the pool's engines at a time. Default 32.
    #[schemars(range(min = 1))]
    pub max_requests: u32,
    /// Most tokens of prompts and expected answers in the engines at a time; a request larger than
    /// this is served alone. Default: no bound.
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u64>,
    /// Most requests of one priority class that wait; further ones are refused. Default 1,000.
    pub max_waiting: u32,
    /// Most requests of one tenant and class that wait. Default 200.
    pub max_waiting_per_tenant: u32,
    /// Longest wait, milliseconds; who would wait longer, or did, is refused. Default 120,000.
    pub max_wait_ms: u64,
    /// Least share of the work that `normal` gets while `interactive` requests wait, 0 to 1.
    /// Default 0.2.
    #[schemars(range(min = 0, max = 1))]
    pub normal_share: f64,
    /// Least share of the work that `batch` gets while more urgent requests wait, 0 to 1.
    /// Default 0.05.
    #[schemars(range(min = 0, max = 1))]
    pub batch_share: f64,
    /// By how many milliseconds a request is put back for each token that its answer is expected to
    /// have: 0 serves in the order of arrival, much serves short answers first. Default 100.
    #[schemars(range(min = 0))]
    pub ageing_ms_per_token: f64,
    /// Most milliseconds that a request is put back: one that came this much later is never served
    /// before it, of the same tenant and class. Default 120,000.
    pub ageing_limit_ms: u64,
    /// Milliseconds that an engine needs for each token of an answer, until it was measured.
    /// Default 20.
    #[schemars(range(min = 0))]
    pub token_ms: f64,
    /// Work that a token of the prompt makes, relative to one of the answer. Default 0.05.
    #[schemars(range(min = 0))]
    pub prompt_token_cost: f64,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            max_requests: 32,
            max_tokens: None,
            max_waiting: 1000,
            max_waiting_per_tenant: 200,
            max_wait_ms: 120_000,
            normal_share: 0.2,
            batch_share: 0.05,
            ageing_ms_per_token: 100.0,
            ageing_limit_ms: 120_000,
            token_ms: 20.0,
            prompt_token_cost: 0.05,
        }
    }
}

/// A request that wants to be served by a pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// Whose it is.
    pub tenant: u64,
    /// How urgent.
    pub class: PriorityClass,
    /// Share of the tenant relative to the others'; taken to be between 0.01 and 100.
    pub weight: f64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens that the answer is expected to have (the mean): decides the order, and what the tenant is
    /// charged until the true number is known.
    pub predicted_tokens: u64,
    /// Tokens to keep free for the answer (a high quantile): counts against
    /// [`AdmissionOptions::max_tokens`].
    pub reserved_tokens: u64,
    /// The latest time at which it is worth while to begin; `None`: only
    /// [`AdmissionOptions::max_wait_ms`] bounds the wait.
    pub deadline: Option<Millis>,
}

/// A job that waits or runs; never used twice in a queue's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    pub(super) fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// What became of a job that asked to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Enqueued {
    /// It runs; say so with [`AdmissionQueue::finish`](super::AdmissionQueue::finish) when it has ended.
    StartNow(Ticket),
    /// It waits until [`AdmissionQueue::next`](super::AdmissionQueue::next) names it.
    Wait(Ticket),
    /// It neither waits nor runs.
    Refused {
        /// Why.
        reason: RefusalReason,
        /// How long it would have waited, milliseconds: when to try again.
        expected_wait_ms: u64,
    },
}

/// Why a job was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Too many of its class wait.
    QueueFull,
    /// Too many of its tenant and class wait.
    TenantQueueFull,
    /// It would wait past its deadline or the longest wait.
    Deadline,
}

/// What [`AdmissionQueue::next`](super::AdmissionQueue::next) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// This job runs now.
    Start(Ticket),
    /// This job waited past its deadline and is out of the queue.
    Expired(Ticket),
}
