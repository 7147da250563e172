//! Letters that look like those of another alphabet, folded to the alphabet of their word.

use super::Steps;
use super::letters::{is_latin, is_russian, like, small};
use super::origins::Builder;

/// Small letters and signs that look like Latin ones, and what they look like.
const AS_LATIN: [(char, char); 78] = [
    ('а', 'a'),
    ('в', 'b'),
    ('е', 'e'),
    ('к', 'k'),
    ('м', 'm'),
    ('н', 'h'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('т', 't'),
    ('у', 'y'),
    ('х', 'x'),
    ('ѕ', 's'),
    ('і', 'i'),
    ('ї', 'i'),
    ('ј', 'j'),
    ('ԁ', 'd'),
    ('һ', 'h'),
    ('ԛ', 'q'),
    ('ԝ', 'w'),
    ('ѵ', 'v'),
    ('ѡ', 'w'),
    ('ӏ', 'l'),
    ('г', 'r'),
    ('п', 'n'),
    ('и', 'u'),
    ('ь', 'b'),
    ('з', 'z'),
    ('α', 'a'),
    ('β', 'b'),
    ('γ', 'y'),
    ('δ', 'd'),
    ('ε', 'e'),
    ('η', 'n'),
    ('ι', 'i'),
    ('κ', 'k'),
    ('ν', 'v'),
    ('ο', 'o'),
    ('ρ', 'p'),
    ('σ', 'o'),
    ('τ', 't'),
    ('υ', 'u'),
    ('χ', 'x'),
    ('ω', 'w'),
    ('ζ', 'z'),
    ('μ', 'u'),
    ('ѐ', 'e'),
    ('ı', 'i'),
    ('ɑ', 'a'),
    ('ɡ', 'g'),
    ('ɩ', 'i'),
    ('ʏ', 'y'),
    ('ᴀ', 'a'),
    ('ʙ', 'b'),
    ('ᴄ', 'c'),
    ('ᴅ', 'd'),
    ('ᴇ', 'e'),
    ('ꜰ', 'f'),
    ('ɢ', 'g'),
    ('ʜ', 'h'),
    ('ɪ', 'i'),
    ('ᴊ', 'j'),
    ('ᴋ', 'k'),
    ('ʟ', 'l'),
    ('ᴍ', 'm'),
    ('ɴ', 'n'),
    ('ᴏ', 'o'),
    ('ᴘ', 'p'),
    ('ʀ', 'r'),
    ('ꜱ', 's'),
    ('ᴛ', 't'),
    ('ᴜ', 'u'),
    ('ᴠ', 'v'),
    ('ᴡ', 'w'),
    ('ᴢ', 'z'),
    ('օ', 'o'),
    ('ո', 'n'),
    ('ѳ', 'o'),
];
/// Small letters and signs that look like Russian ones, and what they look like.
const AS_RUSSIAN: [(char, char); 44] = [
    ('a', 'а'),
    ('b', 'ь'),
    ('c', 'с'),
    ('e', 'е'),
    ('k', 'к'),
    ('m', 'м'),
    ('h', 'н'),
    ('o', 'о'),
    ('p', 'р'),
    ('t', 'т'),
    ('y', 'у'),
    ('x', 'х'),
    ('r', 'г'),
    ('n', 'п'),
    ('u', 'и'),
    ('z', 'з'),
    ('v', 'в'),
    ('d', 'д'),
    ('l', 'л'),
    ('i', 'и'),
    ('s', 'с'),
    ('f', 'ф'),
    ('g', 'д'),
    ('і', 'и'),
    ('ї', 'и'),
    ('є', 'е'),
    ('ѕ', 'с'),
    ('α', 'а'),
    ('β', 'в'),
    ('γ', 'у'),
    ('ε', 'е'),
    ('κ', 'к'),
    ('μ', 'м'),
    ('ο', 'о'),
    ('ρ', 'р'),
    ('τ', 'т'),
    ('υ', 'у'),
    ('χ', 'х'),
    ('π', 'п'),
    ('λ', 'л'),
    ('φ', 'ф'),
    ('ԁ', 'д'),
    ('ᴀ', 'а'),
    ('ᴋ', 'к'),
];

/// Whether a Russian letter has a Latin one that looks the same.
fn is_shared(letter: char) -> bool {
    matches!(small(letter), 'а' | 'в' | 'е' | 'к' | 'м' | 'н' | 'о' | 'р' | 'с' | 'т' | 'у' | 'х')
        || matches!(small(letter), 'a' | 'c' | 'e' | 'k' | 'm' | 'o' | 'p' | 't' | 'y' | 'x')
        || matches!(letter, 'B' | 'H')
}

/// Whether it is a letter of neither alphabet that looks like one of them.
pub(super) fn is_lookalike(letter: char) -> bool {
    !letter.is_ascii() && !is_russian(letter) && {
        let letter = small(letter);
        AS_LATIN.iter().chain(&AS_RUSSIAN).any(|(from, _)| *from == letter)
    }
}

/// What the letters of a word are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Letters {
    latin: u32,
    russian: u32,
    own_latin: u32,
    own_russian: u32,
    other: u32,
}

impl Letters {
    pub(super) fn add(&mut self, letter: char) {
        if is_latin(letter) {
            self.latin += 1;
            self.own_latin += u32::from(!is_shared(letter));
        } else if is_russian(letter) {
            self.russian += 1;
            self.own_russian += u32::from(!is_shared(letter));
        } else if is_lookalike(letter) {
            self.other += 1;
        }
    }

    /// Whether the word has letters of two alphabets.
    pub(super) fn are_mixed(self) -> bool {
        (self.latin > 0) as u8 + (self.russian > 0) as u8 + (self.other > 0) as u8 > 1
            || (self.other > 1 && self.latin + self.russian == 0)
    }
}

/// The text with its letters folded to the alphabet of their words, and those words to that of the text.
pub(super) fn fold(text: &str) -> Option<(Builder, Steps)> {
    let words = words(text);
    let all = words
        .iter()
        .fold((0, 0), |sum, (_, letters)| (sum.0 + letters.own_latin, sum.1 + letters.own_russian));
    let mut builder = Builder::with_capacity(text.len());
    let mut done = 0;
    let mut changed = false;
    for (range, letters) in &words {
        let to_russian = match letters.own_russian.cmp(&letters.own_latin) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => all.1 > all.0,
        };
        // A word all of whose letters both alphabets have belongs to the text's.
        let strayed = match to_russian {
            true => letters.latin > 0 && letters.own_latin == 0 && all.1 > 2 * all.0,
            false => letters.russian > 0 && letters.own_russian == 0 && all.0 > 2 * all.1,
        };
        if !letters.are_mixed() && !strayed {
            continue;
        }
        builder.copy(text, done..range.start);
        done = range.end;
        let table: &[(char, char)] = if to_russian { &AS_RUSSIAN } else { &AS_LATIN };
        for (at, letter) in text.get(range.clone()).unwrap_or_default().char_indices() {
            let place = range.start + at..range.start + at + letter.len_utf8();
            let own = if to_russian { is_russian(letter) } else { is_latin(letter) };
            let lookup = match (to_russian, letter) {
                (true, 'B') => Some('в'),
                (true, 'b') if at == 0 => Some('в'),
                _ => table.iter().find(|(from, _)| *from == small(letter)).map(|(_, to)| *to),
            };
            match lookup.filter(|_| !own) {
                Some(folded) => {
                    changed = true;
                    builder.put_char(like(folded, letter), place);
                }
                None => builder.copy(text, place),
            }
        }
    }
    builder.copy(text, done..text.len());
    changed.then_some((builder, Steps::CONFUSABLES))
}

fn words(text: &str) -> Vec<(std::ops::Range<usize>, Letters)> {
    let mut words: Vec<(std::ops::Range<usize>, Letters)> = Vec::new();
    let mut open = false;
    for (at, letter) in text.char_indices() {
        if !letter.is_alphabetic() {
            open = false;
            continue;
        }
        if !open {
            words.push((at..at, Letters::default()));
            open = true;
        }
        if let Some((range, letters)) = words.last_mut() {
            range.end = at + letter.len_utf8();
            letters.add(letter);
        }
    }
    words
}
