//! Dates of birth.

use std::sync::LazyLock;

use super::context::{Contexts, Hint};
use super::numbers::{Digits, push};
use crate::anchored::{Anchored, matches};
use crate::{Category, Finding};

static DATE: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"(?ix)
        \b(?:
            (?:0?[1-9]|[12]\d|3[01])\s?[./-]\s?(?:0?[1-9]|1[0-2])\s?[./-]\s?(?:(?:19|20)\d\d|\d\d)
          | (?:19|20)\d\d[./-](?:0?[1-9]|1[0-2])[./-](?:0?[1-9]|[12]\d|3[01])
          | (?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])/(?:19|20)\d\d
          | [«\x22]?(?:0?[1-9]|[12]\d|3[01])(?:-?го)?[»\x22]?\s(?:январ|феврал|март|апрел|ма[йя]|июн|июл|август|сентябр|октябр|ноябр|декабр)[а-я]*(?:,?\s(?:19|20)\d\d)?
          | (?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s(?:of\s)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,?\s(?:19|20)\d\d
          | (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?,?\s(?:19|20)\d\d
        )\b",
        40,
        64,
    )
});

/// Adds dates that a word beside them makes somebody's birthday.
pub(super) fn find(
    text: &str,
    digits: &Digits<'_>,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let near = |range: &std::ops::Range<usize>| contexts.near(range, Hint::Birth);
    let beside = digits.runs.iter().map(|run| &run.range).filter(|run| run.len() <= 4 && near(run));
    let places: Vec<usize> = beside.map(|run| run.start).collect();
    for found in matches(&DATE, text, places.iter().copied()) {
        if near(&found.whole()) {
            push(findings, Category::DateOfBirth, found.whole(), 0.92, "date_of_birth");
        }
    }
}
