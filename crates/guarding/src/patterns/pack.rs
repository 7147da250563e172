//! The file format of packs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Channel, PackError, PatternSet, Severity};

/// A pack of rules as it was written; see `packs/` of this crate for examples, and `docs` of
/// [`PatternSet`] for what rules mean.
#[derive(Debug, Clone)]
pub struct Pack {
    pub(super) file: String,
    pub(super) content: Content,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) name: String,
    pub(super) version: u32,
    /// Lists for `@name` in phrases: choices separated by `|`.
    #[serde(default)]
    pub(super) words: BTreeMap<String, String>,
    /// Phrases of texts that talk about attacks: near one of them a match counts one step less.
    #[serde(default)]
    pub(super) about: Vec<Spanned<String>>,
    pub(super) rules: Vec<RuleSource>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSource {
    pub(super) id: Spanned<String>,
    pub(super) family: String,
    pub(super) severity: Severity,
    /// For what comes as data: results and descriptions of tools, documents, names of files.
    pub(super) severity_in_data: Option<Severity>,
    /// All if empty.
    #[serde(default)]
    pub(super) channels: Vec<Channel>,
    /// For the reader.
    #[serde(default)]
    #[allow(dead_code, reason = "tells people which languages a rule was written for")]
    pub(super) languages: Vec<String>,
    /// Phrases.
    #[serde(default)]
    pub(super) any: Vec<Spanned<String>>,
    /// What phrases cannot say.
    #[serde(default)]
    pub(super) regex: Vec<RegexSource>,
    pub(super) near: Option<Near>,
    /// Phrases that void a match where they are found near it.
    #[serde(default)]
    pub(super) not: Vec<Spanned<String>>,
    /// Whether the pack's `about` lowers its severity.
    #[serde(default = "yes")]
    pub(super) about: bool,
    #[serde(default)]
    pub(super) examples: Examples,
    /// For the reader.
    #[allow(dead_code, reason = "tells people why a rule is as it is")]
    pub(super) note: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegexSource {
    pub(super) pattern: Spanned<String>,
    /// Without one of these the pattern never matches.
    pub(super) needs: Vec<String>,
}

/// A second condition.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Near {
    pub(super) any: Vec<Spanned<String>>,
    /// Characters before and after the match.
    #[serde(default = "default_within")]
    pub(super) within: usize,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Examples {
    /// The rule matches these.
    #[serde(default, rename = "match")]
    pub(super) matching: Vec<Spanned<String>>,
    /// It does not match these.
    #[serde(default)]
    pub(super) no_match: Vec<Spanned<String>>,
}

fn yes() -> bool {
    true
}

fn default_within() -> usize {
    200
}

impl Pack {
    /// Reads a pack; `file` is how errors name it. Patterns are looked at by [`PatternSet::compile`].
    ///
    /// # Errors
    ///
    /// No YAML, or not the members of a pack.
    pub fn parse(file: &str, text: &str) -> Result<Self, PackError> {
        let content: Content = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            let message = error.without_snippet().to_string();
            PackError::new(
                file,
                line,
                message,
                "write it as the packs that are shipped are written",
            )
        })?;
        Ok(Self { file: file.to_owned(), content })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.content.version
    }

    /// Compiles the pack alone and tries every example of every rule.
    ///
    /// # Errors
    ///
    /// Everything that is wrong: what [`PatternSet::compile`] refuses, rules without an example that must
    /// match, examples that do not behave.
    pub fn verify(&self) -> Result<(), Vec<PackError>> {
        let set = PatternSet::compile(std::slice::from_ref(self)).map_err(|error| vec![error])?;
        let mut faults = Vec::new();
        for rule in &self.content.rules {
            let id = rule.id.value.as_str();
            let channel = rule.channels.first().copied().unwrap_or(Channel::User);
            let matches = |text: &str| {
                let mut found = Vec::new();
                set.find(text, channel, &mut found);
                found.iter().any(|found| *found.rule == *id)
            };
            if rule.examples.matching.is_empty() {
                faults.push(PackError::new(
                    &self.file,
                    rule.id.referenced.line(),
                    format!("rule `{id}` has no example that it must match"),
                    "add one to `examples.match`",
                ));
            }
            for (examples, expected) in
                [(&rule.examples.matching, true), (&rule.examples.no_match, false)]
            {
                for example in examples.iter().filter(|text| matches(&text.value) != expected) {
                    let verb = if expected { "does not match" } else { "matches" };
                    faults.push(PackError::new(
                        &self.file,
                        example.referenced.line(),
                        format!("rule `{id}` {verb} its example `{}`", example.value),
                        "change the rule or the example",
                    ));
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}
