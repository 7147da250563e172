use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::{AlertDescription, CertificateError};

use super::body::Segments;
use super::connect::{Http2, Origin, Transport};
use super::exclusive::Exclusive;
use super::pool::{Connection, Lease, Pool};

/// How long a connection that was given back may take to be ready for the next request. One that
/// takes longer still sends a body that nobody reads.
const SETTLING: Duration = Duration::from_millis(50);

/// The connections of one worker to all providers. Cheap to clone; clones share the connections.
#[derive(Debug, Clone, Default)]
pub struct HttpClient {
    pools: Arc<Mutex<HashMap<u64, Arc<Pool>>>>,
}

/// A request on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Segments,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("no connection: {}", explain(.0))]
    Connect(#[from] io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("the connection broke: {}", explain(.0))]
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
        mut outgoing: Outgoing,
        connect_timeout: Duration,
    ) -> Result<(Response<Incoming>, Option<Lease>), SendError> {
        let pool = self.pool(origin);
        while let Some(connection) = pool.take() {
            let refused = match connection {
                Connection::Multiplexed(mut sender) => {
                    match sender.try_send_request(absolute(origin, outgoing)).await {
                        Ok(response) => return Ok((response, None)),
                        Err(refused) => refused,
                    }
                }
                Connection::Exclusive(mut connection) => {
                    if !connection.is_ready() {
                        let settled = tokio::time::timeout(SETTLING, connection.ready()).await;
                        if settled != Ok(true) {
                            continue;
                        }
                    }
                    match connection.send(relative(origin, outgoing)).await {
                        Ok(response) => return Ok((response, Some(Lease::new(pool, connection)))),
                        Err(refused) => refused,
                    }
                }
            };
            let mut refused = refused;
            let Some(request) = refused.take_message() else {
                return Err(refused.into_error().into());
            };
            pool.forget_multiplexed();
            outgoing = into_outgoing(request);
        }
        // Opening a connection is rare and its future large: requests do not carry it with them.
        match Box::pin(open(origin, &pool, connect_timeout)).await? {
            Connection::Multiplexed(mut sender) => {
                Ok((sender.send_request(absolute(origin, outgoing)).await?, None))
            }
            Connection::Exclusive(mut connection) => {
                let sent = connection.send(relative(origin, outgoing)).await;
                let response = sent.map_err(TrySendError::into_error)?;
                Ok((response, Some(Lease::new(pool, connection))))
            }
        }
    }

    /// Opens up to `connections` connections that wait for requests; one, where requests share it.
    pub(crate) async fn warm(
        &self,
        origin: &Origin,
        connections: usize,
        connect_timeout: Duration,
    ) -> Result<(), SendError> {
        let pool = self.pool(origin);
        for _ in 0..connections.min(origin.options.max_idle) {
            match open(origin, &pool, connect_timeout).await? {
                Connection::Exclusive(connection) => {
                    Lease::new(Arc::clone(&pool), connection).give_back();
                }
                Connection::Multiplexed(_) => break,
            }
        }
        Ok(())
    }

    fn pool(&self, origin: &Origin) -> Arc<Pool> {
        if origin.options.max_idle == 0 && origin.options.http2 == Http2::Never {
            return Arc::new(Pool::new(origin));
        }
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(&origin.id) {
            return Arc::clone(pool);
        }
        // The time to forget providers that a change of the configuration has removed.
        pools.retain(|_, pool| !pool.is_orphaned());
        Arc::clone(pools.entry(origin.id).or_insert_with(|| Arc::new(Pool::new(origin))))
    }
}

/// Opens a connection. Where it may turn out to serve everybody, one opens it and the others wait.
async fn open(
    origin: &Origin,
    pool: &Pool,
    connect_timeout: Duration,
) -> Result<Connection, SendError> {
    let mut opening = None;
    if pool.may_multiplex() {
        match pool.opening.try_lock() {
            Ok(held) => opening = Some(held),
            Err(_) => {
                drop(pool.opening.lock().await);
                if let Some(opened) = pool.multiplexed() {
                    return Ok(opened);
                }
            }
        }
    }
    let connecting = async {
        let transport = origin.connect().await?;
        let multiplex =
            origin.options.http2 == Http2::PriorKnowledge || transport.negotiated_http2();
        speak(transport, multiplex).await
    };
    let connected = tokio::time::timeout(connect_timeout, connecting).await;
    let connection = connected.map_err(|_| SendError::ConnectTimeout(connect_timeout))??;
    pool.opened(&connection);
    drop(opening);
    Ok(connection)
}

async fn speak(transport: Transport, multiplex: bool) -> Result<Connection, SendError> {
    if !multiplex {
        return Ok(Connection::Exclusive(Exclusive::handshake(transport).await?));
    }
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .adaptive_window(true)
        .handshake(TokioIo::new(transport))
        .await?;
    tokio::spawn(connection);
    Ok(Connection::Multiplexed(sender))
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
    // HTTP/2 says it in `:authority`.
    request.headers_mut().remove(header::HOST);
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

/// The innermost cause, which is the one that helps, and the remedy where there is one.
fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return explain_tls(tls);
        }
        // `io::Error` passes over the error within it and names the source of that one.
        let within = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match within {
            Some(within) => within,
            None => match cause.source() {
                Some(source) => source,
                None => return cause.to_string(),
            },
        };
    }
}

fn explain_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "its certificate comes from an authority that is not trusted here; name the PEM file \
              of that authority in `ca_bundle`"
            .to_owned(),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::HandshakeFailure
            | AlertDescription::AccessDenied,
        ) => format!("{error}; does it want another `client_certificate`?"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::OriginOptions;

    #[test]
    fn pools_of_origins_that_are_gone_are_forgotten() {
        let client = HttpClient::new();
        let origin =
            |url: &'static str, options| Origin::new(&Uri::from_static(url), options).ok().unwrap();
        for _ in 0..3 {
            client.pool(&origin("http://127.0.0.1:1", OriginOptions::new()));
        }
        let never_kept = OriginOptions { max_idle: 0, http2: Http2::Never, ..OriginOptions::new() };
        client.pool(&origin("http://127.0.0.1:1", never_kept));
        assert_eq!(client.pools.lock().len(), 1);
    }

    #[test]
    fn causes_are_told_with_their_remedy() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = SendError::Connect(io::Error::new(io::ErrorKind::InvalidData, unknown));
        assert!(error.to_string().contains("`ca_bundle`"), "{error}");
        let refused = SendError::Connect(io::Error::from_raw_os_error(111));
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
}
