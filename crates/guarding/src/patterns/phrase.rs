//! The notation of phrases, parsed into a tree.
//!
//! ```text
//! phrase  = item { blank item }
//! item    = atom [ "?" ]
//! atom    = word | "(" phrase { "|" phrase } ")" | "@" name | "~" [ number ] | "*"
//! ```
//!
//! A word stands for itself in any case, `ё` as `е`; `stem*`, `*ending` and `*part*` leave the rest of the
//! word open; a hyphen in it may be written as a blank, or not at all. `*` is any one word, `~N` up to N
//! words (`~` up to 3), `?` makes what is before it optional, `@name` is a list of the pack's `words`.
//! Between words anything may stand that is neither a letter nor a digit.

use std::collections::BTreeMap;

/// How deep brackets and lists may nest: far more than anyone can read.
const DEPTH: usize = 16;
/// How many words a gap may leave open.
const GAP: u32 = 12;

/// A part of a phrase.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// A word, or a part of one.
    Word(Word),
    /// One of several phrases.
    Either(Vec<Vec<Node>>),
    /// May be missing.
    Optional(Box<Node>),
    /// Up to so many words.
    Gap(u32),
    /// Any one word.
    AnyWord,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    /// In folded letters, with hyphens and apostrophes.
    pub(super) text: String,
    /// Letters may stand before it.
    pub(super) open_before: bool,
    /// Letters may follow it.
    pub(super) open_after: bool,
}

/// Parses `source` with the lists of `words`. An error says what is wrong with it.
pub(super) fn parse(source: &str, words: &BTreeMap<String, String>) -> Result<Vec<Node>, String> {
    let mut parser = Parser { rest: source, words, depth: 0 };
    let phrase = parser.sequence()?;
    if !parser.rest.is_empty() {
        return Err(format!("`{}` is not expected here", parser.rest));
    }
    if !phrase.iter().any(is_required) {
        return Err("the phrase has no word that must be there".to_owned());
    }
    Ok(phrase)
}

pub(super) fn is_required(node: &Node) -> bool {
    !matches!(node, Node::Optional(_) | Node::Gap(_))
}

struct Parser<'a> {
    rest: &'a str,
    words: &'a BTreeMap<String, String>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn sequence(&mut self) -> Result<Vec<Node>, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("brackets and lists nest too deep".to_owned());
        }
        let mut nodes = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || self.rest.starts_with(['|', ')']) {
                self.depth -= 1;
                return Ok(nodes);
            }
            let atom = self.atom()?;
            nodes.push(if self.eat('?') { Node::Optional(Box::new(atom)) } else { atom });
        }
    }

    fn atom(&mut self) -> Result<Node, String> {
        if self.eat('(') {
            return self.alternatives();
        }
        if self.eat('~') {
            let digits = self.take(|c| c.is_ascii_digit());
            let words = if digits.is_empty() { Ok(3) } else { digits.parse::<u32>() };
            return match words {
                Ok(words @ 1..=GAP) => Ok(Node::Gap(words)),
                _ => Err(format!("a gap of `{digits}` words is out of 1..={GAP}")),
            };
        }
        if self.eat('@') {
            let name = self.take(|c| c.is_alphanumeric() || c == '_');
            let list = self
                .words
                .get(name)
                .ok_or_else(|| format!("`@{name}` is no list of this pack's `words`"))?;
            let mut inner = Parser { rest: list, words: self.words, depth: self.depth + 1 };
            let node = inner.choices()?;
            return if inner.rest.is_empty() {
                Ok(node)
            } else {
                Err(format!("`@{name}` has a bracket that nobody opened"))
            };
        }
        let word = self.take(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '|' | '?'));
        Self::word(word)
    }

    fn alternatives(&mut self) -> Result<Node, String> {
        let node = self.choices()?;
        if self.eat(')') { Ok(node) } else { Err("a bracket is not closed".to_owned()) }
    }

    fn choices(&mut self) -> Result<Node, String> {
        let mut choices = Vec::new();
        loop {
            let choice = self.sequence()?;
            if !choice.iter().any(is_required) {
                return Err("a choice of the brackets has no word that must be there".to_owned());
            }
            choices.push(choice);
            if !self.eat('|') {
                return Ok(Node::Either(choices));
            }
        }
    }

    fn word(source: &str) -> Result<Node, String> {
        if source == "*" {
            return Ok(Node::AnyWord);
        }
        let inner = source.strip_prefix('*').unwrap_or(source);
        let (open_before, source) = (inner.len() < source.len(), inner);
        let inner = source.strip_suffix('*').unwrap_or(source);
        let (open_after, source) = (inner.len() < source.len(), inner);
        let text = source.to_lowercase().replace('ё', "е");
        let proper = |c: char| super::syntax::is_word(c) || matches!(c, '-' | '\'');
        let ends = text.chars().next().is_some_and(super::syntax::is_word)
            && text.chars().next_back().is_some_and(super::syntax::is_word);
        if !ends || !text.chars().all(proper) {
            return Err(format!("`{source}` is no word: write other signs as `regex`"));
        }
        Ok(Node::Word(Word { text, open_before, open_after }))
    }

    fn eat(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}
