//! Tokens of identity providers, the part that talks: keys are fetched beside the requests, opaque
//! tokens are looked up once for all who show them. What a token means is decided by
//! [`identity::token`].

mod cache;
mod introspection;
mod issuer;
mod issuers;
mod options;

use std::net::IpAddr;
use std::time::Duration;

use chat::{ApiError, ErrorKind};
use identity::token::{TokenError, VerifiedToken};
use identity::{DirectoryView, Principal, Refusal};

pub use issuers::OidcIssuers;
pub use options::{IntrospectionOptions, IssuerOptions, OidcStartError};

/// Why a token stands for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Whom it belongs to is refused.
    #[error(transparent)]
    Principal(Refusal),
    /// Its issuer could not be asked, so that nothing can be said of it.
    #[error(
        "the identity provider cannot be reached at the moment, so that the token cannot be \
         checked; try again"
    )]
    Unavailable,
}

impl From<OidcError> for ApiError {
    fn from(error: OidcError) -> Self {
        let message = error.to_string();
        match error {
            OidcError::Token(token) => {
                Self::new(ErrorKind::Authentication, message).with_code(token.code())
            }
            OidcError::Principal(refusal) => refused(refusal),
            OidcError::Unavailable => {
                let mut error = Self::new(ErrorKind::Overloaded, message)
                    .with_code("identity_provider_unavailable");
                // As long as pauses between attempts to fetch keys.
                error.retry_after = Some(Duration::from_secs(5));
                error
            }
        }
    }
}

/// A refusal by the directory, as an error of the API.
pub(crate) fn refused(refusal: Refusal) -> ApiError {
    let kind = if refusal.is_authentication() {
        ErrorKind::Authentication
    } else {
        ErrorKind::PermissionDenied
    };
    ApiError::new(kind, refusal.to_string()).with_code(refusal.code())
}

/// Whom a verified token stands for in the directory.
///
/// # Errors
///
/// Its tenant or team is not known here, or it, the user or the tenant may not call.
pub fn principal_of(
    verified: &VerifiedToken,
    directory: &DirectoryView,
    address: Option<IpAddr>,
) -> Result<Principal, OidcError> {
    Principal::of_token(&verified.caller, directory, address).map_err(|refusal| match refusal {
        // The refusal speaks of a key.
        Refusal::Unknown => OidcError::Token(TokenError::Unmapped("tenant or team")),
        other => OidcError::Principal(other),
    })
}
