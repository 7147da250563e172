use std::collections::{HashMap, VecDeque};

use routing::TaskClass;

/// Turns of conversations that are remembered for each route.
const MOST: usize = 4_096;
/// Who asks the same again later wants something else than a better answer, milliseconds.
const AGAIN_MS: i64 = 600_000;

/// An answer to a turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnsweredTurn {
    pub(super) deployment: String,
    pub(super) class: TaskClass,
    /// When it was asked for and complete, milliseconds since 1970.
    pub(super) asked_ms: i64,
    pub(super) done_ms: i64,
}

/// The answered turns of conversations of late: who asks for the same turn again was not content
/// with its answer. First questions do not count, because batches ask them alike.
#[derive(Debug, Default)]
pub(super) struct AnsweredTurns {
    answers: HashMap<u64, AnsweredTurn>,
    order: VecDeque<u64>,
}

impl AnsweredTurns {
    /// A turn was answered. The answer to the same turn before, if the caller had it when asking
    /// again.
    pub(super) fn answered(&mut self, turn: u64, answer: AnsweredTurn) -> Option<AnsweredTurn> {
        let asked_ms = answer.asked_ms;
        let before = self.answers.insert(turn, answer);
        let Some(before) = before else {
            self.order.push_back(turn);
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.answers.remove(&oldest);
            }
            return None;
        };
        let after = asked_ms - before.done_ms;
        (0..AGAIN_MS).contains(&after).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(asked_ms: i64, done_ms: i64) -> AnsweredTurn {
        AnsweredTurn { deployment: "a/m".to_owned(), class: TaskClass::Code, asked_ms, done_ms }
    }

    #[test]
    fn the_same_turn_again_tells_of_the_answer_before() {
        let mut turns = AnsweredTurns::default();
        assert_eq!(turns.answered(1, answer(0, 100)), None);
        assert_eq!(turns.answered(2, answer(0, 100)), None);
        assert_eq!(turns.answered(1, answer(200, 300)), Some(answer(0, 100)));
        assert_eq!(turns.answered(1, answer(250, 400)), None, "asked beside the other");
        assert_eq!(turns.answered(1, answer(400 + AGAIN_MS, 700_000)), None, "long after");
    }

    #[test]
    fn memory_is_bounded() {
        let mut turns = AnsweredTurns::default();
        for turn in 0..10_000 {
            turns.answered(turn, answer(0, 1));
        }
        assert_eq!((turns.answers.len(), turns.order.len()), (MOST, MOST));
        assert_eq!(turns.answered(9_999, answer(1, 2)), Some(answer(0, 1)));
    }
}
