use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::strict_object;
use super::{Algorithm, ClaimMapping, KeySet, MfaPolicy, TokenError};
use crate::TokenCaller;

/// Longest token that is looked at, bytes.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Longest claims, bytes of JSON.
pub const MAX_CLAIMS_BYTES: usize = 8 << 10;
/// Longest answer to an introspection, bytes.
pub const MAX_INTROSPECTION_BYTES: usize = 16 << 10;
/// Longest `sub`, bytes (OpenID Connect: 255 ASCII characters).
const MAX_SUBJECT: usize = 255;

/// What is demanded of the tokens of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerPolicy {
    /// The issuer, exactly as in `iss`.
    pub issuer: String,
    /// Names of this service of which `aud` must hold one. Empty: no token is taken.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be from ours, seconds.
    #[serde(default = "default_skew")]
    pub clock_skew_s: u32,
    /// Applications (`azp`, else `client_id`) that tokens may have been issued to; `None`: any.
    #[serde(default)]
    pub authorized_parties: Option<Vec<String>>,
    /// Who its claims say is calling.
    pub mapping: ClaimMapping,
    /// What proves a second factor; `None`: none is demanded.
    #[serde(default)]
    pub mfa: Option<MfaPolicy>,
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA]
}

fn default_skew() -> u32 {
    60
}

/// A token that holds.
#[derive(Clone, PartialEq)]
pub struct VerifiedToken {
    /// Who is calling.
    pub caller: TokenCaller,
    /// Until when it holds, milliseconds since 1970, clock skew not counted. `None`: the
    /// introspection did not say.
    pub expires_ms: Option<i64>,
    /// All claims.
    pub claims: Map<String, Value>,
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerifiedToken")
            .field("tenant", &self.caller.tenant)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// Whether a credential is a signed JWT by its form; otherwise it is a key or an opaque token.
#[must_use]
pub fn is_jwt(credential: &str) -> bool {
    // The first byte of the header is `{`.
    credential.starts_with("ey") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Who the token says has issued it, to choose the policy that it is then verified by. Nothing of
/// it is proven.
///
/// # Errors
///
/// It is too large or malformed, or has no `iss`.
pub fn unverified_issuer(token: &str) -> Result<String, TokenError> {
    let claims = Parts::of(token)?.claims()?;
    text(&claims, "iss").map(str::to_owned)
}

/// Verifies a signed JWT by the keys of its issuer at `now_ms` (milliseconds since 1970).
///
/// # Errors
///
/// Why it is refused. After [`TokenError::UnknownKey`] the keys may be out of date.
pub fn verify(
    token: &str,
    policy: &IssuerPolicy,
    keys: &KeySet,
    now_ms: i64,
) -> Result<VerifiedToken, TokenError> {
    let parts = Parts::of(token)?;
    let header = strict_object(&decoded(parts.header)?).ok_or(TokenError::Malformed)?;
    // Extensions that must be understood (RFC 7515, 4.1.11): none are.
    if header.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    // Tokens for other ends (logout, proofs of possession) have types of their own.
    match header.get("typ").map(Value::as_str) {
        None => {}
        Some(Some(kind)) if is_access_or_id_token(kind) => {}
        Some(_) => return Err(TokenError::Malformed),
    }
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    let algorithm = Algorithm::parse(algorithm)
        .filter(|algorithm| policy.algorithms.contains(algorithm))
        .ok_or(TokenError::Algorithm)?;
    let key_id = match header.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().ok_or(TokenError::Malformed)?),
    };
    keys.check(algorithm, key_id, parts.signed.as_bytes(), parts.signature)?;

    let claims = parts.claims()?;
    if text(&claims, "iss")? != policy.issuer {
        return Err(TokenError::Issuer);
    }
    if !audience_fits(&claims, policy)?.ok_or(TokenError::MissingClaim("aud"))? {
        return Err(TokenError::Audience);
    }
    let expires_ms = check_times(&claims, policy, now_ms)?;
    let expires_ms = Some(expires_ms.ok_or(TokenError::MissingClaim("exp"))?);
    check_party(&claims, policy)?;
    finish(claims, policy, expires_ms)
}

/// Takes the answer of an issuer to an introspection (RFC 7662).
///
/// What the answer leaves out cannot be checked, but one that does not say whom the token is for is
/// taken only if its application is one of [`IssuerPolicy::authorized_parties`].
///
/// # Errors
///
/// Why the token is refused.
pub fn accept_introspection(
    answer: &[u8],
    policy: &IssuerPolicy,
    now_ms: i64,
) -> Result<VerifiedToken, TokenError> {
    if answer.len() > MAX_INTROSPECTION_BYTES {
        return Err(TokenError::TooLarge);
    }
    let claims = strict_object(answer).ok_or(TokenError::Malformed)?;
    if claims.get("active").and_then(Value::as_bool) != Some(true) {
        return Err(TokenError::Inactive);
    }
    if claims.contains_key("iss") && text(&claims, "iss")? != policy.issuer {
        return Err(TokenError::Issuer);
    }
    let fits = match audience_fits(&claims, policy)? {
        Some(fits) => fits,
        // The check of the party below does the rest.
        None => policy.authorized_parties.is_some(),
    };
    if !fits {
        return Err(TokenError::Audience);
    }
    let expires_ms = check_times(&claims, policy, now_ms)?;
    check_party(&claims, policy)?;
    finish(claims, policy, expires_ms)
}

fn finish(
    claims: Map<String, Value>,
    policy: &IssuerPolicy,
    expires_ms: Option<i64>,
) -> Result<VerifiedToken, TokenError> {
    let subject = text(&claims, "sub")?;
    if subject.is_empty() || subject.len() > MAX_SUBJECT {
        return Err(TokenError::InvalidClaim("sub"));
    }
    if let Some(mfa) = &policy.mfa {
        mfa.demand(&claims)?;
    }
    let caller = policy.mapping.caller(subject, &claims)?;
    Ok(VerifiedToken { caller, expires_ms, claims })
}

struct Parts<'t> {
    /// What the signature covers.
    signed: &'t str,
    header: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') {
            return Err(TokenError::Malformed);
        }
        Ok(Self { signed, header, claims, signature })
    }

    fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        // Four characters are three bytes.
        if self.claims.len() / 4 * 3 > MAX_CLAIMS_BYTES {
            return Err(TokenError::TooLarge);
        }
        strict_object(&decoded(self.claims)?).ok_or(TokenError::Malformed)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

fn is_access_or_id_token(kind: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, TokenError> {
    let claim = claims.get(name).ok_or(TokenError::MissingClaim(name))?;
    claim.as_str().ok_or(TokenError::InvalidClaim(name))
}

/// Whether `aud` names this service; `None`: there is no `aud`.
fn audience_fits(
    claims: &Map<String, Value>,
    policy: &IssuerPolicy,
) -> Result<Option<bool>, TokenError> {
    let list = match claims.get("aud") {
        None => return Ok(None),
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    let mut fits = false;
    for audience in list {
        let audience = audience.as_str().ok_or(TokenError::InvalidClaim("aud"))?;
        fits |= policy.audiences.iter().any(|own| own == audience);
    }
    Ok(Some(fits))
}

/// Checks `exp`, `nbf` and `iat` as far as they are there. The value of `exp`, milliseconds.
fn check_times(
    claims: &Map<String, Value>,
    policy: &IssuerPolicy,
    now_ms: i64,
) -> Result<Option<i64>, TokenError> {
    let skew_ms = i64::from(policy.clock_skew_s) * 1000;
    let expires = time_ms(claims, "exp")?;
    if expires.is_some_and(|at| now_ms >= at.saturating_add(skew_ms)) {
        return Err(TokenError::Expired);
    }
    let latest = now_ms.saturating_add(skew_ms);
    if time_ms(claims, "nbf")?.is_some_and(|at| at > latest) {
        return Err(TokenError::NotYetValid);
    }
    if time_ms(claims, "iat")?.is_some_and(|at| at > latest) {
        return Err(TokenError::IssuedInFuture);
    }
    Ok(expires)
}

/// Seconds since 1970, whole or not, as milliseconds.
fn time_ms(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenError> {
    /// Beyond this (the year 33658) it is no time, and milliseconds would not fit a float exactly.
    const MOST_S: f64 = 1e12;
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_f64().filter(|seconds| (0.0..=MOST_S).contains(seconds));
    let seconds = seconds.ok_or(TokenError::InvalidClaim(name))?;
    Ok(Some((seconds * 1000.0) as i64))
}

fn check_party(claims: &Map<String, Value>, policy: &IssuerPolicy) -> Result<(), TokenError> {
    let Some(allowed) = &policy.authorized_parties else { return Ok(()) };
    let party = claims.get("azp").or_else(|| claims.get("client_id")).and_then(Value::as_str);
    if party.is_some_and(|party| allowed.iter().any(|one| one == party)) {
        Ok(())
    } else {
        Err(TokenError::Party)
    }
}

#[cfg(test)]
#[path = "../tests/verify.rs"]
mod tests;
