//! Names of persons.
//!
//! Dictionaries of given names and surnames in all their cases, ends of surnames and patronymics,
//! and words around say which words may be parts of names; a small linear chain with hashed
//! features decides. Words of names that a text gives in full are known in the rest of it.

pub mod declension;
pub mod features;
pub mod lexicon;
pub mod runs;
pub mod tagger;
pub mod tokens;

use std::collections::HashMap;
use std::ops::Range;

use self::features::{Elsewhere, Features};
use self::lexicon::Class;
use self::tagger::{Scores, Tagged, Tagger};
use self::tokens::{Kind, Shape, Token};
use crate::{Category, Finding};

/// From what chance on a name that stands once is believed in the rest of a text.
const KNOWN: f32 = 0.8;

/// A text cut into words, with the runs in which names may be.
#[derive(Debug)]
pub struct Prepared<'t> {
    text: &'t str,
    /// Its words and marks.
    pub tokens: Vec<Token>,
    /// Stretches of words that may be names.
    pub runs: Vec<Range<usize>>,
    small: Vec<u64>,
}

impl<'t> Prepared<'t> {
    /// Cuts a text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let mut tokens = tokens::tokens(text);
        let runs = runs::runs(&mut tokens);
        let bits = (tokens.len() * 8).next_power_of_two().max(64);
        let mut small = vec![0_u64; if runs.is_empty() { 1 } else { bits / 64 }];
        if !runs.is_empty() {
            for token in tokens.iter().filter(|token| token.shape == Shape::Lower) {
                let bit = token.hash as usize & (small.len() * 64 - 1);
                small[bit / 64] |= 1 << (bit % 64);
            }
        }
        Self { text, tokens, runs, small }
    }

    /// Hash of a word without its ending.
    #[must_use]
    pub fn stem(&self, at: usize) -> u64 {
        self.tokens.get(at).map_or(0, |token| token.stem(self.text))
    }

    /// Features of a word of a run; `named` is 2 when the word is in a longer name
    /// elsewhere, 1 when it is a name by itself there.
    pub fn features(&self, run: &Range<usize>, at: usize, named: u8, features: &mut Features) {
        let small = self.tokens.get(at).is_some_and(|token| {
            let bit = token.hash as usize & (self.small.len() * 64 - 1);
            token.shape != Shape::Lower && self.small[bit / 64] >> (bit % 64) & 1 == 1
        });
        let stem = self.stem(at);
        features::read(&self.tokens, run, at, Elsewhere { small, named }, stem, features);
    }

    /// Words of a name by which it is known again.
    pub fn known_by(&self, name: Range<usize>) -> impl Iterator<Item = u64> {
        name.filter(|at| {
            self.tokens.get(*at).is_some_and(|token| {
                token.kind == Kind::Word && token.letters > 2 && !token.class.has(Class::PARTICLE)
            })
        })
        .map(|at| self.stem(at))
    }

    /// Names by the given weights, as ranges of tokens with their chances.
    #[must_use]
    pub fn names(&self, tagger: &Tagger) -> Vec<(Range<usize>, f32)> {
        let mut features = Features::default();
        let mut scores: Vec<Scores> = Vec::new();
        let mut found: Vec<(Range<usize>, f32)> = Vec::new();
        // Where the names of each run begin in `found`.
        let mut bounds = Vec::with_capacity(self.runs.len() + 1);
        for run in &self.runs {
            bounds.push(found.len());
            scores.clear();
            for at in run.clone() {
                self.features(run, at, 0, &mut features);
                scores.push(tagger.score(&features.places));
            }
            collect(run, &tagger.tag(&scores), &mut found);
        }
        bounds.push(found.len());
        let known =
            self.known(found.iter().filter(|(_, chance)| *chance > KNOWN).map(|(name, _)| name));
        if known.is_empty() {
            return found;
        }
        let mut names = Vec::with_capacity(found.len());
        for (run, bounds) in self.runs.iter().zip(bounds.windows(2)) {
            let named = |at: usize| known.get(&self.stem(at)).copied().unwrap_or(0);
            let before = found.get(bounds[0]..bounds[1]).unwrap_or_default();
            // What is sure already, or what nothing else speaks of, stays.
            let sure = before.iter().any(|(name, chance)| name == run && *chance > 0.97);
            if sure || !run.clone().any(|at| named(at) > 0) {
                names.extend_from_slice(before);
                continue;
            }
            scores.clear();
            for at in run.clone() {
                self.features(run, at, named(at), &mut features);
                scores.push(tagger.score(&features.places));
            }
            collect(run, &tagger.tag(&scores), &mut names);
        }
        names
    }

    /// Words that are names elsewhere, by stem: 2 when in longer names, 1 when alone at least twice.
    pub fn known<'r>(&self, names: impl Iterator<Item = &'r Range<usize>>) -> HashMap<u64, u8> {
        let mut times: HashMap<u64, u8> = HashMap::new();
        for name in names {
            for stem in self.known_by(name.clone()) {
                let seen = times.entry(stem).or_default();
                *seen = if name.len() > 1 { 128 } else { seen.saturating_add(1) };
            }
        }
        times.retain(|_, seen| {
            *seen = match *seen {
                0 | 1 => 0,
                2..128 => 1,
                _ => 2,
            };
            *seen > 0
        });
        times
    }
}

fn collect(run: &Range<usize>, tagged: &[Tagged], names: &mut Vec<(Range<usize>, f32)>) {
    let mut open: Option<(Range<usize>, f32)> = None;
    for (at, tag) in run.clone().zip(tagged) {
        match (&mut open, tag.label) {
            (Some((name, chance)), 2) => {
                name.end = at + 1;
                *chance += tag.chance;
            }
            (_, 0) => names.extend(open.take()),
            _ => {
                names.extend(open.take());
                open = Some((at..at + 1, tag.chance));
            }
        }
    }
    names.extend(open);
    for (name, chance) in names.iter_mut().filter(|(name, _)| name.start >= run.start) {
        *chance /= name.len() as f32;
    }
}

/// Adds what is in the text.
pub fn find(text: &str, findings: &mut Vec<Finding>) {
    let Some(tagger) = Tagger::builtin() else { return };
    let prepared = Prepared::new(text);
    for (name, chance) in prepared.names(tagger) {
        let words = prepared.tokens.get(name).unwrap_or_default();
        let (Some(first), Some(last)) = (words.first(), words.last()) else { continue };
        findings.push(Finding {
            category: Category::PersonName,
            span: first.start..last.end,
            confidence: chance.clamp(0.0, 1.0),
            rule: rule(words),
        });
    }
}

/// What made it a name, in the end.
fn rule(words: &[Token]) -> &'static str {
    let any = |bits: u32| words.iter().any(|word| word.class.has(bits));
    if any(Class::PATRONYMIC) && words.len() > 1 {
        "name.patronymic"
    } else if words.iter().any(|word| matches!(word.kind, Kind::Initial)) && words.len() > 1 {
        "name.initials"
    } else if any(Class::GIVEN) && words.len() > 1 {
        "name.full"
    } else if any(Class::GIVEN) {
        "name.given"
    } else if any(Class::SURNAME | Class::LATIN_SURNAME | Class::SURNAME_END) {
        "name.surname"
    } else {
        "name.model"
    }
}

#[cfg(test)]
#[path = "tests/names.rs"]
mod tests;
