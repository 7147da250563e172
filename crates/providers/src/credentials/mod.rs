//! Who the proxy is to a provider: keys that last, and tokens that are fetched, renewed before they
//! expire and shared by all workers.

mod cell;
mod rfc3339;
mod source;

use std::fmt;

pub(crate) use cell::CredentialCell;
pub use source::{GigaChatLogin, ServiceAccountKey, TokenSource};

/// Who the proxy is to a provider.
pub enum Credentials {
    /// Nobody in particular: engines on the own network, or a client certificate says it all.
    None,
    /// A key or token that lasts as long as the configuration.
    Static(String),
    /// A token that is fetched and renewed.
    Token(TokenSource),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Static(_) => "Static(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Characters that a header cannot carry.
    #[error("the key holds characters that no HTTP header can carry; look for line breaks in it")]
    Characters,
    /// A service-account key that cannot be read.
    #[error("the service-account key cannot be used: {0}")]
    ServiceAccountKey(String),
    /// The address of the token service.
    #[error("the token service: {0}")]
    Origin(#[from] crate::http::OriginError),
    /// The address of the token service is no URL.
    #[error("the token service: `{0}` is not a URL")]
    Url(String),
}
