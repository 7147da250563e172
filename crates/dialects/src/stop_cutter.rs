//! Stop texts for providers that have none: the answer is cut before the first one, wherever the
//! stream is cut, and no part of a stop text ever goes out.

use std::collections::BTreeMap;

use chat::{ChatResponse, FinishReason, Part, StreamEvent};

/// Cuts answers at stop texts.
#[derive(Debug)]
pub struct StopCutter {
    stops: Vec<String>,
    choices: BTreeMap<u32, ChoiceState>,
    /// Choices that the answer will have.
    expected: usize,
}

#[derive(Debug, Default)]
struct ChoiceState {
    /// Text that may be the beginning of a stop text.
    held: String,
    cut: bool,
    finished: bool,
}

impl StopCutter {
    /// Cuts at the first of `stops`; empty ones never match.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, choices: BTreeMap::new(), expected: 1 }
    }

    /// Waits for this many choices before it says that the rest is not wanted: one may be cut
    /// before another begins.
    #[must_use]
    pub fn expecting(mut self, choices: usize) -> Self {
        self.expected = choices;
        self
    }

    /// Replaces the events at hand by what goes out for them. `true`: every choice has been cut or
    /// has ended, and the rest of the provider's answer is not wanted; the proper end was added.
    pub fn cut_events(&mut self, events: &mut Vec<StreamEvent>) -> bool {
        let mut out = Vec::with_capacity(events.len());
        let mut ended = false;
        for event in events.drain(..) {
            match event {
                StreamEvent::Text { choice, text } => self.text(choice, &text, &mut out),
                StreamEvent::Finish { choice, reason, stop_sequence } => {
                    let state = self.choices.entry(choice).or_default();
                    if !state.finished {
                        release(choice, std::mem::take(&mut state.held), &mut out);
                        state.finished = true;
                        out.push(StreamEvent::Finish { choice, reason, stop_sequence });
                    }
                }
                StreamEvent::End => {
                    for (choice, state) in &mut self.choices {
                        release(*choice, std::mem::take(&mut state.held), &mut out);
                    }
                    ended = true;
                    out.push(StreamEvent::End);
                }
                other => {
                    let state = choice_of(&other).and_then(|choice| {
                        self.choices.get_mut(&choice).map(|state| (choice, state))
                    });
                    if let Some((choice, state)) = state {
                        if state.cut {
                            continue;
                        }
                        // A stop text does not reach over what is no text: what is held is none,
                        // and stands before this.
                        if !matches!(other, StreamEvent::Logprobs { .. }) {
                            release(choice, std::mem::take(&mut state.held), &mut out);
                        }
                    }
                    out.push(other);
                }
            }
        }
        let all_done =
            !self.choices.is_empty() && self.choices.values().all(|state| state.finished);
        let any_cut = self.choices.values().any(|state| state.cut);
        let all_seen = self.choices.len() >= self.expected;
        let enough = !ended && any_cut && all_done && all_seen;
        if enough {
            out.push(StreamEvent::End);
        }
        *events = out;
        enough
    }

    fn text(&mut self, choice: u32, text: &str, out: &mut Vec<StreamEvent>) {
        let state = self.choices.entry(choice).or_default();
        if state.finished {
            return;
        }
        state.held.push_str(text);
        if let Some((at, stop)) = first_stop(&state.held, &self.stops) {
            state.held.truncate(at);
            release(choice, std::mem::take(&mut state.held), out);
            state.cut = true;
            state.finished = true;
            out.push(StreamEvent::Finish {
                choice,
                reason: FinishReason::Stop,
                stop_sequence: Some(stop.to_owned()),
            });
            return;
        }
        let keep = longest_beginning(&state.held, &self.stops);
        let rest = state.held.split_off(state.held.len() - keep);
        release(choice, std::mem::replace(&mut state.held, rest), out);
    }

    /// Cuts a whole answer.
    pub fn cut_response(&mut self, response: &mut ChatResponse) {
        for choice in &mut response.choices {
            let mut cut_at = None;
            for (number, part) in choice.parts.iter_mut().enumerate() {
                let Part::Text(text) = part else { continue };
                if let Some((at, stop)) = first_stop(&text.text, &self.stops) {
                    text.text.truncate(at);
                    choice.stop_sequence = Some(stop.to_owned());
                    cut_at = Some(number);
                    break;
                }
            }
            if let Some(number) = cut_at {
                choice.parts.truncate(number + 1);
                choice.finish = FinishReason::Stop;
            }
        }
    }
}

fn choice_of(event: &StreamEvent) -> Option<u32> {
    match event {
        StreamEvent::Reasoning { choice, .. }
        | StreamEvent::ReasoningSignature { choice, .. }
        | StreamEvent::ReasoningEncrypted { choice, .. }
        | StreamEvent::Refusal { choice, .. }
        | StreamEvent::ToolCallStart { choice, .. }
        | StreamEvent::ToolCallArguments { choice, .. }
        | StreamEvent::Logprobs { choice, .. } => Some(*choice),
        _ => None,
    }
}

fn release(choice: u32, text: String, out: &mut Vec<StreamEvent>) {
    if !text.is_empty() {
        out.push(StreamEvent::Text { choice, text });
    }
}

/// The stop text in `text` that is complete first, as a model that stops by itself would meet it,
/// and where it begins; of those that end together, the longest.
fn first_stop<'s>(text: &str, stops: &'s [String]) -> Option<(usize, &'s str)> {
    stops
        .iter()
        .filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop.as_str())))
        .min_by_key(|(at, stop)| (at + stop.len(), *at))
}

/// Bytes at the end of `text` that may become a stop text.
fn longest_beginning(text: &str, stops: &[String]) -> usize {
    let longest = stops.iter().map(String::len).max().unwrap_or(0);
    let most = text.len().min(longest.saturating_sub(1));
    (1..=most)
        .rev()
        .filter(|length| text.is_char_boundary(text.len() - length))
        .find(|length| {
            let end = &text[text.len() - length..];
            stops.iter().any(|stop| stop.len() > *length && stop.starts_with(end))
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(pieces: &[&str], stops: &[String]) -> (String, bool) {
        let mut cutter = StopCutter::new(stops);
        let mut text = String::new();
        for piece in pieces {
            let mut events = vec![StreamEvent::Text { choice: 0, text: (*piece).to_owned() }];
            let enough = cutter.cut_events(&mut events);
            for event in &events {
                if let StreamEvent::Text { text: out, .. } = event {
                    text.push_str(out);
                }
            }
            if enough {
                return (text, true);
            }
        }
        let mut events = vec![StreamEvent::End];
        cutter.cut_events(&mut events);
        for event in &events {
            if let StreamEvent::Text { text: out, .. } = event {
                text.push_str(out);
            }
        }
        (text, false)
    }

    fn texts(events: &[StreamEvent]) -> Vec<(u32, &str)> {
        let text = |event| match event {
            &StreamEvent::Text { choice, ref text } => Some((choice, text.as_str())),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }

    fn text(choice: u32, text: &str) -> StreamEvent {
        StreamEvent::Text { choice, text: text.to_owned() }
    }

    #[test]
    fn the_stop_text_that_is_complete_first_counts() {
        let stops = ["абвг".to_owned(), "б".to_owned()];
        for pieces in [&["хабвг"][..], &["хаб", "вг"], &["х", "а", "б", "в", "г"]] {
            assert_eq!(streamed(pieces, &stops), ("ха".to_owned(), true), "{pieces:?}");
        }
        let together = ["в".to_owned(), "бв".to_owned()];
        assert_eq!(streamed(&["абв"], &together), ("а".to_owned(), true));
        assert_eq!(streamed(&["аб", "в"], &together), ("а".to_owned(), true));
    }

    #[test]
    fn held_text_goes_out_before_a_call_that_follows_it() {
        let mut cutter = StopCutter::new(&["Конец".to_owned()]);
        let (id, name) = ("1".to_owned(), "f".to_owned());
        let call = StreamEvent::ToolCallStart { choice: 0, index: 0, id, name };
        let mut events = vec![text(0, "Смотрю. Кон"), call.clone()];
        assert!(!cutter.cut_events(&mut events));
        assert_eq!(events, [text(0, "Смотрю. "), text(0, "Кон"), call]);
    }

    #[test]
    fn nothing_of_a_cut_choice_follows() {
        let mut cutter = StopCutter::new(&["я".to_owned()]).expecting(2);
        let mut events = vec![
            text(0, "ая"),
            text(0, "б"),
            StreamEvent::Reasoning { choice: 0, text: "в".to_owned() },
            StreamEvent::ReasoningSignature { choice: 0, signature: "г".to_owned() },
            StreamEvent::Usage(chat::Usage::default()),
        ];
        assert!(!cutter.cut_events(&mut events), "the second choice has not begun");
        assert_eq!(texts(&events), [(0, "а")]);
        assert_eq!(events.len(), 3, "{events:?}");
        let mut events = vec![text(1, "бя")];
        assert!(cutter.cut_events(&mut events));
        assert_eq!(texts(&events), [(1, "б")]);
        assert_eq!(events.last(), Some(&StreamEvent::End));
    }

    proptest! {
        #[test]
        fn every_split_equals_the_whole(
            text in "[абв]{0,24}", stops in prop::collection::vec("[абв]{1,4}", 1..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            // What a model that stops by itself says: it writes code point by code point.
            let mut written = String::new();
            for character in text.chars() {
                written.push(character);
                let met = stops.iter().filter(|stop| written.ends_with(stop.as_str()));
                if let Some(longest) = met.map(String::len).max() {
                    written.truncate(written.len() - longest);
                    break;
                }
            }
            let expected = written.as_str();
            let mut marks: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            marks.push(text.len());
            let mut at: Vec<usize> = cuts.iter().map(|cut| marks[cut.index(marks.len())]).collect();
            at.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in at {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            pieces.push(&text[from..]);
            let (out, cut) = streamed(&pieces, &stops);
            prop_assert_eq!(out, expected);
            prop_assert_eq!(cut, expected.len() < text.len());
        }
    }
}
