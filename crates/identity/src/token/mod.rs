//! Tokens of identity providers: OpenID Connect and OAuth 2.0. Everything but fetching: documents
//! and time are arguments.

mod error;
mod json;
mod keys;
mod mapping;
mod metadata;
mod state;
mod verify;

pub use error::{DocumentError, TokenError};
pub use keys::{Algorithm, KeySet};
pub use mapping::{ClaimMapping, ClaimRule, ClaimSource, MfaPolicy};
pub use metadata::{Discovery, discovery_url};
pub use state::{JwksState, JwksTiming, RefreshReason};
pub use verify::{
    IssuerPolicy, MAX_CLAIMS_BYTES, MAX_INTROSPECTION_BYTES, MAX_TOKEN_BYTES, VerifiedToken,
    accept_introspection, is_jwt, unverified_issuer, verify,
};
