//! A streamed answer on its way from the provider to the caller.
//!
//! The caller's connection pulls: what it does not take is not read from the provider. When the
//! caller goes away the relay is dropped, and the provider's answer with it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chat::{ApiError, StreamEvent};
use dialects::{StreamDecode, StreamEncode};
use providers::AnswerBody;
use tokio::time::Sleep;

use crate::codec;
use crate::exchange::Exchange;
use crate::heartbeat::Heartbeat;
use crate::tap::{Tap, interrupted};

/// A comment of SSE: a sign of life that no client shows to anybody.
const SIGN_OF_LIFE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// After its last event a provider gets this long to end the answer, so that its connection can
/// be used again.
const LINGER: Duration = Duration::from_millis(100);

/// Bytes that are taken from the provider at a time, if so many are there.
const COALESCED: usize = 32 * 1024;

/// What happens to the provider's bytes.
pub(crate) enum Passage {
    /// They are forwarded as they come, and watched.
    Forward {
        /// Watches.
        tap: Box<dyn Tap>,
        /// Writes the error if the stream breaks.
        encoder: Box<dyn StreamEncode>,
    },
    /// They are decoded, and encoded in the caller's dialect.
    Convert {
        /// Reads the provider's dialect.
        decoder: Box<dyn StreamDecode>,
        /// Changes events on their way.
        filter: Option<Box<dyn EventFilter>>,
        /// Writes the caller's dialect.
        encoder: Box<dyn StreamEncode>,
        /// Events of the chunk at hand.
        events: Vec<StreamEvent>,
    },
}

/// Changes events on their way to the caller: what a provider cannot do, done here.
pub(crate) trait EventFilter: Send {
    /// Replaces `events` by what is to be sent for them. `true`: the answer is complete, and the
    /// rest of the provider's is not wanted.
    fn filter(&mut self, events: &mut Vec<StreamEvent>) -> bool;
}

/// A streamed answer on its way.
pub(crate) struct Relay {
    upstream: Option<AnswerBody>,
    passage: Passage,
    exchange: Box<Exchange>,
    heartbeat: Heartbeat,
    pending: VecDeque<Bytes>,
    /// Bytes taken from the provider since the last piece went out.
    held: usize,
    /// Pieces taken from the provider so far.
    pieces: u32,
    /// Nothing goes out before the answer has begun.
    priming: bool,
    /// Whether something was taken since the provider's shared connection last had a turn.
    fresh: bool,
    /// Whether the last byte sent ended an event, so that a comment may follow.
    at_boundary: bool,
    call_started: Instant,
    /// The answer is complete; what is left of the provider's is waited for until then.
    linger: Option<Pin<Box<Sleep>>>,
    /// Nothing follows what is pending.
    ended: bool,
    failure: Option<ApiError>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Relay").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay of `upstream`, for which a call began at `call_started`.
    pub(crate) fn new(
        upstream: Option<AnswerBody>,
        passage: Passage,
        exchange: Box<Exchange>,
        call_started: Instant,
    ) -> Self {
        let heartbeat = Heartbeat::new(exchange.snapshot.settings.heartbeat_interval);
        Self {
            upstream,
            passage,
            exchange,
            heartbeat,
            pending: VecDeque::new(),
            held: 0,
            pieces: 0,
            priming: false,
            fresh: false,
            at_boundary: true,
            call_started,
            linger: None,
            ended: false,
            failure: None,
        }
    }

    /// Waits for the first piece of the answer itself, but no longer than a heartbeat: some providers
    /// send the frame around it at once. Until it has come, a provider that fails or is slow can be
    /// replaced by another.
    ///
    /// # Errors
    /// What the provider failed with before it sent anything; the exchange comes back for the next
    /// attempt.
    pub(crate) async fn prime(mut self: Box<Self>) -> Result<Box<Self>, (Box<Exchange>, ApiError)> {
        let limit = self.exchange.snapshot.settings.heartbeat_interval;
        self.priming = true;
        let first = poll_fn(|context| self.poll_pending(context));
        _ = tokio::time::timeout(limit, first).await;
        self.priming = false;
        if let Passage::Forward { tap, .. } = &self.passage
            && let Some(error) = tap.error()
        {
            return Err((self.exchange, error));
        }
        match self.failure.take() {
            Some(error) => Err((self.exchange, error)),
            None => Ok(self),
        }
    }

    pub(crate) fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// Sends a whole answer as the stream that it amounts to.
    pub(crate) fn replay(&mut self, events: Vec<StreamEvent>) {
        self.convert(events);
    }

    /// The next piece for the caller; `None` at the end.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.poll_pending(context).is_ready() {
            if let Some(error) = self.failure.take() {
                self.break_off(error);
            }
            if let Some(piece) = self.pop_piece() {
                self.heartbeat.sent();
                return Poll::Ready(Some(piece));
            }
            if self.ended {
                return Poll::Ready(None);
            }
        }
        if self.at_boundary && self.pending.is_empty() && self.linger.is_none() {
            ready!(self.heartbeat.poll_beat(context));
            return Poll::Ready(Some(SIGN_OF_LIFE));
        }
        Poll::Pending
    }

    /// All that is pending as one piece: one write for it costs less than the copy saves.
    fn pop_piece(&mut self) -> Option<Bytes> {
        self.held = 0;
        if self.pending.len() <= 1 {
            return self.pending.pop_front();
        }
        let length = self.pending.iter().map(Bytes::len).sum();
        let mut whole = BytesMut::with_capacity(length);
        for piece in self.pending.drain(..) {
            whole.extend_from_slice(&piece);
        }
        Some(whole.freeze())
    }

    /// Takes from the provider what is there already, up to a limit. Ready when something is
    /// pending, the stream has ended, or a failure is to be told.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.ended || self.failure.is_some() || self.held >= COALESCED {
                return Poll::Ready(());
            }
            let Some(upstream) = &mut self.upstream else {
                self.ended = true;
                continue;
            };
            match upstream.poll_next(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.held += chunk.len();
                    self.fresh = upstream.shares_connection();
                    self.take(chunk);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.upstream = None;
                    if self.linger.is_none() {
                        self.failure = Some(error);
                    }
                    self.ended = true;
                }
                Poll::Ready(None) => {
                    self.upstream = None;
                    self.provider_ended();
                }
                Poll::Pending if self.priming && !self.has_begun() => return Poll::Pending,
                Poll::Pending if !self.pending.is_empty() => {
                    // A shared connection hands over one piece a turn: whoever gives it another
                    // turn before writing gets what else has arrived, and nobody waits.
                    if std::mem::take(&mut self.fresh) {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    let Some(linger) = &mut self.linger else { return Poll::Pending };
                    ready!(linger.as_mut().poll(context));
                    self.upstream = None;
                    self.ended = true;
                }
            }
        }
    }

    fn take(&mut self, chunk: Bytes) {
        if self.linger.is_some() {
            return;
        }
        self.pieces = self.pieces.saturating_add(1);
        match &mut self.passage {
            Passage::Forward { tap, .. } => {
                self.exchange.delivered.observe_bytes(&chunk);
                self.exchange.note_delivered();
                if self.exchange.has_choice() && !self.exchange.declined {
                    self.exchange.declined = codec::tells_refusal(&chunk);
                }
                if self.exchange.time_to_first_token.is_none() && begun(&self.exchange, self.pieces)
                {
                    note_first_token(&mut self.exchange, self.call_started);
                }
                tap.observe(chunk, &mut self.pending);
                self.at_boundary = tap.at_boundary();
                let Some(error) = tap.error() else {
                    if tap.complete() {
                        self.note_tap();
                        self.complete();
                    }
                    return;
                };
                let event = tap.error_event();
                self.note_tap();
                if self.exchange.told(error.clone()) == error {
                    // The provider tells the caller in the dialect they share.
                    self.pending.push_back(event);
                    // First of all, or it would be a success of the deployment.
                    self.exchange.fail(200, &error);
                    self.complete();
                } else {
                    self.failure = Some(error);
                    self.upstream = None;
                }
            }
            Passage::Convert { decoder, events, .. } => {
                let mut events = std::mem::take(events);
                decoder.decode(&chunk, &mut events);
                self.convert(events);
            }
        }
    }

    fn convert(&mut self, mut events: Vec<StreamEvent>) {
        let Passage::Convert { filter, encoder, events: spare, .. } = &mut self.passage else {
            return;
        };
        let enough = filter.as_mut().is_some_and(|filter| filter.filter(&mut events));
        let mut out = Vec::new();
        let mut ended = enough;
        for event in &events {
            match event {
                StreamEvent::Error(error) => {
                    // Kept for the first piece: it may still become another attempt.
                    self.failure = Some(error.clone());
                    self.upstream = None;
                    break;
                }
                StreamEvent::Usage(usage) => self.exchange.usage = Some(*usage),
                StreamEvent::Start { model, .. } => {
                    self.exchange.response_model = Some(model.clone());
                }
                StreamEvent::End => ended = true,
                StreamEvent::Refusal { .. } => self.exchange.declined = true,
                StreamEvent::Finish { reason, .. } if codec::is_refusal(reason) => {
                    self.exchange.declined = true;
                }
                _ => {}
            }
            self.exchange.delivered.observe_event(event);
            encoder.encode(event, &mut out);
        }
        self.exchange.note_delivered();
        if begun(&self.exchange, self.pieces) {
            note_first_token(&mut self.exchange, self.call_started);
        }
        events.clear();
        *spare = events;
        if !out.is_empty() {
            self.pending.push_back(out.into());
        }
        if enough {
            self.upstream = None;
        }
        if ended && self.failure.is_none() {
            self.complete();
        }
    }

    /// Whether something of the answer itself has come, and not its frame only.
    fn has_begun(&self) -> bool {
        self.linger.is_some() || begun(&self.exchange, self.pieces)
    }

    fn complete(&mut self) {
        note_first_token(&mut self.exchange, self.call_started);
        self.exchange.finish(200);
        self.linger = Some(Box::pin(tokio::time::sleep(LINGER)));
    }

    fn note_tap(&mut self) {
        if let Passage::Forward { tap, .. } = &mut self.passage {
            self.exchange.usage = tap.usage();
            self.exchange.response_model = tap.model();
        }
    }

    /// The provider's connection ended properly; whether the answer did is for the dialect to say.
    fn provider_ended(&mut self) {
        if self.linger.is_some() {
            self.ended = true;
            return;
        }
        match &mut self.passage {
            Passage::Forward { tap, .. } => match tap.finish(&mut self.pending) {
                Ok(()) => {
                    self.note_tap();
                    self.exchange.finish(200);
                }
                Err(error) => {
                    self.note_tap();
                    self.failure = Some(error);
                }
            },
            Passage::Convert { decoder, events, .. } => {
                let mut events = std::mem::take(events);
                decoder.finish(&mut events);
                self.convert(events);
                if self.linger.is_none() && self.failure.is_none() {
                    self.failure = Some(interrupted());
                }
            }
        }
        self.ended = true;
    }

    /// Tells the caller that the answer broke off, in the caller's dialect.
    fn break_off(&mut self, error: ApiError) {
        let error = self.exchange.told(error);
        self.exchange.fail(200, &error);
        let (Passage::Forward { encoder, .. } | Passage::Convert { encoder, .. }) =
            &mut self.passage;
        let mut out = Vec::new();
        if !self.at_boundary {
            // What was cut must not swallow the event that follows.
            out.extend_from_slice(b"\n\n");
        }
        encoder.encode(&StreamEvent::Error(error), &mut out);
        self.pending.push_back(out.into());
        self.upstream = None;
        self.ended = true;
    }
}

/// Whether something of the answer itself has come: text that was counted, or so many pieces that
/// they cannot all be its frame.
fn begun(exchange: &Exchange, pieces: u32) -> bool {
    const FRAME: u32 = 3;
    exchange.delivered.tokens() > 0 || pieces > FRAME
}

fn note_first_token(exchange: &mut Exchange, call_started: Instant) {
    if exchange.time_to_first_token.is_some() {
        return;
    }
    exchange.time_to_first_token = Some(call_started.elapsed());
    if let Some(watch) = &mut exchange.watch {
        watch.first_token();
    }
}
