//! Which headers pass from caller to provider and back, and rate limits from one vendor's names to
//! the other's.

use http::{HeaderMap, HeaderName, HeaderValue};
use providers::WireFormat;

use crate::surface::Vendor;

/// Headers of callers that providers of the same vendor act on.
const OPENAI_REQUEST: [&str; 3] = ["openai-beta", "x-session-id", "x-client-id"];
const ANTHROPIC_REQUEST: [&str; 2] = ["anthropic-beta", "anthropic-version"];

/// Headers that GigaChat documents for whoever calls it, whatever API its own caller speaks:
/// requests of one session share a cache of prompts. Its `X-Request-ID` every call carries.
const GIGACHAT_REQUEST: [&str; 2] = ["x-session-id", "x-client-id"];

/// Headers of providers that mean the same whoever reads them.
const ANSWER: [&str; 4] = ["openai-processing-ms", "openai-version", "retry-after", "x-session-id"];

/// OpenAI's name, Anthropic's name.
const RATE_LIMITS: [(&str, &str); 6] = [
    ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit"),
    ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"),
    ("x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset"),
    ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit"),
    ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining"),
    ("x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"),
];

fn copy(from: &HeaderMap, name: &'static str, to: &mut HeaderMap) {
    if let Some(value) = from.get(name) {
        to.insert(HeaderName::from_static(name), value.clone());
    }
}

/// What of a caller's headers goes to a provider that speaks the caller's API.
pub(crate) fn for_provider(caller: &HeaderMap, vendor: Vendor) -> HeaderMap {
    let names: &[&'static str] = match vendor {
        Vendor::OpenAi => &OPENAI_REQUEST,
        Vendor::Anthropic => &ANTHROPIC_REQUEST,
    };
    only(caller, names)
}

/// What of a caller's headers goes to a provider that speaks another API, this one.
pub(crate) fn for_other_api(caller: &HeaderMap, format: WireFormat) -> HeaderMap {
    match format {
        WireFormat::GigaChat | WireFormat::GigaChatEmbeddings => only(caller, &GIGACHAT_REQUEST),
        _ => HeaderMap::new(),
    }
}

fn only(caller: &HeaderMap, names: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        copy(caller, name, &mut headers);
    }
    headers
}

/// What of a provider's headers goes to the caller, in the names of the caller's vendor.
///
/// Resets are translated only within a vendor: OpenAI says how long, Anthropic until when, and
/// turning one into the other would need the provider's clock.
pub(crate) fn for_caller(provider: &HeaderMap, vendor: Vendor, caller: &mut HeaderMap) {
    for name in ANSWER {
        copy(provider, name, caller);
    }
    for (openai, anthropic) in RATE_LIMITS {
        let (own, other) = match vendor {
            Vendor::OpenAi => (openai, anthropic),
            Vendor::Anthropic => (anthropic, openai),
        };
        if provider.contains_key(own) {
            copy(provider, own, caller);
        } else if let Some(value) = provider.get(other).filter(|_| !own.contains("reset")) {
            caller.insert(HeaderName::from_static(own), value.clone());
        }
    }
    if vendor == Vendor::Anthropic {
        for name in [
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ] {
            copy(provider, name, caller);
        }
    }
    if let Some(id) = provider.get("x-request-id").or_else(|| provider.get("request-id")) {
        caller.insert("x-llm-proxy-provider-request-id", HeaderValue::clone(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_get_the_callers_names() {
        let mut provider = HeaderMap::new();
        provider.insert("x-ratelimit-limit-requests", HeaderValue::from_static("60"));
        provider.insert("x-ratelimit-reset-requests", HeaderValue::from_static("1s"));
        provider.insert("set-cookie", HeaderValue::from_static("a=b"));
        provider.insert("x-request-id", HeaderValue::from_static("p-1"));
        let mut anthropic = HeaderMap::new();
        for_caller(&provider, Vendor::Anthropic, &mut anthropic);
        assert_eq!(anthropic["anthropic-ratelimit-requests-limit"], "60");
        assert_eq!(anthropic["x-llm-proxy-provider-request-id"], "p-1");
        assert_eq!(anthropic.len(), 2);
        let mut openai = HeaderMap::new();
        for_caller(&provider, Vendor::OpenAi, &mut openai);
        assert_eq!(openai["x-ratelimit-reset-requests"], "1s");
        assert_eq!(openai.len(), 3);
    }
}
