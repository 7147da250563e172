//! Access tokens that the simulated OAuth and IAM services issue, and their expiry.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::providers::Provider;

/// Whom a token stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grant {
    pub(crate) provider: Provider,
    /// Who is billed: the key id, client id or service account.
    pub(crate) principal: String,
    /// Unix seconds after which the token is refused.
    pub(crate) expires_at: u64,
    /// What the token is good for (a scope, a folder), when the provider has such.
    pub(crate) scope: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// Never issued, or by another provider.
    Unknown,
    /// Was good, is no longer.
    Expired,
}

#[derive(Debug, Default)]
pub(crate) struct AccessTokens(Mutex<HashMap<String, Grant>>);

impl AccessTokens {
    pub(crate) fn insert(&self, token: String, grant: Grant) {
        let mut tokens = self.0.lock();
        if tokens.len() >= 100_000 {
            tokens.clear();
        }
        tokens.insert(token, grant);
    }

    /// The grant behind `token` at `now` (Unix seconds).
    pub(crate) fn check(
        &self,
        provider: Provider,
        token: &str,
        now: u64,
    ) -> Result<Grant, TokenFault> {
        let tokens = self.0.lock();
        let grant = tokens
            .get(token)
            .filter(|grant| grant.provider == provider)
            .ok_or(TokenFault::Unknown)?;
        if now >= grant.expires_at { Err(TokenFault::Expired) } else { Ok(grant.clone()) }
    }

    /// Makes `token` expired from now on.
    pub(crate) fn revoke(&self, token: &str) {
        if let Some(grant) = self.0.lock().get_mut(token) {
            grant.expires_at = 0;
        }
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_expire_and_can_be_revoked() {
        let tokens = AccessTokens::default();
        let grant = Grant {
            provider: Provider::GigaChat,
            principal: "sim".to_owned(),
            expires_at: 100,
            scope: None,
        };
        tokens.insert("t".to_owned(), grant.clone());
        assert_eq!(tokens.check(Provider::GigaChat, "t", 99), Ok(grant));
        assert_eq!(tokens.check(Provider::GigaChat, "t", 100), Err(TokenFault::Expired));
        assert_eq!(tokens.check(Provider::Yandex, "t", 1), Err(TokenFault::Unknown));
        tokens.revoke("t");
        assert_eq!(tokens.check(Provider::GigaChat, "t", 1), Err(TokenFault::Expired));
    }
}
