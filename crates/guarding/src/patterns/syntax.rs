//! From the tree of a phrase to an expression and to the literals that it cannot do without.

use std::collections::BTreeSet;

use super::phrase::{Node, Word, is_required};

/// Letters and digits after folding: Latin with its extensions, Cyrillic. A short class of characters of at
/// most two bytes keeps the automata small; scripts beyond it count as what stands between words.
const WORD: &str = "[0-9a-z\u{df}-\u{24f}\u{400}-\u{52f}]";
const BETWEEN: &str = "[^0-9a-z\u{df}-\u{24f}\u{400}-\u{52f}]";

/// A literal shorter than this says nothing, in characters.
const SHORTEST: usize = 3;
/// A literal as long as this is as good as a longer one, in characters.
const LONG_ENOUGH: usize = 4;
/// More sets than these do not make a phrase rarer by much.
const GATES: usize = 3;

/// Whether `c` is part of a word, for the engine; `c` is folded.
pub(super) fn is_word(c: char) -> bool {
    matches!(c, '0'..='9' | 'a'..='z' | '\u{df}'..='\u{24f}' | '\u{400}'..='\u{52f}')
}

/// A literal of the text after folding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Literal {
    pub(super) text: String,
    /// It begins a word.
    pub(super) begins_word: bool,
}

/// One of these must be there.
pub(super) type LiteralSet = BTreeSet<Literal>;

/// The expression of a phrase. It takes one character before and one after with it, if they are there:
/// see [`trim`].
pub(super) fn expression(phrase: &[Node]) -> String {
    format!("(?:\\A|{BETWEEN}){}(?:\\z|{BETWEEN})", sequence(phrase))
}

/// The length of what stands before and after the words of a match of [`expression`].
pub(super) fn trim(matched: &str) -> (usize, usize) {
    let word = |c: char| c.to_lowercase().all(is_word);
    let before = matched.find(word).unwrap_or(0);
    let after = matched.trim_end_matches(|c: char| !word(c)).len();
    (before, matched.len() - after.max(before))
}

fn sequence(nodes: &[Node]) -> String {
    let mut out = String::new();
    let last_required = nodes.iter().rposition(is_required).unwrap_or(0);
    let mut begun = false;
    for (at, node) in nodes.iter().enumerate() {
        match node {
            // Before the last word that must be there, what is optional brings the gap after it; after that
            // word, the gap before it.
            Node::Gap(words) if at < last_required => {
                out.push_str(&format!("(?:{WORD}+{BETWEEN}+){{0,{words}}}?"));
            }
            Node::Gap(words) => out.push_str(&format!("(?:{BETWEEN}+{WORD}+){{0,{words}}}?")),
            Node::Optional(inner) if at < last_required => {
                out.push_str(&format!("(?:{}{BETWEEN}+)?", atom(inner)));
            }
            Node::Optional(inner) => out.push_str(&format!("(?:{BETWEEN}+{})?", atom(inner))),
            required => {
                out.push_str(&atom(required));
                begun = true;
                if at < last_required {
                    out.push_str(&format!("{BETWEEN}+"));
                }
            }
        }
    }
    debug_assert!(begun, "the parser sees to it");
    out
}

fn atom(node: &Node) -> String {
    match node {
        Node::Word(word) => word_expression(word),
        Node::Either(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| sequence(choice)).collect();
            format!("(?:{})", choices.join("|"))
        }
        Node::AnyWord => format!("{WORD}+"),
        Node::Optional(inner) => format!("(?:{})?", atom(inner)),
        Node::Gap(words) => format!("(?:{WORD}+{BETWEEN}+){{0,{words}}}?"),
    }
}

fn word_expression(word: &Word) -> String {
    let mut out = String::new();
    if word.open_before {
        out.push_str(&format!("{WORD}*"));
    }
    for c in word.text.chars() {
        match c {
            '-' => out.push_str(&format!("{BETWEEN}*")),
            '\'' => out.push_str("['`\u{2019}\u{2bc}\u{b4}]?"),
            letter => out.push(letter),
        }
    }
    if word.open_after {
        out.push_str(&format!("{WORD}*"));
    }
    out
}

/// Sets of literals in the order of the phrase, each of which must be there: at most [`GATES`] of them,
/// the longest. Empty if the phrase has no literal that is long enough.
pub(super) fn gates(phrase: &[Node]) -> Vec<LiteralSet> {
    let mut found: Vec<(usize, usize, LiteralSet)> = Vec::new();
    for (at, node) in phrase.iter().enumerate() {
        if let Some(set) = required(node) {
            let length = shortest(&set);
            if length >= SHORTEST {
                found.push((length, at, set));
            }
        }
    }
    if found.iter().any(|(length, ..)| *length >= LONG_ENOUGH) {
        found.retain(|(length, ..)| *length >= LONG_ENOUGH);
    }
    found.sort_by_key(|(length, at, _)| (std::cmp::Reverse(*length), *at));
    found.truncate(GATES);
    found.sort_by_key(|(_, at, _)| *at);
    found.into_iter().map(|(_, _, set)| set).collect()
}

fn shortest(set: &LiteralSet) -> usize {
    set.iter().map(|literal| literal.text.chars().count()).min().unwrap_or(0)
}

fn required(node: &Node) -> Option<LiteralSet> {
    match node {
        Node::Word(word) => literal(word).map(|literal| LiteralSet::from([literal])),
        Node::Either(choices) => {
            let mut all = LiteralSet::new();
            for choice in choices {
                let best = choice.iter().filter_map(required).max_by_key(shortest)?;
                all.extend(best);
            }
            Some(without_longer(all))
        }
        Node::Optional(_) | Node::Gap(_) | Node::AnyWord => None,
    }
}

/// The longest part of a word without hyphens and apostrophes.
fn literal(word: &Word) -> Option<Literal> {
    let mut best: Option<(usize, &str)> = None;
    for (at, part) in word.text.split(['-', '\'']).enumerate() {
        if best.is_none_or(|(_, other)| other.chars().count() < part.chars().count()) {
            best = Some((at, part));
        }
    }
    let (at, text) = best?;
    let begins_word = at == 0 && !word.open_before;
    (!text.is_empty()).then(|| Literal { text: text.to_owned(), begins_word })
}

/// Leaves out what another literal of the set is the beginning of.
fn without_longer(set: LiteralSet) -> LiteralSet {
    let covered = |literal: &Literal| {
        set.iter().any(|other| {
            other != literal
                && literal.text.starts_with(&other.text)
                && (!other.begins_word || literal.begins_word)
        })
    };
    set.iter().filter(|literal| !covered(literal)).cloned().collect()
}
