//! The listener: connections to workers, requests to providers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::answer::{Answer, Payload};
use crate::control;
use crate::exchange::Exchange;
use crate::providers::Provider;
use crate::request_log::{Outcome, Record};
use crate::tls::Tls;
use crate::transport::{Body, Broken, ConnectionControl, Ticket};
use crate::world::WorldHandle;

/// Larger bodies are answered 413.
const BODY_LIMIT: usize = 256 << 20;

/// The threads that serve; stopped when dropped.
pub(crate) struct Workers {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Serves `listener` on `count` threads, each with a runtime of its own; the first accepts
    /// and deals connections out in turn.
    pub(crate) fn start(
        listener: TcpListener,
        world: &WorldHandle,
        tls: Option<&Arc<Tls>>,
        count: usize,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        let mut hands = Vec::new();
        for index in 1..count.max(1) {
            let (hand, mut sockets) = mpsc::unbounded_channel::<std::net::TcpStream>();
            hands.push(hand);
            let service = Service { world: world.clone(), tls: tls.cloned() };
            let mut stopped = stopped.clone();
            threads.push(spawn(index, async move {
                loop {
                    tokio::select! {
                        socket = sockets.recv() => match socket {
                            Some(socket) => service.serve_std(socket),
                            None => return,
                        },
                        _ = stopped.changed() => return,
                    }
                }
            })?);
        }
        let service = Service { world: world.clone(), tls: tls.cloned() };
        let mut stopped = stopped;
        threads.push(spawn(0, async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let mut turn = 0;
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = stopped.changed() => return,
                };
                let Ok((socket, _)) = accepted else {
                    // Out of descriptors: give the others time to close theirs.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    continue;
                };
                turn = (turn + 1) % (hands.len() + 1);
                match turn.checked_sub(1).and_then(|other| hands.get(other)) {
                    None => service.serve(socket),
                    Some(hand) => {
                        if let Ok(socket) = socket.into_std() {
                            let _ = hand.send(socket);
                        }
                    }
                }
            }
        })?);
        Ok(Self { stop, threads })
    }

    /// Breaks open connections and waits for the threads.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(
    index: usize,
    work: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name(format!("simulator-{index}"))
        .spawn(move || runtime.block_on(work))
}

#[derive(Clone)]
struct Service {
    world: WorldHandle,
    tls: Option<Arc<Tls>>,
}

impl Service {
    fn serve_std(&self, socket: std::net::TcpStream) {
        if let Ok(socket) = TcpStream::from_std(socket) {
            self.serve(socket);
        }
    }

    fn serve(&self, socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        let control = Arc::new(ConnectionControl::default());
        let service = self.clone();
        tokio::spawn(async move {
            // One port for both: a TLS handshake starts with 0x16, no HTTP request does.
            let mut first = [0];
            if let Some(tls) = &service.tls
                && matches!(socket.peek(&mut first).await, Ok(1))
                && first[0] == 0x16
            {
                let wire = Wire { socket, control: control.clone() };
                if let Ok(stream) = tls.acceptor.accept(wire).await {
                    service.connection(stream, control).await;
                }
                return;
            }
            let wire = Wire { socket, control: control.clone() };
            service.connection(wire, control).await;
        });
    }

    async fn connection(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        control: Arc<ConnectionControl>,
    ) {
        let service = service_fn(|request| self.request(request, control.clone()));
        let broken = control.broken();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().max_concurrent_streams(4096);
        tokio::select! {
            // An error is a peer that left or a break on purpose; both are in the request log.
            _ = builder.serve_connection(TokioIo::new(stream), service) => {}
            () = broken => {}
        }
    }

    fn request(
        &self,
        request: Request<Incoming>,
        control: Arc<ConnectionControl>,
    ) -> impl Future<Output = Result<Response<Body>, Broken>> + Send + 'static {
        let (world, tls) = (self.world.clone(), self.tls.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = match Limited::new(body, BODY_LIMIT).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => {
                    let record = Arc::new(Record::new(parts, Bytes::new(), world.next_arrival()));
                    let ticket = Ticket::new(world, record);
                    let too_large = r#"{"error":{"message":"Request body too large"}}"#;
                    return play(Answer::json(413, too_large), ticket, control).await;
                }
                Err(_) => return Err(Broken),
            };
            let path = parts.uri.path();
            if path.starts_with("/_sim") {
                let record = Arc::new(Record::new(parts, body, 0));
                let exchange = Exchange { world: world.clone(), record: record.clone(), prefix: 5 };
                let pem = tls.as_ref().map(|tls| tls.ca_pem.as_str());
                let answer = control::handle(&exchange, pem);
                return play(answer, Ticket::new(world, record), control).await;
            }
            let provider = Provider::of_path(path);
            let record = Arc::new(Record::new(parts, body, world.next_arrival()));
            world.requests.push(record.clone());
            let ticket = Ticket::new(world.clone(), record.clone());
            let answer = match provider {
                Some(provider) => {
                    let prefix = provider.name().len() + 1;
                    provider.handle(&Exchange { world, record, prefix })
                }
                None => Answer::json(404, unknown_path()),
            };
            play(answer, ticket, control).await
        }
    }
}

fn unknown_path() -> String {
    let names: Vec<&str> = Provider::ALL.iter().map(|provider| provider.name()).collect();
    let message = format!("no such path; a path starts with one of: {}", names.join(", "));
    serde_json::json!({ "error": message }).to_string()
}

async fn play(
    answer: Answer,
    mut ticket: Ticket,
    control: Arc<ConnectionControl>,
) -> Result<Response<Body>, Broken> {
    if !answer.hold.is_zero() {
        tokio::time::sleep(answer.hold).await;
    }
    let body = match answer.payload {
        Payload::Hang => return std::future::pending().await,
        Payload::Reset => {
            control.reset_now();
            ticket.end(Outcome::Broken);
            return std::future::pending().await;
        }
        Payload::Whole(bytes) => {
            ticket.charge(answer.charge);
            ticket.status(answer.status.as_u16());
            Body::whole(bytes, answer.shape, answer.fault.as_ref(), ticket, control)
        }
        Payload::Events(stream) => {
            ticket.charge(answer.charge);
            ticket.status(answer.status.as_u16());
            Body::events(stream, answer.shape, answer.fault, ticket, control)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

/// The socket below a connection; closes with RST when told to.
struct Wire {
    socket: TcpStream,
    control: Arc<ConnectionControl>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.control.resets() {
            let socket = socket2::SockRef::from(&self.socket);
            let _ = socket.set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.resets() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Binds with a backlog that a burst of connections does not overflow.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
