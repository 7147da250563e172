//! What the tagger looks at, as places in its table.

use std::ops::Range;

use super::lexicon::Class;
use super::tokens::{Kind, Token};

/// Places in the table of weights.
pub const BUCKETS: usize = 1 << 18;

/// Features of one token: first those of shape and kind, from `lexical` on those of words as such.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// Places in the table.
    pub places: Vec<u32>,
    /// Where the features of words begin.
    pub lexical: usize,
}

/// What else a text says of one of its words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The same word is written small elsewhere.
    pub small: bool,
    /// It is a part of a name elsewhere: 2 of a longer one, 1 of itself, 0 of none.
    pub named: u8,
}

fn mixed(kind: u64, value: u64) -> u64 {
    let mixed =
        (value ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// A token or what stands for the edge of a text.
struct Seen {
    hash: u64,
    class: u64,
    shape: u64,
    kind: u64,
    token: Option<Token>,
}

impl Seen {
    fn at(tokens: &[Token], at: Option<usize>) -> Self {
        match at.and_then(|at| tokens.get(at)) {
            Some(token) => Self {
                hash: token.hash,
                class: u64::from(token.class.0),
                shape: token.shape as u64,
                kind: token.kind as u64,
                token: Some(*token),
            },
            None => Self { hash: 7, class: 1 << 40, shape: 9, kind: 9, token: None },
        }
    }

    fn suffix(&self, count: u32) -> u64 {
        self.token.map_or(self.kind, |token| token.suffix(count))
    }
}

/// How a sentence or a line begins before a token: 0 when it does not.
fn start(tokens: &[Token], at: usize) -> u64 {
    let Some(before) = at.checked_sub(1).and_then(|at| tokens.get(at)) else { return 1 };
    match (before.kind, char::from_u32(before.head as u32)) {
        (Kind::Break, _) => 1,
        (Kind::Mark, Some('.' | '!' | '?' | '…')) => 2,
        (Kind::Mark, Some('«' | '“' | '„' | '"')) => 3,
        (Kind::Mark, Some('-' | '–' | '—' | '•' | '*')) => 4,
        (Kind::Mark, Some(':')) => 5,
        (Kind::Mark, Some('(')) => 6,
        (Kind::Mark, Some(',')) => 7,
        (Kind::Mark, _) => 8,
        _ => 0,
    }
}

/// Titles, cues and words for streets among the words just before.
fn before(tokens: &[Token], at: usize) -> u64 {
    let mut seen = 0;
    for back in 1..=4 {
        let Some(token) = at.checked_sub(back).and_then(|at| tokens.get(at)) else { break };
        if token.kind == Kind::Break
            || (token.kind == Kind::Mark && matches!(token.head, 0x21 | 0x3f | 0x3b))
        {
            break;
        }
        let class = token.class;
        let bits = u64::from(class.has(Class::TITLE))
            | u64::from(class.has(Class::CUE)) << 1
            | u64::from(class.has(Class::STREET)) << 2;
        if bits != 0 {
            seen = seen << 4 | bits << 1 | u64::from(back > 2);
            break;
        }
    }
    seen
}

/// Writes the features of the token at `at` of a run.
pub fn read(
    tokens: &[Token],
    run: &Range<usize>,
    at: usize,
    elsewhere: Elsewhere,
    stem: u64,
    features: &mut Features,
) {
    features.places.clear();
    let places = &mut features.places;
    let mut add = |kind: u64, value: u64| {
        places.push((mixed(kind, value) >> 40) as u32 & (BUCKETS as u32 - 1));
    };
    let Some(token) = tokens.get(at) else { return };
    let here = Seen::at(tokens, Some(at));
    let (back1, back2) = (Seen::at(tokens, at.checked_sub(1)), Seen::at(tokens, at.checked_sub(2)));
    let (next1, next2) = (Seen::at(tokens, Some(at + 1)), Seen::at(tokens, Some(at + 2)));
    let start = start(tokens, at);
    let script = u64::from(token.head >> (16 * u64::from(token.letters.clamp(1, 3) - 1)) < 0x250);
    let shape = here.shape << 4 | here.kind << 1 | script;
    let class = here.class;
    let run_length = run.len().min(6) as u64;
    let place = (at - run.start).min(3) as u64;
    let ahead = (run.end - at).min(3) as u64;
    let before = before(tokens, at);
    let first_start = if at == run.start { start } else { 9 };
    let around =
        u64::from(token.quoted) << 3 | u64::from(elsewhere.small) << 2 | u64::from(elsewhere.named);
    let mark = |seen: &Seen| match &seen.token {
        Some(token) if token.kind == Kind::Mark => token.head,
        _ => seen.kind,
    };

    add(1, shape);
    add(2, class);
    add(3, class << 16 | shape << 4 | first_start);
    add(4, class << 8 | around);
    add(5, shape << 8 | around << 4 | first_start);
    add(6, token.suffix(1) << 8 | shape);
    add(7, token.suffix(2) << 8 | shape);
    add(8, token.suffix(3) << 8 | shape);
    add(9, token.tail as u64 ^ shape);
    add(10, token.head << 8 | shape);
    add(11, u64::from(token.letters.min(15)) << 8 | shape);
    add(12, back1.class << 4 | back1.shape);
    add(13, next1.class << 4 | next1.shape);
    add(14, mixed(1, back1.class << 4 | back1.shape) ^ class);
    add(15, mixed(2, next1.class << 4 | next1.shape) ^ class);
    add(16, mixed(1, back1.class) ^ mixed(2, next1.class) ^ class ^ shape << 32);
    add(17, back1.shape << 24 | back1.kind << 20 | next1.shape << 16 | next1.kind << 12 | shape);
    add(18, mixed(3, back2.class << 4 | back2.shape) ^ back1.class);
    add(19, mixed(4, next2.class << 4 | next2.shape) ^ next1.class);
    add(20, back1.suffix(3) << 12 | back1.shape << 8 | shape);
    add(21, next1.suffix(3) << 12 | next1.shape << 8 | shape);
    add(22, back1.suffix(2) << 32 | token.suffix(2));
    add(23, next1.suffix(2) << 32 | token.suffix(2));
    add(24, mixed(5, before) ^ class);
    add(25, before << 8 | shape);
    add(26, run_length << 16 | place << 12 | ahead << 8 | shape);
    add(27, mixed(6, class) ^ (run_length << 16 | place << 12 | ahead << 8));
    add(28, mixed(7, token.suffix(3)) ^ before);
    add(29, mixed(8, token.suffix(2)) ^ first_start << 8 ^ shape);
    add(30, mixed(9, next1.class) ^ token.suffix(3));
    add(31, mixed(10, back1.class) ^ token.suffix(3));
    add(32, mixed(11, back2.shape << 8 | next2.shape << 4 | next1.shape) ^ class);
    add(
        33,
        u64::from(token.glued) << 8
            | u64::from(next1.token.is_some_and(|next| next.glued)) << 4
            | around,
    );
    add(34, mark(&next1) << 24 ^ mark(&back1) << 8 ^ shape);
    add(35, mixed(12, mark(&next1)) ^ class);
    add(36, mixed(13, mark(&back1)) ^ class ^ first_start << 40);
    features.lexical = places.len();
    let places = &mut features.places;
    let mut add = |kind: u64, value: u64| {
        places.push((mixed(kind, value) >> 40) as u32 & (BUCKETS as u32 - 1));
    };
    add(41, here.hash);
    add(42, stem);
    add(43, stem ^ shape);
    add(44, back1.hash);
    add(45, next1.hash);
    add(46, mixed(1, back1.hash) ^ shape);
    add(47, mixed(1, next1.hash) ^ shape);
    add(48, mixed(1, back1.hash) ^ back2.hash);
    add(49, back2.hash);
    add(50, next2.hash);
    add(51, mixed(2, back1.hash) ^ class);
    add(52, mixed(3, next1.hash) ^ class);
    add(53, mixed(4, stem) ^ back1.hash);
}
