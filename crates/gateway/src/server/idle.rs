//! Ends connections on which nothing happens: a request whose headers do not end in time, and a
//! connection without requests. While a request is served it only minds a caller who does not
//! read the answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What every HTTP/2 connection begins with (RFC 9113, 3.4), as far as one byte can tell.
const HTTP2_PREFACE_START: &[u8] = b"PRI";

#[derive(Debug, Clone, Copy)]
pub(super) struct IdleLimits {
    /// From the first byte of a request to the end of its headers.
    pub(super) headers: Duration,
    /// Without any request.
    pub(super) idle: Duration,
    /// With an answer that the caller does not read.
    pub(super) unread: Duration,
}

/// How many requests of a connection are being served, and how many were.
#[derive(Debug, Default)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    served: AtomicUsize,
}

/// Held while a request is served.
#[derive(Debug)]
pub(crate) struct IdleGuard(Arc<Activity>);

impl IdleGuard {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.served.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for IdleGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that fails with `TimedOut` when its limits are passed.
pub(super) struct Watched<S> {
    stream: S,
    limits: IdleLimits,
    activity: Arc<Activity>,
    timer: Pin<Box<Sleep>>,
    /// Since when the present wait lasts, and for what.
    since: Instant,
    waiting: Waiting,
    /// `Activity::served` when the present wait began.
    served: usize,
    multiplexed: bool,
    /// Runs while the caller does not read.
    unread: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the first byte of a request.
    Request,
    /// For the end of its headers.
    Headers,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, limits: IdleLimits) -> (Self, Arc<Activity>) {
        let activity = Arc::new(Activity::default());
        let now = Instant::now();
        let watched = Self {
            stream,
            limits,
            activity: Arc::clone(&activity),
            timer: Box::pin(tokio::time::sleep_until(now + limits.headers)),
            since: now,
            // A connection is opened to send something.
            waiting: Waiting::Headers,
            served: 0,
            multiplexed: false,
            unread: None,
        };
        (watched, activity)
    }

    fn limit(&self) -> Duration {
        match self.waiting {
            Waiting::Headers if !self.multiplexed => self.limits.headers,
            _ => self.limits.idle,
        }
    }

    /// Whether the present wait has lasted too long; if not, makes sure of being polled when it
    /// will have.
    fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let served = self.activity.served.load(Ordering::Relaxed);
        let busy = self.activity.in_flight.load(Ordering::Relaxed) > 0;
        if busy || served != self.served {
            self.served = served;
            self.waiting = Waiting::Request;
            self.since = Instant::now();
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let deadline = self.since + self.limit();
            let now = Instant::now();
            let busy = self.activity.in_flight.load(Ordering::Relaxed) > 0;
            if deadline <= now && !busy {
                return Poll::Ready(());
            }
            let next = if busy { now + self.limits.idle } else { deadline };
            self.timer.as_mut().reset(next);
        }
    }

    /// Passes on the outcome of a write, unless the caller has not read for too long.
    fn minding_reader<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.unread = None;
            return outcome;
        }
        let limit = self.limits.unread;
        let timer = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Bytes came: the first ones of a request start the clock of its headers.
    fn received(&mut self, bytes: &[u8]) {
        if self.served == 0 && bytes.starts_with(HTTP2_PREFACE_START) {
            self.multiplexed = true;
        }
        if self.multiplexed {
            self.since = Instant::now();
            return;
        }
        let idle = self.activity.in_flight.load(Ordering::Relaxed) == 0;
        if idle && self.waiting == Waiting::Request {
            self.waiting = Waiting::Headers;
            self.since = Instant::now();
            let deadline = self.since + self.limits.headers;
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                let received = &buffer.filled()[before..];
                if !received.is_empty() {
                    this.received(received);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(this.poll_expired(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.minding_reader(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.minding_reader(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMITS: IdleLimits = IdleLimits {
        headers: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        unread: Duration::from_secs(60),
    };

    fn watched() -> (DuplexStream, Watched<DuplexStream>, Arc<Activity>) {
        let (client, server) = duplex(1024);
        let (watched, activity) = Watched::new(server, LIMITS);
        (client, watched, activity)
    }

    async fn reads_until_timeout(stream: &mut Watched<DuplexStream>) -> Duration {
        let start = Instant::now();
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => panic!("the peer is still there"),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return start.elapsed();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_do_not_end_are_not_waited_for() {
        let (mut client, mut server, _activity) = watched();
        let drip = tokio::spawn(async move {
            for _ in 0..60 {
                if client.write_all(b"x").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let took = reads_until_timeout(&mut server).await;
        drip.abort();
        assert!((10..12).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_is_never_cut_and_idleness_is() {
        let (mut client, mut server, activity) = watched();
        client.write_all(b"GET").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 3);
        let guard = IdleGuard::new(&activity);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            drop(guard);
        });
        let took = reads_until_timeout(&mut server).await;
        assert!(took.as_secs() >= 1000 && took.as_secs() <= 1000 + 2 * 120, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_is_given_up() {
        let (_client, mut server, activity) = watched();
        let _guard = IdleGuard::new(&activity);
        let start = Instant::now();
        let error = server.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_request_has_its_own_clock() {
        let (mut client, mut server, activity) = watched();
        client.write_all(b"GET").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 3);
        drop(IdleGuard::new(&activity));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(50)).await;
            client.write_all(b"GE").await.unwrap();
            tokio::time::sleep(Duration::from_secs(500)).await;
        });
        let took = reads_until_timeout(&mut server).await;
        assert!((60..63).contains(&took.as_secs()), "{took:?}");
    }
}
