//! Who calls: keys, issued tokens, and what is said to strangers.

use super::error::{ApiError, azure_denied, incorrect_key};
use crate::access_tokens::TokenFault;
use crate::bill::ANONYMOUS;
use crate::exchange::Exchange;
use crate::providers::Provider;

/// The caller, for the bill; the access token used, when it was one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Caller {
    pub(crate) key: String,
    pub(crate) token: Option<String>,
}

pub(crate) fn authorize(provider: Provider, exchange: &Exchange) -> Result<Caller, ApiError> {
    let key = match provider {
        Provider::Azure => exchange.header("api-key").or_else(|| exchange.bearer()),
        Provider::Yandex => exchange.bearer().or_else(|| exchange.credential("api-key")),
        Provider::Gemini => exchange.bearer().or_else(|| exchange.header("x-goog-api-key")),
        _ => exchange.bearer(),
    };
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return if open_to_all(provider) {
            Ok(Caller { key: ANONYMOUS.to_owned(), token: None })
        } else {
            Err(no_key(provider))
        };
    };
    let world = &exchange.world;
    match world.tokens.check(provider, key, world.now()) {
        Ok(grant) => Ok(Caller { key: grant.principal, token: Some(key.to_owned()) }),
        Err(TokenFault::Expired) => Err(expired(provider)),
        Err(TokenFault::Unknown) => {
            // Local servers run without a key unless told otherwise, and take any.
            if world.accepts_key(key) || matches!(provider, Provider::Ollama | Provider::LlamaCpp) {
                Ok(Caller { key: key.to_owned(), token: None })
            } else {
                Err(unknown(provider, key))
            }
        }
    }
}

/// Providers that ask for no key.
fn open_to_all(provider: Provider) -> bool {
    matches!(provider, Provider::Ollama | Provider::LlamaCpp | Provider::Vllm | Provider::SgLang)
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(401, "invalid_request_error", message)
}

fn no_key(provider: Provider) -> ApiError {
    match provider {
        Provider::Azure => refused(azure_denied()),
        Provider::Qwen => refused("You didn't provide an API key.").code("invalid_api_key"),
        Provider::OpenRouter => refused("No auth credentials found"),
        Provider::Gemini => refused("Missing or invalid Authorization header."),
        Provider::CloudRu | Provider::Yandex => refused("Unauthorized"),
        _ => refused(
            "You didn't provide an API key. You need to provide your API key in an Authorization \
             header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password \
             field (with blank username) if you're accessing the API from your browser and are \
             prompted for a username and password. You can obtain an API key from \
             https://platform.openai.com/account/api-keys.",
        ),
    }
}

fn unknown(provider: Provider, key: &str) -> ApiError {
    match provider {
        Provider::Azure => refused(azure_denied()),
        Provider::Qwen => refused("Incorrect API key provided. ").code("invalid_api_key"),
        Provider::OpenRouter => refused("User not found."),
        Provider::Gemini => {
            let message = "API key not valid. Please pass a valid API key.";
            ApiError::new(400, "invalid_request_error", message)
        }
        Provider::CloudRu | Provider::Yandex | Provider::Vllm | Provider::SgLang => {
            refused("Unauthorized")
        }
        _ => refused(incorrect_key(key)).code("invalid_api_key"),
    }
}

fn expired(provider: Provider) -> ApiError {
    match provider {
        Provider::Azure => {
            refused("The access token has expired. Please obtain a new token and try again.")
        }
        _ => refused("Unauthorized: token is expired").code("invalid_api_key"),
    }
}
