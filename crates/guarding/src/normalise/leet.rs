//! Digits and signs for letters, and letters that go on and on.

use super::Steps;
use super::letters::{is_latin, is_russian, small};
use super::origins::{Builder, replaced};
use super::vocabulary::is_common;

/// What a sign stands for in Latin and in Russian words; several are tried in turn.
const SIGNS: [(char, &str, &str); 18] = [
    ('0', "o", "о"),
    ('1', "il", "и"),
    ('2', "z", "з"),
    ('3', "e", "зе"),
    ('4', "a", "ча"),
    ('5', "s", "с"),
    ('6', "gb", "б"),
    ('7', "t", "т"),
    ('8', "b", "в"),
    ('9', "g", "я"),
    ('@', "a", "а"),
    ('$', "s", "с"),
    ('!', "i", "и"),
    ('|', "li", "л"),
    ('+', "t", "т"),
    ('€', "e", "е"),
    ('(', "c", "с"),
    ('#', "h", "н"),
];

fn stands_for(sign: char, russian: bool) -> Option<&'static str> {
    let found = SIGNS.iter().find(|(known, ..)| *known == sign)?;
    Some(if russian { found.2 } else { found.1 })
}

/// Whether a word mixes letters with signs that stand for some.
pub(super) fn is_mixed(word: &str) -> bool {
    let letters = word.chars().filter(|letter| letter.is_alphabetic()).count();
    let signs = word.chars().filter(|sign| stands_for(*sign, false).is_some()).count();
    let trailing = word.trim_end_matches(['!', '(', '#', '+', '|']);
    letters >= 1
        && signs >= 1
        && letters + signs >= 3
        && trailing.chars().any(|sign| stands_for(sign, false).is_some())
}

/// The text with signs read as letters, where that makes common words.
pub(super) fn undo(text: &str) -> Option<(Builder, Steps)> {
    let mut parts = Vec::new();
    let mut known = 0;
    for range in tokens(text) {
        let Some(token) = text.get(range.clone()) else { continue };
        let word = token.trim_end_matches(['!', '(', '#', '+', '|', '.', ',', '?', ':', ';']);
        if !is_mixed(word) {
            continue;
        }
        let russian = word.chars().any(is_russian)
            || (!word.chars().any(is_latin) && text.chars().take(400).any(is_russian));
        let read = read(word, russian);
        known += usize::from(read.chars().count() >= 4 && is_common(&read));
        parts.push((range.start..range.start + word.len(), read));
    }
    (known >= 1 && known * 5 >= parts.len()).then(|| {
        let parts = parts.iter().map(|(range, word)| (range.clone(), word.as_str()));
        (replaced(text, parts), Steps::LEET)
    })
}

/// A word with its signs read: the common word if one comes out, else the first reading.
fn read(word: &str, russian: bool) -> String {
    const MOST: usize = 16;
    let mut readings = vec![String::new()];
    for letter in word.chars() {
        let choices = stands_for(letter, russian);
        let mut next = Vec::new();
        for reading in &readings {
            match choices {
                Some(choices) => next.extend(choices.chars().map(|one| {
                    let mut longer = reading.clone();
                    longer.push(one);
                    longer
                })),
                None => {
                    let mut longer = reading.clone();
                    longer.push(small(letter));
                    next.push(longer);
                }
            }
        }
        next.truncate(MOST);
        readings = next;
    }
    let best = readings.iter().position(|reading| is_common(reading)).unwrap_or(0);
    readings.into_iter().nth(best).unwrap_or_default()
}

/// What stands between blanks.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().filter(|token| token.len() <= 80).map(move |token| {
        let start = token.as_ptr() as usize - base;
        start..start + token.len()
    })
}

/// The text with letters that stand three times and more in a row written once.
pub(super) fn shorten(text: &str) -> Option<(Builder, Steps)> {
    let mut builder = Builder::with_capacity(text.len());
    let mut done = 0;
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, letter)) = characters.next() {
        let mut end = at + letter.len_utf8();
        let mut count = 1;
        while let Some((next, _)) = characters.next_if(|(_, next)| small(*next) == small(letter)) {
            end = next + letter.len_utf8();
            count += 1;
        }
        if count >= 3 && letter.is_alphabetic() {
            runs.push(at..end.min(text.len()));
        }
    }
    for run in &runs {
        let first = text.get(run.clone()).and_then(|run| run.chars().next());
        builder.copy(text, done..run.start);
        if let Some(first) = first {
            builder.put_char(first, run.clone());
        }
        done = run.end;
    }
    builder.copy(text, done..text.len());
    (!runs.is_empty()).then_some((builder, Steps::REPEATED))
}
