use std::net::IpAddr;

use async_trait::async_trait;
use identity::Role;

use crate::error::AdminError;

/// Whoever calls the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// For the audit log: `key:key_...`, `static:NAME`, `oidc:SUBJECT`.
    pub name: String,
    /// The tenant it is bound to; `None`: the platform, all tenants.
    pub tenant: Option<String>,
    /// The user or service account it belongs to, if any.
    pub user: Option<String>,
    /// The virtual key it called with, if any.
    pub key: Option<String>,
    /// What it may do.
    pub role: Role,
    /// What kept answers are sealed with: derived from the secret it called with.
    pub seal: Seal,
}

/// A key derived from a caller's secret. Never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seal(pub(crate) [u8; 32]);

impl Seal {
    /// The seal of a secret. Differs from the digest by which keys are looked up.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let digest = ring::hmac::sign(
            &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"llm-proxy replay"),
            secret.as_bytes(),
        );
        let mut seal = [0; 32];
        seal.copy_from_slice(digest.as_ref());
        Self(seal)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

impl Actor {
    /// Whether things of `tenant` exist for this actor.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}

/// Finds out who calls.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Whom `secret` (of `Authorization: Bearer`) stands for, calling from `address`.
    ///
    /// # Errors
    /// Unauthenticated, with a code that says why.
    async fn authenticate(&self, secret: &str, address: IpAddr) -> Result<Actor, AdminError>;
}
