//! Token services beside the models: Microsoft Entra for Azure, Cloud.ru's IAM.

use serde_json::{Value, json};

use crate::access_tokens::Grant;
use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::providers::Provider;

/// Life of both services' tokens unless the profile says otherwise, seconds.
const USUAL_TTL_S: u64 = 3600;

/// `POST /{tenant}/oauth2/v2.0/token`: client credentials.
pub(crate) fn entra(exchange: &Exchange) -> Answer {
    let form = std::str::from_utf8(exchange.body()).unwrap_or("");
    let field = |name: &str| form_field(form, name).unwrap_or_default();
    if field("grant_type") != "client_credentials" {
        return entra_error(
            exchange,
            400,
            "unsupported_grant_type",
            70003,
            "The app requested an unsupported grant type.",
        );
    }
    if !field("scope").ends_with("/.default") {
        let message = "The provided request must include a 'scope' input parameter that ends with \
                       '/.default'.";
        return entra_error(exchange, 400, "invalid_scope", 70011, message);
    }
    let client = field("client_id");
    let assertion = !field("client_assertion").is_empty();
    if !client.starts_with("sim") || (field("client_secret").is_empty() && !assertion) {
        let message = "Invalid client secret provided. Ensure the secret being sent in the \
                       request is the client secret value, not the client secret ID.";
        return entra_error(exchange, 401, "invalid_client", 7_000_215, message);
    }
    let (token, ttl) =
        issue(exchange, Provider::Azure, &client, "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9");
    Answer::json(
        200,
        json!({"token_type": "Bearer", "expires_in": ttl, "ext_expires_in": ttl,
            "access_token": token})
        .to_string(),
    )
}

fn entra_error(exchange: &Exchange, status: u16, error: &str, code: u64, message: &str) -> Answer {
    let mut ids = Draw::new(exchange.world.seed ^ exchange.record.ordinal);
    let (trace, correlation) = (ids.uuid(), ids.uuid());
    Answer::json(
        status,
        json!({
            "error": error, "error_codes": [code],
            "error_description": format!("AADSTS{code}: {message} Trace ID: {trace} Correlation ID: {correlation}"),
            "trace_id": trace, "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        })
        .to_string(),
    )
}

/// `POST /api/v1/auth/token`: a key id and its secret for an access token.
pub(crate) fn cloudru(exchange: &Exchange) -> Answer {
    let body: Value = match serde_json::from_slice(exchange.body()) {
        Ok(body) => body,
        Err(_) => return cloudru_error(400, 3, "invalid request body"),
    };
    let (Some(key_id), Some(secret)) = (body["keyId"].as_str(), body["secret"].as_str()) else {
        return cloudru_error(400, 3, "keyId and secret are required");
    };
    if !key_id.starts_with("sim") || secret.is_empty() {
        return cloudru_error(401, 16, "invalid credentials");
    }
    let (token, ttl) =
        issue(exchange, Provider::CloudRu, key_id, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9");
    Answer::json(
        200,
        json!({"access_token": token, "expires_in": ttl, "token_type": "Bearer"}).to_string(),
    )
}

fn cloudru_error(status: u16, code: u64, message: &str) -> Answer {
    Answer::json(status, json!({"code": code, "message": message, "details": []}).to_string())
}

/// A token that looks like a JWT, and its life in seconds.
fn issue(exchange: &Exchange, provider: Provider, principal: &str, header: &str) -> (String, u64) {
    let world = &exchange.world;
    let ttl = world.token_ttl_s(USUAL_TTL_S);
    let mut draw =
        Draw::new(world.seed ^ exchange.record.ordinal).branch(stable_hash(principal.as_bytes()));
    let token = format!("{header}.{}.{}", draw.alphanumeric(120), draw.alphanumeric(86));
    let expires_at = world.now() + ttl;
    let grant = Grant { provider, principal: principal.to_owned(), expires_at, scope: None };
    world.tokens.insert(token.clone(), grant);
    (token, ttl)
}

/// The decoded value of `name` in an `application/x-www-form-urlencoded` body.
fn form_field(form: &str, name: &str) -> Option<String> {
    form.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| percent_decoded(value))
    })
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::form_field;

    #[test]
    fn forms_are_decoded() {
        let form = "grant_type=client_credentials&scope=https%3A%2F%2Fa%2F.default&x=%D0%B4+%";
        assert_eq!(form_field(form, "scope").as_deref(), Some("https://a/.default"));
        assert_eq!(form_field(form, "x").as_deref(), Some("д %"));
        assert_eq!(form_field(form, "y"), None);
    }
}
