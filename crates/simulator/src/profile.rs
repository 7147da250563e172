//! The profile: what the simulated world is like, as a YAML or JSON file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use crate::draw::Draw;
use crate::prompt::Prompt;
use crate::providers::Provider;
use crate::script::Script;

/// The simulated world's description, read from a YAML or JSON file:
///
/// ```yaml
#[doc = include_str!("../profile.example.yaml")]
/// ```
///
/// `when` matches if all its members match: `provider` (path prefix name), `model` (a trailing `*`
/// matches any rest), `text` (part of the last user text), `header` (exact values), then the
/// counters over requests that matched so far: `first: n` (only the first n), `after: n` (all but
/// the first n), `every: n` (each n-th), `share: p` (a seeded fraction, 0 to 1).
///
/// `then` and `defaults` take the same keys as a directive `[[sim: key=value; ...]]` in the
/// last user text: see the [crate].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    pub(crate) seed: Option<u64>,
    pub(crate) keys: Option<Vec<String>>,
    pub(crate) folder: Option<String>,
    pub(crate) token_ttl_s: Option<u64>,
    pub(crate) request_log: Option<usize>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) models: BTreeMap<Provider, Vec<String>>,
    pub(crate) defaults: Script,
    pub(crate) rules: Vec<Rule>,
}

/// A cap per key, in fixed minutes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateLimit {
    pub(crate) requests_per_minute: Option<u64>,
    pub(crate) tokens_per_minute: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default)]
    when: Condition,
    then: Script,
    #[serde(skip)]
    matched: AtomicU64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Condition {
    provider: Option<Provider>,
    model: Option<String>,
    text: Option<String>,
    header: BTreeMap<String, String>,
    first: Option<u64>,
    after: Option<u64>,
    every: Option<u64>,
    share: Option<f64>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot read profile {path}: {source}")]
    Read {
        /// As given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not YAML or JSON, or not a profile.
    #[error("profile is not valid: {0}")]
    Parse(String),
}

impl Profile {
    /// Parses YAML (of which JSON is a part).
    ///
    /// # Errors
    /// When the text is malformed or has keys that a profile does not know.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text)
                .map_err(|error| ProfileError::Parse(error.to_string()));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| ProfileError::Parse(error.to_string()))
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Profile::parse`].
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProfileError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Defaults and matching rules, merged; `None` when there is nothing to say.
    pub(crate) fn script_for(&self, prompt: &Prompt, draw: Draw) -> Option<Script> {
        let mut script = (self.defaults != Script::default()).then(|| self.defaults.clone());
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.applies(prompt, draw.branch(index as u64)) {
                script.get_or_insert_with(Script::default).overlay(rule.then.clone());
            }
        }
        script
    }

    /// Names of headers that rules look at.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| rule.when.header.keys().map(String::as_str))
    }
}

impl Rule {
    fn applies(&self, prompt: &Prompt, mut draw: Draw) -> bool {
        let when = &self.when;
        let facts = when.provider.is_none_or(|provider| provider == prompt.provider)
            && when.model.as_deref().is_none_or(|pattern| matches_model(pattern, &prompt.model))
            && when.text.as_deref().is_none_or(|part| prompt.text.contains(part))
            && when.header.iter().all(|(name, value)| {
                prompt.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
            });
        if !facts {
            return false;
        }
        let before = self.matched.fetch_add(1, Ordering::Relaxed);
        when.first.is_none_or(|first| before < first)
            && when.after.is_none_or(|after| before >= after)
            && when.every.is_none_or(|every| every != 0 && (before + 1).is_multiple_of(every))
            && when.share.is_none_or(|share| draw.unit() < share)
    }
}

fn matches_model(pattern: &str, model: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == model, |start| model.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str) -> Prompt {
        Prompt { text: text.to_owned(), model: "gpt-4o".to_owned(), ..Prompt::default() }
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = Profile::parse("seed: 5\ndefaults: {between_ms: 8}\n").expect("yaml");
        let json = Profile::parse(r#"{"seed":5,"defaults":{"between_ms":8}}"#).expect("json");
        assert_eq!(yaml.seed, Some(5));
        assert_eq!(yaml.defaults, json.defaults);
    }

    #[test]
    fn the_documented_example_is_valid() {
        let profile = Profile::parse(include_str!("../profile.example.yaml")).expect("example");
        assert_eq!(profile.rules.len(), 3);
        assert!(profile.rate_limit.is_some() && !profile.models.is_empty());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = Profile::parse("sead: 5\n").expect_err("typo");
        assert!(error.to_string().contains("sead"), "{error}");
        assert!(Profile::parse("defaults: {txt: a}\n").is_err());
    }

    #[test]
    fn rules_match_and_count() {
        let profile = Profile::parse(
            "rules:\n  - when: {model: 'gpt-*', first: 2}\n    then: {status: 500}\n  - when: {text: погода}\n    then: {text: дождь}\n",
        )
        .expect("profile");
        let draw = Draw::new(1);
        assert_eq!(profile.script_for(&prompt("a"), draw).and_then(|s| s.status), Some(500));
        let second = profile.script_for(&prompt("какая погода?"), draw).expect("both rules");
        assert_eq!((second.status, second.text.as_deref()), (Some(500), Some("дождь")));
        assert_eq!(profile.script_for(&prompt("a"), draw), None);
    }

    #[test]
    fn share_is_a_seeded_fraction() {
        let profile =
            Profile::parse("rules: [{when: {share: 0.25}, then: {status: 500}}]").expect("profile");
        let hits = |seed| {
            (0..400)
                .filter(|n| profile.script_for(&prompt("a"), Draw::new(seed).branch(*n)).is_some())
                .count()
        };
        assert!((70..130).contains(&hits(1)), "{}", hits(1));
        assert_eq!(hits(2), hits(2));
    }
}
