//! What the guard makes of one text, for people who ask why.

use schemars::JsonSchema;
use serde::Serialize;

use crate::inspect::{Inspected, Inspector, Verdict};
use crate::policy::{DataAction, GuardPolicy};
use crate::pseudonyms::Pseudonyms;

/// What the guard says of a text.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScanReport {
    /// `allow`, `flag`, `redact` or `block`.
    pub verdict: &'static str,
    /// How probable an attack is, 0 to 1.
    pub score: f32,
    /// How sure it is that it is an attack: `none`, `low`, `medium`, `high`, `critical`.
    pub risk: &'static str,
    /// How sure it is that it asks for what harms.
    pub content_risk: &'static str,
    /// How sensitive it is, once what is taken out is out.
    pub sensitivity: &'static str,
    /// What was found.
    pub detections: Vec<ScanDetection>,
    /// The text as it would go on, if something is taken out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted: Option<String>,
}

/// Something that the guard found.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScanDetection {
    /// Category of data, or family of attacks.
    #[serde(rename = "type")]
    pub kind: String,
    /// First character, counted from 0.
    pub start: usize,
    /// The character after the last.
    pub end: usize,
    /// What stands there.
    pub text: String,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// Which rule found it.
    pub rule: String,
    /// What is done with data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<DataAction>,
}

impl Inspector {
    /// What a policy makes of a text.
    #[must_use]
    pub fn scan(&self, inspected: Inspected<'_>, policy: &GuardPolicy) -> ScanReport {
        let inspection = self.inspect_input(&[inspected], policy);
        let text = inspected.text;
        // Placeholders here stand for nothing that lasts.
        let mut pseudonyms = Pseudonyms::new(b"guard scan, one text", b"");
        let mut replaced = inspection.replacements(&[inspected], &mut pseudonyms);
        replaced.sort_by_key(|(_, span, _)| span.start);
        let mut redacted = String::new();
        let mut done = 0;
        for (_, span, by) in &replaced {
            redacted.push_str(text.get(done..span.start).unwrap_or_default());
            redacted.push_str(by);
            done = span.end;
        }
        redacted.push_str(text.get(done..).unwrap_or_default());
        let characters = |end: usize| text.get(..end).unwrap_or(text).chars().count();
        ScanReport {
            verdict: inspection.verdict().name(),
            score: inspection.attack,
            risk: inspection.risk.name(),
            content_risk: inspection.content_risk.name(),
            sensitivity: inspection.sensitivity.name(),
            detections: inspection
                .detections
                .iter()
                .map(|found| ScanDetection {
                    kind: found.kind.clone(),
                    start: characters(found.span.start),
                    end: characters(found.span.end),
                    text: text.get(found.span.clone()).unwrap_or_default().to_owned(),
                    score: found.confidence,
                    rule: found.rule.clone(),
                    action: found.data.map(|(_, action)| action),
                })
                .collect(),
            redacted: (inspection.verdict() >= Verdict::Redact && !replaced.is_empty())
                .then_some(redacted),
        }
    }
}
