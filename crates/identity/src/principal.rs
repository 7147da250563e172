use std::net::IpAddr;
use std::sync::Arc;

use chat::Residency;
use metering::Limits;
use routing::Sensitivity;

use crate::level::{KeyEntry, Level, LevelKind, TeamEntry, TenantEntry, UserEntry};
use crate::{Actor, DirectoryView, Permission, Policy, Role, Rotation, Tier};

/// A key of the configuration file: of the platform, of no tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaticKey {
    /// Name, for logs.
    pub name: String,
    /// What it may do in the admin API, over all tenants.
    pub role: Role,
    /// What it allows.
    pub policy: Policy,
}

/// Who a verified token says is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCaller {
    /// Id of the tenant.
    pub tenant: String,
    /// Id of the team.
    pub team: Option<String>,
    /// `sub` of the token.
    pub subject: String,
    /// Role given by the token's claims; `None`: that of the user, where it is known.
    pub role: Option<Role>,
}

/// Why a caller is refused. No message holds a key, an address or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// There is no such key; or its overlap has ended, or what it belongs to is gone.
    #[error("the API key is not known here; check the key and that it was issued by this proxy")]
    Unknown,
    /// The key has expired.
    #[error("the API key has expired; ask for a new one")]
    Expired,
    /// The key or what it belongs to is blocked.
    #[error("the {} of this API key is blocked; ask whoever administers it", .0.name())]
    Blocked(LevelKind),
    /// The caller's address is not among those allowed.
    #[error("calls from this address are not allowed")]
    Address,
    /// The key is older than the rotation policy allows.
    #[error("the API key is older than its rotation policy allows; rotate it")]
    RotationDue,
}

impl Refusal {
    /// All of them, a blocked one at each level.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Expired,
        Self::Blocked(LevelKind::Tenant),
        Self::Blocked(LevelKind::Team),
        Self::Blocked(LevelKind::User),
        Self::Blocked(LevelKind::Key),
        Self::Address,
        Self::RotationDue,
    ];

    /// The stable code, as in `docs/errors.md`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "invalid_api_key",
            Self::Expired => "key_expired",
            Self::Blocked(_) => "key_blocked",
            Self::Address => "address_not_allowed",
            Self::RotationDue => "key_rotation_due",
        }
    }

    /// Whether other credentials could help (HTTP 401); otherwise the caller is known and may not
    /// (403).
    #[must_use]
    pub fn is_authentication(self) -> bool {
        matches!(self, Self::Unknown | Self::Expired | Self::RotationDue)
    }
}

/// One level of a caller and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelLimits<'a> {
    /// Which level.
    pub kind: LevelKind,
    /// Id of the tenant, team, user or key; of a key of the configuration, its name.
    pub id: &'a str,
    /// Its own limits, with counters of their own.
    pub limits: &'a Limits,
}

#[derive(Debug, Clone)]
enum Leaf {
    Static(Arc<StaticKey>),
    Key(Arc<KeyEntry>),
    /// Subject of the token and the role that it gives.
    Token(Arc<str>, Option<Role>),
}

/// Whoever calls, with all that it belongs to. Cloning takes references and copies nothing.
#[derive(Debug, Clone)]
pub struct Principal {
    tenant: Option<Arc<TenantEntry>>,
    team: Option<Arc<TeamEntry>>,
    /// The user's team, where the key is of another: both narrow.
    home_team: Option<Arc<TeamEntry>>,
    user: Option<Arc<UserEntry>>,
    leaf: Leaf,
    rotation: Rotation,
    superseded: bool,
}

impl Principal {
    pub(crate) fn of_static(key: Arc<StaticKey>, address: Option<IpAddr>) -> Result<Self, Refusal> {
        let principal = Self {
            tenant: None,
            team: None,
            home_team: None,
            user: None,
            leaf: Leaf::Static(key),
            rotation: Rotation::Fresh,
            superseded: false,
        };
        principal.admit(address)
    }

    pub(crate) fn of_key(
        key: &Arc<KeyEntry>,
        directory: &DirectoryView,
        rotation: Rotation,
        superseded: bool,
        address: Option<IpAddr>,
    ) -> Result<Self, Refusal> {
        let user = key.user.as_deref().map(|id| directory.user(id).ok_or(Refusal::Unknown));
        let (tenant, team, home_team, user) =
            chain(directory, &key.tenant, key.team.as_deref(), user.transpose()?)?;
        let leaf = Leaf::Key(Arc::clone(key));
        Self { tenant: Some(tenant), team, home_team, user, leaf, rotation, superseded }
            .admit(address)
    }

    /// Whom a verified token stands for. A user of the tenant with the token's subject narrows and
    /// is charged; one that the directory does not know stands for itself alone.
    ///
    /// # Errors
    ///
    /// As for keys. A tenant or team that does not exist is [`Refusal::Unknown`].
    pub fn of_token(
        caller: &TokenCaller,
        directory: &DirectoryView,
        address: Option<IpAddr>,
    ) -> Result<Self, Refusal> {
        let user = directory.user_by_subject(&caller.tenant, &caller.subject);
        let (tenant, team, home_team, user) =
            chain(directory, &caller.tenant, caller.team.as_deref(), user)?;
        let principal = Self {
            tenant: Some(tenant),
            team,
            home_team,
            user,
            leaf: Leaf::Token(caller.subject.as_str().into(), caller.role),
            rotation: Rotation::Fresh,
            superseded: false,
        };
        principal.admit(address)
    }

    /// Refuses it if a level is blocked or does not allow the address.
    fn admit(self, address: Option<IpAddr>) -> Result<Self, Refusal> {
        if let Some(level) = self.entries().find(|level| level.blocked) {
            return Err(Refusal::Blocked(level.kind));
        }
        if self.policies().all(|policy| policy.allows_address(address)) {
            Ok(self)
        } else {
            Err(Refusal::Address)
        }
    }

    /// Name of the key, or subject of the token, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.leaf {
            Leaf::Static(key) => &key.name,
            Leaf::Key(key) => key.name(),
            Leaf::Token(subject, _) => subject,
        }
    }

    /// The tenant; `None`: the platform.
    #[must_use]
    pub fn tenant(&self) -> Option<&Arc<TenantEntry>> {
        self.tenant.as_ref()
    }

    /// Id of the tenant.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref().map(|tenant| tenant.id())
    }

    /// Id of the team that it is counted to: the key's, else the user's.
    #[must_use]
    pub fn team_id(&self) -> Option<&Arc<str>> {
        self.team.as_ref().map(|team| team.id())
    }

    /// Id of the user.
    #[must_use]
    pub fn user_id(&self) -> Option<&Arc<str>> {
        self.user.as_ref().map(|user| user.id())
    }

    /// Id of the virtual key.
    #[must_use]
    pub fn key_id(&self) -> Option<&Arc<str>> {
        match &self.leaf {
            Leaf::Key(key) => Some(key.id()),
            Leaf::Static(_) | Leaf::Token(..) => None,
        }
    }

    /// Who it is to the admin API and in its events: `key:ID`, `static:NAME`, `user:ID`; a user
    /// that the directory does not know as `subject:SUBJECT`.
    #[must_use]
    pub fn actor_name(&self) -> String {
        match (&self.leaf, &self.user) {
            (Leaf::Static(key), _) => format!("static:{}", key.name),
            (Leaf::Key(key), _) => format!("key:{}", key.id()),
            (Leaf::Token(..), Some(user)) => format!("user:{}", user.id()),
            (Leaf::Token(subject, _), None) => format!("subject:{subject}"),
        }
    }

    /// Tags of the key.
    #[must_use]
    pub fn tags(&self) -> &[Box<str>] {
        match &self.leaf {
            Leaf::Key(key) => &key.tags,
            Leaf::Static(_) | Leaf::Token(..) => &[],
        }
    }

    /// What the tenant has bought; `None`: it has no tenant.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.tenant.as_ref().map(|tenant| tenant.tier)
    }

    /// The role of the key, or that which the token gives, or that of the user.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.leaf {
            Leaf::Static(key) => key.role,
            Leaf::Key(key) => key.role,
            Leaf::Token(_, Some(role)) => *role,
            Leaf::Token(_, None) => self.user.as_ref().map(|user| user.role).unwrap_or_default(),
        }
    }

    /// Whether it may: by its role, and, of a user's key, by the user's too.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        let actor = |role| Actor { tenant: self.tenant_id().map(|id| &**id), role };
        let owner = match (&self.leaf, &self.user) {
            (Leaf::Key(_), Some(user)) => user.role,
            _ => self.role(),
        };
        actor(self.role()).may(permission) && actor(owner).may(permission)
    }

    /// What the rotation policy says of the key.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// Whether the secret is one that was rotated and will soon be refused.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Whether it may call the public model name.
    #[must_use]
    pub fn may_call(&self, route: &str) -> bool {
        self.policies().all(|policy| policy.allows_model(route))
    }

    /// Whether it may use the surface.
    #[must_use]
    pub fn may_use(&self, surface: &str) -> bool {
        self.policies().all(|policy| policy.allows_surface(surface))
    }

    /// Whether the provider may serve it.
    #[must_use]
    pub fn allows_provider(&self, name: &str) -> bool {
        self.policies().all(|policy| policy.allows_provider(name))
    }

    /// Where its data may be processed at the widest: the strictest of all levels.
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        self.policies().filter_map(|policy| policy.residency).max()
    }

    /// Guard policies of all its levels, from the widest to the narrowest.
    pub fn guard_policies(&self) -> impl Iterator<Item = &str> {
        self.policies().filter_map(|policy| policy.guard_policy.as_deref())
    }

    /// The routing policy of the nearest level that names one.
    #[must_use]
    pub fn routing_policy(&self) -> Option<routing::Policy> {
        self.policies().filter_map(|policy| policy.routing_policy).last()
    }

    /// Whether the router may learn by trying on its requests: a level says so, and none forbids it.
    #[must_use]
    pub fn allows_exploration(&self) -> bool {
        let mut said = self.policies().filter_map(|policy| policy.exploration).peekable();
        said.peek().is_some() && said.all(|allowed| allowed)
    }

    /// How sensitive its content is at least: the most sensitive of all levels.
    #[must_use]
    pub fn sensitivity(&self) -> Sensitivity {
        self.policies().filter_map(|policy| policy.sensitivity).max().unwrap_or_default()
    }

    /// The tenant's share where requests queue, relative to other tenants'.
    #[must_use]
    pub fn queue_share(&self) -> u32 {
        let share = self.tenant.as_ref().and_then(|tenant| tenant.level.policy.queue_share);
        share.unwrap_or(1).max(1)
    }

    /// Names of the providers that may serve it; `None`: all.
    #[must_use]
    pub fn provider_names(&self) -> Option<Vec<&str>> {
        let mut lists = self.policies().filter_map(|policy| policy.providers.as_ref()).peekable();
        let first = lists.peek().copied()?;
        let allowed = |name: &&str| self.allows_provider(name);
        Some(first.iter().map(String::as_str).filter(allowed).collect())
    }

    /// Its levels with their limits, from the tenant down.
    pub fn levels(&self) -> impl Iterator<Item = LevelLimits<'_>> {
        let fixed = match &self.leaf {
            Leaf::Static(key) => Some(LevelLimits {
                kind: LevelKind::Key,
                id: &key.name,
                limits: &key.policy.limits,
            }),
            Leaf::Key(_) | Leaf::Token(..) => None,
        };
        let entries = self.entries().map(|level| LevelLimits {
            kind: level.kind,
            id: &level.id,
            limits: &level.policy.limits,
        });
        entries.chain(fixed)
    }

    /// From the widest to the narrowest.
    fn entries(&self) -> impl Iterator<Item = &Level> {
        let key = match &self.leaf {
            Leaf::Key(key) => Some(&key.level),
            Leaf::Static(_) | Leaf::Token(..) => None,
        };
        let levels = [
            self.tenant.as_ref().map(|tenant| &tenant.level),
            self.home_team.as_ref().map(|team| &team.level),
            self.team.as_ref().map(|team| &team.level),
            self.user.as_ref().map(|user| &user.level),
            key,
        ];
        levels.into_iter().flatten()
    }

    fn policies(&self) -> impl Iterator<Item = &Policy> {
        let fixed = match &self.leaf {
            Leaf::Static(key) => Some(&key.policy),
            Leaf::Key(_) | Leaf::Token(..) => None,
        };
        self.entries().map(|level| &*level.policy).chain(fixed)
    }
}

type Chain =
    (Arc<TenantEntry>, Option<Arc<TeamEntry>>, Option<Arc<TeamEntry>>, Option<Arc<UserEntry>>);

/// What a key or token belongs to. What is gone, or is another tenant's, makes it unknown: nothing
/// outlives or leaves what it belongs to.
fn chain(
    directory: &DirectoryView,
    tenant: &str,
    team: Option<&str>,
    user: Option<&Arc<UserEntry>>,
) -> Result<Chain, Refusal> {
    let tenant = directory.tenant(tenant).ok_or(Refusal::Unknown)?;
    let team_of = |id: Option<&str>| match id.map(|id| directory.team(id)) {
        None => Ok(None),
        Some(Some(team)) if team.tenant() == tenant.id() => Ok(Some(Arc::clone(team))),
        Some(_) => Err(Refusal::Unknown),
    };
    if user.is_some_and(|user| user.tenant() != tenant.id()) {
        return Err(Refusal::Unknown);
    }
    let home = user.and_then(|user| user.team.as_deref());
    let (team, home_team) = match (team, home) {
        (Some(team), Some(home)) if team != home => (team_of(Some(team))?, team_of(Some(home))?),
        (team, home) => (team_of(team.or(home))?, None),
    };
    Ok((Arc::clone(tenant), team, home_team, user.map(Arc::clone)))
}

#[cfg(test)]
#[path = "tests/principal.rs"]
mod tests;
