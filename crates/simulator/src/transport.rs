//! Plays an answer onto a connection: pace, segment layout, cuts, resets; and keeps the account.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Sleep;

use crate::answer::EventStream;
use crate::bill::Charge;
use crate::request_log::{Outcome, Record};
use crate::script::{Fault, Shape};
use crate::segments;
use crate::world::WorldHandle;

/// Time for what was written to leave before the connection is broken, and between segments
/// that must not be merged.
const SEGMENT_GAP: Duration = Duration::from_millis(2);

/// Breaks for which a script asks; hyper closes the connection on it.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken on purpose")]
pub(crate) struct Broken;

/// What a response can do to the TCP connection below it.
#[derive(Debug, Default)]
pub(crate) struct ConnectionControl {
    reset: AtomicBool,
    breaks: Notify,
}

impl ConnectionControl {
    /// Breaks the connection, whatever else it carries, with RST in place of FIN.
    pub(crate) fn reset_now(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.breaks.notify_one();
    }

    /// Returns when the connection must be dropped.
    pub(crate) async fn broken(&self) {
        self.breaks.notified().await;
    }

    pub(crate) fn resets(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }
}

/// Records how a request ended and bills it, once, however the answer was dropped.
pub(crate) struct Ticket {
    world: WorldHandle,
    record: Arc<Record>,
    charge: Option<Charge>,
    content_events: usize,
    sent: usize,
    ended: bool,
}

impl Ticket {
    pub(crate) fn new(world: WorldHandle, record: Arc<Record>) -> Self {
        Self { world, record, charge: None, content_events: 0, sent: 0, ended: false }
    }

    pub(crate) fn charge(&mut self, charge: Option<Charge>) {
        self.charge = charge;
    }

    pub(crate) fn status(&self, status: u16) {
        self.record.answered(status);
    }

    pub(crate) fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(mut charge) = self.charge.take() {
            if outcome != Outcome::Completed && self.content_events > 0 {
                let share = |tokens: u64| {
                    let sent = self.sent.min(self.content_events) as u64;
                    tokens * sent / self.content_events as u64
                };
                charge.completion_tokens = share(charge.completion_tokens);
                charge.reasoning_tokens = share(charge.reasoning_tokens);
            }
            self.world.bill.add(&charge);
        }
        self.record.ended(outcome, self.sent as u64);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Outcome::ClientGone);
    }
}

/// The body of every response.
pub(crate) enum Body {
    Whole { bytes: Option<Bytes>, ticket: Ticket },
    Played(Box<Player>),
}

impl Body {
    /// A whole body with the script's layout and breaks.
    pub(crate) fn whole(
        bytes: Bytes,
        shape: Shape,
        fault: Option<&Fault>,
        mut ticket: Ticket,
        control: Arc<ConnectionControl>,
    ) -> Self {
        let end = match fault {
            Some(Fault::Empty) => {
                return Self::Whole { bytes: Some(Bytes::new()), ticket };
            }
            Some(Fault::Garbage) => {
                let bytes = Some(Bytes::from_static(GARBAGE_BODY));
                return Self::Whole { bytes, ticket };
            }
            Some(Fault::ResetAfter(_)) => Some(End::Reset),
            Some(Fault::CutAfter(_)) => Some(End::Cut),
            _ => None,
        };
        if end.is_none() && shape == Shape::Plain {
            return Self::Whole { bytes: Some(bytes), ticket };
        }
        ticket.content_events = 1;
        let length = if end.is_some() { bytes.len() / 2 } else { bytes.len() };
        let escaped = segments::shaped(bytes, shape);
        let declared = escaped.iter().map(Bytes::len).sum();
        let mut left = length.max(1);
        let mut pieces = VecDeque::new();
        for piece in escaped {
            let piece = if end.is_some() { piece.slice(..piece.len().min(left)) } else { piece };
            left -= if end.is_some() { piece.len() } else { 0 };
            if !piece.is_empty() {
                pieces.push_back(piece);
            }
        }
        Self::Played(Box::new(Player {
            source: None,
            shape,
            fault: None,
            pieces,
            sleep: None,
            end: end.unwrap_or(End::Complete),
            ending: true,
            declared: Some(declared),
            ticket,
            control,
        }))
    }

    pub(crate) fn events(
        stream: EventStream,
        shape: Shape,
        fault: Option<Fault>,
        mut ticket: Ticket,
        control: Arc<ConnectionControl>,
    ) -> Self {
        ticket.content_events = stream.content_events;
        let empty = fault == Some(Fault::Empty);
        Self::Played(Box::new(Player {
            source: (!empty).then_some(stream),
            shape,
            fault,
            pieces: VecDeque::new(),
            sleep: None,
            end: End::Complete,
            ending: empty,
            declared: None,
            ticket,
            control,
        }))
    }
}

/// What `garbage` sends in place of a whole answer.
const GARBAGE_BODY: &[u8] = b"<html><body><h1>502 Bad Gateway</h1></body>\xff\xfe{\"choi";
/// What `garbage` and `garbage_after` put into a stream: an event that is no JSON.
const GARBAGE_EVENT: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\n\n";

#[derive(Clone, Copy, PartialEq)]
enum End {
    Complete,
    /// FIN with the body unfinished.
    Cut,
    Reset,
}

/// Emits events one frame at a time.
pub(crate) struct Player {
    source: Option<EventStream>,
    shape: Shape,
    fault: Option<Fault>,
    /// Laid-out pieces of the current event.
    pieces: VecDeque<Bytes>,
    sleep: Option<Pin<Box<Sleep>>>,
    end: End,
    /// After the pieces comes the end.
    ending: bool,
    /// Content-Length, for whole bodies.
    declared: Option<usize>,
    ticket: Ticket,
    control: Arc<ConnectionControl>,
}

impl Player {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(context));
                self.sleep = None;
            }
            if let Some(piece) = self.pieces.pop_front() {
                self.gap_after_piece();
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.ending {
                return self.finish();
            }
            self.next_event();
        }
    }

    /// Keeps this piece from sharing a segment with what follows.
    fn gap_after_piece(&mut self) {
        let gap = match self.shape {
            Shape::SlowLoris(gap) => gap,
            _ if !self.pieces.is_empty() => SEGMENT_GAP,
            _ if self.ending && self.end != End::Complete => SEGMENT_GAP,
            _ => return,
        };
        self.sleep = Some(Box::pin(tokio::time::sleep(gap)));
    }

    fn finish(&mut self) -> Poll<Option<Result<Bytes, Broken>>> {
        match self.end {
            End::Complete => {
                self.ticket.end(Outcome::Completed);
                Poll::Ready(None)
            }
            End::Cut => {
                self.ticket.end(Outcome::Broken);
                Poll::Ready(Some(Err(Broken)))
            }
            End::Reset => {
                self.ticket.end(Outcome::Broken);
                // An error would have HTTP/2 end the stream politely first.
                self.control.reset_now();
                Poll::Pending
            }
        }
    }

    /// Puts the next event, or what the script has in its place, into `pieces`.
    fn next_event(&mut self) {
        let Some(stream) = &mut self.source else {
            self.ending = true;
            return;
        };
        let sent = self.ticket.sent;
        match self.fault {
            Some(Fault::Garbage) => {
                self.pieces.push_back(Bytes::from_static(GARBAGE_EVENT));
                self.ending = true;
                return;
            }
            Some(Fault::ResetAfter(after)) if sent >= after => return self.break_off(End::Reset),
            Some(Fault::CutAfter(after)) if sent >= after => return self.break_off(End::Cut),
            Some(Fault::GarbageAfter(after)) if sent >= after => {
                self.fault = None;
                self.pieces.push_back(Bytes::from_static(GARBAGE_EVENT));
                return;
            }
            Some(Fault::ErrorInStreamAfter(after)) if sent >= after => {
                let error = std::mem::take(&mut stream.error);
                self.source = None;
                self.pieces.extend(segments::shaped(error, self.shape));
                self.ending = true;
                return;
            }
            _ => {}
        }
        let Some(event) = stream.events.next() else {
            self.ending = true;
            return;
        };
        if event.content {
            let delay = stream.pace.before(sent);
            if !delay.is_zero() {
                self.sleep = Some(Box::pin(tokio::time::sleep(delay)));
            }
            self.ticket.sent += 1;
        }
        if self.shape == Shape::Plain {
            self.pieces.push_back(event.bytes);
        } else {
            self.pieces.extend(segments::shaped(event.bytes, self.shape));
        }
    }

    fn break_off(&mut self, end: End) {
        (self.source, self.end, self.ending) = (None, end, true);
        // What was sent before must reach the caller.
        self.sleep = Some(Box::pin(tokio::time::sleep(SEGMENT_GAP)));
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole { bytes, ticket } => {
                ticket.end(Outcome::Completed);
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Played(player) => {
                player.poll(context).map(|item| item.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { bytes, .. } => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Played(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = match self {
            Self::Whole { bytes, .. } => Some(bytes.as_ref().map_or(0, Bytes::len)),
            Self::Played(player) => player.declared,
        };
        exact.map_or_else(SizeHint::default, |length| SizeHint::with_exact(length as u64))
    }
}
