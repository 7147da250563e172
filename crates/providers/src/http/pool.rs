use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Segments;
use super::connect::{Http2, Origin, Transport};

/// The connections of one worker to all providers. Cheap to clone; clones share the connections.
#[derive(Debug, Clone, Default)]
pub struct HttpClient {
    pools: Arc<Mutex<HashMap<u64, Pool>>>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Idle>,
    multiplexed: Option<http2::SendRequest<Segments>>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Segments>,
    since: Instant,
}

/// A request on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Segments,
}

/// An HTTP/1 connection that is busy with an answer, to be given back when it has been read.
#[derive(Debug)]
pub(crate) struct Lease {
    client: HttpClient,
    origin: u64,
    max_idle: usize,
    sender: http1::SendRequest<Segments>,
}

impl Lease {
    /// The answer has been read to its end.
    pub(crate) fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut pools = self.client.pools.lock();
        let pool = pools.entry(self.origin).or_default();
        if pool.idle.len() < self.max_idle {
            pool.idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
}

impl HttpClient {
    /// A client without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a request and waits for the head of its answer. A pooled connection that turns out to
    /// be closed before the request was written is replaced.
    pub(crate) async fn send(
        &self,
        origin: &Origin,
        outgoing: Outgoing,
        connect_timeout: Duration,
    ) -> Result<(Response<Incoming>, Option<Lease>), SendError> {
        if let Some(mut sender) = self.multiplexed(origin) {
            let request = absolute(origin, outgoing);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, None)),
                Err(mut failed) => {
                    self.pools.lock().entry(origin.id).or_default().multiplexed = None;
                    let Some(request) = failed.take_message() else {
                        return Err(failed.into_error().into());
                    };
                    let outgoing = into_outgoing(request);
                    return Box::pin(self.send_fresh(origin, outgoing, connect_timeout)).await;
                }
            }
        }
        let mut outgoing = outgoing;
        while let Some(mut sender) = self.idle(origin) {
            // A connection that was given back a moment ago may not have noticed yet.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(relative(origin, outgoing)).await {
                Ok(response) => return Ok((response, Some(self.lease(origin, sender)))),
                Err(mut failed) => match failed.take_message() {
                    Some(request) => outgoing = into_outgoing(request),
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        // Opening a connection is rare and its future large: requests do not carry it with them.
        Box::pin(self.send_fresh(origin, outgoing, connect_timeout)).await
    }

    async fn send_fresh(
        &self,
        origin: &Origin,
        outgoing: Outgoing,
        connect_timeout: Duration,
    ) -> Result<(Response<Incoming>, Option<Lease>), SendError> {
        let connecting = tokio::time::timeout(connect_timeout, origin.connect()).await;
        let transport = connecting.map_err(|_| SendError::ConnectTimeout(connect_timeout))??;
        let multiplex =
            origin.options.http2 == Http2::PriorKnowledge || transport.negotiated_http2();
        match transport {
            Transport::Plain(stream) => self.speak(origin, outgoing, stream, multiplex).await,
            Transport::Tls(stream) => self.speak(origin, outgoing, *stream, multiplex).await,
        }
    }

    async fn speak<S>(
        &self,
        origin: &Origin,
        outgoing: Outgoing,
        stream: S,
        multiplex: bool,
    ) -> Result<(Response<Incoming>, Option<Lease>), SendError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        if multiplex {
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(20))
                .adaptive_window(true)
                .handshake(io)
                .await?;
            tokio::spawn(connection);
            self.pools.lock().entry(origin.id).or_default().multiplexed = Some(sender.clone());
            return Ok((sender.send_request(absolute(origin, outgoing)).await?, None));
        }
        let (mut sender, connection) = http1::Builder::new().handshake(io).await?;
        tokio::spawn(connection);
        let response = sender.send_request(relative(origin, outgoing)).await?;
        Ok((response, Some(self.lease(origin, sender))))
    }

    fn lease(&self, origin: &Origin, sender: http1::SendRequest<Segments>) -> Lease {
        Lease { client: self.clone(), origin: origin.id, max_idle: origin.options.max_idle, sender }
    }

    fn idle(&self, origin: &Origin) -> Option<http1::SendRequest<Segments>> {
        let mut pools = self.pools.lock();
        let idle = &mut pools.get_mut(&origin.id)?.idle;
        while let Some(last) = idle.pop() {
            if last.since.elapsed() > origin.options.idle_timeout {
                // Those below it are older still.
                idle.clear();
                return None;
            }
            if !last.sender.is_closed() {
                return Some(last.sender);
            }
        }
        None
    }

    fn multiplexed(&self, origin: &Origin) -> Option<http2::SendRequest<Segments>> {
        let mut pools = self.pools.lock();
        let pool = pools.get_mut(&origin.id)?;
        if pool.multiplexed.as_ref().is_some_and(http2::SendRequest::is_closed) {
            pool.multiplexed = None;
        }
        pool.multiplexed.clone()
    }
}

fn relative(origin: &Origin, outgoing: Outgoing) -> Request<Segments> {
    let mut request = Request::new(outgoing.body);
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = Uri::from(outgoing.path);
    *request.headers_mut() = outgoing.headers;
    request.headers_mut().insert(header::HOST, origin.host_header.clone());
    request
}

fn absolute(origin: &Origin, outgoing: Outgoing) -> Request<Segments> {
    let mut request = Request::new(outgoing.body);
    *request.method_mut() = outgoing.method;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(origin.scheme.clone());
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query = Some(outgoing.path);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.headers_mut() = outgoing.headers;
    request
}

fn into_outgoing(request: Request<Segments>) -> Outgoing {
    let (parts, body) = request.into_parts();
    let path = parts.uri.into_parts().path_and_query;
    Outgoing {
        method: parts.method,
        path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        headers: parts.headers,
        body,
    }
}
