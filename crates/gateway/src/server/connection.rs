use std::net::{IpAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Phase;
use super::idle::{IdleGuard, IdleLimits, Watched};
use super::tls::TlsIdentity;
use crate::worker::Worker;

/// What a connection may do.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Most bytes of a request's headers.
    pub max_header_bytes: usize,
    /// Time from the first byte of a request to the end of its headers.
    pub header_read_timeout: Duration,
    /// Time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// Time that a caller may leave an answer unread.
    pub unread_timeout: Duration,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes of answers that are buffered for a caller who reads slowly, per connection.
    pub write_buffer_bytes: usize,
    /// Requests that one HTTP/2 connection may have in flight.
    pub max_concurrent_streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_header_bytes: 64 * 1024,
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            unread_timeout: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            write_buffer_bytes: 64 * 1024,
            max_concurrent_streams: 250,
        }
    }
}

/// The connections of one worker.
pub(super) struct Server {
    worker: Arc<Worker>,
    http: auto::Builder<TokioExecutor>,
    limits: ConnectionLimits,
    tls: Option<TlsIdentity>,
    phase: watch::Receiver<Phase>,
    open: Arc<AtomicUsize>,
}

/// Counts a connection for as long as it lives, however it ends.
struct Open {
    open: Arc<AtomicUsize>,
    worker: Arc<Worker>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.worker.metrics().connections.dec();
    }
}

impl Server {
    pub(super) fn new(
        worker: Arc<Worker>,
        limits: ConnectionLimits,
        tls: Option<TlsIdentity>,
        phase: watch::Receiver<Phase>,
        open: Arc<AtomicUsize>,
    ) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        // Headers have a deadline in `idle`; hyper's own would also end idle connections.
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(limits.max_header_bytes.max(8192));
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_send_buf_size(limits.write_buffer_bytes)
            .keep_alive_interval(Some(Duration::from_secs(30)))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { worker, http, limits, tls, phase, open }
    }

    /// Serves a connection in a task of its own. The connection is counted in `open` already.
    pub(super) fn serve(&self, socket: StdStream) {
        let counted = Open { open: Arc::clone(&self.open), worker: Arc::clone(&self.worker) };
        self.worker.metrics().connections.inc();
        let peer = socket.peer_addr().ok().map(|peer| peer.ip().to_canonical());
        let Ok(stream) = TcpStream::from_std(socket) else { return };
        _ = stream.set_nodelay(true);
        let http = self.http.clone();
        let phase = self.phase.clone();
        let limits = self.limits.clone();
        match self.tls.as_ref().map(TlsIdentity::acceptor) {
            None => {
                tokio::spawn(
                    async move { drive(http, stream, limits, phase, counted, peer).await },
                );
            }
            Some(acceptor) => {
                tokio::spawn(async move {
                    let handshake = acceptor.accept(stream);
                    let outcome = tokio::time::timeout(limits.handshake_timeout, handshake).await;
                    if let Ok(Ok(stream)) = outcome {
                        drive(http, stream, limits, phase, counted, peer).await;
                    }
                });
            }
        }
    }

    /// Keeps the runtime alive until the connections are gone or out of time.
    pub(super) async fn wait_until_cut(mut self) {
        _ = self.phase.wait_for(|phase| *phase == Phase::Cut).await;
    }
}

async fn drive<S>(
    http: auto::Builder<TokioExecutor>,
    stream: S,
    limits: ConnectionLimits,
    mut phase: watch::Receiver<Phase>,
    counted: Open,
    peer: Option<IpAddr>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle_limits = IdleLimits {
        headers: limits.header_read_timeout,
        idle: limits.idle_timeout,
        unread: limits.unread_timeout,
    };
    let (watched, activity) = Watched::new(stream, idle_limits);
    let worker = Arc::clone(&counted.worker);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let worker = Arc::clone(&worker);
        let guard = IdleGuard::new(&activity);
        async move { Ok::<_, std::convert::Infallible>(worker.answer(request, guard, peer).await) }
    });
    let connection = http.serve_connection_with_upgrades(TokioIo::new(watched), service);
    tokio::pin!(connection);
    let closing = phase.wait_for(|phase| *phase >= Phase::Closing);
    let ended = tokio::select! {
        _ = &mut connection => true,
        _ = closing => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = &mut connection => {}
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
        }
    }
    drop(counted);
}
