use bytes::{Bytes, BytesMut};
use chat::{ApiError, Usage};
use memchr::{memchr, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::error::error_in_success;
use super::usage::UsageWire;
use crate::conversion::interrupted;
use crate::sse::event_length;

/// Largest event that is held while it is incomplete.
const MAX_HELD: usize = 1 << 20;

/// Watches a stream of chat completions or completions that is forwarded as the bytes that came.
///
/// It looks into an event only where a search of its bytes says that something is to be learnt.
/// The event that carries nothing but usage is withheld from callers who did not ask for it.
#[derive(Debug)]
pub struct StreamTap {
    forward_usage: bool,
    /// An event whose end has not come yet.
    incomplete: BytesMut,
    at_boundary: bool,
    usage: Option<Usage>,
    model: Option<String>,
    error: Option<ApiError>,
    /// The event that told the error.
    error_event: Bytes,
    finish_seen: bool,
    done: bool,
}

#[derive(Deserialize)]
struct TapWire {
    model: Option<String>,
    #[serde(default)]
    choices: Vec<IgnoredAny>,
    usage: Option<UsageWire>,
    error: Option<Value>,
}

impl StreamTap {
    /// A tap at the beginning of a stream. `forward_usage`: the caller asked for usage.
    #[must_use]
    pub fn new(forward_usage: bool) -> Self {
        Self {
            forward_usage,
            incomplete: BytesMut::new(),
            at_boundary: true,
            usage: None,
            model: None,
            error: None,
            error_event: Bytes::new(),
            finish_seen: false,
            done: false,
        }
    }

    /// Takes the next bytes, and hands on those that go to the caller: nothing from an event on
    /// that tells an error.
    pub fn observe(&mut self, chunk: Bytes, mut forward: impl FnMut(Bytes)) {
        if self.error.is_some() {
            return;
        }
        let mut chunk = chunk;
        if !self.incomplete.is_empty() {
            self.incomplete.extend_from_slice(&chunk);
            chunk = std::mem::take(&mut self.incomplete).freeze();
        }
        let mut kept_from = 0;
        let mut at = 0;
        while let Some(length) = event_length(&chunk[at..]) {
            let withhold = self.look(&chunk[at..at + length]);
            if (withhold || self.error.is_some()) && at > kept_from {
                forward(chunk.slice(kept_from..at));
            }
            if withhold {
                kept_from = at + length;
            }
            if self.error.is_some() {
                self.error_event = chunk.slice(at..at + length);
                self.at_boundary = true;
                return;
            }
            at += length;
        }
        if at > kept_from {
            forward(chunk.slice(kept_from..at));
        }
        let rest = chunk.slice(at..);
        self.at_boundary = true;
        if rest.len() > MAX_HELD {
            // No event of a model is so long; whoever sends it gets no service from the tap.
            self.at_boundary = false;
            forward(rest);
        } else {
            self.incomplete.extend_from_slice(&rest);
        }
    }

    /// Learns from an event. `true`: it is not for the caller.
    fn look(&mut self, event: &[u8]) -> bool {
        if memmem::find(event, b"[DONE]").is_some() && event.starts_with(b"data:") {
            self.done = true;
            return false;
        }
        let has_usage = memmem::find(event, b"\"usage\":{").is_some()
            || memmem::find(event, b"\"usage\": {").is_some();
        let has_error = memmem::find(event, b"\"error\":").is_some();
        if !self.finish_seen {
            self.finish_seen = memmem::find(event, b"\"finish_reason\":\"").is_some()
                || memmem::find(event, b"\"finish_reason\": \"").is_some();
        }
        if !has_usage && !has_error && self.model.is_some() {
            return false;
        }
        let Some(wire) = data(event).and_then(|data| serde_json::from_slice(data).ok()) else {
            return false;
        };
        let wire: TapWire = wire;
        if self.model.is_none() {
            self.model = wire.model.filter(|model| !model.is_empty());
        }
        if let Some(error) = wire.error.filter(|error| !error.is_null()) {
            self.error = Some(error_in_success(error));
        }
        if let Some(usage) = wire.usage {
            self.usage = Some(usage.into());
            return !self.forward_usage && wire.choices.is_empty();
        }
        false
    }

    /// Whether what was handed on so far ends between two events.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.at_boundary
    }

    /// Whether the stream has said that it is complete.
    #[must_use]
    pub fn done(&self) -> bool {
        self.done
    }

    /// The provider's connection ended: hands on what was held.
    ///
    /// # Errors
    /// When neither `[DONE]` nor a finish reason has come, or what was held told an error.
    pub fn finish(&mut self, mut forward: impl FnMut(Bytes)) -> Result<(), ApiError> {
        let rest = std::mem::take(&mut self.incomplete).freeze();
        let withhold = rest.is_empty() || self.look(&rest);
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if !withhold {
            let complete = data(&rest).is_some_and(|data| {
                data == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok()
            });
            if complete {
                forward(rest);
                forward(Bytes::from_static(b"\n\n"));
            }
        }
        if self.done || self.finish_seen {
            return Ok(());
        }
        Err(interrupted())
    }

    /// The error that the provider told within the stream.
    #[must_use]
    pub fn error(&self) -> Option<&ApiError> {
        self.error.as_ref()
    }

    /// The event that told [`StreamTap::error`], whole; it was not handed on.
    #[must_use]
    pub fn error_event(&self) -> Bytes {
        self.error_event.clone()
    }

    /// Tokens as last counted by the provider.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The model that the provider says answers.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// The data of an event of one line.
fn data(event: &[u8]) -> Option<&[u8]> {
    let start = memmem::find(event, b"data:")? + 5;
    let line = &event[start..];
    let end = memchr(b'\n', line).unwrap_or(line.len());
    Some(line[..end].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{ я\"}}]}\n\n",
        ": живы\n\n",
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    );

    fn tapped(pieces: &[&[u8]], forward_usage: bool) -> (String, StreamTap) {
        let mut tap = StreamTap::new(forward_usage);
        let mut out = Vec::new();
        for piece in pieces {
            tap.observe(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes));
        }
        tap.finish(|bytes| out.extend_from_slice(&bytes)).unwrap();
        (String::from_utf8(out).unwrap(), tap)
    }

    #[test]
    fn only_usage_that_nobody_asked_for_is_withheld_wherever_the_stream_is_cut() {
        let without = STREAM.replace(
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
            "",
        );
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            let (all, tap) = tapped(&[head, tail], true);
            assert_eq!(all, STREAM);
            assert_eq!(tap.usage().unwrap().total_tokens(), 5);
            assert_eq!(tap.model(), Some("m"));
            let (some, tap) = tapped(&[head, tail], false);
            assert_eq!(some, without, "cut at {cut}");
            assert!(tap.done() && tap.usage().is_some());
        }
    }

    #[test]
    fn whole_events_are_forwarded_without_a_copy() {
        let chunk = Bytes::copy_from_slice(STREAM.as_bytes());
        let mut tap = StreamTap::new(true);
        tap.observe(chunk.clone(), |bytes| assert_eq!(bytes.as_ptr(), chunk.as_ptr()));
    }

    #[test]
    fn a_stream_that_breaks_off_is_not_complete() {
        let mut tap = StreamTap::new(true);
        tap.observe(Bytes::from_static(b"data: {\"model\":\"m\",\"choices\":[{}]}\n\n"), |_| {});
        assert!(tap.finish(|_| {}).is_err());
        let mut tap = StreamTap::new(true);
        tap.observe(Bytes::from_static(b"data: {\"error\":{\"message\":\"x\"}}"), |_| {});
        assert_eq!(tap.finish(|_| panic!("it told an error")).unwrap_err().message, "x");
    }

    #[test]
    fn nothing_is_forwarded_from_an_error_on_wherever_the_stream_is_cut() {
        let error = "data: {\"error\":{\"message\":\"x\"},\"choices\":[]}\n\n";
        let word = "data: {\"model\":\"m\",\"choices\":[{}]}\n\n";
        let stream = format!("{word}{word}{error}data: [DONE]\n\n");
        for cut in 0..=stream.len() {
            let (head, tail) = stream.as_bytes().split_at(cut);
            let mut tap = StreamTap::new(true);
            let mut out = Vec::new();
            for piece in [head, tail] {
                tap.observe(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes));
            }
            assert_eq!(String::from_utf8(out).unwrap(), word.repeat(2), "cut at {cut}");
            assert_eq!(tap.error_event(), error);
            assert!(tap.at_boundary());
        }
    }
}
