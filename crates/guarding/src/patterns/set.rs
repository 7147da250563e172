//! All rules as one automaton of literals and an expression for each.

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::rule::{self, Gate, Numbering, Rule};
use super::{Channel, Pack, PackError, PatternMatch};
use crate::fold::fold;

/// Bytes before the last literal of a match in which the match must lie: some 300 letters of Russian, 600
/// of English.
const WINDOW: usize = 600;
/// Bytes after it.
const WINDOW_AFTER: usize = 240;
/// Windows that touch are looked through as one of up to so many bytes: what an expression costs at worst
/// grows with the square of this, never with that of the text.
const STRETCH: usize = 4_096;
/// So many matches of one rule are told; more say nothing new.
const MATCHES: usize = 16;

/// Compiled packs.
///
/// Rules see the text in lower case with `ё` as `е`. A match lies within 600 bytes before
/// and 240 after the last of its literals. Of one rule at most 16 matches are told.
#[derive(Debug)]
pub struct PatternSet {
    rules: Vec<Rule>,
    literals: AhoCorasick,
    /// By number of the literal.
    entries: Vec<Entry>,
    /// By number of the set.
    triggers: Vec<Vec<Trigger>>,
}

#[derive(Debug)]
struct Entry {
    begins_word: bool,
    sets: Vec<usize>,
}

/// What the last set of a gate opens if the others were seen.
#[derive(Debug, PartialEq)]
struct Trigger {
    rule: usize,
    before: Vec<usize>,
}

impl PatternSet {
    /// Makes one set of packs; none is fine.
    ///
    /// # Errors
    ///
    /// The first fault: a phrase or an expression that cannot be read or is too large, a rule without a
    /// literal, an id that is used twice.
    pub fn compile(packs: &[Pack]) -> Result<Self, PackError> {
        rule::distinct(packs)?;
        let mut rules = Vec::new();
        let mut gates = Vec::new();
        for pack in packs {
            let about = match pack.content.about.as_slice() {
                [] => None,
                phrases => Some(Arc::new(rule::conditions(pack, phrases)?)),
            };
            for source in &pack.content.rules {
                let (rule, of_rule) = Rule::compile(pack, source, about.as_ref())?;
                gates.extend(of_rule.into_iter().map(|gate| (rules.len(), gate)));
                rules.push(rule);
            }
        }
        let (entries, triggers, words) = index(&gates);
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&words)
            .map_err(|error| {
                let message = format!("the literals of all packs are too many: {error}");
                PackError::new("all packs", 0, message, "use fewer rules")
            })?;
        Ok(Self { rules, literals, entries, triggers })
    }

    /// How many rules it has.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Adds to `into` what the rules for `channel` find in `text`, sorted by place. Linear in the length of
    /// the text.
    pub fn find(&self, text: &str, channel: Channel, into: &mut Vec<PatternMatch>) {
        let first = into.len();
        let folded = fold(text);
        let mut scan = Scan {
            set: self,
            text,
            folded: &folded,
            channel,
            windows: vec![0..0; self.rules.len()],
            told: vec![(0, 0); self.rules.len()],
            open: Vec::new(),
            into,
        };
        // Where each set was last seen, as the end of the literal; 0 for never.
        let mut seen = vec![0_usize; self.triggers.len()];
        for hit in self.literals.find_overlapping_iter(&folded) {
            let Some(entry) = self.entries.get(hit.pattern().as_usize()) else { continue };
            if entry.begins_word && follows_letter(&folded, hit.start()) {
                continue;
            }
            for set in &entry.sets {
                if let Some(seen) = seen.get_mut(*set) {
                    *seen = hit.end();
                }
                for trigger in self.triggers.get(*set).into_iter().flatten() {
                    let near = |set: &usize| {
                        seen.get(*set).is_some_and(|at| *at != 0 && *at + WINDOW >= hit.end())
                    };
                    if trigger.before.iter().all(near) {
                        scan.widen(trigger.rule, hit.start(), hit.end());
                    }
                }
            }
        }
        scan.finish();
        if let Some(new) = into.get_mut(first..) {
            new.sort_by_key(|found| (found.span.start, found.span.end));
        }
    }
}

/// The state of one search.
struct Scan<'a> {
    set: &'a PatternSet,
    text: &'a str,
    folded: &'a [u8],
    channel: Channel,
    /// By rule: what is still to be looked through, empty for nothing.
    windows: Vec<Range<usize>>,
    /// By rule: the end of the last match, and how many there were.
    told: Vec<(usize, usize)>,
    /// Rules that ever had a window.
    open: Vec<usize>,
    into: &'a mut Vec<PatternMatch>,
}

impl Scan<'_> {
    fn widen(&mut self, rule: usize, start: usize, end: usize) {
        let start = boundary_before(self.text, start.saturating_sub(WINDOW));
        let end = boundary_before(self.text, (end + WINDOW_AFTER).min(self.text.len()));
        let Some(window) = self.windows.get_mut(rule) else { return };
        if window.start >= window.end {
            if self.set.rules.get(rule).is_some_and(|rule| rule.looks_at(self.channel)) {
                *window = start..end;
                self.open.push(rule);
            }
        } else if start <= window.end && end - window.start <= STRETCH {
            window.end = end;
        } else {
            let whole = std::mem::replace(window, start..end);
            self.look(rule, whole);
        }
    }

    fn look(&mut self, number: usize, window: Range<usize>) {
        let (Some(rule), Some((told_until, told))) =
            (self.set.rules.get(number), self.told.get_mut(number))
        else {
            return;
        };
        let mut from = window.start.max(*told_until);
        while *told < MATCHES && from < window.end {
            let Some(hit) = rule.find(self.text, self.folded, from..window.end) else { return };
            from = hit.span.end;
            *told_until = hit.span.end;
            *told += 1;
            self.into.push(PatternMatch {
                rule: rule.id.clone(),
                family: rule.family.clone(),
                severity: rule.severity(self.channel, hit.softened),
                softened: hit.softened,
                span: hit.span,
            });
        }
    }

    fn finish(&mut self) {
        for rule in std::mem::take(&mut self.open) {
            let window = self.windows.get_mut(rule).map(std::mem::take).unwrap_or_default();
            self.look(rule, window);
        }
    }
}

type Index = (Vec<Entry>, Vec<Vec<Trigger>>, Vec<String>);

fn index(gates: &[(usize, Gate)]) -> Index {
    let mut numbering = Numbering::default();
    let mut triggers: Vec<Vec<Trigger>> = Vec::new();
    for (rule, gate) in gates {
        let mut sets: Vec<usize> = gate.iter().map(|set| numbering.set(set)).collect();
        triggers.resize_with(numbering.sets.len(), Vec::new);
        let Some(last) = sets.pop() else { continue };
        let trigger = Trigger { rule: *rule, before: sets };
        if let Some(of_set) = triggers.get_mut(last).filter(|of_set| !of_set.contains(&trigger)) {
            of_set.push(trigger);
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = Vec::new();
    let mut by_number: Vec<_> = numbering.literals.iter().collect();
    by_number.sort_by_key(|(_, number)| **number);
    for (literal, _) in by_number {
        let sets = numbering.sets.iter().filter(|(set, _)| set.contains(literal));
        entries.push(Entry {
            begins_word: literal.begins_word,
            sets: sets.map(|(_, number)| *number).collect(),
        });
        words.push(literal.text.clone());
    }
    (entries, triggers, words)
}

/// Whether a letter or digit of Latin or Cyrillic ends right before `at`.
fn follows_letter(folded: &[u8], at: usize) -> bool {
    match folded.get(..at) {
        Some([.., lead, 0x80..=0xBF]) => matches!(lead, 0xC3..=0xC9 | 0xD0..=0xD4),
        Some([.., last]) => last.is_ascii_alphanumeric(),
        _ => false,
    }
}

fn boundary_before(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
