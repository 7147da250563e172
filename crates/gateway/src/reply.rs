use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use hyper::body::{Body, Frame, SizeHint};

use crate::relay::Relay;
use crate::server::IdleGuard;

/// The body of an answer to a caller.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    content: Content,
    /// Keeps the connection from being idle for as long as the answer lasts.
    guard: Option<IdleGuard>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Stream(Box<Relay>),
}

/// An answer that broke off: the connection is cut so that nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

impl ReplyBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { content: Content::Whole((!bytes.is_empty()).then_some(bytes)), guard: None }
    }

    pub(crate) fn stream(relay: Box<Relay>) -> Self {
        Self { content: Content::Stream(relay), guard: None }
    }

    pub(crate) fn guarded(mut self, guard: IdleGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The bytes of a whole answer; `None`: it is a stream.
    pub(crate) fn whole_bytes(&self) -> Option<Bytes> {
        match &self.content {
            Content::Whole(bytes) => bytes.clone(),
            Content::Stream(_) => None,
        }
    }

    /// The relay of a stream.
    pub(crate) fn into_relay(self) -> Result<Box<Relay>, Bytes> {
        match self.content {
            Content::Stream(relay) => Ok(relay),
            Content::Whole(bytes) => Err(bytes.unwrap_or_default()),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Stream(relay) => {
                relay.poll_piece(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer of JSON.
pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(body));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A stream of server-sent events.
pub(crate) fn event_stream(relay: Box<Relay>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::stream(relay));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx in front of us would collect the stream otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
