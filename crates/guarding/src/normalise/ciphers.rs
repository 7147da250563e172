//! Ciphers of children and slips of the keyboard, undone sentence by sentence where that makes words.

use std::ops::Range;

use super::Steps;
use super::language::Familiar;
use super::letters::small;
use super::origins::{Builder, replaced};
use super::transliteration::to_russian;

/// A way to read a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    /// Letters moved along the alphabet: 13 of 26, 16 of 32, and a few more.
    Shift(u32),
    /// The alphabet from its end.
    Atbash,
    /// The sentence, or each word of it, from its end.
    Reversed,
    /// Typed with the other layout of the keyboard.
    Layout,
    /// Russian in Latin letters.
    Transliterated,
}

const CIPHERS: [(Cipher, Steps); 9] = [
    (Cipher::Reversed, Steps::REVERSED),
    (Cipher::Layout, Steps::LAYOUT),
    (Cipher::Transliterated, Steps::TRANSLITERATED),
    (Cipher::Shift(13), Steps::SHIFTED),
    (Cipher::Shift(16), Steps::SHIFTED),
    (Cipher::Shift(3), Steps::SHIFTED),
    (Cipher::Shift(23), Steps::SHIFTED),
    (Cipher::Shift(29), Steps::SHIFTED),
    (Cipher::Atbash, Steps::SHIFTED),
];

/// Longest sentence that is tried, bytes; longer ones are tried in pieces.
const LONGEST: usize = 2_000;

/// The text with sentences read as they were meant; nothing where all are plain.
pub(super) fn undo(text: &str) -> Option<(Builder, Steps)> {
    let mut parts: Vec<(Range<usize>, String)> = Vec::new();
    let mut steps = Steps::default();
    for range in sentences(text) {
        let Some(sentence) = text.get(range.clone()) else { continue };
        if !Familiar::of(sentence).is_strange() {
            continue;
        }
        let letters: String = sentence.chars().map(small).collect();
        let read = CIPHERS.iter().find_map(|(cipher, step)| {
            let read = cipher.read(&letters)?;
            Familiar::of(&read).is_text().then_some((read, *step))
        });
        if let Some((read, step)) = read {
            steps = steps | step;
            parts.push((range, read));
        }
    }
    (!parts.is_empty()).then(|| {
        let parts = parts.iter().map(|(range, read)| (range.clone(), read.as_str()));
        (replaced(text, parts), steps)
    })
}

/// Lines, and what of them stands between the ends of sentences.
fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut blank = true;
    for (at, letter) in text.char_indices() {
        let ends = matches!(letter, '\n' | '\r' | '"' | '«' | '»' | '“' | '”')
            || (matches!(letter, '.' | '!' | '?' | ':')
                && text.get(at + 1..).is_some_and(|rest| rest.starts_with(char::is_whitespace)))
            || (at - start > LONGEST && letter.is_whitespace());
        if ends {
            if !blank {
                found.push(start..at);
            }
            start = at + letter.len_utf8();
            blank = true;
        } else {
            blank &= letter.is_whitespace();
        }
    }
    if !blank {
        found.push(start..text.len());
    }
    found
}

impl Cipher {
    /// A sentence in small letters as it was meant; nothing if it can't have been written so.
    fn read(self, letters: &str) -> Option<String> {
        let russian = letters.chars().filter(|letter| matches!(letter, 'а'..='я')).count();
        let latin = letters.chars().filter(char::is_ascii_lowercase).count();
        let is_russian = russian > latin;
        match self {
            Self::Shift(by) => Some(letters.chars().map(|letter| shifted(letter, by)).collect()),
            Self::Atbash => Some(letters.chars().map(mirrored).collect()),
            // Which of the two was meant their words do not tell.
            Self::Reversed => {
                let whole: String = letters.chars().rev().collect();
                let words: String = letters
                    .split_inclusive(|letter: char| !letter.is_alphanumeric())
                    .flat_map(|word| {
                        let end = word.trim_end_matches(|letter: char| !letter.is_alphanumeric());
                        let mark = word.get(end.len()..).unwrap_or_default();
                        end.chars().rev().chain(mark.chars())
                    })
                    .collect();
                Some(format!("{whole}\n{words}"))
            }
            Self::Layout => {
                Some(letters.chars().map(|letter| switched(letter, is_russian)).collect())
            }
            Self::Transliterated if !is_russian => Some(to_russian(letters)),
            Self::Transliterated => None,
        }
    }
}

fn shifted(letter: char, by: u32) -> char {
    let moved = |first: char, size: u32| {
        char::from_u32(first as u32 + (letter as u32 - first as u32 + by) % size).unwrap_or(letter)
    };
    match letter {
        'a'..='z' => moved('a', 26),
        'а'..='я' => moved('а', 32),
        other => other,
    }
}

fn mirrored(letter: char) -> char {
    let back = |first: char, last: char| {
        char::from_u32(last as u32 - (letter as u32 - first as u32)).unwrap_or(letter)
    };
    match letter {
        'a'..='z' => back('a', 'z'),
        'а'..='я' => back('а', 'я'),
        other => other,
    }
}

fn switched(letter: char, is_russian: bool) -> char {
    const KEYS: &[u8; 33] = b"f,dult;pbqrkvyjghcnea[wxio]sm'.z`";
    match letter {
        'а'..='я' if is_russian => {
            KEYS.get((letter as usize) - ('а' as usize)).map_or(letter, |key| char::from(*key))
        }
        _ if !is_russian && letter.is_ascii() => {
            let place = KEYS.iter().position(|key| char::from(*key) == letter);
            let russian = place.and_then(|place| char::from_u32('а' as u32 + place as u32));
            russian.map_or(letter, |russian| if russian > 'я' { 'е' } else { russian })
        }
        _ => letter,
    }
}
