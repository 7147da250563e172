//! Patterns and the classifier together: how sure it is that a text is an attack.

use std::ops::Range;

use crate::Channel;
use crate::normalise::Views;
use crate::policy::Risk;

/// Something that speaks for an attack, or for a request for what harms.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackHit {
    /// Family: `injection.override`, `moderation.violence`, ...
    pub kind: String,
    /// Bytes of the original text.
    pub span: Range<usize>,
    /// From 0 to 1.
    pub confidence: f32,
    /// Which rule found it; `classifier` for the classifier.
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
#[derive(Debug, Default)]
pub struct AttackDetectors {}

impl AttackDetectors {
    /// The built-in patterns, and further packs: names of files and their texts.
    ///
    /// # Errors
    /// When a pack is wrong: where, and the remedy.
    pub fn with_packs(_packs: &[(String, String)]) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// Looks at a text in all its views, but for the rules that are excepted.
    #[must_use]
    pub fn look(
        &self,
        _channel: Channel,
        _views: &Views,
        _excepted: impl Fn(&str) -> bool,
    ) -> AttackScores {
        AttackScores::default()
    }
}
