//! Addresses of mail and of the Internet protocol.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::LazyLock;

use super::numbers::{Digits, push};
use crate::anchored::{Anchored, matches, places};
use crate::{Category, Finding};

static SPELLED: LazyLock<Option<Anchored>> = LazyLock::new(|| {
    Anchored::new(
        r"(?i)[a-z0-9][a-z0-9_+-]{0,40}(?:(?:\s?[.]\s?|\s(?:точка|dot|тчк)\s|\s?[\[({](?:dot|точка)[\])}]\s?)[a-z0-9_+-]{1,40}){0,3}(?:\s?[\[({<]\s?(?:at|собака|@)\s?[\])}>]\s?|\s(?:собака|собачка|at|эт|гав)\s)[a-zа-я0-9][a-zа-я0-9-]{0,40}(?:(?:\s?[.]\s?|\s(?:точка|dot|тчк)\s|\s?[\[({](?:dot|точка)[\])}]\s?)[a-zа-я0-9-]{2,20}){1,3}",
        170,
        200,
    )
});
static FOUR: LazyLock<Option<Anchored>> =
    LazyLock::new(|| Anchored::new(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", 0, 16));
static SIX: LazyLock<Option<Anchored>> =
    LazyLock::new(|| Anchored::new(r"[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}", 5, 46));

/// Adds addresses of mail and of the Internet protocol.
pub(super) fn find(text: &str, digits: &Digits<'_>, findings: &mut Vec<Finding>) {
    let mut done = 0;
    for at in places(text, "@") {
        if let Some(range) = mail(text, done, at) {
            done = range.end;
            push(findings, Category::Email, range, 0.97, "email");
        }
    }
    let mut hints: Vec<usize> = SPELLED_HINTS.iter().flat_map(|hint| places(text, hint)).collect();
    if !hints.is_empty() {
        hints.sort_unstable();
        for found in matches(&SPELLED, text, hints.iter().copied()) {
            let said = text.get(found.whole()).unwrap_or_default();
            // `look at example.com` is no address: the English word needs the other one spelled too.
            let plain = !said.contains(['[', '(', '{', '<']);
            let spelled = said.contains(" dot ") || !said.contains(" at ");
            if !plain || spelled {
                push(findings, Category::Email, found.whole(), 0.85, "email.spelled");
            }
        }
    }
    v4(text, digits, findings);
    v6(text, findings);
}

/// The address of mail around the `@` at a place; it begins at `from` or later.
fn mail(text: &str, from: usize, at: usize) -> Option<Range<usize>> {
    let before = text.get(from..at)?;
    let belongs = |letter: char| {
        letter.is_alphanumeric() || matches!(letter, '.' | '_' | '%' | '+' | '\'' | '-')
    };
    let name = before.char_indices().rev().take(64).take_while(|(_, letter)| belongs(*letter));
    let start = from + name.filter(|(_, letter)| letter.is_alphanumeric()).last()?.0;
    let after = text.get(at + 1..)?;
    let (mut end, mut labels, mut label) = (0, 0, 0..0);
    for (place, letter) in after.char_indices().take(200).chain([(after.len(), ' ')]) {
        if letter.is_alphanumeric() || (letter == '-' && place > label.start) {
            label.end = place + letter.len_utf8();
            continue;
        }
        let said = after.get(label.clone()).unwrap_or_default().trim_end_matches('-');
        if said.is_empty() {
            break;
        }
        labels += 1;
        // The last part of a domain is a word.
        let is_word =
            said.chars().count() >= 2 && said.chars().next().is_some_and(char::is_alphabetic);
        if labels >= 2 && is_word {
            end = label.start + said.len();
        }
        if letter != '.' {
            break;
        }
        label = place + 1..place + 1;
    }
    (end > 0).then_some(start..at + 1 + end)
}

fn v4(text: &str, digits: &Digits<'_>, findings: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let dotted = digits.runs.iter().map(|run| &run.range).filter(|run| {
        run.len() <= 3
            && bytes.get(run.end) == Some(&b'.')
            && bytes.get(run.end + 1).is_some_and(u8::is_ascii_digit)
    });
    for found in matches(&FOUR, text, dotted.map(|run| run.start)) {
        let found = found.whole();
        let around = |character: Option<char>| {
            character.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_'))
        };
        let before = text.get(..found.start).unwrap_or_default();
        let mut after = text.get(found.end..).unwrap_or_default().chars();
        let (next, beyond) = (after.next(), after.next());
        let goes_on = next.is_some_and(|c| c.is_alphanumeric() || c == '_')
            || next == Some('.') && beyond.is_some_and(|c| c.is_ascii_digit());
        if around(before.chars().next_back()) || goes_on {
            continue;
        }
        let Ok(address) = text.get(found.clone()).unwrap_or_default().parse::<Ipv4Addr>() else {
            continue;
        };
        let own = address.is_private()
            || address.is_loopback()
            || address.is_unspecified()
            || address.is_link_local()
            || address.is_broadcast()
            || address.is_multicast();
        if !own && !is_version(before) {
            push(findings, Category::IpAddress, found, 0.85, "ip.v4");
        }
    }
}

/// Whether what stands before four numbers makes them a version or a paragraph.
fn is_version(before: &str) -> bool {
    const WORDS: [&str; 11] = [
        "верс",
        "version",
        "ver.",
        "release",
        "сборк",
        "build",
        " v",
        "пункт",
        "п. ",
        "п.",
        "раздел",
    ];
    let from = before.char_indices().rev().nth(15).map_or(0, |(at, _)| at);
    let tail = before.get(from..).unwrap_or_default().to_lowercase();
    WORDS.iter().any(|word| tail.contains(word))
}

fn v6(text: &str, findings: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let pairs = places(text, ":").filter(|at| {
        let ahead = bytes.get(at + 1..(at + 6).min(bytes.len())).unwrap_or_default();
        ahead.contains(&b':')
    });
    for found in matches(&SIX, text, pairs) {
        let said = text.get(found.whole()).unwrap_or_default();
        let Ok(address) = said.parse::<Ipv6Addr>() else { continue };
        let groups = said.split(':').filter(|group| !group.is_empty()).count();
        if groups >= 3 && !address.is_loopback() && !address.is_unspecified() {
            push(findings, Category::IpAddress, found.whole(), 0.85, "ip.v6");
        }
    }
}

const SPELLED_HINTS: [&str; 9] =
    ["собак", "собач", " at ", "[at]", "(at)", "{at}", "<at>", "[@]", "(@)"];
