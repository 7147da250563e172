//! How the bytes of one event are laid out in segments.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::script::Shape;

/// Cuts per event; more would only take more time.
const MOST_CUTS: usize = 8;

/// The pieces of `bytes` in order, each for a segment of its own. Empty input gives none.
pub(crate) fn shaped(bytes: Bytes, shape: Shape) -> VecDeque<Bytes> {
    if bytes.is_empty() {
        return VecDeque::new();
    }
    match shape {
        Shape::Plain => VecDeque::from([bytes]),
        Shape::SlowLoris(_) => (0..bytes.len()).map(|at| bytes.slice(at..=at)).collect(),
        Shape::SplitUtf8 => {
            let inside = |at: &usize| bytes[*at] & 0xC0 == 0x80;
            let cuts: Vec<usize> = (1..bytes.len()).filter(inside).collect();
            cut_at(&bytes, &cuts)
        }
        Shape::SplitEscapes => {
            let escaped = escape_non_ascii(&bytes);
            let cuts: Vec<usize> = memchr::memmem::find_iter(&escaped, b"\\u")
                .enumerate()
                // After the backslash, after the u, and after each of two digits, in turn.
                .map(|(index, at)| at + 1 + index % 4)
                .filter(|at| *at < escaped.len())
                .collect();
            cut_at(&escaped, &cuts)
        }
    }
}

fn cut_at(bytes: &Bytes, cuts: &[usize]) -> VecDeque<Bytes> {
    let step = cuts.len().div_ceil(MOST_CUTS).max(1);
    let mut pieces = VecDeque::new();
    let mut start = 0;
    for &cut in cuts.iter().step_by(step).chain([&bytes.len()]) {
        if cut > start {
            pieces.push_back(bytes.slice(start..cut));
            start = cut;
        }
    }
    pieces
}

/// Non-ASCII characters stand only inside JSON strings, in every format here, so that escaping
/// them anywhere leaves the meaning as it was.
fn escape_non_ascii(bytes: &Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.clone() };
    if text.is_ascii() {
        return bytes.clone();
    }
    let mut escaped = String::with_capacity(text.len() * 3);
    for character in text.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn joined(pieces: &VecDeque<Bytes>) -> Vec<u8> {
        pieces.iter().flat_map(|piece| piece.to_vec()).collect()
    }

    #[test]
    fn utf8_is_cut_inside_code_points() {
        let text = "data: {\"x\":\"Привет, мир 🙂\"}\n\n";
        let pieces = shaped(text.into(), Shape::SplitUtf8);
        assert!(pieces.len() > 4);
        assert_eq!(joined(&pieces), text.as_bytes());
        assert!(pieces.iter().skip(1).all(|piece| piece[0] & 0xC0 == 0x80));
    }

    #[test]
    fn escapes_mean_the_same_and_are_cut_inside() {
        let pieces = shaped("{\"x\":\"Да 🙂\"}".into(), Shape::SplitEscapes);
        let whole = joined(&pieces);
        assert!(whole.is_ascii());
        let value: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!(value["x"], "Да 🙂");
        assert!(whole.windows(12).any(|part| part == b"\\ud83d\\ude42"));
        assert!(pieces.len() >= 4);
        assert!(pieces.iter().any(|piece| piece.ends_with(b"\\")));
    }

    #[test]
    fn slow_loris_is_bytewise() {
        let pieces = shaped("абв".into(), Shape::SlowLoris(Duration::ZERO));
        assert_eq!(pieces.len(), 6);
        assert!(shaped(Bytes::new(), Shape::SplitUtf8).is_empty());
    }
}
