//! Identifiers with letters in them: plates, VIN, certificates, military cards, IBAN.

use std::sync::LazyLock;

use regex::Regex;

use super::checks;
use super::context::{Contexts, Hint};
use super::numbers::push;
use crate::{Category, Finding};

fn made(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

static PLATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    made(
        r"(?i)\b([авекмнорстухabekmhopctyx])[\s-]?(\d{3})[\s-]?([авекмнорстухabekmhopctyx]{2})(?:[\s|/-]{0,3}(\d{2,3}))?(?:[\s-]?(?:rus|рус))?\b",
    )
});
static VIN: LazyLock<Option<Regex>> = LazyLock::new(|| made(r"(?i)\b[A-HJ-NPR-Z0-9]{17}\b"));
static CERTIFICATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    made(
        r"(?i)\b([IVXLC]{1,6}|[1ІХ]{1,4}|[ХIУVЛ]{1,5})\s?[-–—‑ ]\s?([А-ЯЁ]{2})[\s,№NнН°º.-]{0,4}(?:номер\s)?(\d{6})\b",
    )
});
static MILITARY: LazyLock<Option<Regex>> =
    LazyLock::new(|| made(r"(?i)\b([А-ЯЁ]{2})[\s-]?(?:№|N|номер)?\s?(\d{7})\b"));
static IBAN: LazyLock<Option<Regex>> =
    LazyLock::new(|| made(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){3,8}\b"));

/// Adds identifiers with letters.
pub(super) fn find(text: &str, lower: &str, contexts: &Contexts, findings: &mut Vec<Finding>) {
    for found in PLATE.iter().flat_map(|regex| regex.captures_iter(text)) {
        let Some(whole) = found.get(0) else { continue };
        let range = whole.range();
        let named = contexts.says(&range, &[Hint::Vehicle]);
        let region = found.get(4).is_some();
        let zeros = found.get(2).is_some_and(|number| number.as_str() == "000");
        let spaced = whole.as_str().chars().any(char::is_whitespace);
        let confidence = match () {
            () if zeros => 0.0,
            () if named && region => 0.96,
            () if named => 0.85,
            () if region && !contexts.denies(&range) => {
                if spaced {
                    0.65
                } else {
                    0.8
                }
            }
            () => 0.2,
        };
        push(findings, Category::VehiclePlate, range, confidence, "ru.plate");
    }
    for found in VIN.iter().flat_map(|regex| regex.find_iter(text)) {
        let upper = found.as_str().to_ascii_uppercase();
        let bytes = upper.as_bytes();
        let letters = bytes.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        let tail = bytes.iter().rev().take(4).all(u8::is_ascii_digit);
        if letters < 2 || bytes.len() - letters < 4 {
            continue;
        }
        let range = found.range();
        let named = contexts.says(&range, &[Hint::Vin, Hint::Vehicle]);
        let known = matches!(
            bytes[0],
            b'X' | b'W' | b'J' | b'K' | b'L' | b'1'
                ..=b'5' | b'S' | b'V' | b'Z' | b'Y' | b'T' | b'N' | b'M' | b'R'
        );
        let confidence = match () {
            () if named => 0.96,
            () if contexts.denies(&range) => 0.2,
            () if checks::vin(bytes) && tail => 0.85,
            () if known && tail && (3..=11).contains(&letters) => 0.55,
            () => 0.3,
        };
        push(findings, Category::Vin, range, confidence, "vin");
    }
    for found in CERTIFICATE.iter().flat_map(|regex| regex.captures_iter(text)) {
        let Some(whole) = found.get(0) else { continue };
        let named = contexts.says(&whole.range(), &[Hint::BirthCertificate, Hint::Birth]);
        let latin = found.get(1).is_some_and(|roman| roman.as_str().is_ascii());
        let confidence = match (named, latin) {
            (true, _) => 0.95,
            (false, true) if whole.as_str().contains('-') => 0.75,
            _ => 0.3,
        };
        push(
            findings,
            Category::BirthCertificate,
            whole.range(),
            confidence,
            "ru.birth_certificate",
        );
    }
    if lower.contains("воен") || lower.contains("воинск") || lower.contains("military") {
        for found in MILITARY.iter().flat_map(|regex| regex.find_iter(text)) {
            if contexts.says(&found.range(), &[Hint::Military]) {
                push(findings, Category::MilitaryId, found.range(), 0.94, "ru.military_id");
            }
        }
    }
    for found in IBAN.iter().flat_map(|regex| regex.find_iter(text)) {
        let mut range = found.range();
        // A word after it may have been taken for its last group.
        loop {
            let part = text.get(range.clone()).unwrap_or_default();
            let compact: Vec<u8> = part.bytes().filter(u8::is_ascii_alphanumeric).collect();
            if checks::iban(&compact) {
                push(findings, Category::Iban, range, 0.97, "iban");
                break;
            }
            let Some(cut) = part.rfind([' ', '-']) else { break };
            range.end = range.start + cut;
        }
    }
}
