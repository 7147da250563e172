//! Parts of a text that are another text, encoded.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Steps;
use super::language::is_plausible;
use super::origins::{Builder, replaced};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Fewest letters of base64 that are looked at: six bytes.
const SHORTEST_BASE64: usize = 8;
/// Fewest bytes in hex, binary and the like.
const SHORTEST: usize = 4;

type Part = (Range<usize>, String);

/// The text with its encoded parts decoded, and how; nothing if it has none.
pub(super) fn decode(text: &str, is_nested: bool) -> Option<(Builder, Steps)> {
    let mut parts: Vec<Part> = Vec::new();
    let mut steps = if is_nested { Steps::NESTED } else { Steps::default() };
    let mut add = |found: Vec<Part>, step: Steps| {
        if !found.is_empty() {
            steps = steps | step;
            parts.extend(found);
        }
    };
    let bytes = text.as_bytes();
    if memchr::memchr(b'%', bytes).is_some() {
        add(percent(text), Steps::PERCENT);
    }
    if memchr::memchr(b'&', bytes).is_some() {
        add(entities(text), Steps::ENTITIES);
    }
    if memchr::memchr(b'\\', bytes).is_some() {
        add(escapes(text), Steps::ESCAPES);
    }
    add(base64(text), Steps::BASE64);
    add(hex(text), Steps::HEX);
    add(codes(text), Steps::CODES);
    add(super::morse::decode(text), Steps::MORSE);
    if parts.is_empty() {
        return None;
    }
    parts.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    Some((replaced(text, parts.iter().map(|(range, text)| (range.clone(), text.as_str()))), steps))
}

/// Runs of bytes of which each belongs, at least so long.
fn runs(text: &str, shortest: usize, belongs: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        if at == text.len() || !belongs(byte) {
            if at - start >= shortest {
                found.push(start..at);
            }
            start = at + 1;
        }
    }
    found
}

fn base64(text: &str) -> Vec<Part> {
    let belongs =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    let tokens = runs(text, SHORTEST_BASE64, belongs);
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(first) = tokens.get(at) {
        // Lines of the same text are apart by a break only.
        let mut last = at;
        while let (Some(line), Some(next)) = (tokens.get(last), tokens.get(last + 1))
            && line.len() >= 40
            && text.get(line.end..next.start).is_some_and(|between| between.trim().is_empty())
        {
            last += 1;
        }
        let range = first.start..tokens.get(last).map_or(first.end, |line| line.end);
        let joined: String = text
            .get(range.clone())
            .unwrap_or_default()
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect();
        if let Some(decoded) = of_base64(&joined) {
            parts.push((range, decoded));
        }
        at = last + 1;
    }
    parts
}

fn of_base64(token: &str) -> Option<String> {
    let token = token.trim_matches('=');
    // Words of one case are words sooner than base64.
    let mixed = token.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && token.bytes().any(|byte| byte.is_ascii_lowercase());
    if !mixed {
        return None;
    }
    let whole = token.get(..token.len() - usize::from(token.len() % 4 == 1))?;
    let engine = if whole.contains(['-', '_']) { &URL } else { &STANDARD };
    let text = String::from_utf8(engine.decode(whole).ok()?).ok()?;
    is_plausible(&text).then_some(text)
}

fn hex(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for run in hex_runs(text) {
        let said = text.get(run.clone()).unwrap_or_default();
        let digits: String = said.replace("0x", "").replace("0X", "").replace("\\x", "");
        let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes = digits.chunks_exact(2).map(|pair| {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            u8::from_str_radix(pair, 16).unwrap_or_default()
        });
        let text = String::from_utf8(bytes.collect()).ok();
        if let Some(text) = text.filter(|text| is_plausible(text)) {
            parts.push((run, text));
        }
    }
    parts
}

/// Pairs of hex digits that stand together, or apart by a space, a comma, a colon or `0x`.
fn hex_runs(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let joins = at > 0 && bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
        if joins || !(is_hex(at) || matches!(bytes.get(at), Some(b'\\'))) {
            at += 1;
            continue;
        }
        let start = at;
        let (mut end, mut pairs) = (at, 0);
        loop {
            let mut next = at;
            while pairs > 0
                && next < at + 2
                && matches!(bytes.get(next), Some(b' ' | b',' | b':' | b'-'))
            {
                next += 1;
            }
            if matches!(bytes.get(next..next + 2), Some(b"0x" | b"0X" | b"\\x")) {
                next += 2;
            }
            if !(is_hex(next) && is_hex(next + 1)) {
                break;
            }
            at = next + 2;
            end = at;
            pairs += 1;
        }
        let ends = !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
        if pairs >= SHORTEST && ends {
            found.push(start..end);
        }
        at = at.max(start + 1);
    }
    found
}

/// Bytes written as numbers: `01101001 ...`, `105 103 110`.
fn codes(text: &str) -> Vec<Part> {
    let belongs = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b',' | b'\n' | b'\t');
    let mut parts = Vec::new();
    for run in runs(text, 15, belongs) {
        let said = text.get(run.clone()).unwrap_or_default();
        let numbers: Vec<&str> =
            said.split([' ', ',', '\n', '\t']).filter(|one| !one.is_empty()).collect();
        let is_binary = numbers.iter().all(|one| one.bytes().all(|bit| matches!(bit, b'0' | b'1')));
        let bytes: Option<Vec<u8>> = if is_binary {
            let bits: String = numbers.concat();
            let byte = |eight: &[u8]| {
                std::str::from_utf8(eight).ok().and_then(|eight| u8::from_str_radix(eight, 2).ok())
            };
            (bits.len().is_multiple_of(8) && bits.len() >= 8 * SHORTEST)
                .then(|| bits.as_bytes().chunks(8).map(byte).collect())
                .flatten()
        } else {
            let code = |number: &&str| number.parse::<u8>().ok().filter(|code| *code >= 9);
            (numbers.len() >= 2 * SHORTEST).then(|| numbers.iter().map(code).collect()).flatten()
        };
        let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(decoded) = decoded.filter(|decoded| is_plausible(decoded)) {
            let blank = said.len() - said.trim_end().len();
            parts.push((run.start..run.end - blank, decoded));
        }
    }
    parts
}

fn percent(text: &str) -> Vec<Part> {
    let bytes = text.as_bytes();
    let mut parts: Vec<Part> = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'%', bytes) {
        if at < from {
            continue;
        }
        let (mut end, mut decoded) = (at, Vec::new());
        while bytes.get(end) == Some(&b'%')
            && let Some(code) = text.get(end + 1..end + 3)
            && let Ok(byte) = u8::from_str_radix(code, 16)
        {
            decoded.push(byte);
            end += 3;
        }
        from = end.max(at + 1);
        if let Ok(decoded) = String::from_utf8(decoded)
            && !decoded.is_empty()
        {
            parts.push((at..end, decoded));
        }
    }
    parts
}

fn entities(text: &str) -> Vec<Part> {
    const NAMED: [(&str, &str); 14] = [
        ("amp", "&"),
        ("lt", "<"),
        ("gt", ">"),
        ("quot", "\""),
        ("apos", "'"),
        ("nbsp", " "),
        ("colon", ":"),
        ("comma", ","),
        ("period", "."),
        ("excl", "!"),
        ("laquo", "«"),
        ("raquo", "»"),
        ("mdash", "—"),
        ("Tab", "\t"),
    ];
    let mut parts = Vec::new();
    for at in memchr::memchr_iter(b'&', text.as_bytes()) {
        let ahead = text.as_bytes().get(at + 1..(at + 12).min(text.len())).unwrap_or_default();
        let Some(length) = memchr::memchr(b';', ahead) else { continue };
        let Some(name) = text.get(at + 1..at + 1 + length) else { continue };
        let code =
            |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let decoded = match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix(['x', 'X']) {
                Some(digits) => code(digits, 16),
                None => code(number, 10),
            }
            .map(String::from),
            None => {
                NAMED.iter().find(|(known, _)| *known == name).map(|(_, said)| (*said).to_owned())
            }
        };
        if let Some(decoded) = decoded {
            parts.push((at..at + length + 2, decoded));
        }
    }
    parts
}

/// `\u0438`, `\u{438}`, `\U00000438`, `\x69`; pairs of surrogates are one character.
fn escapes(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'\\', text.as_bytes()) {
        if at < from {
            continue;
        }
        let mut units: Vec<u16> = Vec::new();
        let mut end = at;
        while let Some((code, length)) = text.get(end..).and_then(escape) {
            let mut pair = [0; 2];
            match char::from_u32(code) {
                Some(character) => units.extend_from_slice(character.encode_utf16(&mut pair)),
                None => units.extend(u16::try_from(code).ok()),
            }
            end += length;
        }
        from = end.max(at + 1);
        if let Ok(decoded) = String::from_utf16(&units)
            && !decoded.is_empty()
        {
            parts.push((at..end, decoded));
        }
    }
    parts
}

/// The code at the beginning and its length.
fn escape(text: &str) -> Option<(u32, usize)> {
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let after = text.strip_prefix('\\')?;
    if let Some(braced) = after.strip_prefix("u{") {
        let close = braced.as_bytes().iter().take(8).position(|byte| *byte == b'}')?;
        return Some((hex(braced.get(..close)?)?, close + 4));
    }
    let digits = match after.as_bytes().first()? {
        b'u' => 4,
        b'U' => 8,
        b'x' => 2,
        _ => return None,
    };
    Some((hex(after.get(1..=digits)?)?, digits + 2))
}
