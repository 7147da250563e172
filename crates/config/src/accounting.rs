use std::path::PathBuf;

use metering::{ExchangeRate, Limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::{Secret, SecretUrl};

/// Where things are kept, and what replicas share. Needs a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// `sqlite://FILE`, embedded, or `postgres://USER:PASSWORD@HOST/NAME`. A relative file is looked
    /// for from the folder of the configuration.
    pub database: SecretUrl,
    /// What replicas share: `redis://`, `rediss://` or
    /// `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB`. Without it this replica is the only one.
    pub redis: Option<SecretUrl>,
    /// Certificates (PEM) trusted for `rediss://` besides the public ones.
    pub redis_ca_bundle: Option<PathBuf>,
    /// Folder of the journal in which usage waits for the database. A relative folder is looked for
    /// from the folder of the configuration. Each replica needs its own.
    pub journal: PathBuf,
    /// Most megabytes that the journal may take while the database is away; then nothing more is
    /// served, for it could not be charged for.
    #[schemars(range(min = 64, max = 1_048_576))]
    pub journal_max_mb: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            database: SecretUrl::new("sqlite://./data/llm-proxy.db"),
            redis: None,
            redis_ca_bundle: None,
            journal: PathBuf::from("./data/journal"),
            journal_max_mb: 4096,
        }
    }
}

/// Limits of all requests together, and what is done about prices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalLimits {
    /// Limits of all requests together.
    pub everybody: Limits,
    /// What is done with deployments whose price is not known.
    pub missing_price: MissingPrice,
    /// What currencies are worth in roubles, instead of the rates that are shipped.
    pub exchange_rates: Vec<ExchangeRate>,
}

/// What is done with deployments whose price is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingPrice {
    /// They are a fault of the configuration.
    #[default]
    Refuse,
    /// They serve and cost nothing; a warning says so.
    Free,
}

/// How old the secrets of virtual keys may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRotation {
    /// Days after which a secret is due.
    #[schemars(range(min = 1, max = 36_500))]
    pub max_age_days: u32,
    /// Days before that in which answers warn (`x-llm-proxy-key-rotation`).
    #[schemars(range(min = 0, max = 36_500))]
    pub warn_days: u32,
    /// Whether a secret that is due is refused.
    pub enforce: bool,
}

impl Default for KeyRotation {
    fn default() -> Self {
        Self { max_age_days: 90, warn_days: 14, enforce: false }
    }
}

/// A key for the admin API that stands in this file; it is bound to no tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminKey {
    /// Its name in events.
    pub name: String,
    /// The key.
    pub key: Option<Secret>,
    /// SHA-256 of the key, 64 hexadecimal digits, instead of `key`.
    pub key_sha256: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub role: AdminRole,
}

/// What a key of the admin API may do; `docs/roles.md` has the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRole {
    /// Sees spend, manages budgets and prices.
    Finance,
    /// Sees everything, changes nothing.
    Auditor,
    /// Everything.
    #[default]
    Admin,
}
