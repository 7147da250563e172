//! Tokens: issued for credentials and a scope, or for a user and a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use crate::access_tokens::{Grant, TokenFault};
use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::providers::Provider;

use super::error::{ApiError, OauthError};
use super::v1::is_uuid;

const SCOPES: [&str; 3] = ["GIGACHAT_API_PERS", "GIGACHAT_API_B2B", "GIGACHAT_API_CORP"];

/// Life of a token, seconds.
const TTL_S: u64 = 1800;

/// How a token is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenShape {
    /// `access_token` and `expires_at` in milliseconds.
    AccessToken,
    /// `tok` and `exp` in seconds.
    Tok,
}

/// The token endpoint.
pub(crate) fn oauth(exchange: &Exchange, shape: TokenShape) -> Answer {
    match grant(exchange) {
        Ok((principal, scope)) => issue(exchange, principal, Some(scope), shape),
        Err(error) => Answer::json(error.status().as_u16(), error.body().to_string()),
    }
}

fn grant(exchange: &Exchange) -> Result<(String, String), OauthError> {
    let (principal, _) = basic(exchange).ok_or(OauthError::UndecodableAuthorization)?;
    if !exchange.header("rquid").is_some_and(is_uuid4) {
        return Err(OauthError::BadRequestId);
    }
    let scope = form_value(exchange.body(), "scope").unwrap_or_default();
    if scope.is_empty() {
        return Err(OauthError::EmptyScope);
    }
    if !SCOPES.contains(&scope.as_str()) {
        return Err(OauthError::BadScope);
    }
    if !accepts(exchange, &principal) {
        return Err(OauthError::WrongCredentials);
    }
    // An id that ends with a scope's last word is good for that scope only.
    let own = SCOPES.iter().find(|known| {
        let word = known.rsplit('_').next().unwrap_or_default().to_lowercase();
        principal.ends_with(&format!("-{word}"))
    });
    if own.is_some_and(|own| *own != scope) {
        return Err(OauthError::ScopeNotIncluded);
    }
    Ok((principal, scope))
}

/// The password endpoint below the API's own address.
pub(crate) fn password(exchange: &Exchange) -> Result<Answer, ApiError> {
    if exchange.method() != Method::POST {
        return Err(ApiError::of_status(404));
    }
    match basic(exchange) {
        Some((user, password)) if accepts(exchange, &user) && !password.is_empty() => {
            Ok(issue(exchange, user, None, TokenShape::Tok))
        }
        _ => Err(ApiError::of_status(401)),
    }
}

fn accepts(exchange: &Exchange, principal: &str) -> bool {
    exchange.world.accepts_key(principal)
}

fn issue(
    exchange: &Exchange,
    principal: String,
    scope: Option<String>,
    shape: TokenShape,
) -> Answer {
    let world = &exchange.world;
    let now = world.now();
    let expires_at = now + world.token_ttl_s(TTL_S);
    let mut draw = Draw::new(world.seed)
        .branch(stable_hash(principal.as_bytes()))
        .branch(exchange.record.ordinal);
    let token =
        format!("eyJjdHkiOiJqd3QiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0.{}", draw.alphanumeric(160));
    world.tokens.insert(
        token.clone(),
        Grant { provider: Provider::GigaChat, principal, expires_at, scope },
    );
    let body = match shape {
        TokenShape::AccessToken => json!({"access_token": token, "expires_at": expires_at * 1000}),
        TokenShape::Tok => json!({"tok": token, "exp": expires_at}),
    };
    Answer::json(200, body.to_string())
        .header("cache-control", "no-cache, no-store, max-age=0, must-revalidate")
}

/// Whom the bearer token of an API call stands for.
///
/// # Errors
/// 401, in different words for a token that was good once.
pub(crate) fn authenticate(exchange: &Exchange) -> Result<Grant, ApiError> {
    let token = exchange.bearer().ok_or_else(|| ApiError::of_status(401))?;
    let world = &exchange.world;
    world.tokens.check(Provider::GigaChat, token, world.now()).map_err(|fault| match fault {
        TokenFault::Expired => token_expired(),
        TokenFault::Unknown => ApiError::of_status(401),
    })
}

pub(crate) fn token_expired() -> ApiError {
    ApiError::new(http::StatusCode::UNAUTHORIZED, "Token has expired")
}

/// User and password of `Authorization: Basic`.
fn basic(exchange: &Exchange) -> Option<(String, String)> {
    let decoded = STANDARD.decode(exchange.credential("basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn is_uuid4(text: &str) -> bool {
    is_uuid(text) && text.as_bytes()[14] == b'4' && b"89abAB".contains(&text.as_bytes()[19])
}

/// A member of a URL-encoded form.
fn form_value(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })?;
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        assert_eq!(form_value(b"scope=GIGACHAT_API_PERS", "scope").unwrap(), "GIGACHAT_API_PERS");
        assert_eq!(form_value(b"a=1&scope=%D0%B0+b", "scope").unwrap(), "а b");
        assert_eq!(form_value(b"scope=%D", "scope"), None);
        assert_eq!(form_value(b"other=1", "scope"), None);
    }

    #[test]
    fn request_ids_are_version_four() {
        assert!(is_uuid4("6f0b1291-c7f3-43c6-bb2e-9f3efb2dc98e"));
        assert!(!is_uuid4("6f0b1291-c7f3-13c6-bb2e-9f3efb2dc98e"));
        assert!(!is_uuid4("6f0b1291c7f343c6bb2e9f3efb2dc98e"));
    }
}
