//! Documents whose numbers nothing checks: passports, licences, policies of the old form.

use std::ops::Range;
use std::sync::LazyLock;

use super::checks::okato_region;
use super::context::{Contexts, Hint};
use super::numbers::{Digits, loose, push};
use crate::anchored::{Anchored, matches, places};
use crate::{Category, Finding};

/// A series and a number with words between: `серия 45 08 номер 123456`.
static IN_WORDS: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r#"(?i)(?:сери[яийеюё]\p{L}*|series|seriya|с\.)["'«»]*[\s:№=-]{0,4}["']?(\d{2}[\s-]?(?:\d{2}|[а-яa-z]{2}))["']?[\s,;/]{0,3}["']?(?:(?:и\s+)?(?:номер\p{L}*|ном\.|number|nomer|n[oº°]?\.?|№|#)["']?)?[\s:№=-]{0,4}["']?(\d{6})\b"#,
        0,
        140,
    )
});
/// A number sign between: `4508 № 123456`.
static WITH_SIGN: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(r"\b(\d{2}\s?\d{2})\s?(?:№|N[oº°]?|n|#|номер)\.?\s?(\d{6})\b", 30, 8)
});
/// Two letters in the middle: `77 АВ 123456`.
static LETTERED: LazyLock<Option<Anchored>> =
    LazyLock::new(|| Anchored::new(r"(?i)\b(\d{2})\s?([а-яa-z]{2})\s?(?:№\s?)?(\d{6})\b", 20, 8));

/// Adds documents.
pub(super) fn find(
    text: &str,
    lower: &str,
    digits: &Digits<'_>,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    with_words(text, lower, digits, contexts, findings);
    for first in 0..digits.runs.len() {
        ten(digits, first, contexts, findings);
        nine(digits, first, contexts, findings);
        policy(digits, first, contexts, findings);
        social_security(digits, first, contexts, findings);
    }
}

fn with_words(
    text: &str,
    lower: &str,
    digits: &Digits<'_>,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let licence = |range: &Range<usize>| contexts.near(range, Hint::Licence);
    let mut series: Vec<usize> =
        ["сери", "series", "seriya"].iter().flat_map(|word| places(lower, word)).collect();
    series.sort_unstable();
    for found in matches(&IN_WORDS, text, series.iter().copied()) {
        let (Some(one), Some(other)) = (found.get(1), found.get(2)) else { continue };
        let range = one.start..other.end;
        let category = if licence(&range) { Category::DriverLicence } else { Category::Passport };
        push(findings, category, range, 0.93, "ru.document.in_words");
    }
    let sixes = digits.runs.iter().filter(|run| run.range.len() == 6).map(|run| run.range.start);
    for found in matches(&WITH_SIGN, text, sixes.clone()) {
        let (Some(one), Some(other)) = (found.get(1), found.get(2)) else { continue };
        let two = text.get(one.start..one.start + 2).and_then(|two| two.parse().ok()).unwrap_or(0);
        let range = one.start..other.end;
        let named = contexts.says(&range, &[Hint::Passport]);
        let confidence = match () {
            () if named => 0.94,
            () if okato_region(two) && !contexts.denies(&range) => 0.7,
            () => 0.3,
        };
        let category = if licence(&range) { Category::DriverLicence } else { Category::Passport };
        push(findings, category, range, confidence, "ru.passport.sign");
    }
    let licences = sixes.filter(|at| contexts.near(&(*at..*at), Hint::Licence));
    for found in matches(&LETTERED, text, licences) {
        let range = found.whole();
        if contexts.says(&range, &[Hint::Licence]) {
            push(findings, Category::DriverLicence, range, 0.93, "ru.licence.letters");
        }
    }
}

/// Four and six digits: a passport or a licence, by what is said beside it.
fn ten(digits: &Digits<'_>, first: usize, contexts: &Contexts, findings: &mut Vec<Finding>) {
    let Some(number) = digits.number(first, 10, loose) else { return };
    let layout = number.layout.as_slice();
    if !matches!(layout, [2, 2, 6] | [4, 6] | [10] | [2, 2, 3, 3] | [4, 3, 3]) {
        return;
    }
    let region = u32::from(number.digits[0]) * 10 + u32::from(number.digits[1]);
    let range = number.range;
    let inn = contexts.says(&range, &[Hint::Inn]);
    if contexts.says(&range, &[Hint::Licence]) && !inn {
        push(findings, Category::DriverLicence, range, 0.92, "ru.licence");
        return;
    }
    if contexts.says(&range, &[Hint::Passport]) && !inn {
        let phone = layout == [10] && contexts.says(&range, &[Hint::Phone]);
        let confidence = if phone { 0.4 } else { 0.93 };
        push(findings, Category::Passport, range, confidence, "ru.passport");
        return;
    }
    // The form itself, where the region exists and the blank is not older than the country.
    let year = u32::from(number.digits[2]) * 10 + u32::from(number.digits[3]);
    let plausible = okato_region(region) && (year <= 30 || year >= 97);
    if layout == [2, 2, 6] && plausible && !contexts.denies(&range) {
        push(findings, Category::Passport, range, 0.55, "ru.passport.shape");
    }
}

/// Two and seven digits: a passport for travel abroad.
fn nine(digits: &Digits<'_>, first: usize, contexts: &Contexts, findings: &mut Vec<Finding>) {
    let apart = |between: &str| loose(between) || matches!(between.trim(), "№" | "N" | "#" | "No");
    let Some(number) = digits.number(first, 9, apart) else { return };
    let range = number.range;
    if !matches!(number.layout.as_slice(), [2, 7] | [9]) {
        return;
    }
    if contexts.says(&range, &[Hint::ForeignPassport]) {
        push(findings, Category::ForeignPassport, range, 0.93, "ru.foreign_passport");
    } else if number.layout.len() == 2 && contexts.says(&range, &[Hint::Passport]) {
        push(findings, Category::ForeignPassport, range, 0.85, "ru.foreign_passport");
    } else if number.layout.len() == 1 && contexts.says(&range, &[Hint::Policy]) {
        push(findings, Category::MedicalPolicy, range, 0.75, "ru.medical_policy.temporary");
    } else if contexts.says(&range, &[Hint::Ssn]) {
        push(findings, Category::SocialSecurityNumber, range, 0.85, "us.ssn");
    }
}

/// Policies of the old form: a series and a number of no fixed length.
fn policy(digits: &Digits<'_>, first: usize, contexts: &Contexts, findings: &mut Vec<Finding>) {
    for count in [16, 14, 13, 12, 10] {
        let Some(number) = digits.number(first, count, loose) else { continue };
        let old = count != 16 && number.layout.len() > 1;
        if (old || count == 16) && contexts.says(&number.range, &[Hint::Policy]) {
            let rule = if old { "ru.medical_policy.old" } else { "ru.medical_policy" };
            let checked = count == 16 && super::checks::medical_policy(&number.digits);
            let confidence = if checked { 0.95 } else { 0.85 };
            push(findings, Category::MedicalPolicy, number.range, confidence, rule);
            return;
        }
    }
}

fn social_security(
    digits: &Digits<'_>,
    first: usize,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let Some(number) = digits.number(first, 9, |between| matches!(between, "-" | " ")) else {
        return;
    };
    if number.layout != [3, 2, 4] {
        return;
    }
    let group = |range: Range<usize>| {
        number.digits[range].iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit))
    };
    let (area, middle, serial) = (group(0..3), group(3..5), group(5..9));
    let valid = area != 0 && area != 666 && area < 900 && middle != 0 && serial != 0;
    let named = contexts.says(&number.range, &[Hint::Ssn]);
    let denied = contexts.denies(&number.range) || contexts.near(&number.range, Hint::Phone);
    let confidence = match (named, denied) {
        (true, _) => 0.97,
        (_, true) => 0.3,
        _ => 0.65,
    };
    if valid {
        push(findings, Category::SocialSecurityNumber, number.range, confidence, "us.ssn");
    }
}
