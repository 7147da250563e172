use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::fold::is_letter_or_digit;

/// Places in the table of weights.
pub const BUCKETS: usize = 1 << 19;

/// Longest word that is looked at whole, characters.
const LONGEST: usize = 32;

/// Signs of structure that are looked for.
const MARKS: [&str; 22] = [
    "system:",
    "assistant:",
    "user:",
    "###",
    "[system",
    "<system",
    "</",
    "<|",
    "[inst",
    "```",
    "---",
    "===",
    "\"role\"",
    "https://",
    "![",
    "http://",
    "!!",
    "??",
    "ответ:",
    "инструкци",
    "система:",
    "пользователь:",
];

/// How much of a text is looked at at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Enough for a scheme that takes its time: a role, rules, an example.
    Wide,
    /// A sentence or two: an order that hides in a long text.
    Narrow,
}

impl Span {
    /// Words that a window has, and words from the beginning of one to that of the next.
    fn words(self) -> (usize, usize) {
        match self {
            Self::Wide => (64, 32),
            Self::Narrow => (20, 10),
        }
    }
}

/// The windows of a text: bytes, on boundaries of words. A text that one narrow window holds has a
/// wide one only.
pub fn windows(text: &str) -> Vec<(Range<usize>, Span)> {
    let words = words(text);
    let mut all = Vec::new();
    for span in [Span::Wide, Span::Narrow] {
        let (size, stride) = span.words();
        if span == Span::Narrow && words.len() <= size {
            break;
        }
        let mut from = 0;
        while from < words.len() {
            let until = (from + size).min(words.len());
            if let (Some(first), Some(last)) = (words.get(from), words.get(until - 1)) {
                all.push((first.start..last.end, span));
            }
            if until == words.len() {
                break;
            }
            from += stride;
        }
    }
    all
}

/// Letters and digits that stand together.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices() {
        match (is_letter_or_digit(character), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| from..text.len()));
    words
}

/// What a window is made of, as places in the table of weights. May be used again for the next.
#[derive(Debug, Clone, Default)]
pub struct Features {
    places: Vec<u32>,
    small: String,
}

impl Features {
    /// The places, each once.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// By what the sum of weights is multiplied, so that long windows do not weigh more.
    #[must_use]
    pub fn norm(&self) -> f32 {
        1.0 / (self.places.len().max(12) as f32).sqrt()
    }

    /// Reads a window.
    pub fn read(&mut self, text: &str) {
        self.places.clear();
        let mut small = std::mem::take(&mut self.small);
        small.clear();
        for character in text.chars() {
            match character {
                'a'..='z' | ' ' | 'а'..='я' => small.push(character),
                'A'..='Z' => small.push(character.to_ascii_lowercase()),
                'ё' | 'Ё' => small.push('е'),
                other => small.extend(other.to_lowercase()),
            }
        }
        let ranges = words(&small);
        let mut stems: Vec<u64> = Vec::with_capacity(ranges.len());
        for range in &ranges {
            let word = small.get(range.clone()).unwrap_or_default();
            let stem = stem(word);
            stems.push(hash(1, stem.as_bytes()));
            self.add(hash(2, word.as_bytes()));
            self.parts(word);
        }
        for (at, stem) in stems.iter().enumerate() {
            self.add(*stem);
            let next = |ahead: usize| stems.get(at + ahead).copied();
            if let Some(one) = next(1) {
                self.add(joined(3, &[*stem, one]));
                if let Some(two) = next(2) {
                    self.add(joined(4, &[*stem, one, two]));
                }
            }
            // Words may be put between: `ignore all of those instructions`.
            if let Some(two) = next(2) {
                self.add(joined(5, &[*stem, two]));
            }
            if let Some(three) = next(3) {
                self.add(joined(5, &[*stem, three]));
            }
            if let Some(four) = next(4) {
                self.add(joined(5, &[*stem, four]));
            }
        }
        if let (Some(first), Some(second)) = (stems.first(), stems.get(1)) {
            self.add(joined(6, &[*first]));
            self.add(joined(6, &[*first, *second]));
        }
        self.structure(text, &small, ranges.len());
        self.places.sort_unstable();
        self.places.dedup();
        self.small = small;
    }

    /// Parts of a word of four and five characters: bent and misspelled words share them.
    fn parts(&mut self, word: &str) {
        let mut ends: [usize; LONGEST + 1] = [0; LONGEST + 1];
        let mut count = 0;
        for (at, character) in word.char_indices().take(LONGEST) {
            count += 1;
            if let Some(end) = ends.get_mut(count) {
                *end = at + character.len_utf8();
            }
        }
        for length in [4, 5] {
            for from in 0..(count + 1).saturating_sub(length) {
                let (Some(start), Some(end)) = (ends.get(from), ends.get(from + length)) else {
                    continue;
                };
                let part = word.as_bytes().get(*start..*end).unwrap_or_default();
                self.add(hash(7, part));
            }
        }
    }

    fn structure(&mut self, text: &str, small: &str, words: usize) {
        static MARKED: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
            AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(MARKS).ok()
        });
        let mut marks = [false; MARKS.len()];
        for found in MARKED.iter().flat_map(|marked| marked.find_overlapping_iter(small)) {
            if let Some(mark) = marks.get_mut(found.pattern().as_usize()) {
                *mark = true;
            }
        }
        for (place, _) in marks.iter().enumerate().filter(|(_, mark)| **mark) {
            self.add(joined(8, &[place as u64]));
        }
        let (mut letters, mut upper, mut quotes) = (0_usize, 0_usize, 0_usize);
        for character in text.chars() {
            match character {
                'a'..='z' | 'а'..='я' | 'ё' => letters += 1,
                '"' | '«' | '»' | '“' | '”' | '\'' => quotes += 1,
                '\0'..='@' => {}
                other => {
                    letters += usize::from(other.is_alphabetic());
                    upper += usize::from(other.is_uppercase());
                }
            }
        }
        if letters > 12 && upper * 2 > letters {
            self.add(joined(9, &[1]));
        }
        self.add(joined(10, &[(quotes.min(6) / 2) as u64]));
        self.add(joined(11, &[u64::from(text.trim_end().ends_with('?'))]));
        self.add(joined(12, &[(words as f64).log2() as u64]));
    }

    fn add(&mut self, hash: u64) {
        self.places.push((hash >> 40) as u32 & (BUCKETS as u32 - 1));
    }
}

/// A word without its ending, roughly: Russian bends its words at the end.
fn stem(word: &str) -> &str {
    let count = word.chars().count();
    let kept = match count {
        0..=4 => count,
        5 | 6 => 4,
        7 | 8 => 5,
        _ => 6,
    };
    let end = word.char_indices().nth(kept).map_or(word.len(), |(at, _)| at);
    word.get(..end).unwrap_or(word)
}

/// FNV-1a with a final mix: the places must be the same on every machine, for ever.
fn hash(kind: u64, bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mixed(hash)
}

fn joined(kind: u64, parts: &[u64]) -> u64 {
    let mut hash = kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in parts {
        hash = mixed(hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    mixed(hash)
}

/// The finaliser of SplitMix64 (Steele et al. 2014).
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
