//! Patterns and the classifier together: how sure it is that a text is an attack.

use std::ops::Range;

use crate::Channel;
use crate::classifier::{Classifier, TextClassifier};
use crate::normalise::Views;
use crate::patterns::{Pack, PatternMatch, PatternSet, Severity, built_in};
use crate::policy::Risk;

/// Something that speaks for an attack, or for a request for what harms.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackHit {
    /// Family: `override`, `extraction`, `violence`, ...
    pub kind: String,
    /// Bytes of the original text.
    pub span: Range<usize>,
    /// From 0 to 1.
    pub confidence: f32,
    /// Which rule found it; `classifier.attack` and `classifier.harmful` for the classifier.
    pub rule: String,
}

/// What the detectors of attacks say of a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AttackScores {
    /// How probable an attack is, 0 to 1.
    pub attack: f32,
    /// How sure that is.
    pub risk: Risk,
    /// How sure it is that it asks for what harms.
    pub content_risk: Risk,
    /// What speaks for it.
    pub hits: Vec<AttackHit>,
}

/// Patterns and the classifier.
#[derive(Debug)]
pub struct AttackDetectors {
    patterns: PatternSet,
}

/// Families of patterns that are about content and not about the model's instructions.
const CONTENT: [&str; 7] =
    ["hate", "harassment", "sexual", "violence", "self_harm", "illegal", "misinformation"];

impl AttackDetectors {
    /// The built-in patterns, and further packs: names of files and their texts.
    ///
    /// # Errors
    /// When a pack is wrong: where, and the remedy.
    pub fn with_packs(packs: &[(String, String)]) -> Result<Self, String> {
        let mut all = built_in().map_err(|error| error.to_string())?;
        for (file, text) in packs {
            let pack = Pack::parse(file, text).map_err(|error| error.to_string())?;
            pack.verify()
                .map_err(|faults| faults.first().map_or_else(String::new, ToString::to_string))?;
            all.push(pack);
        }
        let patterns = PatternSet::compile(&all).map_err(|error| error.to_string())?;
        Ok(Self { patterns })
    }

    /// Looks at a text in all its views, but for the rules that are excepted.
    #[must_use]
    pub fn look(
        &self,
        channel: Channel,
        views: &Views,
        excepted: impl Fn(&str) -> bool,
    ) -> AttackScores {
        let mut scores = AttackScores::default();
        let (mut harmful, mut content) = (0.0_f32, None);
        let mut matches = Vec::new();
        for (view, steps) in views.iter() {
            self.patterns.find(view.text(), channel, &mut matches);
            // A text that hides what it says has a reason to.
            let bonus = if steps.are_disguise() { 0.2 } else { 0.0 };
            let mut pattern = 0.0_f32;
            for found in matches.drain(..) {
                if excepted(&found.rule) {
                    continue;
                }
                let confidence = confidence(&found);
                if CONTENT.contains(&&*found.family) {
                    content = content.max(Some(found.severity));
                } else {
                    pattern = noisy_or(pattern, confidence);
                }
                scores.hits.push(AttackHit {
                    kind: found.family.to_string(),
                    span: view.original(found.span),
                    confidence,
                    rule: found.rule.to_string(),
                });
            }
            let classified = match Classifier::builtin() {
                Some(classifier) if !excepted("classifier.attack") => {
                    Some(classifier.score(view.text(), channel))
                }
                _ => None,
            };
            let mut attack = pattern;
            if let Some(classified) = classified {
                attack = noisy_or(attack, classified.attack);
                harmful = harmful.max(classified.harmful);
                if classified.attack >= SUSPICIOUS {
                    scores.hits.push(AttackHit {
                        kind: "attack".to_owned(),
                        span: view.original(classified.window),
                        confidence: classified.attack,
                        rule: "classifier.attack".to_owned(),
                    });
                }
            }
            if attack >= SUSPICIOUS {
                attack = noisy_or(attack, bonus);
            }
            scores.attack = scores.attack.max(attack);
        }
        scores.risk = match scores.attack {
            sure if sure >= CERTAIN => Risk::Critical,
            likely if likely >= 0.5 => Risk::High,
            perhaps if perhaps >= SUSPICIOUS => Risk::Medium,
            little if little >= 0.2 => Risk::Low,
            _ => Risk::None,
        };
        scores.content_risk = content_risk(content, harmful);
        if harmful >= 0.5 {
            scores.hits.push(AttackHit {
                kind: "harmful".to_owned(),
                span: views.whole(),
                confidence: harmful,
                rule: "classifier.harmful".to_owned(),
            });
        }
        // One disguise is found in several views.
        scores.hits.sort_by(|one, other| {
            (one.span.start.cmp(&other.span.start))
                .then_with(|| one.rule.cmp(&other.rule))
                .then(other.confidence.total_cmp(&one.confidence))
        });
        scores.hits.dedup_by(|later, earlier| {
            later.rule == earlier.rule && later.span.start < earlier.span.end
        });
        scores
    }
}

/// From here on a text may be an attack.
const SUSPICIOUS: f32 = 0.35;
/// From here on nothing else can be meant.
const CERTAIN: f32 = 0.998;

fn confidence(found: &PatternMatch) -> f32 {
    match found.severity {
        Severity::Low => 0.12,
        Severity::Medium => 0.35,
        Severity::High => 0.85,
        Severity::Critical => 0.95,
    }
}

/// How probable it is that one of two independent signs is right.
fn noisy_or(one: f32, other: f32) -> f32 {
    1.0 - (1.0 - one) * (1.0 - other)
}

fn content_risk(pattern: Option<Severity>, harmful: f32) -> Risk {
    match (pattern, harmful >= 0.5, harmful >= 0.9) {
        (Some(Severity::Critical), ..) => Risk::Critical,
        (Some(Severity::High), ..) | (Some(Severity::Medium), true, _) => Risk::High,
        (Some(Severity::Medium), ..) | (_, _, true) => Risk::Medium,
        (Some(Severity::Low), ..) | (_, true, _) => Risk::Low,
        _ => Risk::None,
    }
}

#[cfg(test)]
#[path = "tests/attacks.rs"]
mod tests;
