//! Kinds of characters.

/// A character that cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unseen {
    /// A copy of an ASCII character in the block of tags.
    Tag,
    /// One that chooses how the character before it looks.
    Selector,
    /// A blank that is not taken for a space.
    Blank,
    /// Zero width, direction, filling, control.
    Other,
}

/// How a character cannot be seen, if it cannot.
pub(super) fn unseen(character: char) -> Option<Unseen> {
    match character {
        '\t' | '\n' | '\r' | ' '..='~' => None,
        '\u{0B}' | '\u{0C}' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{2800}' => {
            Some(Unseen::Blank)
        }
        '\0'..='\u{9F}' | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' => {
            Some(Unseen::Other)
        }
        '\u{17B4}' | '\u{17B5}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' => {
            Some(Unseen::Other)
        }
        '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' => Some(Unseen::Other),
        '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' => {
            Some(Unseen::Other)
        }
        '\u{180B}'..='\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => {
            Some(Unseen::Selector)
        }
        '\u{E0000}'..='\u{E007F}' => Some(Unseen::Tag),
        '\u{E0080}'..='\u{E0FFF}' => Some(Unseen::Other),
        _ => None,
    }
}

/// The small letter, where it is one character.
pub(super) fn small(character: char) -> char {
    match character {
        'A'..='Z' => character.to_ascii_lowercase(),
        'ё' | 'Ё' => 'е',
        'А'..='Я' => char::from_u32(character as u32 + 0x20).unwrap_or(character),
        '\0'..='\u{7F}' | 'а'..='я' => character,
        _ => character.to_lowercase().next().unwrap_or(character),
    }
}

/// Whether it is a letter of the Latin alphabet without any sign.
pub(super) fn is_latin(character: char) -> bool {
    character.is_ascii_alphabetic()
}

/// Whether it is a letter of the Russian alphabet.
pub(super) fn is_russian(character: char) -> bool {
    matches!(character, 'А'..='я' | 'ё' | 'Ё')
}

/// Gives a small letter the case of another.
pub(super) fn like(small: char, model: char) -> char {
    if model.is_uppercase() { small.to_uppercase().next().unwrap_or(small) } else { small }
}
