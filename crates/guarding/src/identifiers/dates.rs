//! Dates of birth.

use std::sync::LazyLock;

use regex::Regex;

use super::context::{Contexts, Hint};
use super::numbers::push;
use crate::{Category, Finding};

static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)
        \b(?:
            (?:0?[1-9]|[12]\d|3[01])\s?[./-]\s?(?:0?[1-9]|1[0-2])\s?[./-]\s?(?:(?:19|20)\d\d|\d\d)
          | (?:19|20)\d\d[./-](?:0?[1-9]|1[0-2])[./-](?:0?[1-9]|[12]\d|3[01])
          | (?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])/(?:19|20)\d\d
          | [«\x22]?(?:0?[1-9]|[12]\d|3[01])(?:-?го)?[»\x22]?\s(?:январ|феврал|март|апрел|ма[йя]|июн|июл|август|сентябр|октябр|ноябр|декабр)[а-я]*(?:,?\s(?:19|20)\d\d)?
          | (?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s(?:of\s)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,?\s(?:19|20)\d\d
          | (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?,?\s(?:19|20)\d\d
        )\b",
    )
    .ok()
});

/// Adds dates that a word beside them makes somebody's birthday.
pub(super) fn find(text: &str, lower: &str, contexts: &Contexts, findings: &mut Vec<Finding>) {
    const SAID: [&str; 9] = ["рожд", "родил", "д.р", "д. р", "др", "г.р", "born", "birth", "dob"];
    if !SAID.iter().any(|word| lower.contains(word))
        && !lower.contains("bday")
        && !lower.contains("rozhd")
    {
        return;
    }
    for found in DATE.iter().flat_map(|regex| regex.find_iter(text)) {
        if contexts.near(&found.range(), Hint::Birth) {
            push(findings, Category::DateOfBirth, found.range(), 0.92, "date_of_birth");
        }
    }
}
