//! Postal addresses.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::numbers::{Digits, push};
use crate::anchored::{Anchored, matches};
use crate::{Category, Finding};

/// A street by its kind and name, with a house: `ул. Ленина, д. 5, корп. 2, кв. 17`.
static RUSSIAN: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    let kind = r"(?:ул(?:иц[аеыу]|\.)?|просп(?:ект[ауе]?|\.)?|пр-к?т[ауе]?\.?|пр\.|пер(?:еул(?:ок|к[ауе])|\.)|ш(?:оссе|\.)|наб(?:ережн\p{L}+|\.)|б(?:ульвар[ауе]?|-р|ул\.)|пл(?:ощад\p{L}+|\.)|проезд[ауе]?|пр-д|туп(?:ик|\.)|аллея|аллее|аллеи|мкр(?:н|\.)?|микрорайон[ауе]?|квартал[ауе]?|тракт[ауе]?|линия)";
    let name = r"(?:\d{1,3}(?:-?(?:я|й|ая|ый|го|ой|е))?\s)?[\p{L}\d][\p{L}\d.-]*(?:\s[\p{L}\d][\p{L}\d.-]*){0,3}?";
    let house = r"(?:\s?,?\s(?:д(?:ом[ауе]?|\.)?\s?№?\s?|вл(?:адение|\.)\s?)?\d{1,4}\s?(?:[а-я]\b)?(?:/\d{1,4}[а-я]?)?|\s?,\s?д\.?\s?\d{1,4}[а-я]?)";
    let rest = r"(?:[\s,]{1,3}(?:к(?:орп(?:ус[ауе]?|\.)?|\.)|стр(?:оение|\.)?|лит(?:ера|\.)?|кв(?:артир[ауеы]|\.)?|оф(?:ис[ауе]?|\.)?|под(?:ъезд[ауе]?|\.)|эт(?:аж[ауе]?|\.)|помещ(?:ение|\.)|пом\.|комн(?:ат[ауеы]|\.)?|д(?:ом|\.))\s?№?\s?\d{0,4}[а-я]?\b){0,6}";
    let before = r"(?:(?:\b\d{6},?\s)?(?:(?:россия|рф|российская федерация),?\s)?(?:[\p{L}-]+\s(?:обл(?:аст[ьи]|\.)?|край|края|респ(?:ублик\p{L}|\.)?|р(?:айон[ауе]?|-н)),?\s){0,2}(?:респ(?:ублик\p{L}|\.)\s[\p{L}-]+,?\s)?(?:(?:г(?:ород[ауе]?|\.)?|с(?:ел[оае]|\.)|пос(?:[её]л(?:ок|к[ауе])|\.)|п(?:гт|\.)|дер(?:евн[яеи]|\.)|д\.|ст(?:аниц[аеы]|-ца))\s?)[\p{L}-]+(?:\s[\p{L}-]+)?,?\s(?:р-н\s[\p{L}-]+,?\s)?)?";
    Anchored::new(&format!(r"(?i){before}\b{kind}\s?{name}{house}{rest}"), 240, 260)
});
/// The name before the kind: `Невский проспект, 28`, `на Тверской улице, дом 7`.
static TURNED: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"(?i)(?:\b\d{6},?\s)?(?:\bг(?:ород|\.)?\s?[\p{L}-]+,?\s)?\b(?:\d{1,2}-?[яй]\s)?[\p{L}-]{3,}(?:ая|ой|ий|ого|ом|ое|ую|ский|цкий|ов|ев|ин)\s(?:улиц[аеыу]|ул\.?|проспект[ауе]?|пр-т|пр\.|переул(?:ок|к[ауе])|пер\.|шоссе|ш\.|набережн\p{L}+|наб\.|бульвар[ауе]?|б-р|площад\p{L}+|пл\.|проезд[ауе]?)\s?,?\s(?:д(?:ом|\.)?\s?)?\d{1,4}(?:\s?[а-я]\b)?(?:/\d{1,4})?(?:[\s,]{1,3}(?:к(?:орп(?:ус|\.)?|\.)|стр(?:оение|\.)?|кв(?:артир[ауеы]|\.)?|оф(?:ис|\.)?|подъезд|этаж)\s?\d{1,4}[а-я]?\b){0,5}",
        160,
        200,
    )
});
/// A house and a flat without a street: `д. 5, кв. 12`.
static HOUSE: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"(?i)\b(?:\d{6},?\s)?(?:(?:г(?:ород|\.)|с\.|пос\.|дер\.|п\.)\s?[\p{L}-]+,?\s)?(?:[\p{L}-]+,?\s){0,2}д(?:ом|\.)\s?\d{1,4}[а-я]?(?:[\s,]{1,3}(?:корп(?:ус|\.)?|к\.|стр\.?)\s?\d{1,3})?[\s,]{1,3}кв(?:артира|\.)\s?\d{1,4}\b",
        160,
        200,
    )
});
static ENGLISH: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"\b\d{1,5}(?:-\d{1,4})?[A-Za-z]?\s(?:[NSEW]\.?\s)?(?:[A-Z0-9][\p{L}0-9'.-]*\s){1,4}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Highway|Hwy|Parkway|Pkwy|Circle|Cir)\b\.?(?:,?\s(?:Apt|Apartment|Suite|Ste|Unit|Floor|#)\.?\s?#?\w{1,5})?(?:,?\s[A-Z][\p{L}]+(?:\s[A-Z][\p{L}]+){0,2})?(?:,?\s[A-Z]{2})?(?:,?\s\d{5}(?:-\d{4})?|,?\s[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2})?",
        160,
        200,
    )
});

/// Beginnings of words for streets in small letters, for flats, and English words for streets. A house
/// or its street is beside each of them.
const RUSSIAN_KINDS: [&str; 33] = [
    "ул.",
    "ул ",
    "улиц",
    "просп.",
    "проспект",
    "пр-т",
    "пр-кт",
    "пр.",
    "пр ",
    "пер.",
    "пер ",
    "переулок",
    "переулк",
    "шоссе",
    "ш.",
    "набережн",
    "наб.",
    "бульвар",
    "бул.",
    "б-р",
    "площад",
    "пл.",
    "проезд",
    "пр-д",
    "тупик",
    "аллея",
    "аллее",
    "аллеи",
    "мкр",
    "микрорайон",
    "квартал",
    "тракт",
    "линия",
];
const FLATS: [&str; 2] = ["кв.", "квартира"];
const ENGLISH_KINDS: [&str; 17] = [
    "street",
    "st",
    "avenue",
    "ave",
    "road",
    "rd",
    "boulevard",
    "blvd",
    "lane",
    "ln",
    "drive",
    "dr",
    "court",
    "place",
    "square",
    "terrace",
    "highway",
];
const FURTHER_ENGLISH_KINDS: [&str; 10] =
    ["ct", "pl", "sq", "way", "hwy", "parkway", "pkwy", "circle", "cir", "bldg"];

static KINDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let all =
        RUSSIAN_KINDS.iter().chain(&FLATS).chain(&ENGLISH_KINDS).chain(&FURTHER_ENGLISH_KINDS);
    AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(all).ok()
});

/// How far from the word for a street its house stands, bytes.
const HOUSE_AFTER: usize = 130;
const HOUSE_BEFORE: usize = 80;

/// Whether what stands between the word for a street and the first number may be the street's name.
fn is_name(between: &str) -> bool {
    let mut words = 0;
    between.chars().all(|letter| {
        words += u32::from(letter == ' ');
        words <= 7
            && (letter.is_alphabetic()
                || matches!(letter, ' ' | '.' | ',' | '-' | '№' | '«' | '»' | '"'))
    })
}

/// Adds postal addresses.
pub(super) fn find(text: &str, lower: &str, digits: &Digits<'_>, findings: &mut Vec<Finding>) {
    let (mut streets, mut flats, mut english) = (Vec::new(), Vec::new(), Vec::new());
    let russian = RUSSIAN_KINDS.len();
    for found in KINDS.iter().flat_map(|kinds| kinds.find_overlapping_iter(lower)) {
        let (place, kind) = (found.start(), found.pattern().as_usize());
        let letter = |letter: Option<char>| letter.is_some_and(char::is_alphabetic);
        if letter(lower.get(..place).and_then(|before| before.chars().next_back())) {
            continue;
        }
        if kind < russian {
            let word = found.end().saturating_sub(2);
            if digits.first_in(word..place + HOUSE_AFTER).is_some_and(|house| {
                house.len() <= 4 && is_name(lower.get(found.end()..house.start).unwrap_or_default())
            }) {
                streets.push(place);
            }
        } else if kind < russian + FLATS.len() {
            if digits.any_in(place..place + 32) {
                flats.push(place);
            }
        } else if !letter(lower.get(found.end()..).and_then(|after| after.chars().next()))
            && digits.any_in(place.saturating_sub(HOUSE_BEFORE)..place)
        {
            english.push(place);
        }
    }
    let address = Category::PostalAddress;
    for found in matches(&RUSSIAN, text, streets.iter().copied()) {
        let flat =
            lower.get(found.whole()).is_some_and(|said| said.contains("кв") || said.contains("д."));
        let confidence = if flat { 0.92 } else { 0.8 };
        push(findings, address, found.whole(), confidence, "ru.address");
    }
    for found in matches(&TURNED, text, streets.iter().copied()) {
        push(findings, address, found.whole(), 0.8, "ru.address.turned");
    }
    for found in matches(&HOUSE, text, flats.iter().copied()) {
        push(findings, address, found.whole(), 0.75, "ru.address.house");
    }
    for found in matches(&ENGLISH, text, english.iter().copied()) {
        push(findings, address, found.whole(), 0.8, "en.address");
    }
}
