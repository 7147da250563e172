use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::body::Segments;
use super::connect::Transport;

/// An HTTP/1 connection, for one request at a time. It has no task of its own: whoever waits for
/// something of it moves it, so that a piece of an answer wakes one task and not two.
pub(super) struct Exclusive {
    sender: http1::SendRequest<Segments>,
    driver: Pin<Box<http1::Connection<TokioIo<Transport>, Segments>>>,
    ended: bool,
}

impl std::fmt::Debug for Exclusive {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exclusive").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Exclusive {
    pub(super) async fn handshake(transport: Transport) -> hyper::Result<Self> {
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(transport)).await?;
        Ok(Self { sender, driver: Box::pin(connection), ended: false })
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        if !self.ended {
            // Why it ended is told to the request or the body that it cuts off.
            self.ended = self.driver.as_mut().poll(context).is_ready();
        }
    }

    /// Notices, without waiting, what has happened since the connection was last used.
    pub(super) fn look(&mut self) {
        self.drive(&mut Context::from_waker(Waker::noop()));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.ended || self.sender.is_closed()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until it takes a request; `false` if it ended instead.
    pub(super) async fn ready(&mut self) -> bool {
        poll_fn(|context| {
            self.drive(context);
            self.sender.poll_ready(context)
        })
        .await
        .is_ok()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Segments>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Segments>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            if !self.ended {
                self.ended = self.driver.as_mut().poll(context).is_ready();
            }
            answer.as_mut().poll(context)
        })
        .await
    }
}
