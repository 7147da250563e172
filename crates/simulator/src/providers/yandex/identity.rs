//! Who calls: API keys, identity tokens, and the service that issues the latter.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use crate::access_tokens::{Grant, TokenFault};
use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::providers::Provider;
use crate::providers::timestamp::rfc3339;

use super::SERVICE_ACCOUNT_KEY;
use super::jwt::{self, RegisteredKey};
use super::status::{Code, Status};

/// Life of an identity token, seconds.
const TTL_S: u64 = 12 * 3600;

/// Scope that marks the token of a person, who belongs to no folder.
const USER_SCOPE: &str = "user";

/// Public keys of service accounts, by key id.
#[derive(Debug)]
pub(crate) struct Keys(Mutex<HashMap<String, RegisteredKey>>);

/// An authorised key as the console hands it out; the private half is not needed.
#[derive(Debug, Deserialize)]
pub(crate) struct AuthorizedKey {
    id: String,
    service_account_id: String,
    public_key: String,
    #[serde(default)]
    folder_id: Option<String>,
}

impl Default for Keys {
    /// Knows the key that comes with the simulator.
    fn default() -> Self {
        let keys = Self(Mutex::default());
        if let Ok(key) = serde_json::from_str(SERVICE_ACCOUNT_KEY) {
            keys.register(key);
        }
        keys
    }
}

impl Keys {
    /// Remembers `key`; false when its public half is no RSA key in PEM.
    pub(crate) fn register(&self, key: AuthorizedKey) -> bool {
        let Some(public_key) = jwt::public_key_from_pem(&key.public_key) else {
            return false;
        };
        self.0.lock().insert(
            key.id,
            RegisteredKey {
                service_account_id: key.service_account_id,
                public_key,
                folder_id: key.folder_id,
            },
        );
        true
    }

    fn find(&self, id: &str) -> Option<RegisteredKey> {
        self.0.lock().get(id).cloned()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRequest {
    #[serde(default)]
    jwt: Option<String>,
    #[serde(default)]
    yandex_passport_oauth_token: Option<String>,
}

/// `POST /iam/v1/tokens`.
pub(crate) fn create_token(exchange: &Exchange) -> Answer {
    match create(exchange) {
        Ok(answer) => answer,
        Err(status) => Answer::json(status.code.http().as_u16(), status.flat().to_string()),
    }
}

fn create(exchange: &Exchange) -> Result<Answer, Status> {
    let request: CreateRequest = super::request::parse(exchange.body())?;
    let world = &exchange.world;
    let now = world.now();
    let (principal, scope) = match (request.jwt, request.yandex_passport_oauth_token) {
        (Some(token), None) => {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            let key = jwt::verify(&token, |id| world.iam_keys.find(id), now)
                .map_err(|error| Status::unauthenticated(error.to_string()))?;
            (key.service_account_id, key.folder_id)
        }
        (None, Some(oauth)) => {
            if !world.accepts_key(&oauth) {
                return Err(Status::unauthenticated("OAuth token is invalid or expired"));
            }
            (oauth, Some(USER_SCOPE.to_owned()))
        }
        _ => {
            return Err(Status::invalid(
                "One of the options must be specified: [yandexPassportOauthToken, jwt]",
            ));
        }
    };
    let expires_at = now + world.token_ttl_s(TTL_S);
    let mut draw = Draw::new(world.seed)
        .branch(stable_hash(principal.as_bytes()))
        .branch(exchange.record.ordinal);
    let token = format!("t1.{}.{}", draw.alphanumeric(86), draw.alphanumeric(86));
    world
        .tokens
        .insert(token.clone(), Grant { provider: Provider::Yandex, principal, expires_at, scope });
    let body = json!({"iamToken": token, "expiresAt": rfc3339(expires_at)});
    Ok(Answer::json(200, body.to_string()))
}

/// `POST /iam/v1/tokens:revoke`.
pub(crate) fn revoke_token(exchange: &Exchange) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        iam_token: String,
    }
    match super::request::parse::<Request>(exchange.body()) {
        Ok(request) => {
            exchange.world.tokens.revoke(&request.iam_token);
            Answer::json(200, "{}")
        }
        Err(status) => Answer::json(status.code.http().as_u16(), status.flat().to_string()),
    }
}

/// A caller and the folder it works in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) principal: String,
    /// The only folder the caller may name; none allows any.
    pub(crate) folder: Option<String>,
}

/// Reads and checks the credentials of an API call.
///
/// # Errors
/// `Unauthenticated`, and `InvalidArgument` for a header naming another's folder.
pub(crate) fn authenticate(exchange: &Exchange) -> Result<Caller, Status> {
    let world = &exchange.world;
    let own_folder = world.profile().folder.clone();
    let named = exchange.header("x-folder-id").filter(|id| !id.is_empty());
    let caller = if let Some(key) = exchange.credential("api-key") {
        if !world.accepts_key(key) {
            return Err(Status::unauthenticated("Unknown api key"));
        }
        Caller { principal: key.to_owned(), folder: own_folder }
    } else if let Some(token) = exchange.bearer() {
        match world.tokens.check(Provider::Yandex, token, world.now()) {
            Ok(grant) if grant.scope.as_deref() == Some(USER_SCOPE) => {
                let folder = named.ok_or_else(|| {
                    Status::unauthenticated("You have to specify folder ID for user account")
                })?;
                Caller { principal: grant.principal, folder: Some(folder.to_owned()) }
            }
            Ok(grant) => Caller { principal: grant.principal, folder: grant.scope.or(own_folder) },
            Err(TokenFault::Expired) => return Err(token_expired()),
            // A token configured by hand, in the form of an issued one.
            Err(TokenFault::Unknown) => match token.strip_prefix("t1.") {
                Some(rest) if world.accepts_key(rest) => {
                    Caller { principal: rest.to_owned(), folder: own_folder }
                }
                _ => return Err(Status::unauthenticated("The token is invalid")),
            },
        }
    } else {
        return Err(Status::unauthenticated("Unauthorized"));
    };
    if let Some(named) = named {
        check_folder(&caller, named)?;
    }
    Ok(caller)
}

pub(crate) fn token_expired() -> Status {
    Status::unauthenticated("The token has expired")
}

/// Refuses a folder that is not the caller's.
///
/// # Errors
/// The service's 400, which names both folders.
pub(crate) fn check_folder(caller: &Caller, named: &str) -> Result<(), Status> {
    match &caller.folder {
        Some(own) if own != named => Err(Status::new(
            Code::InvalidArgument,
            format!(
                "Specified folder ID '{named}' does not match with service account folder ID '{own}'"
            ),
        )),
        _ => Ok(()),
    }
}
