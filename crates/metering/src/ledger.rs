use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// How the attempt that an entry charges for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerOutcome {
    /// The provider answered, and the answer went out whole.
    Completed,
    /// The provider or the caller broke off; what was delivered is charged.
    Cut,
    /// The provider answered with something that was not passed on: a failed repair, the loser of
    /// a hedge.
    Discarded,
    /// The process died while the attempt ran; charged from the journal at the next start.
    Recovered,
    /// Answered from the cache; costs nothing.
    Cached,
}

/// One attempt that a provider charges for, or one cached answer. Entries are never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LedgerEntry {
    /// Unique: request id and number of the attempt. A second entry of the same id is the same
    /// entry and is not stored again.
    pub id: String,
    /// The request that the attempt belongs to.
    pub request_id: String,
    /// When the attempt ended, milliseconds since 1970.
    pub at_ms: i64,
    /// Tenant; empty for static keys.
    pub tenant: String,
    /// Team, if any.
    pub team: Option<String>,
    /// User or service account, if any.
    pub user: Option<String>,
    /// Virtual key, or the name of a static key.
    pub key: String,
    /// Tags of the key and of the request.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Surface: `chat`, `messages`, `embeddings` and so on.
    pub surface: String,
    /// The public model name.
    pub route: String,
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// Tokens and units that are charged.
    pub usage: ChargedUsage,
    /// What the provider charges, in nano-roubles, value-added tax included.
    pub cost_nanos: i64,
    /// What a baseline without the proxy would have cost, nano-roubles; equals `cost_nanos` but for
    /// cached answers.
    #[serde(default)]
    pub avoided_nanos: i64,
    /// Version of the price that was used: source and date, for audit.
    pub price: String,
    /// Whether tokens were counted here because the provider did not say.
    pub estimated: bool,
    /// How it ended.
    pub outcome: LedgerOutcome,
}

/// What an attempt used, as far as it is charged.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct ChargedUsage {
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Of them, served from the provider's prompt cache.
    pub cached_tokens: u64,
    /// Generated tokens, reasoning included.
    pub completion_tokens: u64,
    /// Of them, reasoning.
    pub reasoning_tokens: u64,
    /// Pictures in the prompt.
    pub images: u64,
}

/// By what a report groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Dimension {
    Tenant,
    Team,
    User,
    Key,
    Route,
    Provider,
    Model,
    /// Day in UTC, `2026-11-23`.
    Day,
}

/// Which entries are meant. `None` and empty mean any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// Only this tenant.
    pub tenant: Option<String>,
    /// Only this team.
    pub team: Option<String>,
    /// Only this user.
    pub user: Option<String>,
    /// Only this key.
    pub key: Option<String>,
    /// Only this route.
    pub route: Option<String>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// From, inclusive, milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// To, exclusive, milliseconds since 1970.
    pub to_ms: Option<i64>,
}

/// Sums of the entries of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LedgerSum {
    /// The group: dimension to value.
    pub group: BTreeMap<String, String>,
    /// Entries.
    pub entries: u64,
    /// Of them, answered from the cache.
    pub cached_entries: u64,
    /// Of them, with estimated tokens.
    pub estimated_entries: u64,
    /// Sum of tokens and units.
    pub usage: ChargedUsage,
    /// Sum of costs, nano-roubles. Wider than an entry's: a sum does not overflow.
    pub cost_nanos: i128,
    /// Sum of what the cache avoided, nano-roubles.
    pub avoided_nanos: i128,
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be reached or is out of order; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The data make no sense: a defect or a foreign hand.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
}

/// Where entries are kept for good.
#[async_trait]
pub trait LedgerStore: Send + Sync + std::fmt::Debug {
    /// Stores the entries, all or none; those that are there already are left as they are.
    async fn append(&self, entries: &[LedgerEntry]) -> Result<(), LedgerError>;

    /// Sums by group, ordered by group.
    async fn sums(
        &self,
        filter: &LedgerFilter,
        by: &[Dimension],
    ) -> Result<Vec<LedgerSum>, LedgerError>;

    /// Entries after `after` (an entry's id, in order of time then id), at most `limit`.
    async fn entries(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, LedgerError>;
}
