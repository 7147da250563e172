//! Sockets, threads and their end: accepts connections, hands each to a worker, drains on demand.
//!
//! A worker is a thread with a runtime of its own, its own connections to providers and no work
//! stealing: a request is served from first to last byte on one core, and nothing on its way is
//! shared with another but counters.

mod connection;
mod idle;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use connection::ConnectionLimits;
pub(crate) use idle::IdleGuard;
pub use tls::{TlsError, TlsFiles, TlsIdentity};

use crate::gateway::Gateway;
use crate::worker::Worker;

/// How the server listens. Fixed for the life of the process.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Threads that serve; at least 1.
    pub workers: usize,
    /// What a connection may do.
    pub limits: ConnectionLimits,
    /// Most connections at a time; one more is closed at once.
    pub max_connections: usize,
    /// Time between readiness going false and the listener closing, for a load balancer to notice.
    pub drain_delay: Duration,
    /// Time that requests in flight get to finish after that.
    pub drain_timeout: Duration,
}

/// What the process is doing, for all who must stop with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Taking requests.
    Serving,
    /// Not ready any more, but still taking requests.
    Draining,
    /// Finishing what is in flight.
    Closing,
    /// Out of time: connections are cut.
    Cut,
}

struct WorkerHandle {
    sockets: mpsc::UnboundedSender<StdStream>,
    open: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

/// A listener that is bound, and workers that wait for its connections.
pub struct Server {
    listener: TcpListener,
    options: ServerOptions,
    workers: Vec<WorkerHandle>,
    gateway: Arc<Gateway>,
    phase: watch::Sender<Phase>,
}

impl Server {
    /// Binds the listener and starts the workers. Must run within a tokio runtime, which will
    /// accept connections.
    ///
    /// # Errors
    /// When the address cannot be bound or threads cannot be started.
    pub fn bind(
        options: ServerOptions,
        tls: Option<TlsIdentity>,
        gateway: Arc<Gateway>,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listen(options.listen)?)?;
        let (phase, _) = watch::channel(Phase::Serving);
        let workers = (0..options.workers.max(1))
            .map(|number| start_worker(number, &options, tls.clone(), Arc::clone(&gateway), &phase))
            .collect::<io::Result<_>>()?;
        Ok(Self { listener, options, workers, gateway, phase })
    }

    /// The address that was bound, with the port the system chose if 0 was asked for.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until `stop` completes, then drains: readiness goes false, after the
    /// drain delay the listener closes, requests in flight finish, and what has not finished after
    /// the drain timeout is cut. Returns whether all finished in time.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let Self { listener, options, workers, gateway, phase } = self;
        tokio::pin!(stop);
        let mut stopping = false;
        let delay = tokio::time::sleep(Duration::MAX / 4);
        tokio::pin!(delay);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => hand_over(stream, &workers, &options, &gateway),
                    Err(error) => {
                        // Out of file descriptors, usually: waiting lets some be freed.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
                () = &mut stop, if !stopping => {
                    stopping = true;
                    gateway.set_draining();
                    phase.send_replace(Phase::Draining);
                    delay.as_mut().reset(tokio::time::Instant::now() + options.drain_delay);
                }
                () = &mut delay, if stopping => break,
            }
        }
        drop(listener);
        phase.send_replace(Phase::Closing);
        let finished =
            tokio::time::timeout(options.drain_timeout, all_closed(&workers, &gateway)).await;
        phase.send_replace(Phase::Cut);
        for worker in workers {
            drop(worker.sockets);
            // The thread ends as soon as its last connection is gone, which the phase has told it.
            _ = tokio::task::spawn_blocking(move || worker.thread.join()).await;
        }
        finished.is_ok()
    }
}

/// Binds a listener that a restarted process can bind again at once.
fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn start_worker(
    number: usize,
    options: &ServerOptions,
    tls: Option<TlsIdentity>,
    gateway: Arc<Gateway>,
    phase: &watch::Sender<Phase>,
) -> io::Result<WorkerHandle> {
    let (sockets, mut incoming) = mpsc::unbounded_channel::<StdStream>();
    let open = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = options.limits.clone();
    let phase = phase.subscribe();
    let counter = Arc::clone(&open);
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async move {
            let worker = Arc::new(Worker::new(gateway));
            tokio::spawn(Arc::clone(&worker).keep_warm());
            let server = connection::Server::new(worker, limits, tls, phase.clone(), counter);
            while let Some(socket) = incoming.recv().await {
                server.serve(socket);
            }
            server.wait_until_cut().await;
        });
    })?;
    Ok(WorkerHandle { sockets, open, thread })
}

fn hand_over(
    stream: tokio::net::TcpStream,
    workers: &[WorkerHandle],
    options: &ServerOptions,
    gateway: &Gateway,
) {
    let total: usize = workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum();
    if total >= options.max_connections {
        gateway.metrics().refused_connections.inc();
        return;
    }
    let least = workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
    if let (Some(worker), Ok(socket)) = (least, stream.into_std()) {
        worker.open.fetch_add(1, Ordering::Relaxed);
        if worker.sockets.send(socket).is_err() {
            worker.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Connections are gone, and so are requests on WebSockets, which have left their connection.
async fn all_closed(workers: &[WorkerHandle], gateway: &Gateway) {
    while gateway.metrics().in_flight.get() > 0
        || workers.iter().any(|worker| worker.open.load(Ordering::Relaxed) > 0)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
