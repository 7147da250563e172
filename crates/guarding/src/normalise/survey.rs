//! What a text has that asks for a closer look; one pass over its bytes.

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Letters of two alphabets in one word, or of an alphabet that is used for its looks.
    pub(super) mixes_alphabets: bool,
    /// Marks that no letter has taken up.
    pub(super) has_marks: bool,
    /// Single letters in a row.
    pub(super) has_rows: bool,
    /// Digits or signs within words.
    pub(super) has_signs: bool,
    /// A letter three times within a word.
    pub(super) has_repetition: bool,
}

/// Single letters in a row that are more than initials.
const ROW: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Latin,
    /// First or further byte of a Russian letter.
    Russian,
    /// Of another letter beyond ASCII.
    Foreign,
    Digit,
    Sign,
    Other,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Kind::Latin,
            b'0'..=b'9' => Kind::Digit,
            b'@' | b'$' | b'!' | b'|' | b'+' | b'(' | b'#' => Kind::Sign,
            0xD0 | 0xD1 => Kind::Russian,
            // Marks, quotes and dashes begin with these.
            0xC2 | 0xCC | 0xCD | 0xE2 | 0xE3 | 0xEF | 0xF0 => Kind::Other,
            0xC3..=0xFF => Kind::Foreign,
            _ => Kind::Other,
        };
        byte += 1;
    }
    kinds
};

impl Survey {
    /// Looks at a text.
    pub(super) fn of(text: &str) -> Self {
        let mut seen = Self::default();
        let bytes = text.as_bytes();
        let (mut before, mut length, mut row) = (Kind::Other, 0_u32, 0_u32);
        let mut repeated = 0_u32;
        let mut last: (u8, u8) = (0, 0);
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let kind = KINDS[usize::from(*byte)];
            let width = match byte {
                0..=0xBF => 1,
                0xC0..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xFF => 4,
            };
            let letter = matches!(kind, Kind::Latin | Kind::Russian | Kind::Foreign);
            let was_letter = matches!(before, Kind::Latin | Kind::Russian | Kind::Foreign);
            let code =
                (byte.to_ascii_lowercase(), bytes.get(at + width - 1).copied().unwrap_or(0) | 0x20);
            seen.has_marks |= matches!(byte, 0xCC | 0xCD);
            seen.mixes_alphabets |= letter && was_letter && kind != before
                || (kind == Kind::Foreign && !matches!(byte, 0xC3..=0xC5));
            seen.has_signs |= (letter && matches!(before, Kind::Digit | Kind::Sign))
                || (kind == Kind::Digit && was_letter);
            repeated = if letter && code == last { repeated + 1 } else { 0 };
            if repeated >= 2 {
                seen.has_repetition = true;
            }
            if letter || kind == Kind::Digit {
                length += 1;
            } else {
                match length {
                    0 => {}
                    1 => {
                        row += 1;
                        seen.has_rows |= row >= ROW;
                    }
                    _ => row = 0,
                }
                length = 0;
            }
            last = code;
            before = kind;
            at += width;
        }
        seen.has_rows |= length == 1 && row + 1 >= ROW;
        seen
    }
}
