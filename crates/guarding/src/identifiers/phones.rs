//! Telephone numbers.

use std::ops::Range;

use super::context::{Contexts, Hint};
use super::numbers::{Digits, push};
use crate::{Category, Finding};

/// What may stand between the parts of a telephone number.
fn apart(between: &str) -> bool {
    between.len() <= 6
        && between.chars().count() <= 4
        && between.chars().all(|character| {
            matches!(
                character,
                ' ' | '\u{a0}'
                    | '('
                    | ')'
                    | '-'
                    | '–'
                    | '—'
                    | '.'
                    | '‑'
                    | '\u{2009}'
                    | '\u{202f}'
                    | '/'
            )
        })
}

/// Adds telephone numbers.
pub(super) fn find(
    text: &str,
    digits: &Digits<'_>,
    contexts: &Contexts,
    findings: &mut Vec<Finding>,
) {
    let mut done = 0;
    for first in 0..digits.runs.len() {
        let Some(run) = digits.runs.get(first) else { continue };
        if run.range.start < done {
            continue;
        }
        let plus = text.get(..run.range.start).is_some_and(|before| {
            before.ends_with('+') || before.ends_with("+ ") || before.ends_with("＋")
        });
        let found = if plus {
            international(text, digits, first, contexts)
        } else {
            russian(text, digits, first, contexts)
                .or_else(|| american(text, digits, first, contexts))
        };
        if let Some((range, confidence, rule)) = found {
            done = range.end;
            push(findings, Category::Phone, range, confidence, rule);
        }
    }
}

type Found = (Range<usize>, f32, &'static str);

fn international(
    text: &str,
    digits: &Digits<'_>,
    first: usize,
    contexts: &Contexts,
) -> Option<Found> {
    let with_plus = |range: Range<usize>| {
        let before = text.get(..range.start).unwrap_or_default();
        let plus = before.trim_end_matches(' ');
        plus.char_indices().next_back().map_or(range.start, |(at, _)| at)..range.end
    };
    // The longest that fits: what follows in the same layout belongs to it.
    for count in (8..=15).rev() {
        let Some(number) = digits.number(first, count, apart) else { continue };
        if number.digits.first() == Some(&7) {
            if count != 11 {
                continue;
            }
            let known = matches!(number.digits[1], 3 | 4 | 6..=9);
            let range = with_plus(number.range);
            return known.then_some((range, 0.95, "phone.ru"));
        }
        if number.digits.first() == Some(&0) || (number.layout.len() == 1 && count < 10) {
            return None;
        }
        let confidence = if contexts.says(&number.range, &[Hint::Phone]) { 0.95 } else { 0.85 };
        return Some((with_plus(number.range), confidence, "phone.international"));
    }
    None
}

fn russian(text: &str, digits: &Digits<'_>, first: usize, contexts: &Contexts) -> Option<Found> {
    if let Some(number) = digits.number(first, 11, apart)
        && matches!(number.digits[0], 7 | 8)
        && matches!(number.digits[1], 3 | 4 | 8 | 9)
    {
        let grouped = number.layout.len() >= 3;
        let mobile = number.digits[1] == 9 || number.digits[1..4] == [8, 0, 0];
        let named = contexts.says(&number.range, &[Hint::Phone]);
        let other = [Hint::Snils, Hint::Account, Hint::Inn];
        let mut confidence = match (named, grouped, mobile) {
            (true, ..) => 0.95,
            (_, true, _) if shaped(&number.layout, 1) => 0.9,
            (_, _, true) if number.layout.len() == 1 => 0.7,
            _ => 0.4,
        };
        if !named && (contexts.denies(&number.range) || contexts.says(&number.range, &other)) {
            confidence -= if grouped { 0.2 } else { 0.4 };
        }
        return Some((opened(text, number.range), confidence, "phone.ru"));
    }
    if let Some(number) = digits.number(first, 10, apart)
        && matches!(number.digits[0], 3 | 4 | 8 | 9)
    {
        let named = contexts.says(&number.range, &[Hint::Phone]);
        let grouped = number.layout.len() >= 3 && shaped(&number.layout, 0);
        let opens = text.get(..number.range.start).is_some_and(|before| before.ends_with('('));
        let mut confidence = match (named, grouped) {
            (true, _) if grouped || number.digits[0] == 9 || opens => 0.9,
            (_, true) if number.digits[0] == 9 || opens => 0.75,
            (true, _) => 0.6,
            _ => 0.2,
        };
        let passport = [Hint::Passport, Hint::Licence, Hint::Inn];
        if contexts.says(&number.range, &passport) || (!named && contexts.denies(&number.range)) {
            confidence -= 0.5;
        }
        if confidence >= 0.5 {
            return Some((opened(text, number.range), confidence, "phone.ru"));
        }
    }
    // A number of the city, and no more than its name says so.
    for (count, layouts) in [(7, &[&[3, 2, 2][..], &[3, 4]]), (6, &[&[2, 2, 2][..], &[3, 3]])] {
        if let Some(number) = digits.number(first, count, apart)
            && layouts.contains(&number.layout.as_slice())
            && contexts.says(&number.range, &[Hint::Phone])
        {
            return Some((number.range, 0.65, "phone.city"));
        }
    }
    None
}

fn american(text: &str, digits: &Digits<'_>, first: usize, contexts: &Contexts) -> Option<Found> {
    let number = digits
        .number(first, 10, apart)
        .filter(|number| number.layout == [3, 3, 4])
        .or_else(|| {
            let number = digits.number(first, 11, apart)?;
            (number.digits[0] == 1 && number.layout == [1, 3, 3, 4]).then_some(number)
        })?;
    let area = number.digits.len() - 10;
    let fits = matches!(number.digits.get(area), Some(2..=9))
        && matches!(number.digits.get(area + 3), Some(2..=9));
    let named = contexts.says(&number.range, &[Hint::Phone]);
    let denied = contexts.denies(&number.range) && !named;
    let confidence = if named { 0.92 } else { 0.65 };
    (fits && !denied).then(|| (opened(text, number.range), confidence, "phone.us"))
}

/// Whether the parts after the first `head` are those of a telephone number.
fn shaped(layout: &[usize], head: usize) -> bool {
    let parts = layout.get(head..).unwrap_or_default();
    matches!(
        parts,
        [3, 3, 2, 2]
            | [3, 3, 4]
            | [3, 2, 2, 3]
            | [3, 2, 3, 2]
            | [4, 2, 2, 2]
            | [4, 3, 3]
            | [4, 6]
            | [3, 7]
            | [5, 1, 2, 2]
            | [5, 2, 3]
            | [5, 5]
            | [3, 4, 3]
            | [4, 2, 4]
            | [5, 3, 2]
    ) || (head == 1 && matches!(layout, [4, 3, 2, 2] | [4, 3, 4] | [4, 7]))
}

/// With the bracket before it.
fn opened(text: &str, range: Range<usize>) -> Range<usize> {
    let bracket = text.get(..range.start).is_some_and(|before| before.ends_with('('));
    range.start - usize::from(bracket)..range.end
}

const WORDS: [(&str, &str); 37] = [
    ("ноль", "0"),
    ("нуль", "0"),
    ("один", "1"),
    ("два", "2"),
    ("три", "3"),
    ("четыре", "4"),
    ("пять", "5"),
    ("шесть", "6"),
    ("семь", "7"),
    ("восемь", "8"),
    ("девять", "9"),
    ("десять", "10"),
    ("одиннадцать", "11"),
    ("двенадцать", "12"),
    ("тринадцать", "13"),
    ("четырнадцать", "14"),
    ("пятнадцать", "15"),
    ("шестнадцать", "16"),
    ("семнадцать", "17"),
    ("восемнадцать", "18"),
    ("девятнадцать", "19"),
    ("двадцать", "20"),
    ("тридцать", "30"),
    ("сорок", "40"),
    ("пятьдесят", "50"),
    ("шестьдесят", "60"),
    ("семьдесят", "70"),
    ("восемьдесят", "80"),
    ("девяносто", "90"),
    ("сто", "100"),
    ("двести", "200"),
    ("триста", "300"),
    ("четыреста", "400"),
    ("пятьсот", "500"),
    ("шестьсот", "600"),
    ("семьсот", "700"),
    ("восемьсот", "800"),
];

/// Adds telephone numbers that are written in words: eight nine hundred sixteen ...
pub(super) fn find_spelled(lower: &str, findings: &mut Vec<Finding>) {
    if !lower.contains("восемь") && !lower.contains("семь") {
        return;
    }
    let mut range: Option<Range<usize>> = None;
    let mut values: Vec<u64> = Vec::new();
    for (start, word) in words(lower) {
        let value = WORDS.iter().find(|(name, _)| *name == word).map(|(_, digits)| *digits);
        let value = value.or((word == "девятьсот").then_some("900"));
        match (value, &mut range) {
            (Some(value), range) => {
                let begin = range.as_ref().map_or(start, |range| range.start);
                *range = Some(begin..start + word.len());
                values.push(value.parse().unwrap_or_default());
            }
            (None, Some(_)) if word == "плюс" || word.is_empty() => {}
            (None, _) => end(&mut range, &mut values, findings),
        }
    }
    end(&mut range, &mut values, findings);
}

fn words(lower: &str) -> impl Iterator<Item = (usize, &str)> {
    let base = lower.as_ptr() as usize;
    lower
        .split(|character: char| !character.is_alphanumeric())
        .map(move |word| (word.as_ptr() as usize - base, word))
}

fn end(range: &mut Option<Range<usize>>, values: &mut Vec<u64>, findings: &mut Vec<Finding>) {
    let said = std::mem::take(values);
    let Some(range) = range.take() else { return };
    let mut digits = String::new();
    let mut open: u64 = 0;
    let mut room: u64 = 0;
    for value in said {
        // `девятьсот` leaves room for tens and ones, `двадцать` for ones.
        if open > 0 && value < room && value > 0 {
            open += value;
            room = if value >= 20 && value % 10 == 0 { 10 } else { 0 };
        } else {
            if open > 0 {
                digits.push_str(&open.to_string());
                open = 0;
            }
            if value >= 20 {
                open = value;
                room = if value >= 100 { 100 } else { 10 };
            } else {
                digits.push_str(&value.to_string());
            }
        }
        if open > 0 && room == 0 {
            digits.push_str(&open.to_string());
            open = 0;
        }
    }
    if open > 0 {
        digits.push_str(&open.to_string());
    }
    if digits.len() == 11 && digits.starts_with(['7', '8'])
        || digits.len() == 10 && digits.starts_with('9')
    {
        push(findings, Category::Phone, range, 0.85, "phone.spelled");
    }
}
