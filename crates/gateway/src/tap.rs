//! Watches answers that are forwarded as the bytes that came.

use std::collections::VecDeque;

use bytes::Bytes;
use chat::{ApiError, ErrorKind, StreamEvent, Usage};
use dialects::sse::event_length;
use dialects::{StreamDecode, openai_chat, openai_responses};

/// Watches a stream that is forwarded.
pub(crate) trait Tap: Send {
    /// Takes the next bytes and appends what of them is to be forwarded: nothing from an event on
    /// that tells an error.
    fn observe(&mut self, chunk: Bytes, forward: &mut VecDeque<Bytes>);

    /// Whether the last byte to be forwarded so far ends an event.
    fn at_boundary(&self) -> bool;

    /// Whether the stream has said that it is complete.
    fn complete(&self) -> bool;

    /// The provider's connection ended. Appends what was held back.
    ///
    /// # Errors
    /// When the stream was not complete in its dialect's own terms.
    fn finish(&mut self, forward: &mut VecDeque<Bytes>) -> Result<(), ApiError>;

    /// The error that the provider itself reported within the stream.
    fn error(&self) -> Option<ApiError>;

    /// The event that told the error; it was not forwarded.
    fn error_event(&self) -> Bytes;

    /// Tokens as counted by the provider, as far as known.
    fn usage(&self) -> Option<Usage>;

    /// The model that the provider says answers.
    fn model(&self) -> Option<String>;
}

/// Shows `chunk` to `look` event by event until that says that one told an error. Forwards what
/// was before that event, and returns it.
fn forward_until_error(
    chunk: &Bytes,
    at_boundary: &mut bool,
    forward: &mut VecDeque<Bytes>,
    mut look: impl FnMut(&[u8]) -> bool,
) -> Bytes {
    let mut at = 0;
    let mut error_event = Bytes::new();
    while at < chunk.len() {
        let rest = chunk.slice(at..);
        let event = rest.slice(..event_length(&rest).unwrap_or(rest.len()));
        if look(&event) {
            error_event = event;
            break;
        }
        at += event.len();
    }
    if at > 0 {
        let forwarded = chunk.slice(..at);
        *at_boundary = forwarded.ends_with(b"\n\n");
        forward.push_back(forwarded);
    }
    error_event
}

/// Watches by decoding: for dialects without a cheaper way.
pub(crate) struct DecodingTap {
    decoder: Box<dyn StreamDecode>,
    events: Vec<StreamEvent>,
    usage: Option<Usage>,
    model: Option<String>,
    error: Option<ApiError>,
    error_event: Bytes,
    complete: bool,
    at_boundary: bool,
}

impl DecodingTap {
    pub(crate) fn new(decoder: Box<dyn StreamDecode>) -> Self {
        Self {
            decoder,
            events: Vec::new(),
            usage: None,
            model: None,
            error: None,
            error_event: Bytes::new(),
            complete: false,
            at_boundary: true,
        }
    }

    fn take_events(&mut self) {
        for event in self.events.drain(..) {
            match event {
                StreamEvent::Start { model, .. } => self.model = Some(model),
                StreamEvent::Usage(usage) => self.usage = Some(usage),
                StreamEvent::End => self.complete = true,
                StreamEvent::Error(error) => self.error = Some(error),
                _ => {}
            }
        }
    }
}

impl Tap for DecodingTap {
    fn observe(&mut self, chunk: Bytes, forward: &mut VecDeque<Bytes>) {
        let mut at_boundary = self.at_boundary;
        self.error_event = forward_until_error(&chunk, &mut at_boundary, forward, |event| {
            self.decoder.decode(event, &mut self.events);
            self.take_events();
            self.error.is_some()
        });
        self.at_boundary = at_boundary;
    }

    fn at_boundary(&self) -> bool {
        self.at_boundary
    }

    fn complete(&self) -> bool {
        self.complete
    }

    fn finish(&mut self, _forward: &mut VecDeque<Bytes>) -> Result<(), ApiError> {
        self.decoder.finish(&mut self.events);
        self.take_events();
        if self.complete {
            return Ok(());
        }
        Err(self.error.take().unwrap_or_else(interrupted))
    }

    fn error(&self) -> Option<ApiError> {
        self.error.clone()
    }

    fn error_event(&self) -> Bytes {
        self.error_event.clone()
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn model(&self) -> Option<String> {
        self.model.clone()
    }
}

/// Watches OpenAI's chat completions and completions.
pub(crate) struct OpenAiTap(openai_chat::StreamTap);

impl OpenAiTap {
    pub(crate) fn new(wants_usage: bool) -> Self {
        Self(openai_chat::StreamTap::new(wants_usage))
    }
}

impl Tap for OpenAiTap {
    fn observe(&mut self, chunk: Bytes, forward: &mut VecDeque<Bytes>) {
        self.0.observe(chunk, |bytes| forward.push_back(bytes));
    }

    fn at_boundary(&self) -> bool {
        self.0.at_boundary()
    }

    fn complete(&self) -> bool {
        self.0.done()
    }

    fn finish(&mut self, forward: &mut VecDeque<Bytes>) -> Result<(), ApiError> {
        self.0.finish(|bytes| forward.push_back(bytes))
    }

    fn error(&self) -> Option<ApiError> {
        self.0.error().cloned()
    }

    fn error_event(&self) -> Bytes {
        self.0.error_event()
    }

    fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }

    fn model(&self) -> Option<String> {
        self.0.model().map(str::to_owned)
    }
}

/// Watches OpenAI's responses.
pub(crate) struct ResponsesTap {
    tap: openai_responses::StreamTap,
    error_event: Bytes,
    at_boundary: bool,
}

impl ResponsesTap {
    pub(crate) fn new() -> Self {
        Self {
            tap: openai_responses::StreamTap::new(),
            error_event: Bytes::new(),
            at_boundary: true,
        }
    }
}

impl Tap for ResponsesTap {
    fn observe(&mut self, chunk: Bytes, forward: &mut VecDeque<Bytes>) {
        let Self { tap, at_boundary, .. } = self;
        self.error_event = forward_until_error(&chunk, at_boundary, forward, |event| {
            tap.observe(event);
            tap.outcome().error.is_some()
        });
    }

    fn at_boundary(&self) -> bool {
        self.at_boundary
    }

    fn complete(&self) -> bool {
        self.tap.outcome().finish.is_some()
    }

    fn finish(&mut self, _forward: &mut VecDeque<Bytes>) -> Result<(), ApiError> {
        let outcome = std::mem::take(&mut self.tap).finish();
        match (outcome.error, outcome.finish) {
            (Some(error), _) => Err(error),
            (None, Some(_)) => Ok(()),
            (None, None) => Err(interrupted()),
        }
    }

    fn error(&self) -> Option<ApiError> {
        self.tap.outcome().error.clone()
    }

    fn error_event(&self) -> Bytes {
        self.error_event.clone()
    }

    fn usage(&self) -> Option<Usage> {
        self.tap.outcome().usage
    }

    fn model(&self) -> Option<String> {
        Some(self.tap.outcome().model.clone()).filter(|model| !model.is_empty())
    }
}

/// A stream that stopped before its end.
pub(crate) fn interrupted() -> ApiError {
    ApiError::new(ErrorKind::BadGateway, "the provider broke off in the middle of the answer")
        .with_code("stream_interrupted")
}
