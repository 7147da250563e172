//! Identifiers that are digits only: INN, SNILS, OGRN, KPP, accounts, cards, policies.

use std::ops::Range;

use super::checks;
use super::context::{Contexts, Hint};
use crate::{Category, Finding};

/// A run of digits without anything between.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) range: Range<usize>,
}

/// The runs of digits of a text, and their digits.
#[derive(Debug)]
pub(super) struct Digits<'t> {
    text: &'t str,
    pub(super) runs: Vec<Run>,
}

/// Most digits that belong together.
const MOST: usize = 20;

/// Digits that belong together, from run `first` to run `last`.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) range: Range<usize>,
    pub(super) digits: Vec<u8>,
    /// How many digits each run has.
    pub(super) layout: Vec<usize>,
}

impl<'t> Digits<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_digit() {
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && bytes[at].is_ascii_digit() {
                at += 1;
            }
            runs.push(Run { range: start..at });
        }
        Self { text, runs }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The first run that begins in these bytes.
    pub(super) fn first_in(&self, bytes: Range<usize>) -> Option<Range<usize>> {
        let next = self.runs.partition_point(|run| run.range.start < bytes.start);
        self.runs.get(next).map(|run| run.range.clone()).filter(|run| run.start < bytes.end)
    }

    /// Whether a run begins in these bytes.
    pub(super) fn any_in(&self, bytes: Range<usize>) -> bool {
        self.first_in(bytes).is_some()
    }

    /// What stands between two neighbouring runs.
    fn between(&self, left: usize) -> &'t str {
        match (self.runs.get(left), self.runs.get(left + 1)) {
            (Some(one), Some(other)) => {
                self.text.get(one.range.end..other.range.start).unwrap_or_default()
            }
            _ => "",
        }
    }

    /// The number that begins with run `first` and has `count` digits, its runs apart by nothing that
    /// `apart` does not allow. Nothing that makes it part of a longer word or number stands beside it.
    pub(super) fn number(
        &self,
        first: usize,
        count: usize,
        apart: impl Fn(&str) -> bool,
    ) -> Option<Number> {
        let (mut last, mut length) = (first, 0);
        loop {
            length += self.runs.get(last)?.range.len();
            if length == count {
                break;
            }
            if length > count || length > MOST || !apart(self.between(last)) {
                return None;
            }
            last += 1;
        }
        let runs = self.runs.get(first..=last)?;
        let range = runs.first()?.range.start..runs.last()?.range.end;
        if !self.stands_alone(&range) {
            return None;
        }
        let said = self.text.get(range.clone())?.bytes();
        let digits = said.filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect();
        let layout = runs.iter().map(|run| run.range.len()).collect();
        Some(Number { range, digits, layout })
    }

    /// Whether no letter or underscore touches it, and it is no part of a decimal number or a UUID.
    fn stands_alone(&self, range: &Range<usize>) -> bool {
        let before = self.text.get(..range.start).unwrap_or_default();
        let after = self.text.get(range.end..).unwrap_or_default();
        let mut back = before.chars().rev();
        let touches = |character: Option<char>| {
            character.is_some_and(|character| character.is_alphanumeric() || character == '_')
        };
        let (one, two) = (back.next(), back.next());
        if touches(one) || touches(after.chars().next()) {
            return false;
        }
        let joins = |mark: Option<char>, beyond: Option<char>| {
            matches!(mark, Some('-' | '.' | ',' | '/' | ':' | '+' | '=' | '%'))
                && beyond.is_some_and(|beyond| beyond.is_ascii_hexdigit())
                && !matches!(mark, Some('/' | ':' | '+' | '=' | ','))
        };
        let mut ahead = after.chars();
        let (next, beyond) = (ahead.next(), ahead.next());
        !joins(one, two) && !joins(next, beyond)
    }
}

/// What stands between the parts of one number.
pub(super) fn loose(between: &str) -> bool {
    between.len() <= 4
        && between.chars().all(|character| {
            matches!(character, ' ' | '\u{a0}' | '-' | '–' | '—' | '.' | '\t' | '‑')
        })
        && between.chars().count() <= 3
}

fn glued(_: &str) -> bool {
    false
}

struct Kind {
    category: Category,
    digits: usize,
    hints: &'static [Hint],
    check: fn(&[u8]) -> bool,
    /// Confidence with a checksum: alone, written in its own layout, with a word beside.
    alone: f32,
    laid_out: f32,
    named: f32,
    layouts: &'static [&'static [usize]],
    rule: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind {
        category: Category::Snils,
        digits: 11,
        hints: &[Hint::Snils],
        check: checks::snils,
        alone: 0.55,
        laid_out: 0.95,
        named: 0.97,
        layouts: &[&[3, 3, 3, 2], &[9, 2]],
        rule: "ru.snils",
    },
    Kind {
        category: Category::InnPerson,
        digits: 12,
        hints: &[Hint::Inn],
        check: checks::inn12,
        alone: 0.62,
        laid_out: 0.62,
        named: 0.97,
        layouts: &[],
        rule: "ru.inn.person",
    },
    Kind {
        category: Category::InnOrganisation,
        digits: 10,
        hints: &[Hint::Inn],
        check: checks::inn10,
        alone: 0.35,
        laid_out: 0.35,
        named: 0.95,
        layouts: &[],
        rule: "ru.inn.organisation",
    },
    Kind {
        category: Category::Ogrn,
        digits: 13,
        hints: &[Hint::Ogrn],
        check: checks::ogrn,
        alone: 0.6,
        laid_out: 0.6,
        named: 0.96,
        layouts: &[],
        rule: "ru.ogrn",
    },
    Kind {
        category: Category::Ogrnip,
        digits: 15,
        hints: &[Hint::Ogrn],
        check: checks::ogrnip,
        alone: 0.62,
        laid_out: 0.62,
        named: 0.96,
        layouts: &[],
        rule: "ru.ogrnip",
    },
    Kind {
        category: Category::BankAccount,
        digits: 20,
        hints: &[Hint::Account, Hint::Bik],
        check: checks::account_structure,
        alone: 0.7,
        laid_out: 0.8,
        named: 0.93,
        layouts: &[&[5, 3, 1, 4, 7], &[5, 3, 12], &[4, 4, 4, 4, 4]],
        rule: "ru.account",
    },
    Kind {
        category: Category::MedicalPolicy,
        digits: 16,
        hints: &[Hint::Policy],
        check: any,
        alone: 0.0,
        laid_out: 0.0,
        named: 0.9,
        layouts: &[],
        rule: "ru.medical_policy",
    },
];

fn any(_: &[u8]) -> bool {
    true
}

/// Adds numbers with checksums, cards and KPP.
pub(super) fn find(
    text: &str,
    digits: &Digits<'_>,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let biks = biks(digits, contexts);
    for first in 0..digits.runs.len() {
        for kind in &KINDS {
            let number = match digits.number(first, kind.digits, glued) {
                Some(number) => Some(number),
                None => digits.number(first, kind.digits, loose),
            };
            if let Some(number) = number.filter(|number| (kind.check)(&number.digits)) {
                add(kind, &number, contexts, &biks, findings);
            }
        }
        cards(digits, first, contexts, findings);
        kpp(text, digits, first, contexts, findings);
    }
}

fn add(
    kind: &Kind,
    number: &Number,
    contexts: &Contexts,
    biks: &[Vec<u8>],
    findings: &mut Vec<Finding>,
) {
    let named = contexts.says(&number.range, kind.hints);
    let laid_out = kind.layouts.contains(&number.layout.as_slice());
    let whole = number.layout.len() == 1;
    let mut confidence = if named {
        kind.named
    } else if laid_out {
        kind.laid_out
    } else if whole {
        kind.alone
    } else {
        // Digits that stand apart in no order of their own belong together by chance.
        0.0
    };
    if kind.category == Category::BankAccount
        && biks.iter().any(|bik| checks::account(&number.digits, bik))
    {
        confidence = confidence.max(0.98);
    }
    // A number of eleven digits that begins so is a phone's sooner than a pension's.
    let phone = kind.category == Category::Snils && matches!(number.digits[..2], [7 | 8, 9]);
    if !named && !laid_out && (contexts.denies(&number.range) || phone) {
        confidence -= 0.35;
    }
    push(findings, kind.category, number.range.clone(), confidence, kind.rule);
}

pub(super) fn push(
    findings: &mut Vec<Finding>,
    category: Category,
    span: Range<usize>,
    confidence: f32,
    rule: &'static str,
) {
    if confidence > 0.0 {
        findings.push(Finding { category, span, confidence, rule });
    }
}

fn cards(digits: &Digits<'_>, first: usize, contexts: &Contexts, findings: &mut Vec<Finding>) {
    for count in [16, 18, 19, 15, 13, 14, 17] {
        let Some(number) = digits.number(first, count, loose) else { continue };
        if !checks::card_prefix(&number.digits) || !checks::luhn(&number.digits) {
            continue;
        }
        let groups = &number.layout;
        let fours = groups.len() > 1
            && groups.iter().rev().skip(1).all(|length| *length == 4)
            && groups.last().is_some_and(|length| *length <= 4);
        let amex = groups.as_slice() == [4, 6, 5];
        let named = contexts.says(&number.range, &[Hint::Card]);
        let mut confidence: f32 = match () {
            () if named => 0.96,
            () if fours || amex => 0.92,
            () if groups.len() == 1 && count >= 15 => 0.7,
            () => 0.0,
        };
        let policy = contexts.says(&number.range, &[Hint::Policy]);
        if !named && !fours && (contexts.denies(&number.range) || policy) {
            confidence -= 0.35;
        }
        push(findings, Category::BankCard, number.range, confidence, "card.luhn");
    }
}

fn kpp(
    text: &str,
    digits: &Digits<'_>,
    first: usize,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let Some(number) = digits.number(first, 9, |_| false) else {
        // Two letters may stand in the middle: 7736AB001.
        return lettered_kpp(text, digits, first, contexts, findings);
    };
    let bik = contexts.near(&number.range, Hint::Bik) && number.digits.starts_with(&[0, 4]);
    if contexts.says(&number.range, &[Hint::Kpp]) && !bik && number.digits[..2] != [0, 0] {
        push(findings, Category::Kpp, number.range, 0.9, "ru.kpp");
    }
}

fn lettered_kpp(
    text: &str,
    digits: &Digits<'_>,
    first: usize,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let (Some(one), Some(other)) = (digits.runs.get(first), digits.runs.get(first + 1)) else {
        return;
    };
    let letters = text.get(one.range.end..other.range.start).unwrap_or_default();
    let shaped = one.range.len() == 4
        && other.range.len() == 3
        && letters.len() == 2
        && letters.bytes().all(|byte| byte.is_ascii_uppercase());
    let range = one.range.start..other.range.end;
    if shaped && contexts.says(&range, &[Hint::Kpp]) {
        push(findings, Category::Kpp, range, 0.9, "ru.kpp");
    }
}

/// Numbers of banks in the text.
fn biks(digits: &Digits<'_>, contexts: &Contexts) -> Vec<Vec<u8>> {
    let numbers = (0..digits.runs.len()).filter_map(|first| digits.number(first, 9, glued));
    numbers
        .filter(|number| number.digits.starts_with(&[0, 4]))
        .filter(|number| contexts.near(&number.range, Hint::Bik))
        .map(|number| number.digits)
        .take(16)
        .collect()
}
