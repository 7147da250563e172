//! The text as it would read without disguise: views that map back to the original.
//!
//! The canonical view comes first and is made for every text. Any other view is made only when
//! something in the text asks for it: an encoded part that decodes to plausible text, words that mix
//! alphabets, letters set apart, or words that are common ones only once a cipher is undone.

mod canonical;
mod ciphers;
mod confusables;
mod encodings;
mod hidden;
mod joined;
mod language;
mod leet;
mod letters;
mod marks;
mod morse;
mod origins;
mod survey;
mod transliteration;
mod vocabulary;

use std::ops::Range;

use origins::{Builder, Origins};
use survey::Survey;

/// A text made of another one, each byte of which knows where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    text: String,
    origins: Origins,
}

impl View {
    /// The text as it is in this view.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that these bytes of the view come from. On boundaries of characters
    /// if the range is.
    #[must_use]
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        self.origins.of(range)
    }

    /// This view, made of the text of `inner`, as a view of what `inner` was made of.
    fn over(self, inner: &Self) -> Self {
        Self { origins: self.origins.over(&inner.origins, self.text.len()), text: self.text }
    }
}

/// The text in compatibility form (NFKC), without what cannot be seen.
#[must_use]
pub fn canonical(text: &str) -> View {
    canonical::canonical(text).0
}

/// How far views are made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many transformations follow each other.
    pub max_depth: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_depth: 3 }
    }
}

/// How a view was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps(u32);

impl Steps {
    const SMUGGLED: Self = Self(1);
    const BASE64: Self = Self(1 << 1);
    const HEX: Self = Self(1 << 2);
    const CODES: Self = Self(1 << 3);
    const PERCENT: Self = Self(1 << 4);
    const ENTITIES: Self = Self(1 << 5);
    const ESCAPES: Self = Self(1 << 6);
    const MORSE: Self = Self(1 << 7);
    const NESTED: Self = Self(1 << 8);
    const CONFUSABLES: Self = Self(1 << 9);
    const SPACED: Self = Self(1 << 10);
    const LEET: Self = Self(1 << 11);
    const REPEATED: Self = Self(1 << 12);
    const SHIFTED: Self = Self(1 << 13);
    const REVERSED: Self = Self(1 << 14);
    const LAYOUT: Self = Self(1 << 15);
    const TRANSLITERATED: Self = Self(1 << 16);

    /// Each step with its name.
    const NAMES: [(Self, &'static str); 17] = [
        (Self::SMUGGLED, "smuggled"),
        (Self::BASE64, "base64"),
        (Self::HEX, "hex"),
        (Self::CODES, "character_codes"),
        (Self::PERCENT, "percent"),
        (Self::ENTITIES, "entities"),
        (Self::ESCAPES, "escapes"),
        (Self::MORSE, "morse"),
        (Self::NESTED, "nested"),
        (Self::CONFUSABLES, "confusables"),
        (Self::SPACED, "spaced"),
        (Self::LEET, "leet"),
        (Self::REPEATED, "repeated"),
        (Self::SHIFTED, "shifted"),
        (Self::REVERSED, "reversed"),
        (Self::LAYOUT, "layout"),
        (Self::TRANSLITERATED, "transliterated"),
    ];

    /// Whether numbers and names in the view are those that were meant.
    #[must_use]
    pub fn keep_data(self) -> bool {
        let guesses = Self::SPACED
            | Self::LEET
            | Self::REPEATED
            | Self::SHIFTED
            | Self::REVERSED
            | Self::LAYOUT
            | Self::TRANSLITERATED;
        self.0 & guesses.0 == 0
    }

    /// Whether somebody took pains to hide what the text says. Encodings that occur in code and
    /// addresses do not count, nor do a forgotten keyboard switch, Russian in Latin letters and
    /// drawn-out words, which people write without any purpose.
    #[must_use]
    pub fn are_disguise(self) -> bool {
        let pains = Self::SMUGGLED
            | Self::CODES
            | Self::MORSE
            | Self::NESTED
            | Self::CONFUSABLES
            | Self::SPACED
            | Self::LEET
            | Self::SHIFTED
            | Self::REVERSED;
        self.0 & pains.0 != 0
    }

    /// Names of the steps, in no particular order; none for the canonical view.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let taken = Self::NAMES.into_iter().filter(move |(step, _)| self.0 & step.0 != 0);
        taken.map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Steps {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Most views that are made of a text.
const MOST_VIEWS: usize = 12;
/// All views of a text together have at most this many times its bytes ...
const GROWTH: usize = 8;
/// ... and so many bytes more.
const ALLOWANCE: usize = 64 << 10;

/// A text in all the ways in which it can be read.
#[derive(Debug)]
pub struct Views {
    views: Vec<(View, Steps)>,
    length: usize,
    /// Bytes that further views may have.
    left: usize,
}

impl Views {
    /// The views of a text.
    #[must_use]
    pub fn of(text: &str, options: &Options) -> Self {
        let (view, seen) = canonical::canonical(text);
        let left = text.len().saturating_mul(GROWTH).saturating_add(ALLOWANCE);
        let mut views = Self { views: Vec::new(), length: text.len(), left };
        let mut last = views.push(view, Steps::default()).unwrap_or_default();
        if seen.may_smuggle()
            && let Some(view) = hidden::reveal(text, seen)
        {
            last = views.push(view, Steps::SMUGGLED).unwrap_or(last);
        }
        for nesting in 0..options.max_depth {
            let Some(next) = views.add(last, |text| encodings::decode(text, nesting > 0)) else {
                break;
            };
            last = next;
        }
        let mut survey = views.survey(last);
        if survey.has_marks
            && let Some(next) = views.add(last, marks::drop)
        {
            last = next;
            survey = views.survey(last);
        }
        if survey.mixes_alphabets
            && let Some(next) = views.add(last, confusables::fold)
        {
            last = next;
            survey = views.survey(last);
        }
        if survey.has_rows
            && let Some(next) = views.add(last, joined::join)
        {
            last = next;
            survey = views.survey(last);
        }
        if survey.has_signs
            && let Some(next) = views.add(last, leet::undo)
        {
            last = next;
        }
        if survey.has_repetition
            && let Some(next) = views.add(last, leet::shorten)
        {
            last = next;
        }
        views.add(last, ciphers::undo);
        views
    }

    /// The bytes of the original.
    #[must_use]
    pub fn whole(&self) -> Range<usize> {
        0..self.length
    }

    /// The views, the canonical one first.
    pub fn iter(&self) -> impl Iterator<Item = (&View, Steps)> {
        self.views.iter().map(|(view, steps)| (view, *steps))
    }

    /// Adds a view of the original if there is room, and gives its place.
    fn push(&mut self, view: View, steps: Steps) -> Option<usize> {
        if self.views.len() >= MOST_VIEWS {
            return None;
        }
        self.left = self.left.checked_sub(view.text.len())?;
        self.views.push((view, steps));
        Some(self.views.len() - 1)
    }

    /// Adds what a transformation makes of the view at a place, if it makes anything.
    fn add(
        &mut self,
        place: usize,
        transform: impl FnOnce(&str) -> Option<(Builder, Steps)>,
    ) -> Option<usize> {
        let (base, before) = self.views.get(place)?;
        if self.views.len() >= MOST_VIEWS || base.text.len() > self.left {
            return None;
        }
        let (built, steps) = transform(&base.text)?;
        let (view, before) = (built.view().over(base), *before);
        self.push(view, before | steps)
    }

    fn survey(&self, place: usize) -> Survey {
        let text = self.views.get(place).map_or("", |(view, _)| view.text.as_str());
        Survey::of(text)
    }
}

#[cfg(test)]
#[path = "tests/normalise.rs"]
mod tests;
