//! A provider's answer as data: what to send, when, and what goes wrong on the way.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::bill::Charge;
use crate::reply::{Pace, Reply};
use crate::script::{Fault, Shape};

/// What the server plays back; built by providers, interpreted by [`crate::transport`].
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// Time until the headers are sent.
    pub(crate) hold: Duration,
    pub(crate) shape: Shape,
    pub(crate) fault: Option<Fault>,
    /// Billed when delivered; a stream that is cut or left is billed for what went out.
    pub(crate) charge: Option<Charge>,
}

pub(crate) enum Payload {
    Whole(Bytes),
    Events(EventStream),
    /// No answer, ever.
    Hang,
    /// TCP RST before the headers.
    Reset,
}

/// A stream of wire events, encoded as they are needed.
pub(crate) struct EventStream {
    pub(crate) events: Box<dyn Iterator<Item = WireEvent> + Send>,
    /// Content events that `events` will yield: the share delivered is the share billed.
    pub(crate) content_events: usize,
    pub(crate) pace: Pace,
    /// The provider's own mid-stream error, for `error_in_stream_after`.
    pub(crate) error: Bytes,
}

/// One event (an SSE event, a JSON line), complete with its framing.
#[derive(Clone, Debug)]
pub(crate) struct WireEvent {
    pub(crate) bytes: Bytes,
    /// Carries generated content: is paced, and counted by faults.
    pub(crate) content: bool,
}

impl WireEvent {
    pub(crate) fn content(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), content: true }
    }

    /// Openings, ends, pings: sent at once, not counted.
    pub(crate) fn frame(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), content: false }
    }
}

impl Answer {
    /// A JSON body with no script applied: errors, lists, tokens.
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::bytes(status, "application/json", body)
    }

    pub(crate) fn bytes(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers,
            payload: Payload::Whole(body.into()),
            hold: Duration::ZERO,
            shape: Shape::Plain,
            fault: None,
            charge: None,
        }
    }

    /// The whole answer to a planned request: 200, held as long as its generation takes,
    /// billed, with the transport faults of the script.
    /// The caller has dealt with [`Reply::refusal`] and [`Fault::OkWithErrorBody`].
    pub(crate) fn whole(reply: &Reply, body: impl Into<Bytes>) -> Self {
        let mut answer = Self::json(200, body);
        answer.hold = reply.pace.total(reply.chunk_count());
        answer.apply_script(reply);
        answer
    }

    /// The streamed answer to a planned request; `error` as in [`EventStream::error`].
    pub(crate) fn stream(
        reply: &Reply,
        content_type: &'static str,
        events: impl Iterator<Item = WireEvent> + Send + 'static,
        error: impl Into<Bytes>,
    ) -> Self {
        let mut answer = Self::bytes(200, content_type, Bytes::new());
        answer.payload = Payload::Events(EventStream {
            events: Box::new(events),
            content_events: reply.chunk_count() * reply.choices.len().max(1),
            pace: reply.pace,
            error: error.into(),
        });
        answer.apply_script(reply);
        answer
    }

    fn apply_script(&mut self, reply: &Reply) {
        self.shape = reply.shape;
        self.charge = Some(reply.charge.clone());
        match &reply.fault {
            Some(Fault::Hang) => self.payload = Payload::Hang,
            Some(Fault::Reset) => self.payload = Payload::Reset,
            other => self.fault = other.clone(),
        }
    }

    /// Adds a header; a value that is no header value is left out.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub(crate) fn header_number(mut self, name: &'static str, value: u64) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        self
    }

    pub(crate) fn retry_after(mut self, seconds: Option<u32>) -> Self {
        if let Some(seconds) = seconds {
            self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        self
    }

    /// The whole body, for tests.
    #[cfg(test)]
    pub(crate) fn body(&self) -> &[u8] {
        match &self.payload {
            Payload::Whole(body) => body,
            _ => b"",
        }
    }
}
