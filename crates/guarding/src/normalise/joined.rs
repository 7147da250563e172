//! Letters that are set apart: `з а б у д ь`, `i.g.n.o.r.e`.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Steps;
use super::letters::small;
use super::origins::Builder;
use super::vocabulary::{LONGEST, is_common};

/// Fewest letters in a row that are set apart for a purpose; a shorter row is initials.
const SHORTEST: usize = 5;

/// In longer rows no words are looked for.
const MOST: usize = 2_000;

/// A letter set apart, and how far the next one is.
struct Letter {
    range: Range<usize>,
    /// Characters between it and the next.
    gap: usize,
}

/// The text with letters put together to words.
pub(super) fn join(text: &str) -> Option<(Builder, Steps)> {
    let mut chains = chains(text);
    chains.retain(|chain| says_something(text, chain));
    if chains.is_empty() {
        return None;
    }
    let mut builder = Builder::with_capacity(text.len());
    let mut done = 0;
    for chain in &chains {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else { continue };
        builder.copy(text, done..first.range.start);
        done = last.range.end;
        put(text, chain, &mut builder);
    }
    builder.copy(text, done..text.len());
    Some((builder, Steps::SPACED))
}

fn put(text: &str, chain: &[Letter], builder: &mut Builder) {
    let cuts = cuts(text, chain);
    for (at, one) in chain.iter().enumerate() {
        if at > 0 && cuts.contains(&at) {
            let before = chain.get(at - 1).map_or(one.range.start, |before| before.range.end);
            builder.put(" ", before..one.range.start);
        }
        builder.copy(text, one.range.clone());
    }
}

fn letters(text: &str, chain: &[Letter]) -> Vec<char> {
    let first = |one: &Letter| text.get(one.range.clone()).and_then(|one| one.chars().next());
    chain.iter().filter_map(first).map(small).collect()
}

/// Where words begin: after wider gaps, or where all are alike by what words are common.
fn cuts(text: &str, chain: &[Letter]) -> BTreeSet<usize> {
    let gaps = || chain.iter().rev().skip(1).map(|letter| letter.gap);
    let least = gaps().min().unwrap_or(0);
    if gaps().any(|gap| gap > least) {
        let wide = chain.iter().enumerate().filter(|(_, one)| one.gap > least);
        return wide.map(|(at, _)| at + 1).collect();
    }
    segments(&letters(text, chain)).into_iter().collect()
}

/// Whether the letters make a common word of some length: columns of a table and formulas do not.
fn says_something(text: &str, chain: &[Letter]) -> bool {
    let letters = letters(text, chain);
    let mut from = 0;
    let ends = cuts(text, chain).into_iter().chain([letters.len()]);
    ends.into_iter().any(|end| {
        let word = letters.get(from..end).unwrap_or_default();
        from = end;
        word.len() >= 4 && word.len() <= LONGEST && is_common(&word.iter().collect::<String>())
    })
}

/// Where words begin among letters, so that as many letters as possible are in common words.
fn segments(letters: &[char]) -> Vec<usize> {
    if letters.len() > MOST {
        return Vec::new();
    }
    // The best score of the first so many letters, and where their last word begins.
    let mut best: Vec<(usize, usize)> = vec![(0, 0)];
    for end in 1..=letters.len() {
        let mut choice = best.get(end - 1).map_or((0, end - 1), |(score, _)| (*score, end - 1));
        for start in end.saturating_sub(LONGEST)..end {
            let word: String = letters.get(start..end).unwrap_or_default().iter().collect();
            let length = end - start;
            if length < 2 || !is_common(&word) {
                continue;
            }
            // Long words are seldom put together of letters by chance.
            let score = best.get(start).map_or(0, |(score, _)| *score) + length * length;
            if score > choice.0 {
                choice = (score, start);
            }
        }
        best.push(choice);
    }
    let mut cuts = Vec::new();
    let mut end = letters.len();
    while end > 0 {
        let start = best.get(end).map_or(0, |(_, start)| *start).min(end - 1);
        // Letters of no common word stay together.
        if end - start > 1 || cuts.last().is_some_and(|cut| *cut > end) {
            cuts.push(start);
            cuts.push(end);
        }
        end = start;
    }
    cuts
}

fn is_separator(letter: char) -> bool {
    letter.is_whitespace()
        || (!letter.is_alphanumeric() && !matches!(letter, '(' | ')' | '"' | '<' | '>'))
}

/// Rows of single letters.
fn chains(text: &str) -> Vec<Vec<Letter>> {
    let mut chains: Vec<Vec<Letter>> = Vec::new();
    let mut open: Vec<Letter> = Vec::new();
    let mut close = |open: &mut Vec<Letter>| {
        let row = std::mem::take(open);
        if row.len() >= SHORTEST {
            chains.push(row);
        }
    };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        if !first.is_alphanumeric() {
            rest = after;
            continue;
        }
        if after.chars().next().is_some_and(char::is_alphanumeric) {
            // A word of several letters.
            close(&mut open);
            let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        }
        let end = after.find(|letter| !is_separator(letter)).unwrap_or(after.len());
        let gap = after.get(..end).map_or(0, |gap| gap.chars().count());
        open.push(Letter { range: at..at + first.len_utf8(), gap });
        if gap == 0 || gap > 5 {
            close(&mut open);
        }
        rest = after;
    }
    close(&mut open);
    chains
}
