use chat::{ApiError, Residency};
use http::HeaderMap;
use serde::Deserialize;

/// What one request demands of the deployment that serves it: its `llm_proxy` member and its
/// `x-llm-proxy-*` headers. The member wins over the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// Only providers at least this strict.
    pub(crate) residency: Option<Residency>,
    /// Names by which its spend can be told apart.
    pub(crate) tags: Vec<String>,
}

/// Requirements that the contract names and this version cannot keep. Ignoring one would break a
/// promise that the caller relies on.
const LATER: [(&str, &str); 6] = [
    ("max_latency_ms", "x-llm-proxy-max-latency-ms"),
    ("max_cost", "x-llm-proxy-max-cost"),
    ("min_quality", "x-llm-proxy-min-quality"),
    ("sensitivity", "x-llm-proxy-sensitivity"),
    ("cache", "x-llm-proxy-cache"),
    ("session_id", "x-llm-proxy-session-id"),
];

/// Most tags of a request.
const MAX_TAGS: usize = 16;
/// Longest tag.
const MAX_TAG_BYTES: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    residency: Option<Residency>,
    tags: Option<Vec<String>>,
}

impl Requirements {
    /// Reads them from the headers and from the `llm_proxy` member.
    pub(crate) fn read(headers: &HeaderMap, member: Option<&str>) -> Result<Self, ApiError> {
        let mut requirements = Self::default();
        if let Some(value) = headers.get("x-llm-proxy-residency") {
            let residency = value.to_str().ok().and_then(Residency::parse).ok_or_else(|| {
                ApiError::invalid(
                    "x-llm-proxy-residency",
                    "the header x-llm-proxy-residency must be global, russia or on_premise",
                )
            })?;
            requirements.residency = Some(residency);
        }
        if let Some(value) = headers.get("x-llm-proxy-tags") {
            let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
            requirements.tags = tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        }
        if let Some((_, header)) = LATER.iter().find(|(_, header)| headers.contains_key(*header)) {
            return Err(unavailable(header));
        }
        if let Some(member) = member {
            let names: std::collections::BTreeMap<String, serde::de::IgnoredAny> =
                serde_json::from_str(member)
                    .map_err(|_| ApiError::invalid("llm_proxy", "`llm_proxy` must be an object"))?;
            if let Some((name, _)) = LATER.iter().find(|(name, _)| names.contains_key(*name)) {
                return Err(unavailable(&format!("llm_proxy.{name}")));
            }
            let member: Member = serde_json::from_str(member).map_err(|error| {
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
                ApiError::invalid("llm_proxy", format!("`llm_proxy`: {reason}"))
            })?;
            requirements.residency = member.residency.or(requirements.residency);
            if let Some(tags) = member.tags {
                requirements.tags = tags;
            }
        }
        let fits = |tag: &String| (1..=MAX_TAG_BYTES).contains(&tag.len()) && !tag.contains('\n');
        if requirements.tags.len() > MAX_TAGS || !requirements.tags.iter().all(fits) {
            return Err(ApiError::invalid(
                "llm_proxy.tags",
                format!("tags must be at most {MAX_TAGS} texts of 1 to {MAX_TAG_BYTES} bytes"),
            ));
        }
        Ok(requirements)
    }
}

fn unavailable(name: &str) -> ApiError {
    ApiError::invalid(
        name,
        format!("`{name}` is not available in this version of llm-proxy; leave it out"),
    )
    .with_code("unsupported_requirement")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residency_is_read_and_the_member_wins() {
        let mut headers = HeaderMap::new();
        headers.insert("x-llm-proxy-residency", "russia".parse().unwrap());
        let read = Requirements::read(&headers, None).unwrap();
        assert_eq!(read.residency, Some(Residency::Russia));
        let read = Requirements::read(&headers, Some(r#"{"residency":"on_premise"}"#)).unwrap();
        assert_eq!(read.residency, Some(Residency::OnPremise));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let none = HeaderMap::new();
        for member in [
            r#"{"max_cost":1}"#,
            r#"{"residency":"mars"}"#,
            r#"{"resident":"russia"}"#,
            "[]",
            r#"{"sensitivity":"sensitive","residency":"russia"}"#,
        ] {
            assert!(Requirements::read(&none, Some(member)).is_err(), "{member}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-llm-proxy-max-cost", "1".parse().unwrap());
        assert!(Requirements::read(&headers, None).is_err());
    }
}
