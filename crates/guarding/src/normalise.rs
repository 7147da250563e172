//! The text as it would read without disguise: views that map back to the original.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

/// A text made of another one, each byte of which knows where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    text: String,
    /// For each byte of the text the byte of the original that it comes from, and the end.
    origins: Vec<u32>,
}

impl View {
    /// The text as it is in this view.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that these bytes of the view come from.
    #[must_use]
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let at = |place: usize| self.origins.get(place).or(self.origins.last()).copied();
        let start = at(range.start).unwrap_or(0) as usize;
        start..(at(range.end).unwrap_or(0) as usize).max(start)
    }
}

/// The text in compatibility form (NFKC), without what cannot be seen.
#[must_use]
pub fn canonical(text: &str) -> View {
    let mut view = View { text: String::with_capacity(text.len()), origins: Vec::new() };
    for (place, character) in text.char_indices() {
        for folded in std::iter::once(character).nfkc() {
            view.text.push(folded);
            view.origins.resize(view.text.len(), u32::try_from(place).unwrap_or(u32::MAX));
        }
    }
    view.origins.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
    view
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
    /// Whether numbers and names in the view are those that were meant.
    #[must_use]
    pub fn keep_data(self) -> bool {
        true
    }

    /// Whether somebody took pains to hide what the text says.
    #[must_use]
    pub fn are_disguise(self) -> bool {
        self.0 != 0
    }
}

/// A text in all the ways in which it can be read.
#[derive(Debug)]
pub struct Views(Vec<(View, Steps)>);

impl Views {
    /// The views of a text.
    #[must_use]
    pub fn of(text: &str, _options: &Options) -> Self {
        Self(vec![(canonical(text), Steps::default())])
    }

    /// The bytes of the original.
    #[must_use]
    pub fn whole(&self) -> Range<usize> {
        let canonical = self.0.first();
        canonical.map_or(0..0, |(view, _)| view.original(0..view.text().len()))
    }

    /// The views, the canonical one first.
    pub fn iter(&self) -> impl Iterator<Item = (&View, Steps)> {
        self.0.iter().map(|(view, steps)| (view, *steps))
    }
}
