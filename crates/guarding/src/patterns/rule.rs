//! A rule, compiled.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use regex_automata::meta::Regex;
use regex_automata::util::syntax as regex_syntax;
use regex_automata::{Input, nfa::thompson};
use serde_saphyr::Spanned;

use super::pack::{Pack, RuleSource};
use super::syntax::{self, Literal, LiteralSet};
use super::{Channel, PackError, Severity, phrase};

/// Bytes of an automaton of one rule.
const SIZE: usize = 4 << 20;
/// Characters before and after a match in which its exceptions are looked for.
const EXCEPTIONS_WITHIN: usize = 60;
/// Characters before and after a match that tell whether the text talks about attacks.
const ABOUT_BEFORE: usize = 240;
const ABOUT_AFTER: usize = 120;

/// Sets of literals, one of each of which stands before the end of a match, in their order.
pub(super) type Gate = Vec<LiteralSet>;

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) family: Arc<str>,
    severity: Severity,
    severity_in_data: Severity,
    channels: u8,
    expression: Regex,
    /// The first so many patterns of `expression` are phrases.
    phrases: usize,
    near: Option<(Regex, usize)>,
    not: Option<Regex>,
    about: Option<Arc<Regex>>,
}

/// A match before it has a name.
pub(super) struct Hit {
    pub(super) span: Range<usize>,
    pub(super) softened: bool,
}

impl Rule {
    pub(super) fn compile(
        pack: &Pack,
        source: &RuleSource,
        about: Option<&Arc<Regex>>,
    ) -> Result<(Self, Vec<Gate>), PackError> {
        let words = &pack.content.words;
        let id = source.id.value.as_str();
        let line = source.id.referenced.line();
        let fault = |line, message: String, remedy: &str| {
            PackError::new(&pack.file, line, format!("rule `{id}`: {message}"), remedy)
        };
        let mut patterns = Vec::new();
        let mut gates = Vec::new();
        for written in &source.any {
            let line = written.referenced.line();
            let tree = phrase::parse(&written.value, words)
                .map_err(|message| fault(line, message, "see the notation of phrases"))?;
            let gate = syntax::gates(&tree);
            if gate.is_empty() {
                let message = format!("`{}` has no word of 3 letters or more", written.value);
                return Err(fault(line, message, "add a word that must be there"));
            }
            gates.push(gate);
            patterns.push((line, syntax::expression(&tree)));
        }
        let phrases = patterns.len();
        for written in &source.regex {
            let line = written.pattern.referenced.line();
            let needs: LiteralSet = (written.needs.iter())
                .map(|need| Literal {
                    text: String::from_utf8_lossy(&crate::fold::fold(need)).into_owned(),
                    begins_word: false,
                })
                .collect();
            if needs.is_empty() || needs.iter().any(|need| need.text.len() < 2) {
                let message = "`needs` must name literals of 2 bytes or more".to_owned();
                return Err(fault(line, message, "name what every match contains"));
            }
            gates.push(vec![needs]);
            let pattern = written.pattern.value.replace(['ё', 'Ё'], "е");
            patterns.push((line, format!("(?i:{pattern})")));
        }
        if patterns.is_empty() {
            return Err(fault(line, "nothing to look for".into(), "add `any` or `regex`"));
        }
        let near = match &source.near {
            Some(near) => Some((conditions(pack, &near.any)?, near.within)),
            None => None,
        };
        let not = if source.not.is_empty() { None } else { Some(conditions(pack, &source.not)?) };
        let channels = source.channels.iter().fold(0, |bits, channel| bits | channel.bit());
        let rule = Self {
            id: id.into(),
            family: source.family.as_str().into(),
            severity: source.severity,
            severity_in_data: source.severity_in_data.unwrap_or(source.severity),
            channels: if channels == 0 { u8::MAX } else { channels },
            expression: build(pack, &patterns)?,
            phrases,
            near,
            not,
            about: about.filter(|_| source.about).cloned(),
        };
        Ok((rule, gates))
    }

    pub(super) fn looks_at(&self, channel: Channel) -> bool {
        self.channels & channel.bit() != 0
    }

    pub(super) fn severity(&self, channel: Channel, softened: bool) -> Severity {
        let severity = if channel.is_data() { self.severity_in_data } else { self.severity };
        if softened { severity.lower() } else { severity }
    }

    /// The first match in `range` of `folded` that keeps all conditions, and where to look on.
    pub(super) fn find(&self, text: &str, folded: &[u8], range: Range<usize>) -> Option<Hit> {
        let mut from = range.start;
        while from < range.end {
            let input = Input::new(folded).range(from..range.end);
            let found = self.expression.find(input)?;
            let mut span = found.range();
            if found.pattern().as_usize() < self.phrases {
                let (before, after) = syntax::trim(text.get(span.clone())?);
                span = span.start + before..span.end - after;
            }
            if span.is_empty() {
                from = found.end().max(from + 1);
                continue;
            }
            if self.holds(text, folded, &span) {
                let softened = (self.about.as_ref()).is_some_and(|about| {
                    matches_around(about, text, folded, &span, ABOUT_BEFORE, ABOUT_AFTER)
                });
                return Some(Hit { span, softened });
            }
            from = span.end;
        }
        None
    }

    fn holds(&self, text: &str, folded: &[u8], span: &Range<usize>) -> bool {
        let near = (self.near.as_ref()).is_none_or(|(expression, within)| {
            matches_around(expression, text, folded, span, *within, *within)
        });
        near && !(self.not.as_ref()).is_some_and(|not| {
            matches_around(not, text, folded, span, EXCEPTIONS_WITHIN, EXCEPTIONS_WITHIN)
        })
    }
}

/// The phrases of a condition as one automaton.
pub(super) fn conditions(pack: &Pack, written: &[Spanned<String>]) -> Result<Regex, PackError> {
    let mut patterns = Vec::new();
    for phrase in written {
        let line = phrase.referenced.line();
        let tree = phrase::parse(&phrase.value, &pack.content.words).map_err(|message| {
            PackError::new(&pack.file, line, message, "see the notation of phrases")
        })?;
        patterns.push((line, syntax::expression(&tree)));
    }
    build(pack, &patterns)
}

fn build(pack: &Pack, patterns: &[(u64, String)]) -> Result<Regex, PackError> {
    let build = |patterns: &[&str]| {
        Regex::builder()
            .configure(
                Regex::config()
                    .nfa_size_limit(Some(SIZE))
                    .which_captures(thompson::WhichCaptures::Implicit)
                    .utf8_empty(true),
            )
            .syntax(regex_syntax::Config::new().utf8(true))
            .build_many(patterns)
            .map_err(Box::new)
    };
    let all: Vec<&str> = patterns.iter().map(|(_, pattern)| pattern.as_str()).collect();
    build(&all).map_err(|error| {
        let alone = patterns
            .iter()
            .find_map(|(line, pattern)| build(&[pattern]).err().map(|error| (*line, error)));
        let (line, error) = alone.unwrap_or((patterns.first().map_or(0, |(line, _)| *line), error));
        let reason = error.syntax_error().map_or(error.to_string(), ToString::to_string);
        PackError::new(&pack.file, line, format!("bad pattern: {reason}"), "simplify or correct it")
    })
}

fn matches_around(
    expression: &Regex,
    text: &str,
    folded: &[u8],
    span: &Range<usize>,
    before: usize,
    after: usize,
) -> bool {
    let start = text.get(..span.start).map_or(0, |head| {
        head.char_indices().rev().take(before).last().map_or(span.start, |(at, _)| at)
    });
    let end = text.get(span.end..).map_or(text.len(), |tail| {
        tail.char_indices().nth(after).map_or(text.len(), |(at, _)| span.end + at)
    });
    expression.is_match(Input::new(folded).range(start..end))
}

/// Whether ids are used once.
pub(super) fn distinct(packs: &[Pack]) -> Result<(), PackError> {
    let mut seen = HashSet::new();
    for pack in packs {
        for rule in &pack.content.rules {
            if !seen.insert(rule.id.value.as_str()) {
                return Err(PackError::new(
                    &pack.file,
                    rule.id.referenced.line(),
                    format!("the id `{}` is used twice", rule.id.value),
                    "give every rule of all packs an id of its own",
                ));
            }
        }
    }
    Ok(())
}

/// Numbers literals and sets of them, so that equal ones are kept once.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    pub(super) literals: BTreeMap<Literal, usize>,
    pub(super) sets: BTreeMap<LiteralSet, usize>,
}

impl Numbering {
    pub(super) fn set(&mut self, set: &LiteralSet) -> usize {
        for literal in set {
            let next = self.literals.len();
            self.literals.entry(literal.clone()).or_insert(next);
        }
        let next = self.sets.len();
        *self.sets.entry(set.clone()).or_insert(next)
    }
}
