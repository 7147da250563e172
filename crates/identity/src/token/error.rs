/// Why a token is refused. No message holds the token, a claim of it, or what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// The token or its claims are longer than any honest one.
    #[error("the token is too large")]
    TooLarge,
    /// It is no signed JWT, or names something twice.
    #[error("the token is not a well-formed signed JWT")]
    Malformed,
    /// It is signed in a way that is not allowed for its issuer, or not signed.
    #[error("the token is signed with an algorithm that is not allowed here")]
    Algorithm,
    /// Its key is not among the issuer's; fetch them anew ([`crate::token::JwksState`]) and try
    /// once more.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It is of another issuer.
    #[error("the issuer of the token is not trusted here")]
    Issuer,
    /// It was made for somebody else.
    #[error("the token was not issued for this service")]
    Audience,
    /// It was given to an application that may not call.
    #[error("the application that the token was issued to may not call")]
    Party,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It says that it was made in the future.
    #[error("the token was issued in the future; compare the clocks")]
    IssuedInFuture,
    /// A claim that is needed is not there.
    #[error("the token has no claim `{0}`")]
    MissingClaim(&'static str),
    /// A claim is not of the type or length that it must have.
    #[error("the claim `{0}` of the token is not valid")]
    InvalidClaim(&'static str),
    /// The claims do not say which tenant or role it is for, or say one that its issuer may not.
    #[error("the claims of the token name no {0} that is known here")]
    Unmapped(&'static str),
    /// The policy demands a second factor.
    #[error("a second factor is required; sign in again with one")]
    MfaRequired,
    /// The issuer says that it does not hold (any more).
    #[error("the token is not active")]
    Inactive,
}

impl TokenError {
    /// All of them, with one claim each.
    pub const ALL: [Self; 16] = [
        Self::TooLarge,
        Self::Malformed,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Party,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::MissingClaim("exp"),
        Self::InvalidClaim("exp"),
        Self::Unmapped("tenant"),
        Self::MfaRequired,
        Self::Inactive,
    ];

    /// The stable code, as in `docs/errors.md`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "token_too_large",
            Self::Malformed => "invalid_token",
            Self::Algorithm => "token_algorithm_not_allowed",
            Self::UnknownKey => "token_key_unknown",
            Self::Signature => "token_signature_invalid",
            Self::Issuer => "token_issuer_not_allowed",
            Self::Audience => "token_audience_not_allowed",
            Self::Party => "token_party_not_allowed",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInFuture => "token_issued_in_future",
            Self::MissingClaim(_) => "token_claim_missing",
            Self::InvalidClaim(_) => "token_claim_invalid",
            Self::Unmapped(_) => "token_claim_unmapped",
            Self::MfaRequired => "mfa_required",
            Self::Inactive => "token_inactive",
        }
    }
}

/// Why a document of an identity provider is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Longer than any honest one.
    #[error("the document of the identity provider is too large")]
    TooLarge,
    /// Not of the form that the standard demands.
    #[error("the document of the identity provider is not of the form that the standard demands")]
    Malformed,
    /// It is of another issuer than asked for.
    #[error("the discovery document is of another issuer")]
    Issuer,
    /// It leads to an address that is not protected although the issuer's is.
    #[error("the discovery document names an address without TLS")]
    Insecure,
    /// None of its keys can be used.
    #[error("the key set holds no key that can check signatures")]
    NoKeys,
}
