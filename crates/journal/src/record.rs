//! How a record lies in the words of a segment.
//!
//! | word | holds |
//! | --- | --- |
//! | 0 | bit 63 set, length of the payload in bits 32..63, CRC-32 below; written last |
//! | 1 | sequence: segment number in the upper half, index of word 0 in the lower |
//! | 2 | kind, one of four constants |
//! | 3 | the link: a closing record's opened one, a closed one's closing one, else 0 |
//! | 4, 5 | progress (open records only) |
//! | then | payload, filled up with zeros |
//!
//! All words are little-endian. The CRC is over the segment's salt, words 1 to 3 (an open record
//! that was closed counts as open, without a link) and the payload. The sequence must name the place where the
//! record stands, and the salt is the segment's own, so that bytes of a payload are not taken for a
//! record when the reader looks for the next one behind damage. Progress is outside the CRC: it
//! changes in place.

use std::sync::atomic::{AtomicU64, Ordering};

const HEAD_WORDS: usize = 4;
const PUBLISHED: u64 = 1 << 63;

/// What a record is. The constants differ in many bits, so that no flipped one makes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Complete in itself.
    Append,
    /// An intent, not closed.
    Open,
    /// An intent with a closing record elsewhere.
    Opened,
    /// Closes an open record.
    Close,
}

impl Kind {
    pub(crate) const fn word(self) -> u64 {
        match self {
            Self::Append => 0x4150_5045_4e44_0f0f,
            Self::Open => 0x4f50_454e_3333_5a5a,
            Self::Opened => 0x9a2c_71d0_c4e1_a6b5,
            Self::Close => 0x434c_4f53_45f0_3c3c,
        }
    }

    fn of(word: u64) -> Option<Self> {
        [Self::Append, Self::Open, Self::Opened, Self::Close]
            .into_iter()
            .find(|kind| kind.word() == word)
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Opened)
    }

    /// What the CRC sees.
    fn checked(self) -> u64 {
        if self.is_open() { Self::Open.word() } else { self.word() }
    }

    fn head_words(self) -> usize {
        match self {
            Self::Append | Self::Close => HEAD_WORDS,
            Self::Open | Self::Opened => HEAD_WORDS + 2,
        }
    }
}

/// Words a record takes.
pub(crate) fn words(kind: Kind, payload: usize) -> usize {
    kind.head_words() + payload.div_ceil(8)
}

/// Word of a record that holds its kind.
pub(crate) const KIND_AT: usize = 2;
/// Word of a record that holds its link.
pub(crate) const LINK_AT: usize = 3;
/// Words of a record that hold its progress.
pub(crate) const PROGRESS_AT: usize = 4;

pub(crate) fn load(words: &[AtomicU64], at: usize) -> u64 {
    words.get(at).map_or(0, |word| u64::from_le(word.load(Ordering::Relaxed)))
}

pub(crate) fn store(words: &[AtomicU64], at: usize, value: u64) {
    if let Some(word) = words.get(at) {
        word.store(value.to_le(), Ordering::Relaxed);
    }
}

fn crc(salt: u64, sequence: u64, kind: Kind, link: u64, payload: &[u8]) -> u32 {
    let link = if kind.is_open() { 0 } else { link };
    let mut head = [0_u8; 32];
    for (to, value) in head.chunks_exact_mut(8).zip([salt, sequence, kind.checked(), link]) {
        to.copy_from_slice(&value.to_le_bytes());
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    hasher.update(payload);
    hasher.finalize()
}

/// Writes a record into words reserved for it; word 0 last, so that a reader sees all or nothing.
pub(crate) fn write(
    place: &[AtomicU64],
    salt: u64,
    sequence: u64,
    kind: Kind,
    link: u64,
    payload: &[u8],
) {
    store(place, 1, sequence);
    store(place, KIND_AT, kind.word());
    store(place, LINK_AT, link);
    let body = place.get(kind.head_words()..).unwrap_or_default();
    let chunks = payload.chunks_exact(8);
    let rest = chunks.remainder();
    let whole = payload.len() / 8;
    for (word, chunk) in body.iter().zip(chunks) {
        let mut bytes = [0_u8; 8];
        bytes.copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut bytes = [0_u8; 8];
        for (to, from) in bytes.iter_mut().zip(rest) {
            *to = *from;
        }
        if let Some(word) = body.get(whole) {
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }
    let crc = crc(salt, sequence, kind, link, payload);
    let head = PUBLISHED | ((payload.len() as u64) << 32) | u64::from(crc);
    if let Some(word) = place.first() {
        word.store(head.to_le(), Ordering::Release);
    }
}

/// A record that was read and whose CRC is right.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) link: u64,
    pub(crate) progress: [u64; 2],
    pub(crate) payload: Vec<u8>,
    /// Words it takes.
    pub(crate) words: usize,
}

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Look {
    /// Nothing is published here.
    Empty,
    /// Something that is no record.
    Damaged,
    /// A record.
    Record(Record),
}

/// Looks at the beginning of `place`; `sequence` is the one a record has that stands there.
pub(crate) fn look(place: &[AtomicU64], salt: u64, sequence: u64) -> Look {
    let head = place.first().map_or(0, |word| u64::from_le(word.load(Ordering::Acquire)));
    if head == 0 {
        return Look::Empty;
    }
    if head & PUBLISHED == 0 || load(place, 1) != sequence {
        return Look::Damaged;
    }
    let Some(kind) = Kind::of(load(place, KIND_AT)) else { return Look::Damaged };
    let length = ((head & !PUBLISHED) >> 32) as usize;
    let taken = words(kind, length);
    let Some(body) = place.get(kind.head_words()..taken) else { return Look::Damaged };
    let mut payload = Vec::with_capacity(body.len() * 8);
    for word in body {
        payload.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    payload.truncate(length);
    let link = load(place, LINK_AT);
    if crc(salt, sequence, kind, link, &payload) != head as u32 {
        return Look::Damaged;
    }
    let progress = match kind {
        Kind::Open | Kind::Opened => [load(place, PROGRESS_AT), load(place, PROGRESS_AT + 1)],
        Kind::Append | Kind::Close => [0, 0],
    };
    Look::Record(Record { kind, sequence, link, progress, payload, words: taken })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for length in 0..40 {
            let payload: Vec<u8> = (0..length).map(|at| at as u8 ^ 0x5a).collect();
            for kind in [Kind::Append, Kind::Open, Kind::Close] {
                let place = place(words(kind, payload.len()) + 1);
                write(&place, 7, 9, kind, 3, &payload);
                let Look::Record(record) = look(&place, 7, 9) else { panic!("{kind:?} {length}") };
                assert_eq!(record.payload, payload);
                assert_eq!((record.kind, record.link), (kind, 3));
                assert_eq!(record.words, words(kind, payload.len()));
            }
        }
    }

    #[test]
    fn another_place_or_segment_is_damage() {
        let place = place(20);
        write(&place, 7, 9, Kind::Append, 0, "расход".as_bytes());
        assert!(matches!(look(&place, 8, 9), Look::Damaged));
        assert!(matches!(look(&place, 7, 10), Look::Damaged));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let payload = b"0123456789abcdef";
        let place = place(words(Kind::Append, payload.len()));
        write(&place, 7, 9, Kind::Append, 0, payload);
        for word in &place {
            for bit in 0..64 {
                word.fetch_xor(1 << bit, Ordering::Relaxed);
                assert!(!matches!(look(&place, 7, 9), Look::Record(_)));
                word.fetch_xor(1 << bit, Ordering::Relaxed);
            }
        }
        assert!(matches!(look(&place, 7, 9), Look::Record(_)));
    }

    #[test]
    fn exact_words() {
        let place = place(6);
        write(&place, 1, (2 << 32) | 16, Kind::Append, 0, b"ledger");
        let words: Vec<u64> = place.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let mut covered = Vec::new();
        for value in [1, (2_u64 << 32) | 16, 0x4150_5045_4e44_0f0f, 0] {
            covered.extend_from_slice(&value.to_le_bytes());
        }
        covered.extend_from_slice(b"ledger");
        let head = (1 << 63) | (6 << 32) | u64::from(crc32fast::hash(&covered));
        assert_eq!(u64::from_le(words[0]), head);
        assert_eq!(u64::from_le(words[1]), (2 << 32) | 16);
        assert_eq!(words[4].to_ne_bytes(), *b"ledger\0\0");
        assert_eq!(words[5], 0);
    }
}
