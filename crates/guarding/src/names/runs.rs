//! Which words of a text may be parts of names, in runs of neighbours.

use std::ops::Range;

use super::lexicon::Class;
use super::tokens::{Kind, Shape, Token};

/// Stretches of tokens in which names are looked for; everything else is none.
#[must_use]
pub fn runs(tokens: &mut [Token]) -> Vec<Range<usize>> {
    look_at_ends(tokens);
    let mut runs: Vec<Range<usize>> = Vec::new();
    // A small word after one that may be a name may belong to it.
    let mut after_small = false;
    let tokens: &[Token] = tokens;
    for (at, token) in tokens.iter().enumerate() {
        let class = token.class;
        let goes_on = after_small
            && token.kind == Kind::Word
            && token.letters > 2
            && (class.0 & !(Class::SURNAME_END | Class::NAMES) == 0);
        if !may_be(tokens, at, token) && !goes_on {
            after_small = false;
            continue;
        }
        after_small = token.kind == Kind::Word
            && token.shape == Shape::Lower
            && class.has(Class::GIVEN | Class::SURNAME | Class::PATRONYMIC);
        match runs.last_mut() {
            Some(run) if run.end == at => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    // Small particles count between words only: `фон Браун`, `Алиев Али оглы`.
    runs.retain_mut(|run| {
        while tokens.get(run.start).is_some_and(|token| only_particle(token) && run.len() == 1) {
            run.start += 1;
        }
        run.start < run.end
    });
    runs
}

/// Ends of small words matter beside names and where names are asked for.
fn look_at_ends(tokens: &mut [Token]) {
    let mut until = 0;
    for at in 0..tokens.len() {
        let Some(token) = tokens.get(at) else { break };
        let name = token.shape == Shape::Lower && (sure(token) || token.class.has(Class::CUE))
            || token.kind == Kind::Initial
            || token.class.has(Class::TITLE);
        if name {
            until = at + 3;
            for before in at.saturating_sub(2)..at {
                if let Some(token) = tokens.get_mut(before) {
                    token.look_at_end();
                }
            }
        } else if at < until
            && let Some(token) = tokens.get_mut(at)
        {
            token.look_at_end();
        }
    }
}

fn only_particle(token: &Token) -> bool {
    token.shape == Shape::Lower
        && token.class.has(Class::PARTICLE)
        && !token.class.has(Class::GIVEN | Class::SURNAME)
}

fn may_be(tokens: &[Token], at: usize, token: &Token) -> bool {
    let class = token.class;
    match (token.kind, token.shape) {
        (Kind::Initial, Shape::Lower) => {
            let near = |at: Option<usize>| {
                at.and_then(|at| tokens.get(at)).is_some_and(|other| {
                    other.kind == Kind::Word
                        && other.class.has(Class::NAMES | Class::SURNAME_END)
                        && !other.class.has(Class::COMMON | Class::TITLE)
                })
            };
            let initial = |at: Option<usize>| {
                at.and_then(|at| tokens.get(at)).is_some_and(|other| other.kind == Kind::Initial)
            };
            let (back, next) = (at.checked_sub(1), Some(at + 1));
            near(back)
                || near(next)
                || initial(next) && near(Some(at + 2))
                || initial(back) && near(at.checked_sub(2))
        }
        (Kind::Initial, _) => true,
        (Kind::Word, Shape::Lower) => small(tokens, at, token),
        (Kind::Word, Shape::Single) => {
            // A letter alone is an initial only beside a name: `George W Bush`.
            let near = |other: Option<&Token>| {
                other.is_some_and(|other| {
                    other.kind == Kind::Word
                        && matches!(other.shape, Shape::Title | Shape::Upper | Shape::Mixed)
                })
            };
            near(at.checked_sub(1).and_then(|at| tokens.get(at))) || near(tokens.get(at + 1))
        }
        (Kind::Word, _) => !class.has(Class::COMMON) || class.has(Class::NAMES),
        _ => false,
    }
}

/// Whether a given name or a patronymic is beyond doubt even when written small.
fn sure(token: &Token) -> bool {
    let class = token.class;
    token.kind == Kind::Word
        && (class.has(Class::PATRONYMIC)
            || (class.has(Class::GIVEN)
                && !class.has(Class::DOUBTFUL | Class::COMMON | Class::PLACE | Class::THING)
                && token.letters >= 3))
}

fn small(tokens: &[Token], at: usize, token: &Token) -> bool {
    let class = token.class;
    if class.has(Class::PARTICLE) {
        return at > 0
            && tokens.get(at - 1).is_some_and(|before| {
                !matches!(before.shape, Shape::Lower | Shape::None)
                    || before.class.has(Class::NAMES)
            })
            || tokens.get(at + 1).is_some_and(|after| after.shape == Shape::Title);
    }
    if sure(token) {
        return true;
    }
    if token.letters < 2 || class.has(Class::COMMON | Class::SPEECH) && !class.has(Class::NAMES) {
        return false;
    }
    let back = |count: usize| at.checked_sub(count).and_then(|at| tokens.get(at));
    let word = |other: Option<&Token>, is: fn(&Token) -> bool| {
        other.is_some_and(|other| other.kind == Kind::Word && is(other))
    };
    let name = class.has(Class::NAMES | Class::SURNAME_END);
    let cue: fn(&Token) -> bool = |other| other.class.has(Class::CUE | Class::TITLE);
    // Beside a name, or where one is asked for.
    let beside = word(back(1), sure) || word(tokens.get(at + 1), sure);
    // `вера` is a word, `вера смирнова` is not.
    let family: fn(&Token) -> bool = |other| other.class.has(Class::SURNAME);
    let given: fn(&Token) -> bool = |other| other.class.has(Class::GIVEN);
    let pair = class.has(Class::GIVEN)
        && (word(back(1), family) || word(tokens.get(at + 1), family))
        || class.has(Class::SURNAME) && (word(back(1), given) || word(tokens.get(at + 1), given));
    let second = word(back(2), sure) || word(tokens.get(at + 2), sure);
    let asked = word(back(1), cue)
        || word(back(2), cue)
        || back(1).is_some_and(|mark| mark.head == u64::from(b':')) && word(back(2), cue);
    let initial = |other: Option<&Token>| other.is_some_and(|other| other.kind == Kind::Initial);
    if class.has(Class::TITLE) && !class.has(Class::NAMES) {
        return false;
    }
    beside
        || pair
        || (name && (second || asked || initial(tokens.get(at + 1)) || initial(back(1))))
        || word(back(1), |other| other.class.has(Class::CUE) && other.letters >= 5)
}
