//! Compatibility form without what cannot be seen; what is in it already is copied in runs.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_normalization::{IsNormalized, is_nfkc_quick};

use super::View;
use super::letters::{Unseen, unseen};
use super::origins::Builder;

/// What a text has that cannot be seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) tags: usize,
    pub(super) selectors: usize,
    /// Zero-width characters of other kinds.
    pub(super) others: usize,
}

impl Seen {
    /// Whether there is enough of it to carry a text.
    pub(super) fn may_smuggle(self) -> bool {
        self.tags >= 3 || self.selectors >= 3 || self.others >= 24
    }
}

/// Bytes of a character beginning with this byte if it is in compatibility form whatever comes
/// before it: printable ASCII and U+0400 to U+047F. 0 for the rest.
const PLAIN: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut byte = 0x20;
    while byte < 0x7F {
        lengths[byte] = 1;
        byte += 1;
    }
    lengths[b'\t' as usize] = 1;
    lengths[b'\n' as usize] = 1;
    lengths[b'\r' as usize] = 1;
    lengths[0xD0] = 2;
    lengths[0xD1] = 2;
    lengths
};

/// How many bytes from here on are plain.
fn plain_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        while let Some(chunk) = bytes.get(at..at + 8).and_then(|chunk| chunk.try_into().ok()) {
            let word = u64::from_le_bytes(chunk);
            let low = word.wrapping_sub(0x2020_2020_2020_2020);
            let high = word.wrapping_add(0x0101_0101_0101_0101);
            if (word | low | high) & 0x8080_8080_8080_8080 != 0 {
                break;
            }
            at += 8;
        }
        let from = at;
        while let Some(byte) = bytes.get(at) {
            let length = PLAIN[*byte as usize];
            at += length as usize;
            if length == 0 {
                return at;
            }
            if length == 1 && at >= from + 8 {
                break;
            }
        }
        if at >= bytes.len() {
            return bytes.len();
        }
    }
}

/// Marks after a letter that are composed with it; what goes beyond is put on its own.
const MOST_MARKS: usize = 30;
/// A character grows by no more than this: one there is that becomes eighteen.
const MOST_GROWTH: usize = 4;

/// The canonical view, and what was left out of it.
pub(super) fn canonical(text: &str) -> (View, Seen) {
    let mut builder = Builder::with_capacity(text.len());
    let mut seen = Seen::default();
    let mut scratch = String::new();
    let mut place = 0;
    while place < text.len() {
        let run = plain_run(text.as_bytes().get(place..).unwrap_or_default());
        let mut end = place + run;
        let next = text.get(end..).and_then(|rest| rest.chars().next());
        if run > 0
            && next.is_some_and(joins)
            && let Some(last) = text.get(place..end).and_then(|run| run.chars().next_back())
        {
            end -= last.len_utf8();
        }
        builder.copy(text, place..end);
        place = end;
        let Some(rest) = text.get(place..).filter(|rest| !rest.is_empty()) else { break };
        place += cluster(rest, place, text, &mut builder, &mut seen, &mut scratch);
    }
    (builder.view(), seen)
}

/// Whether a character may change with the one before it.
fn joins(character: char) -> bool {
    character >= '\u{300}'
        && (canonical_combining_class(character) != 0
            || matches!(character, '\u{1161}'..='\u{1175}' | '\u{11A8}'..='\u{11C2}')
            || is_combining_mark(character))
        && unseen(character).is_none()
}

/// Puts the character at the beginning of `rest`, with the marks that follow it; gives its bytes.
fn cluster(
    rest: &str,
    place: usize,
    text: &str,
    builder: &mut Builder,
    seen: &mut Seen,
    scratch: &mut String,
) -> usize {
    let mut characters = rest.char_indices();
    let Some((_, first)) = characters.next() else { return rest.len() };
    match unseen(first) {
        Some(Unseen::Tag) => seen.tags += 1,
        Some(Unseen::Selector) => seen.selectors += 1,
        Some(Unseen::Other) => seen.others += 1,
        Some(Unseen::Blank) => builder.put_char(' ', place..place + first.len_utf8()),
        None => {
            let marks = characters.take(MOST_MARKS).take_while(|(_, next)| joins(*next));
            let end = marks.last().map_or(first.len_utf8(), |(at, last)| at + last.len_utf8());
            let whole = rest.get(..end).unwrap_or_default();
            if is_nfkc_quick(whole.chars()) == IsNormalized::Yes {
                builder.copy(text, place..place + end);
                return end;
            }
            scratch.clear();
            scratch.extend(whole.chars().nfkc());
            if scratch.len() > whole.len() * MOST_GROWTH || scratch == whole {
                builder.copy(text, place..place + end);
            } else {
                builder.put(scratch, place..place + end);
            }
            return end;
        }
    }
    first.len_utf8()
}
