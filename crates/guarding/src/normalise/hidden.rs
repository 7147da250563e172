//! Texts in characters that cannot be seen.

use super::View;
use super::canonical::Seen;
use super::letters::{Unseen, unseen};
use super::origins::Builder;

/// The text with what is hidden in it in its place; nothing if nothing is.
pub(super) fn reveal(text: &str, seen: Seen) -> Option<View> {
    let mut builder = Builder::with_capacity(text.len());
    let mut revealed = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let place = text.len() - rest.len();
        let kind = unseen(first);
        let Some(kind) = kind else {
            builder.copy(text, place..place + first.len_utf8());
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        };
        let end = rest.find(|next| unseen(next) != Some(kind)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let hidden = match kind {
            Unseen::Tag if seen.tags >= 3 => Some(run.chars().filter_map(tagged).collect()),
            Unseen::Selector if seen.selectors >= 3 => of_selectors(run),
            Unseen::Other if seen.others >= 24 => of_bits(run),
            _ => None,
        };
        if let Some(hidden) = hidden.filter(|hidden: &String| hidden.chars().count() >= 3) {
            revealed = true;
            builder.put(&format!(" {hidden} "), place..place + end);
        } else if kind == Unseen::Blank {
            builder.put(" ", place..place + end);
        }
        rest = after;
    }
    revealed.then(|| builder.view())
}

fn tagged(tag: char) -> Option<char> {
    let ascii = u8::try_from((tag as u32).checked_sub(0xE0000)?).ok()?;
    matches!(ascii, b' '..=b'~').then_some(char::from(ascii))
}

/// Bytes in variation selectors: the first sixteen values in one block, the rest in another.
fn of_selectors(run: &str) -> Option<String> {
    let byte = |selector: char| match selector as u32 {
        code @ 0xFE00..=0xFE0F => u8::try_from(code - 0xFE00).ok(),
        code @ 0xE0100..=0xE01EF => u8::try_from(code - 0xE0100 + 16).ok(),
        _ => None,
    };
    let bytes: Vec<u8> = run.chars().filter_map(byte).collect();
    String::from_utf8(bytes).ok().filter(|text| super::language::is_plausible(text))
}

/// Bits in two characters of no width, most significant first.
fn of_bits(run: &str) -> Option<String> {
    let first = run.chars().next()?;
    [true, false].into_iter().find_map(|set| {
        let bits: Vec<bool> = run.chars().map(|bit| (bit == first) == set).collect();
        let bytes = bits
            .chunks_exact(8)
            .map(|eight| eight.iter().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit)));
        let text = String::from_utf8(bytes.collect()).ok()?;
        super::language::is_plausible(&text).then_some(text)
    })
}
