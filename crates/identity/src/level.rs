use std::sync::Arc;

use crate::{KeyDigest, Policy, Role, Tier};

/// A level of the hierarchy, from the widest to the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LevelKind {
    Tenant,
    Team,
    User,
    Key,
}

impl LevelKind {
    /// The name in messages and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Team => "team",
            Self::User => "user",
            Self::Key => "key",
        }
    }
}

/// What tenants, teams, users and keys have in common. Ids and policies are shared: most keys
/// have the policy that says nothing.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) kind: LevelKind,
    pub(crate) id: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) blocked: bool,
    pub(crate) policy: Arc<Policy>,
}

/// What is kept of a tenant.
#[derive(Debug)]
pub struct TenantEntry {
    pub(crate) level: Level,
    pub(crate) tier: Tier,
    pub(crate) time_zone: Box<str>,
    pub(crate) fail_closed: bool,
}

/// What is kept of a team.
#[derive(Debug)]
pub struct TeamEntry {
    pub(crate) level: Level,
    pub(crate) tenant: Arc<str>,
}

/// What is kept of a user or service account.
#[derive(Debug)]
pub struct UserEntry {
    pub(crate) level: Level,
    pub(crate) tenant: Arc<str>,
    pub(crate) team: Option<Arc<str>>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) role: Role,
    pub(crate) service_account: bool,
}

/// What is kept of a virtual key.
#[derive(Debug)]
pub struct KeyEntry {
    pub(crate) level: Level,
    pub(crate) tenant: Arc<str>,
    pub(crate) team: Option<Arc<str>>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) digest: KeyDigest,
    /// The secret before the last rotation, and from when it is refused.
    pub(crate) previous: Option<Box<(KeyDigest, i64)>>,
    pub(crate) role: Role,
    pub(crate) issued_ms: i64,
    pub(crate) expires_ms: Option<i64>,
    pub(crate) tags: Box<[Box<str>]>,
}

macro_rules! accessors {
    ($($entry:ty),*) => {$(
        impl $entry {
            /// Its id.
            #[must_use]
            pub fn id(&self) -> &Arc<str> {
                &self.level.id
            }

            /// Its name for people.
            #[must_use]
            pub fn name(&self) -> &str {
                &self.level.name
            }

            /// Whether its requests are refused, by itself and not by a level above.
            #[must_use]
            pub fn blocked(&self) -> bool {
                self.level.blocked
            }

            /// What this level allows; what holds is what all levels allow.
            #[must_use]
            pub fn policy(&self) -> &Policy {
                &self.level.policy
            }
        }
    )*};
}

accessors!(TenantEntry, TeamEntry, UserEntry, KeyEntry);

impl TenantEntry {
    /// What it has bought.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// IANA name of the time zone in which its days and months begin. Not checked.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// Whether what cannot be shared with other replicas refuses.
    #[must_use]
    pub fn fail_closed(&self) -> bool {
        self.fail_closed
    }
}

impl TeamEntry {
    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }
}

impl UserEntry {
    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// The team it belongs to.
    #[must_use]
    pub fn team(&self) -> Option<&Arc<str>> {
        self.team.as_ref()
    }

    /// `sub` of its tokens.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// What it may do in the admin API.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether it is a program's and not a person's.
    #[must_use]
    pub fn is_service_account(&self) -> bool {
        self.service_account
    }
}

impl KeyEntry {
    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// The team it belongs to.
    #[must_use]
    pub fn team(&self) -> Option<&Arc<str>> {
        self.team.as_ref()
    }

    /// The user it belongs to.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }
}
