use std::collections::BTreeMap;
use std::net::IpAddr;

use chat::Residency;
use ipnet::IpNet;
use metering::Limits;
use routing::Sensitivity;
use serde::{Deserialize, Serialize};

/// What a tenant has bought.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Tier {
    #[default]
    Free,
    Pro,
    Enterprise,
}

/// What somebody may do in the admin API.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Calls models; sees the own key and its spend.
    #[default]
    User,
    /// Besides, manages own keys.
    Developer,
    /// Sees spend, manages budgets and prices.
    Finance,
    /// Sees everything, changes nothing.
    Auditor,
    /// Does everything within the tenant.
    Admin,
}

/// What a level of the hierarchy allows. A child can only narrow: what is allowed is what every
/// level allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Public model names that may be called; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Providers (by their name in the configuration) that may serve; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<String>>,
    /// Surfaces that may be used, `chat` or `embeddings` say; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surfaces: Option<Vec<String>>,
    /// Addresses that may call; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub addresses: Option<Vec<IpNet>>,
    /// Where data may be processed, at the widest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,
    /// Guard policy by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard_policy: Option<String>,
    /// How a deployment is chosen, where the request does not say; the nearest level that names one
    /// counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_policy: Option<routing::Policy>,
    /// Whether the learning router may try deployments on requests of this level to learn how good
    /// they are. It may if a level says so and none forbids it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exploration: Option<bool>,
    /// How sensitive the content of requests is at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// A tenant's share of local engines where requests queue for them, relative to the other
    /// tenants'; 1 if left out. Other levels than the tenant's have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_share: Option<u32>,
    /// Limits of this level; each level has its own counters.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
}

impl Policy {
    /// Whether this level lets the public model name be called.
    #[must_use]
    pub fn allows_model(&self, name: &str) -> bool {
        allows(self.models.as_deref(), name)
    }

    /// Whether this level lets the provider serve.
    #[must_use]
    pub fn allows_provider(&self, name: &str) -> bool {
        allows(self.providers.as_deref(), name)
    }

    /// Whether this level lets the surface be used.
    #[must_use]
    pub fn allows_surface(&self, name: &str) -> bool {
        allows(self.surfaces.as_deref(), name)
    }

    /// Whether this level lets the address call; one that is not known only where all may. An
    /// IPv4 address within IPv6 counts as IPv4.
    #[must_use]
    pub fn allows_address(&self, address: Option<IpAddr>) -> bool {
        self.addresses.as_ref().is_none_or(|nets| {
            let address = address.map(|address| address.to_canonical());
            address.is_some_and(|address| nets.iter().any(|net| net.contains(&address)))
        })
    }
}

fn allows(list: Option<&[String]>, name: &str) -> bool {
    list.is_none_or(|list| list.iter().any(|allowed| allowed == name))
}

fn is_default(limits: &Limits) -> bool {
    *limits == Limits::default()
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Id, `ten_...`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it has bought.
    #[serde(default)]
    pub tier: Tier,
    /// Time zone in which its days and months begin (IANA name).
    #[serde(default = "moscow")]
    pub time_zone: String,
    /// Whether its requests are refused.
    #[serde(default)]
    pub blocked: bool,
    /// What it may do.
    #[serde(default)]
    pub policy: Policy,
    /// Whether a budget or limit that cannot be shared with other replicas refuses (closed) or
    /// goes on with this replica's share.
    #[serde(default)]
    pub fail_closed: bool,
}

fn moscow() -> String {
    "Europe/Moscow".to_owned()
}

/// A team of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Id, `team_...`.
    pub id: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// Name for people.
    pub name: String,
    /// Whether its requests are refused.
    #[serde(default)]
    pub blocked: bool,
    /// What it may do.
    #[serde(default)]
    pub policy: Policy,
}

/// A person, or a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Id, `usr_...`.
    pub id: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// The team it belongs to.
    #[serde(default)]
    pub team: Option<String>,
    /// Name for people.
    pub name: String,
    /// Whether it is a program's and not a person's.
    #[serde(default)]
    pub service_account: bool,
    /// `sub` of its tokens at the identity provider.
    #[serde(default)]
    pub subject: Option<String>,
    /// What it may do in the admin API.
    #[serde(default)]
    pub role: Role,
    /// Whether its requests are refused.
    #[serde(default)]
    pub blocked: bool,
    /// What it may do.
    #[serde(default)]
    pub policy: Policy,
}

/// A key that applications call with. The key itself is shown once and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualKey {
    /// Id, `key_...`.
    pub id: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// The team it belongs to.
    #[serde(default)]
    pub team: Option<String>,
    /// The user or service account it belongs to.
    #[serde(default)]
    pub user: Option<String>,
    /// Name for people.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub digest: String,
    /// The last four characters, to recognise it by.
    pub hint: String,
    /// What it may do in the admin API.
    #[serde(default)]
    pub role: Role,
    /// Whether it is refused.
    #[serde(default)]
    pub blocked: bool,
    /// When the present secret was made, milliseconds since 1970.
    pub issued_ms: i64,
    /// From when it is refused, milliseconds since 1970.
    #[serde(default)]
    pub expires_ms: Option<i64>,
    /// The secret before the last rotation, good until its overlap ends.
    #[serde(default)]
    pub previous: Option<PreviousSecret>,
    /// What it may do.
    #[serde(default)]
    pub policy: Policy,
    /// Names by which its spend can be told apart.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Anything the customer wants to keep with it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A secret that was rotated and is still taken for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviousSecret {
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub digest: String,
    /// From when it is refused, milliseconds since 1970.
    pub valid_until_ms: i64,
}
