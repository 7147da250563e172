use serde::{Deserialize, Serialize};

/// For how long a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// Once and for all.
    Total,
    /// A calendar day in the tenant's time zone.
    Day,
    /// A week from Monday, in the tenant's time zone.
    Week,
    /// A calendar month in the tenant's time zone.
    Month,
}

/// Whose spend a budget bounds, within its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum BudgetScope {
    /// The whole tenant.
    Tenant,
    /// A team, by id.
    Team(String),
    /// A user or service account, by id.
    User(String),
    /// A virtual key, by id.
    Key(String),
    /// A public model name.
    Model(String),
    /// A tag of the key or of the request.
    Tag(String),
}

/// A bound on spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Id, `bud_...`.
    pub id: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// Name for people.
    pub name: String,
    /// Whose spend it bounds.
    pub scope: BudgetScope,
    /// For how long.
    pub period: BudgetPeriod,
    /// How much, nano-roubles; positive.
    pub amount_nanos: i64,
    /// Whether requests are refused when it is spent; a soft one only alerts.
    pub hard: bool,
    /// Where alerts at 50, 80 and 100 % are posted; `None`: only logged and counted.
    #[serde(default)]
    pub alert_url: Option<String>,
}
