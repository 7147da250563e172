//! Expressions that are run around a few places of a text only.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

/// An expression and how far around a place it is looked for.
#[derive(Debug)]
pub(crate) struct Anchored {
    expression: Regex,
    /// Bytes before a place, and after it.
    around: (usize, usize),
}

/// What an expression matched: the whole first, then its groups.
pub(crate) struct Groups(Vec<Option<Range<usize>>>);

impl Groups {
    /// Bytes of the whole match.
    pub(crate) fn whole(&self) -> Range<usize> {
        self.get(0).unwrap_or(0..0)
    }

    /// Bytes of a group that took part.
    pub(crate) fn get(&self, group: usize) -> Option<Range<usize>> {
        self.0.get(group).cloned().flatten()
    }
}

impl Anchored {
    /// An expression that is looked for in so many bytes before and after a place; nothing if it is none.
    pub(crate) fn new(pattern: &str, before: usize, after: usize) -> Option<Self> {
        Some(Self { expression: Regex::new(pattern).ok()?, around: (before, after) })
    }

    /// All matches around `places`, which must be sorted. What stands around the windows is seen, so
    /// that a boundary of words is one.
    pub(crate) fn find(&self, text: &str, places: impl IntoIterator<Item = usize>) -> Vec<Groups> {
        let mut found = Vec::new();
        let mut window: Option<Range<usize>> = None;
        for place in places {
            let start = boundary_before(text, place.saturating_sub(self.around.0));
            let end = boundary_before(text, (place + self.around.1).min(text.len()));
            match &mut window {
                Some(window) if start <= window.end => window.end = end.max(window.end),
                Some(whole) => {
                    self.look(text, std::mem::replace(whole, start..end), &mut found);
                }
                None => window = Some(start..end),
            }
        }
        if let Some(window) = window {
            self.look(text, window, &mut found);
        }
        found
    }

    fn look(&self, text: &str, window: Range<usize>, found: &mut Vec<Groups>) {
        let groups = self.expression.captures_iter(Input::new(text).range(window));
        found.extend(groups.map(|captures| {
            Groups(captures.iter().map(|group| group.map(|group| group.range())).collect())
        }));
    }
}

/// All matches of an expression around sorted places; none of one that could not be made.
pub(crate) fn matches(
    expression: &Option<Anchored>,
    text: &str,
    places: impl IntoIterator<Item = usize>,
) -> Vec<Groups> {
    expression.as_ref().map_or_else(Vec::new, |expression| expression.find(text, places))
}

/// The last boundary of characters that is not after a place.
pub(crate) fn boundary_before(text: &str, place: usize) -> usize {
    (0..=place.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Where a word stands in a text, in order.
pub(crate) fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    memchr::memmem::find_iter(text.as_bytes(), word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_found_around_places_only_and_each_once() {
        let digits = Anchored::new(r"\b(\d)(\d)?\b", 3, 3).unwrap();
        let text = "1 ы 22 ы 33 ы 4";
        let spans = |places: &[usize]| -> Vec<&str> {
            let found = digits.find(text, places.iter().copied());
            found.iter().map(|groups| &text[groups.whole()]).collect()
        };
        assert_eq!(spans(&[0]), ["1"]);
        assert_eq!(spans(&[5, 6]), ["22"]);
        assert_eq!(spans(&[5, 11, text.len()]), ["22", "33", "4"]);
        assert_eq!(spans(&[]), [""; 0]);
        let found = digits.find(text, [0]);
        assert_eq!((found[0].get(1), found[0].get(2), found[0].get(9)), (Some(0..1), None, None));
    }
}
