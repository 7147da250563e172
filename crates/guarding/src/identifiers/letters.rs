//! Identifiers with letters in them: plates, VIN, certificates, military cards, IBAN.

use std::sync::LazyLock;

use super::checks;
use super::context::{Contexts, Hint};
use super::numbers::{Digits, push};
use crate::anchored::{Anchored, matches};
use crate::{Category, Finding};

static PLATE: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"(?i)\b([авекмнорстухabekmhopctyx])[\s-]?(\d{3})[\s-]?([авекмнорстухabekmhopctyx]{2})(?:[\s|/-]{0,3}(\d{2,3}))?(?:[\s-]?(?:rus|рус))?\b",
        6,
        20,
    )
});
static CERTIFICATE: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"(?i)\b([IVXLC]{1,6}|[1ІХ]{1,4}|[ХIУVЛ]{1,5})\s?[-–—‑ ]\s?([А-ЯЁ]{2})[\s,№NнН°º.-]{0,4}(?:номер\s)?(\d{6})\b",
        56,
        8,
    )
});
static MILITARY: LazyLock<Option<Anchored>> =
    LazyLock::new(|| Anchored::new(r"(?i)\b([А-ЯЁ]{2})[\s-]?(?:№|N|номер)?\s?(\d{7})\b", 24, 9));
static IBAN: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    let pattern = r"(?-u:\b)[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{2,4}){3,8}(?-u:\b)";
    Anchored::new(pattern, 3, 52)
});

/// Adds identifiers with letters.
pub(super) fn find(
    text: &str,
    digits: &Digits<'_>,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    plates(text, digits, contexts, findings);
    vins(text, digits, contexts, findings);
    certificates(text, digits, contexts, findings);
    let runs = |length: usize| {
        let of_length = digits.runs.iter().filter(move |run| run.range.len() == length);
        of_length.map(|run| run.range.start).filter(|at| contexts.near(&(*at..*at), Hint::Military))
    };
    for found in matches(&MILITARY, text, runs(7)) {
        if contexts.says(&found.whole(), &[Hint::Military]) {
            push(findings, Category::MilitaryId, found.whole(), 0.94, "ru.military_id");
        }
    }
    ibans(text, digits, findings);
}

fn plates(text: &str, digits: &Digits<'_>, contexts: &Contexts, findings: &mut Vec<Finding>) {
    const LETTERS: &str = "авекмнорстухАВЕКМНОРСТУХabekmhopctyxABEKMHOPCTYX";
    let of_plate = |mut beside: std::str::Chars<'_>, back: bool| {
        let mut next = || if back { beside.next_back() } else { beside.next() };
        let first = next();
        let letter = match first {
            Some(mark) if mark.is_whitespace() || mark == '-' => next(),
            other => other,
        };
        letter.is_some_and(|letter| LETTERS.contains(letter))
    };
    let threes = digits.runs.iter().map(|run| &run.range).filter(|run| {
        run.len() == 3
            && of_plate(text.get(..run.start).unwrap_or_default().chars(), true)
            && of_plate(text.get(run.end..).unwrap_or_default().chars(), false)
    });
    let places = threes.map(|run| run.start);
    for found in matches(&PLATE, text, places) {
        let range = found.whole();
        let named = contexts.says(&range, &[Hint::Vehicle]);
        let region = found.get(4).is_some();
        let zeros = found.get(2).is_some_and(|number| text.get(number) == Some("000"));
        let said = text.get(range.clone()).unwrap_or_default();
        let spaced = said.chars().any(char::is_whitespace);
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
}

fn vins(text: &str, digits: &Digits<'_>, contexts: &Contexts, findings: &mut Vec<Finding>) {
    const LENGTH: usize = 17;
    let bytes = text.as_bytes();
    let mut done = 0;
    for run in &digits.runs {
        if run.range.start < done || run.range.len() >= LENGTH {
            continue;
        }
        let belongs = |byte: &u8| byte.is_ascii_alphanumeric();
        let before = bytes.get(..run.range.start).unwrap_or_default().iter().rev().take(LENGTH);
        let start = run.range.start - before.take_while(|byte| belongs(byte)).count();
        let after = bytes.get(start..).unwrap_or_default().iter().take(LENGTH + 1);
        let range = start..start + after.take_while(|byte| belongs(byte)).count();
        done = range.end;
        let touches = |letter: Option<char>| {
            letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        };
        let said = text.get(range.clone()).unwrap_or_default().to_ascii_uppercase();
        if said.len() != LENGTH
            || said.contains(['I', 'O', 'Q'])
            || touches(text.get(..start).and_then(|before| before.chars().next_back()))
            || touches(text.get(range.end..).and_then(|after| after.chars().next()))
        {
            continue;
        }
        let said = said.as_bytes();
        let letters = said.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        if letters < 2 || LENGTH - letters < 4 {
            continue;
        }
        let tail = said.iter().rev().take(4).all(u8::is_ascii_digit);
        let named = contexts.says(&range, &[Hint::Vin, Hint::Vehicle]);
        let known = said.first().is_some_and(|first| b"XWJKL12345SVZYTNMR".contains(first));
        let confidence = match () {
            () if named => 0.96,
            () if contexts.denies(&range) => 0.2,
            () if checks::vin(said) && tail => 0.85,
            () if known && tail && (3..=11).contains(&letters) => 0.55,
            () => 0.3,
        };
        push(findings, Category::Vin, range, confidence, "vin");
    }
}

fn certificates(text: &str, digits: &Digits<'_>, contexts: &Contexts, findings: &mut Vec<Finding>) {
    let places = digits.runs.iter().filter(|run| run.range.len() == 6).map(|run| run.range.start);
    for found in matches(&CERTIFICATE, text, places) {
        let range = found.whole();
        let named = contexts.says(&range, &[Hint::BirthCertificate, Hint::Birth]);
        let said = |range| text.get(range).unwrap_or_default();
        let latin = found.get(1).is_some_and(|roman| said(roman).is_ascii());
        let confidence = match (named, latin) {
            (true, _) => 0.95,
            (false, true) if said(range.clone()).contains('-') => 0.75,
            _ => 0.3,
        };
        push(findings, Category::BirthCertificate, range, confidence, "ru.birth_certificate");
    }
}

fn ibans(text: &str, digits: &Digits<'_>, findings: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let after_country = digits.runs.iter().map(|run| run.range.start).filter(|start| {
        let country = start.checked_sub(2).and_then(|from| bytes.get(from..*start));
        country.is_some_and(|country| country.iter().all(u8::is_ascii_uppercase))
    });
    for found in matches(&IBAN, text, after_country) {
        let mut range = found.whole();
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
