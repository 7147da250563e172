//! Marks that are piled on letters.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::Steps;
use super::origins::Builder;

/// The text without marks, where letters have some that belong to no letter of an alphabet.
pub(super) fn drop(text: &str) -> Option<(Builder, Steps)> {
    let mut builder = Builder::with_capacity(text.len());
    let mut dropped = 0;
    let mut done = 0;
    let mut before: Option<(usize, char)> = None;
    for (at, character) in text.char_indices() {
        if !is_combining_mark(character) {
            before = Some((at, character));
            continue;
        }
        dropped += 1;
        match before.take() {
            Some((start, letter)) => {
                builder.copy(text, done..start);
                // The first mark of a pile has become one with the letter.
                let bare = std::iter::once(letter).nfd().next().filter(char::is_ascii);
                builder.put_char(bare.unwrap_or(letter), start..at + character.len_utf8());
            }
            None if done < at => builder.copy(text, done..at),
            None => {}
        }
        done = at + character.len_utf8();
    }
    builder.copy(text, done..text.len());
    (dropped >= 2).then_some((builder, Steps::CONFUSABLES))
}
