use chat::{ApiError, ErrorKind, FinishReason, StreamEvent, Usage};
use memchr::memchr;

use super::response::{AlternativeWire, call_id, finish_reason, read_result};
use crate::StreamDecode;
use crate::conversion::{interrupted, unreadable};

/// Longest line that is read, in bytes: each repeats the whole answer so far.
const MAX_LINE: usize = 64 << 20;

/// Reads YandexGPT's stream: what each line adds to the text of the line before.
#[derive(Debug)]
pub struct StreamDecoder {
    pending: Vec<u8>,
    state: State,
}

#[derive(Debug)]
struct State {
    id_seed: String,
    started: bool,
    over: bool,
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Default)]
struct Alternative {
    /// The text so far.
    text: String,
    finished: bool,
}

impl StreamDecoder {
    /// A decoder at the beginning of a stream. `id_seed` makes the ids of calls unique.
    #[must_use]
    pub fn new(id_seed: &str) -> Self {
        Self {
            pending: Vec::new(),
            state: State {
                id_seed: id_seed.to_owned(),
                started: false,
                over: false,
                alternatives: Vec::new(),
            },
        }
    }
}

impl StreamDecode for StreamDecoder {
    fn decode(&mut self, mut bytes: &[u8], out: &mut Vec<StreamEvent>) {
        while let Some(end) = memchr(b'\n', bytes) {
            if self.pending.is_empty() {
                self.state.line(&bytes[..end], out);
            } else {
                self.pending.extend_from_slice(&bytes[..end]);
                self.state.line(&std::mem::take(&mut self.pending), out);
            }
            bytes = &bytes[end + 1..];
        }
        if self.state.over {
            return;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() > MAX_LINE {
            self.state.fail(unreadable("a line is too long"), out);
        }
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) {
        let rest = std::mem::take(&mut self.pending);
        let state = &mut self.state;
        // The end of the connection may come in the middle of a line, or instead of its end.
        if serde_json::from_slice::<serde::de::IgnoredAny>(&rest).is_ok() {
            state.line(&rest, out);
        }
        if state.over {
            return;
        }
        if !state.alternatives.is_empty()
            && state.alternatives.iter().all(|alternative| alternative.finished)
        {
            state.over = true;
            out.push(StreamEvent::End);
        } else {
            state.fail(interrupted(), out);
        }
    }
}

impl State {
    fn fail(&mut self, error: ApiError, out: &mut Vec<StreamEvent>) {
        self.over = true;
        out.push(StreamEvent::Error(error));
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<StreamEvent>) {
        let line = line.trim_ascii();
        if self.over || line.is_empty() {
            return;
        }
        let result = match read_result(line) {
            Ok(result) => result,
            Err(error) => return self.fail(error, out),
        };
        if !self.started {
            self.started = true;
            let model = result.model_version.unwrap_or_default();
            out.push(StreamEvent::Start { id: String::new(), model, created: 0 });
        }
        let mut ended = false;
        for (index, wire) in result.alternatives.into_iter().flatten().enumerate() {
            ended |= self.alternative(index, wire, out);
            if self.over {
                return;
            }
        }
        if let Some(usage) = result.usage.filter(|_| ended) {
            out.push(StreamEvent::Usage(Usage::from(usage)));
        }
    }

    /// Takes one alternative of a line; whether it ended with it.
    fn alternative(
        &mut self,
        index: usize,
        wire: AlternativeWire,
        out: &mut Vec<StreamEvent>,
    ) -> bool {
        let choice = u32::try_from(index).unwrap_or(u32::MAX);
        if self.alternatives.len() <= index {
            self.alternatives.resize_with(index + 1, Alternative::default);
        }
        let alternative = &mut self.alternatives[index];
        if alternative.finished {
            return false;
        }
        let text = wire.message.text.unwrap_or_default();
        let finish = finish_reason(&wire.status);
        match text.strip_prefix(alternative.text.as_str()) {
            Some("") => {}
            Some(more) => {
                out.push(StreamEvent::Text { choice, text: more.to_owned() });
                alternative.text = text;
            }
            // A line with less, or without text at all, says nothing new; what went out cannot be
            // taken back.
            None if alternative.text.starts_with(&text) => {}
            // The filter puts words of its own in place of the answer; the finish reason says so.
            None if finish == Some(FinishReason::ContentFilter) => {}
            None => {
                let error = ApiError::new(
                    ErrorKind::BadGateway,
                    "the provider changed words of the answer that it had sent already",
                );
                self.fail(error.with_code("stream_rewritten"), out);
                return false;
            }
        }
        let calls = wire.message.tool_call_list.map(|list| list.tool_calls).unwrap_or_default();
        if finish.is_some() {
            for (number, call) in calls.into_iter().enumerate() {
                let position = u32::try_from(number).unwrap_or(u32::MAX);
                let id = call_id(&self.id_seed, index, number);
                let fragment = call.function_call.arguments();
                let name = call.function_call.name;
                out.push(StreamEvent::ToolCallStart { choice, index: position, id, name });
                out.push(StreamEvent::ToolCallArguments { choice, index: position, fragment });
            }
        }
        let Some(reason) = finish else { return false };
        alternative.finished = true;
        out.push(StreamEvent::Finish { choice, reason, stop_sequence: None });
        true
    }
}

#[cfg(test)]
mod tests {
    use chat::{FinishReason, StreamAccumulator};

    use super::*;

    fn line(text: &str, status: &str) -> String {
        let message = serde_json::json!({"role": "assistant", "text": text});
        let alternative = serde_json::json!({"message": message, "status": status});
        let usage = serde_json::json!({"inputTextTokens": "3", "completionTokens": "2"});
        let result = serde_json::json!({
            "alternatives": [alternative], "usage": usage, "modelVersion": "v"});
        format!("{}\n", serde_json::json!({ "result": result }))
    }

    #[test]
    fn cumulative_text_becomes_exact_pieces_wherever_the_stream_is_cut() {
        let stream = [
            line("При", "ALTERNATIVE_STATUS_PARTIAL"),
            line("Привет, 👋", "ALTERNATIVE_STATUS_PARTIAL"),
            line("Привет, 👋🏽!", "ALTERNATIVE_STATUS_FINAL"),
        ]
        .concat();
        for cut in 0..=stream.len() {
            let (head, tail) = stream.as_bytes().split_at(cut);
            let mut decoder = StreamDecoder::new("s");
            let mut events = Vec::new();
            decoder.decode(head, &mut events);
            decoder.decode(tail, &mut events);
            decoder.finish(&mut events);
            let pieces: Vec<&str> = events
                .iter()
                .filter_map(|event| match event {
                    StreamEvent::Text { text, .. } => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(pieces, ["При", "вет, 👋", "🏽!"], "cut at {cut}");
            let mut accumulator = StreamAccumulator::default();
            events.iter().for_each(|event| accumulator.push(event));
            let response = accumulator.finish().unwrap();
            assert_eq!(response.choices[0].finish, FinishReason::Stop);
            assert_eq!(response.usage.unwrap().total_tokens(), 5);
        }
    }

    fn decoded(lines: &[String]) -> Vec<StreamEvent> {
        let mut decoder = StreamDecoder::new("s");
        let mut events = Vec::new();
        decoder.decode(lines.concat().as_bytes(), &mut events);
        decoder.finish(&mut events);
        events
    }

    fn code(events: &[StreamEvent]) -> Option<&str> {
        match events.last() {
            Some(StreamEvent::Error(error)) => error.code.as_deref(),
            _ => None,
        }
    }

    #[test]
    fn words_that_were_sent_cannot_be_changed() {
        let partial = line("Привет", "ALTERNATIVE_STATUS_PARTIAL");
        let events = decoded(&[partial.clone(), line("Пока", "ALTERNATIVE_STATUS_FINAL")]);
        assert_eq!(code(&events), Some("stream_rewritten"));
        let stub = line("Не могу говорить об этом", "ALTERNATIVE_STATUS_CONTENT_FILTER");
        let events = decoded(&[partial, stub]);
        let mut accumulator = StreamAccumulator::default();
        events.iter().for_each(|event| accumulator.push(event));
        let response = accumulator.finish().unwrap();
        assert_eq!(response.choices[0].finish, FinishReason::ContentFilter);
        assert_eq!(response.choices[0].joined_text(), "Привет");
    }

    #[test]
    fn an_unspecified_status_is_no_end() {
        let unspecified = line("При", "ALTERNATIVE_STATUS_UNSPECIFIED");
        let absent = line("Приве", "").replace(r#","status":"""#, "");
        assert!(!absent.contains("status"), "{absent}");
        let last = line("Привет", "ALTERNATIVE_STATUS_FINAL");
        let events = decoded(&[unspecified.clone(), absent, last]);
        assert_eq!(events.last(), Some(&StreamEvent::End), "{events:?}");
        assert_eq!(code(&decoded(&[unspecified])), Some("stream_interrupted"));
    }

    #[test]
    fn an_error_line_ends_the_stream_with_its_error() {
        let error = r#"{"error":{"grpcCode":8,"message":"Слишком много","details":[]}}"#;
        let events = decoded(&[
            line("При", "ALTERNATIVE_STATUS_PARTIAL"),
            format!("{error}\n"),
            line("Привет", "ALTERNATIVE_STATUS_FINAL"),
        ]);
        let Some(StreamEvent::Error(error)) = events.last() else { panic!("{events:?}") };
        assert_eq!(error.kind, ErrorKind::RateLimited);
    }

    #[test]
    fn lines_may_come_without_their_wrapper() {
        let wrapped = line("Привет", "ALTERNATIVE_STATUS_FINAL");
        let bare = wrapped.trim().strip_prefix(r#"{"result":"#).unwrap().strip_suffix('}').unwrap();
        assert_eq!(decoded(&[bare.to_owned()]), decoded(&[wrapped]));
    }

    #[test]
    fn an_end_without_a_final_status_is_a_break() {
        let events = decoded(&[line("При", "ALTERNATIVE_STATUS_PARTIAL")]);
        assert_eq!(code(&events), Some("stream_interrupted"));
    }
}
