//! Whether letters are a text that somebody can read.

use super::letters::small;
use super::vocabulary::is_common;
use crate::fold::is_letter;

/// Words of a text and how many of them are common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Familiar {
    pub(super) words: usize,
    pub(super) common: usize,
}

impl Familiar {
    /// Counts words of two letters and more.
    pub(super) fn of(text: &str) -> Self {
        let mut counted = Self::default();
        let mut folded = String::new();
        for word in text.split(|letter| !is_letter(letter)) {
            if word.len() < 2 || word.chars().nth(1).is_none() {
                continue;
            }
            counted.words += 1;
            folded.clear();
            folded.extend(word.chars().take(24).map(small));
            counted.common += usize::from(is_common(&folded));
        }
        counted
    }

    /// Whether it is a text: every fourth word is common.
    pub(super) fn is_text(self) -> bool {
        self.common >= 2 && self.common * 4 >= self.words
    }

    /// Whether it can hardly be one: fewer than one word in eight is common.
    pub(super) fn is_strange(self) -> bool {
        self.words >= 3 && self.common * 8 < self.words
    }
}

/// Whether decoded bytes are a text: letters, spaces and marks, and mostly letters.
pub(super) fn is_plausible(text: &str) -> bool {
    let (mut all, mut letters, mut strange) = (0_usize, 0_usize, 0_usize);
    for character in text.chars() {
        all += 1;
        match character {
            ' ' | '\n' | '\t' | 'a'..='z' | 'A'..='Z' | 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё' => {
                letters += 1;
            }
            '\r' | '!'..='~' | '«' | '»' | '—' | '–' | '…' | '№' | '“' | '”' | '’' | '‘' =>
                {}
            _ => strange += 1,
        }
    }
    all >= 4 && letters * 10 >= all * 7 && strange * 20 <= all
}
