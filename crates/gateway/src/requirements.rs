use chat::{ApiError, Residency};
use http::HeaderMap;
use routing::local::PriorityClass;
use routing::{Policy, Sensitivity};
use serde::Deserialize;

/// What one request demands of the deployment that serves it: its `llm_proxy` member and its
/// `x-llm-proxy-*` headers. The member wins over the header.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Requirements {
    /// Only providers at least this strict.
    pub(crate) residency: Option<Residency>,
    /// What the content is; `None`: what the route says.
    pub(crate) sensitivity: Option<Sensitivity>,
    /// Most that the request may be expected to cost, nano-roubles.
    pub(crate) max_cost_nanos: Option<i64>,
    /// Longest that the first token may be expected to take, milliseconds.
    pub(crate) max_latency_ms: Option<u64>,
    /// Least expected quality, 0 to 1.
    pub(crate) min_quality: Option<f64>,
    /// By which policy a deployment is chosen, if not by the route's.
    pub(crate) policy: Option<Policy>,
    /// After how many milliseconds nobody waits for the answer any more.
    pub(crate) deadline_ms: Option<u64>,
    /// Requests of one session go to one deployment where that costs little.
    pub(crate) session_id: Option<String>,
    /// How urgent it is where it must queue.
    pub(crate) urgency: Option<PriorityClass>,
    /// Whether identical requests that are in flight may share one answer.
    pub(crate) coalesce: Option<bool>,
    /// Names by which its spend can be told apart.
    pub(crate) tags: Vec<String>,
}

/// The one requirement that the contract names and this version cannot keep. Ignoring it would break
/// a promise that the caller relies on.
const LATER: (&str, &str) = ("cache", "x-llm-proxy-cache");

/// Most tags of a request.
const MAX_TAGS: usize = 16;
/// Longest tag, and longest session id.
const MAX_TAG_BYTES: usize = 100;
/// Longest deadline, milliseconds.
const MAX_DEADLINE_MS: u64 = 86_400_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    residency: Option<Residency>,
    sensitivity: Option<Sensitivity>,
    max_cost: Option<f64>,
    max_latency_ms: Option<u64>,
    min_quality: Option<f64>,
    policy: Option<Policy>,
    deadline_ms: Option<u64>,
    session_id: Option<String>,
    priority: Option<PriorityClass>,
    coalesce: Option<bool>,
    tags: Option<Vec<String>>,
}

/// Requirements that a header can carry, each with what its value must be. `tags` is read apart.
const HEADERS: [(&str, &str, &str); 9] = [
    ("x-llm-proxy-residency", "residency", "global, russia or on_premise"),
    ("x-llm-proxy-sensitivity", "sensitivity", "public, internal, confidential or sensitive"),
    ("x-llm-proxy-max-cost", "max_cost", "a number of roubles"),
    ("x-llm-proxy-max-latency-ms", "max_latency_ms", "a whole number of milliseconds"),
    ("x-llm-proxy-min-quality", "min_quality", "a number from 0 to 1"),
    ("x-llm-proxy-policy", "policy", "priority, cost, latency, quality, balanced or learned"),
    ("x-llm-proxy-deadline-ms", "deadline_ms", "a whole number of milliseconds"),
    ("x-llm-proxy-session-id", "session_id", "a text"),
    ("x-llm-proxy-priority", "priority", "interactive, normal or batch"),
];

impl Requirements {
    /// Reads them from the headers and from the `llm_proxy` member.
    pub(crate) fn read(headers: &HeaderMap, member: Option<&str>) -> Result<Self, ApiError> {
        let mut read = Member::default();
        if headers.keys().any(|name| name.as_str().starts_with("x-llm-proxy-")) {
            read = from_headers(headers)?;
        }
        if let Some(member) = member {
            let given = parse(member)?;
            read = Member {
                residency: given.residency.or(read.residency),
                sensitivity: given.sensitivity.or(read.sensitivity),
                max_cost: given.max_cost.or(read.max_cost),
                max_latency_ms: given.max_latency_ms.or(read.max_latency_ms),
                min_quality: given.min_quality.or(read.min_quality),
                policy: given.policy.or(read.policy),
                deadline_ms: given.deadline_ms.or(read.deadline_ms),
                session_id: given.session_id.or(read.session_id),
                priority: given.priority.or(read.priority),
                coalesce: given.coalesce.or(read.coalesce),
                tags: given.tags.or(read.tags),
            };
        }
        read.checked()
    }
}

impl Member {
    fn checked(self) -> Result<Requirements, ApiError> {
        let tags = self.tags.unwrap_or_default();
        let fits =
            |text: &String| (1..=MAX_TAG_BYTES).contains(&text.len()) && !text.contains('\n');
        if tags.len() > MAX_TAGS || !tags.iter().all(fits) {
            return Err(out_of_range(
                "tags",
                &format!("at most {MAX_TAGS} texts of 1 to {MAX_TAG_BYTES} bytes"),
            ));
        }
        if !self.session_id.as_ref().is_none_or(fits) {
            return Err(out_of_range(
                "session_id",
                &format!("a text of 1 to {MAX_TAG_BYTES} bytes"),
            ));
        }
        if self.min_quality.is_some_and(|quality| !(0.0..=1.0).contains(&quality)) {
            return Err(out_of_range("min_quality", "a number from 0 to 1"));
        }
        if self.max_cost.is_some_and(|roubles| !(0.0..=1e6).contains(&roubles)) {
            return Err(out_of_range("max_cost", "a number of roubles from 0 to 1000000"));
        }
        if self.deadline_ms.is_some_and(|ms| !(1..=MAX_DEADLINE_MS).contains(&ms)) {
            return Err(out_of_range("deadline_ms", "a number of milliseconds from 1 to a day"));
        }
        Ok(Requirements {
            residency: self.residency,
            sensitivity: self.sensitivity,
            max_cost_nanos: self.max_cost.map(|roubles| (roubles * 1e9) as i64),
            max_latency_ms: self.max_latency_ms,
            min_quality: self.min_quality,
            policy: self.policy,
            deadline_ms: self.deadline_ms,
            session_id: self.session_id,
            urgency: self.priority,
            coalesce: self.coalesce,
            tags,
        })
    }
}

fn out_of_range(name: &str, what: &str) -> ApiError {
    ApiError::invalid(format!("llm_proxy.{name}"), format!("`llm_proxy.{name}` must be {what}"))
}

/// The headers as the member that they stand for.
fn from_headers(headers: &HeaderMap) -> Result<Member, ApiError> {
    let (_, later) = LATER;
    if headers.contains_key(later) {
        return Err(unavailable(later));
    }
    let mut members = serde_json::Map::new();
    for (header, name, what) in HEADERS {
        let Some(value) = headers.get(header) else { continue };
        let wrong = || ApiError::invalid(header, format!("the header {header} must be {what}"));
        let text = value.to_str().map_err(|_| wrong())?.trim();
        let numeric = matches!(name, "max_cost" | "max_latency_ms" | "min_quality" | "deadline_ms");
        let value = if numeric {
            serde_json::from_str(text).map_err(|_| wrong())?
        } else {
            serde_json::Value::from(text)
        };
        let mut single = serde_json::Map::new();
        single.insert(name.to_owned(), value.clone());
        serde_json::from_value::<Member>(single.into()).map_err(|_| wrong())?;
        members.insert(name.to_owned(), value);
    }
    let mut read: Member = serde_json::from_value(members.into())
        .map_err(|error| ApiError::invalid("x-llm-proxy", error.to_string()))?;
    if let Some(value) = headers.get("x-llm-proxy-tags") {
        let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
        read.tags = Some(tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect());
    }
    Ok(read)
}

fn parse(member: &str) -> Result<Member, ApiError> {
    let names: std::collections::BTreeMap<String, serde::de::IgnoredAny> =
        serde_json::from_str(member)
            .map_err(|_| ApiError::invalid("llm_proxy", "`llm_proxy` must be an object"))?;
    let (later, _) = LATER;
    if names.contains_key(later) {
        return Err(unavailable(&format!("llm_proxy.{later}")));
    }
    serde_json::from_str(member).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        ApiError::invalid("llm_proxy", format!("`llm_proxy`: {reason}"))
    })
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
    fn headers_say_what_the_member_says() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-llm-proxy-sensitivity", "sensitive"),
            ("x-llm-proxy-max-cost", "0.25"),
            ("x-llm-proxy-max-latency-ms", "800"),
            ("x-llm-proxy-min-quality", "0.7"),
            ("x-llm-proxy-policy", "cost"),
            ("x-llm-proxy-deadline-ms", "5000"),
            ("x-llm-proxy-session-id", "42"),
            ("x-llm-proxy-priority", "batch"),
            ("x-llm-proxy-tags", "a, b"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let member = r#"{"sensitivity":"sensitive","max_cost":0.25,"max_latency_ms":800,
            "min_quality":0.7,"policy":"cost","deadline_ms":5000,"session_id":"42",
            "priority":"batch","tags":["a","b"]}"#;
        let by_headers = Requirements::read(&headers, None).unwrap();
        let by_member = Requirements::read(&HeaderMap::new(), Some(member)).unwrap();
        assert_eq!(by_headers, by_member);
        assert_eq!(by_headers.max_cost_nanos, Some(250_000_000));
        assert_eq!(by_headers.sensitivity, Some(Sensitivity::Sensitive));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let none = HeaderMap::new();
        for member in [
            r#"{"cache":"off"}"#,
            r#"{"max_cost":-1}"#,
            r#"{"min_quality":1.5}"#,
            r#"{"deadline_ms":0}"#,
            r#"{"sensitivity":"secret"}"#,
            r#"{"policy":"random"}"#,
            r#"{"residency":"mars"}"#,
            r#"{"resident":"russia"}"#,
            "[]",
        ] {
            assert!(Requirements::read(&none, Some(member)).is_err(), "{member}");
        }
        for (name, value) in [
            ("x-llm-proxy-max-cost", "much"),
            ("x-llm-proxy-min-quality", "2"),
            ("x-llm-proxy-priority", "urgent"),
            ("x-llm-proxy-cache", "off"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert!(Requirements::read(&headers, None).is_err(), "{name}");
        }
    }
}
