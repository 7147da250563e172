use std::fmt;
use std::path::PathBuf;

use identity::token::{IssuerPolicy, JwksTiming};
use providers::OriginError;

/// An identity provider whose tokens are taken. Equal options are the same issuer: a change of
/// configuration keeps its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerOptions {
    /// What is demanded of its tokens; the issuer is where its discovery document is found.
    pub policy: IssuerPolicy,
    /// Certificates (PEM) trusted besides the public ones. Read again with each refresh.
    pub ca_bundle: Option<PathBuf>,
    /// How opaque tokens are looked up; `None`: they are not.
    pub introspection: Option<IntrospectionOptions>,
    /// When its keys are fetched.
    pub timing: JwksTiming,
}

/// How opaque tokens are looked up at their issuer (RFC 7662).
#[derive(Clone, PartialEq, Eq)]
pub struct IntrospectionOptions {
    /// Where; `None`: where the discovery document says.
    pub url: Option<String>,
    /// Who asks.
    pub client_id: String,
    /// Its secret, sent by HTTP Basic (`client_secret_basic`).
    pub client_secret: String,
}

impl fmt::Debug for IntrospectionOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IntrospectionOptions")
            .field("url", &self.url)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why an issuer cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{issuer}: {reason}")]
pub struct OidcStartError {
    /// Which.
    pub issuer: String,
    /// What is wrong with its addresses or certificates.
    #[source]
    pub reason: OriginError,
}
