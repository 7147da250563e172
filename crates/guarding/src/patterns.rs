//! Packs of patterns of attacks and of unsafe requests, and the engine that looks for them.
//!
//! A [`Pack`] is a YAML file of rules; [`PatternSet::compile`] makes one automaton of all of them. Every
//! rule has literals without which it cannot match: one pass over the text finds those, and only around
//! them the expressions of the rule run, in engines that are linear by construction. A new set replaces an
//! old one whole, so a pack with a fault leaves what was there.

mod built_in;
mod error;
mod pack;
mod phrase;
mod rule;
mod set;
mod syntax;

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Channel;

pub use built_in::{BUILT_IN, built_in};
pub use error::PackError;
pub use pack::Pack;
pub use set::PatternSet;

/// How sure a rule is that it found something that must not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a note: ordinary texts have it too.
    Low,
    /// Suspicious; evidence for other detectors.
    Medium,
    /// An attack or an unsafe request, rarely anything else.
    High,
    /// As before, and nothing else can be meant.
    Critical,
}

impl Severity {
    /// The next lower one; the lowest stays.
    #[must_use]
    pub fn lower(self) -> Self {
        match self {
            Self::Critical => Self::High,
            Self::High => Self::Medium,
            Self::Medium | Self::Low => Self::Low,
        }
    }
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternMatch {
    /// Id of the rule.
    pub rule: Arc<str>,
    /// Its family: `override`, `extraction`, `violence`, ...
    pub family: Arc<str>,
    /// By the rule and the channel, one step lower if [`softened`](Self::softened).
    pub severity: Severity,
    /// Whether the text around talks about attacks rather than attacks.
    pub softened: bool,
    /// Bytes of the text, on boundaries of characters, never empty.
    pub span: Range<usize>,
}

#[cfg(test)]
mod tests;
