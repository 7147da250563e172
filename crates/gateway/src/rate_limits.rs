//! How the limits stand, in the headers of the caller's API.

use http::{HeaderMap, HeaderName, HeaderValue};
use metering::{RateStanding, format_reset, rfc3339};

use crate::exchange::now_ms;
use crate::surface::Vendor;

/// Adds the headers for the tightest limit of requests and the tightest of tokens in a minute.
pub(crate) fn describe(
    headers: &mut HeaderMap,
    vendor: Vendor,
    standing: &(Option<RateStanding>, Option<RateStanding>),
) {
    for (what, standing) in [("requests", standing.0), ("tokens", standing.1)] {
        let Some(standing) = standing else { continue };
        for (name, value) in named(vendor, what, standing, now_ms()) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.insert(name, value);
            }
        }
    }
}

fn named(vendor: Vendor, what: &str, standing: RateStanding, now_ms: i64) -> [(String, String); 3] {
    let RateStanding { limit, remaining, reset_after_ns } = standing;
    match vendor {
        Vendor::OpenAi => [
            (format!("x-ratelimit-limit-{what}"), limit.to_string()),
            (format!("x-ratelimit-remaining-{what}"), remaining.to_string()),
            (format!("x-ratelimit-reset-{what}"), format_reset(reset_after_ns)),
        ],
        Vendor::Anthropic => {
            let wait = i64::try_from(reset_after_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX);
            [
                (format!("anthropic-ratelimit-{what}-limit"), limit.to_string()),
                (format!("anthropic-ratelimit-{what}-remaining"), remaining.to_string()),
                (format!("anthropic-ratelimit-{what}-reset"), rfc3339(now_ms.saturating_add(wait))),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: RateStanding =
        RateStanding { limit: 60, remaining: 59, reset_after_ns: 1_000_000_000 };

    #[test]
    fn each_api_has_its_own_names() {
        let [_, _, (name, value)] = named(Vendor::OpenAi, "requests", STANDING, 0);
        assert_eq!((name.as_str(), value.as_str()), ("x-ratelimit-reset-requests", "1s"));
        let [_, (_, remaining), (name, value)] = named(Vendor::Anthropic, "tokens", STANDING, 0);
        assert_eq!(remaining, "59");
        assert_eq!(name, "anthropic-ratelimit-tokens-reset");
        assert_eq!(value, "1970-01-01T00:00:01Z");
    }
}
