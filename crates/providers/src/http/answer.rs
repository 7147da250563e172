use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chat::{ApiError, ErrorKind};
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Instant, Sleep};

use super::pool::Lease;

/// The head of a provider's answer, and its body to come.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: AnswerBody,
}

/// A provider's answer while it arrives. Dropping it cancels what has not arrived: over HTTP/1 the
/// connection is closed, over HTTP/2 the stream is reset.
pub struct AnswerBody {
    incoming: Incoming,
    lease: Option<Lease>,
    provider: Arc<str>,
    idle: Duration,
    deadline: Instant,
    /// Since when nothing has come although somebody waits.
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    done: bool,
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AnswerBody").field("done", &self.done).finish_non_exhaustive()
    }
}

impl AnswerBody {
    pub(crate) fn new(
        incoming: Incoming,
        lease: Option<Lease>,
        provider: Arc<str>,
        idle: Duration,
        deadline: Instant,
    ) -> Self {
        Self {
            incoming,
            lease,
            provider,
            idle,
            deadline,
            waiting_since: None,
            timer: None,
            done: false,
        }
    }

    /// The next piece; `None` at the proper end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ApiError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`AnswerBody::next`], for those who poll.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ApiError>>> {
        loop {
            if self.done {
                return Poll::Ready(None);
            }
            match self.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.waiting_since = None;
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.done = true;
                    self.lease = None;
                    return Poll::Ready(Some(Err(self.broken(&error))));
                }
                Poll::Ready(None) => {
                    self.done = true;
                    if let Some(lease) = self.lease.take() {
                        lease.give_back();
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if self.poll_late(context).is_pending() {
                        return Poll::Pending;
                    }
                    self.done = true;
                    self.lease = None;
                    return Poll::Ready(Some(Err(self.late())));
                }
            }
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(context);
        match &mut self.lease {
            Some(lease) if frame.is_pending() => lease.drive(context),
            _ => return frame,
        }
        Pin::new(&mut self.incoming).poll_frame(context)
    }

    /// Whether other answers come over the same connection, which then moves by itself.
    #[must_use]
    pub fn shares_connection(&self) -> bool {
        self.lease.is_none()
    }

    /// Ready when the wait has lasted too long. The timer moves only when it fires.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let due = (since + self.idle).min(self.deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }

    fn broken(&self, error: &hyper::Error) -> ApiError {
        let reason = if error.is_incomplete_message() || error.is_body_write_aborted() {
            "closed the connection"
        } else {
            "broke the connection"
        };
        ApiError::new(
            ErrorKind::BadGateway,
            format!("the provider `{}` {reason} in the middle of the answer", self.provider),
        )
        .with_code("stream_interrupted")
    }

    fn late(&self) -> ApiError {
        let provider = &self.provider;
        if Instant::now() >= self.deadline {
            return ApiError::new(
                ErrorKind::Timeout,
                format!("the provider `{provider}` did not finish its answer in time"),
            )
            .with_code("provider_total_timeout");
        }
        ApiError::new(
            ErrorKind::Timeout,
            format!(
                "the provider `{provider}` sent nothing for {} ms in the middle of its answer",
                self.idle.as_millis()
            ),
        )
        .with_code("provider_idle_timeout")
    }
}
