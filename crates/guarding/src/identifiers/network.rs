//! Addresses of mail and of the Internet protocol.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use super::numbers::push;
use crate::{Category, Finding};

fn made(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    made(
        r"[\p{L}\p{N}][\p{L}\p{N}._%+'-]{0,63}@[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,62}\.)+[\p{L}][\p{L}\p{N}-]{1,23}",
    )
});
static SPELLED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    made(
        r"(?i)[a-z0-9][a-z0-9_+-]{0,40}(?:(?:\s?[.]\s?|\s(?:точка|dot|тчк)\s|\s?[\[({](?:dot|точка)[\])}]\s?)[a-z0-9_+-]{1,40}){0,3}(?:\s?[\[({<]\s?(?:at|собака|@)\s?[\])}>]\s?|\s(?:собака|собачка|at|эт|гав)\s)[a-zа-я0-9][a-zа-я0-9-]{0,40}(?:(?:\s?[.]\s?|\s(?:точка|dot|тчк)\s|\s?[\[({](?:dot|точка)[\])}]\s?)[a-zа-я0-9-]{2,20}){1,3}",
    )
});
static FOUR: LazyLock<Option<Regex>> = LazyLock::new(|| made(r"(?:\d{1,3}\.){3}\d{1,3}"));
static SIX: LazyLock<Option<Regex>> =
    LazyLock::new(|| made(r"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}"));

/// Adds addresses of mail and of the Internet protocol.
pub(super) fn find(text: &str, findings: &mut Vec<Finding>) {
    if text.contains('@') {
        for found in MAIL.iter().flat_map(|regex| regex.find_iter(text)) {
            push(findings, Category::Email, found.range(), 0.97, "email");
        }
    }
    if SPELLED_HINTS.iter().any(|hint| text.contains(hint)) {
        for found in SPELLED.iter().flat_map(|regex| regex.find_iter(text)) {
            let said = found.as_str();
            // `look at example.com` is no address: the English word needs the other one spelled too.
            let plain = !said.contains(['[', '(', '{', '<']);
            let spelled = said.contains(" dot ") || !said.contains(" at ");
            if !plain || spelled {
                push(findings, Category::Email, found.range(), 0.85, "email.spelled");
            }
        }
    }
    if text.bytes().filter(|byte| *byte == b'.').take(3).count() == 3 {
        for found in FOUR.iter().flat_map(|regex| regex.find_iter(text)) {
            let around = |character: Option<char>| {
                character.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_'))
            };
            let before = text.get(..found.start()).unwrap_or_default();
            let mut after = text.get(found.end()..).unwrap_or_default().chars();
            let (next, beyond) = (after.next(), after.next());
            let goes_on = next.is_some_and(|c| c.is_alphanumeric() || c == '_')
                || next == Some('.') && beyond.is_some_and(|c| c.is_ascii_digit());
            if around(before.chars().next_back()) || goes_on {
                continue;
            }
            let tail: String =
                before.chars().rev().take(16).collect::<Vec<_>>().into_iter().rev().collect();
            let tail = tail.to_lowercase();
            let version = [
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
            ]
            .iter()
            .any(|word| tail.contains(word));
            let Ok(address) = found.as_str().parse::<Ipv4Addr>() else { continue };
            let own = address.is_private()
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_multicast();
            if !own && !version {
                push(findings, Category::IpAddress, found.range(), 0.85, "ip.v4");
            }
        }
    }
    if text.bytes().filter(|byte| *byte == b':').take(2).count() == 2 {
        for found in SIX.iter().flat_map(|regex| regex.find_iter(text)) {
            let Ok(address) = found.as_str().parse::<Ipv6Addr>() else { continue };
            let groups = found.as_str().split(':').filter(|group| !group.is_empty()).count();
            if groups >= 3 && !address.is_loopback() && !address.is_unspecified() {
                push(findings, Category::IpAddress, found.range(), 0.85, "ip.v6");
            }
        }
    }
}

const SPELLED_HINTS: [&str; 9] =
    ["собак", "собач", " at ", "[at]", "(at)", "{at}", "<at>", "[@]", "(@)"];
