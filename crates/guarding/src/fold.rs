//! Lower case without a change of length, so that places in the folded text are places in the text.

/// Latin and Cyrillic letters in lower case, `ё` as `е`; every character keeps its length in bytes.
pub(crate) fn fold(text: &str) -> Vec<u8> {
    let mut folded = text.as_bytes().to_vec();
    folded.make_ascii_lowercase();
    let mut rest = folded.as_mut_slice();
    // Every lead byte beyond ASCII is 0xC0 or more, and what begins with one is taken whole.
    while let Some(at) = rest.iter().position(|byte| *byte >= 0xC0) {
        let (_, tail) = rest.split_at_mut(at);
        rest = fold_beyond_ascii(tail);
    }
    folded
}

/// Folds the characters beyond ASCII at the beginning; gives what follows them.
fn fold_beyond_ascii(mut rest: &mut [u8]) -> &mut [u8] {
    loop {
        rest = match rest {
            [0xF0..=0xFF, _, _, _, tail @ ..] | [0xE0..=0xEF, _, _, tail @ ..] => tail,
            [first @ 0xC0..=0xDF, second, tail @ ..] => {
                (*first, *second) = fold_pair(*first, *second);
                tail
            }
            other => return other,
        };
    }
}

fn fold_pair(first: u8, second: u8) -> (u8, u8) {
    match (first, second) {
        (0xC3, 0x80..=0x96 | 0x98..=0x9E) => (0xC3, second + 0x20),
        (0xD0, 0x81) | (0xD1, 0x91) => (0xD0, 0xB5),
        (0xD0, 0x80..=0x8F) => (0xD1, second + 0x10),
        (0xD0, 0x90..=0x9F) => (0xD0, second + 0x20),
        (0xD0, 0xA0..=0xAF) => (0xD1, second - 0x20),
        other => other,
    }
}

/// [`char::is_alphabetic`], quicker for the letters that are usual here.
pub(crate) fn is_letter(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | 'А'..='я' | 'ё' | 'Ё' => true,
        '\0'..='\u{7F}' => false,
        other => other.is_alphabetic(),
    }
}

/// [`char::is_alphanumeric`], quicker for the letters that are usual here.
pub(crate) fn is_letter_or_digit(character: char) -> bool {
    match character {
        '0'..='9' => true,
        '\0'..='\u{7F}' | 'А'..='я' | 'ё' | 'Ё' => is_letter(character),
        other => other.is_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::{fold, is_letter, is_letter_or_digit};

    #[test]
    fn the_quick_ways_agree_with_the_standard() {
        for character in '\0'..='\u{3000}' {
            assert_eq!(is_letter(character), character.is_alphabetic(), "{character}");
            assert_eq!(is_letter_or_digit(character), character.is_alphanumeric(), "{character}");
        }
    }

    #[test]
    fn letters_fold_and_every_byte_keeps_its_place() {
        for (text, expected) in [
            ("ABC абв", "abc абв"),
            ("Ёлка, ЁЖ, ещё", "елка, еж, еще"),
            ("«ЗАБУДЬ» — ВСЁ", "«забудь» — все"),
            ("ПРИВЕТ 😀 МИР", "привет 😀 мир"),
            ("ÄÖÜ × ЇЄҐ", "äöü × їєҐ"),
        ] {
            assert_eq!(fold(text), expected.as_bytes(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_length_stays_and_the_text_stays_utf8(text in "\\PC*") {
            let folded = fold(&text);
            assert_eq!(folded.len(), text.len());
            let folded = String::from_utf8(folded).expect("text");
            for (at, _) in text.char_indices() {
                assert!(folded.is_char_boundary(at));
            }
        }
    }
}
