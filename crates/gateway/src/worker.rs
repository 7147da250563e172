use std::cell::RefCell;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use chat::{ApiError, ErrorKind};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use providers::{HttpClient, Provider};
use telemetry::Metrics;

use crate::batching::EmbeddingBatches;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::reply::ReplyBody;
use crate::server::IdleGuard;
use crate::surface::{self, Surface, Vendor};
use crate::{codec, feedback, models, pipeline, websocket};

/// What one thread needs to serve requests: the shared gateway and its own connections to
/// providers.
pub(crate) struct Worker {
    gateway: Arc<Gateway>,
    http: HttpClient,
    embedding_batches: EmbeddingBatches,
}

/// Connections opened to a provider before there is a request for one.
const WARM_CONNECTIONS: usize = 1;
/// Longest request id of a caller that is taken over.
const MAX_REQUEST_ID: usize = 128;

impl Worker {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, http: HttpClient::new(), embedding_batches: EmbeddingBatches::default() }
    }

    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Requests for embeddings that wait to be sent together.
    pub(crate) fn embedding_batches(&self) -> &EmbeddingBatches {
        &self.embedding_batches
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        self.gateway.metrics()
    }

    /// Opens a connection to each provider, now and to each new one that a reload brings, and gets
    /// their tokens. Runs until the worker's runtime ends; a provider that cannot be reached is left
    /// to the requests for it.
    pub(crate) async fn keep_warm(self: Arc<Self>) {
        let mut published = self.gateway.published();
        // Weak: providers that a reload has removed must be able to go.
        let mut warmed: Vec<Weak<Provider>> = Vec::new();
        loop {
            let snapshot = self.gateway.snapshot();
            let mut current = Vec::new();
            for (provider, timeouts) in snapshot.providers() {
                let known = Arc::downgrade(provider);
                if !warmed.iter().any(|seen| seen.ptr_eq(&known)) {
                    let (provider, http) = (Arc::clone(provider), self.http.clone());
                    tokio::spawn(async move {
                        let warming = provider.warm(&http, WARM_CONNECTIONS, &timeouts);
                        if let Err(error) = warming.await {
                            let provider = provider.name();
                            tracing::debug!(
                                gen_ai.provider.name = provider,
                                %error,
                                "no connection could be opened ahead of requests"
                            );
                        }
                    });
                }
                current.push(known);
            }
            drop(snapshot);
            warmed = current;
            if published.changed().await.is_err() {
                return;
            }
        }
    }

    /// Answers one request, whatever happens.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        guard: IdleGuard,
        peer: Option<IpAddr>,
    ) -> Response<ReplyBody> {
        let request_id = request_id(request.headers());
        let vendor = surface::vendor_of(request.uri().path(), request.headers());
        let answering = AssertUnwindSafe(self.route(request, &request_id, peer)).catch_unwind();
        let mut response = answering.await.unwrap_or_else(|_| {
            self.metrics().panics.inc();
            tracing::error!(request_id, "a panic while serving a request; this is a defect");
            let error = ApiError::new(ErrorKind::Internal, "llm-proxy failed to serve the request")
                .with_code("internal_error");
            codec::refusal(vendor, &error, &request_id)
        });
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(&request_id) {
            if vendor == Vendor::Anthropic {
                headers.insert("request-id", value.clone());
            }
            headers.insert("x-request-id", value);
        }
        if let Some(hsts) = &self.gateway.snapshot().settings.hsts {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        response.map(|body| body.guarded(guard))
    }

    async fn route(
        self: &Arc<Self>,
        request: Request<Incoming>,
        request_id: &str,
        peer: Option<IpAddr>,
    ) -> Response<ReplyBody> {
        let path = request.uri().path().to_owned();
        let asked =
            match require_host(&request).and_then(|()| surface::asked(request.method(), &path)) {
                Ok(asked) => asked,
                Err(error) => {
                    let exchange = self.begin(Surface::of(&path), &request, request_id, peer);
                    Box::pin(pipeline::drain(request.into_body())).await;
                    let mut response = pipeline::refuse(exchange, &error);
                    if error.kind == ErrorKind::MethodNotAllowed
                        && let Some(method) = surface::allowed(&path)
                        && let Ok(value) = HeaderValue::try_from(method.as_str())
                    {
                        response.headers_mut().insert(header::ALLOW, value);
                    }
                    return response;
                }
            };
        match asked.surface {
            Surface::Models => {
                let exchange = self.begin(Surface::Models, &request, request_id, peer);
                models::answer(exchange, request.headers(), asked.model).await
            }
            Surface::Feedback => {
                let exchange = self.begin(Surface::Feedback, &request, request_id, peer);
                let (parts, body) = request.into_parts();
                feedback::answer(exchange, &parts.headers, body).await
            }
            Surface::Responses if request.method() == http::Method::GET => {
                let exchange = self.begin(Surface::Responses, &request, request_id, peer);
                websocket::upgrade(self, exchange, request).await
            }
            surface => {
                let (parts, body) = request.into_parts();
                pipeline::serve(self, surface, &parts.headers, body, request_id.to_owned(), peer)
                    .await
            }
        }
    }

    /// The exchange of a request that does not go down the pipeline.
    fn begin(
        &self,
        surface: Surface,
        request: &Request<Incoming>,
        request_id: &str,
        peer: Option<IpAddr>,
    ) -> Box<Exchange> {
        let gateway = Arc::clone(&self.gateway);
        let snapshot = gateway.snapshot();
        let mut exchange = Exchange::begin(gateway, snapshot, surface, request_id.to_owned());
        exchange.peer = peer;
        if matches!(surface, Surface::Models | Surface::Unknown) {
            exchange.vendor = surface::vendor_of(request.uri().path(), request.headers());
        }
        exchange
    }
}

/// Who speaks HTTP/1.1 must name the host (RFC 9112, 3.2); HTTP/2 has `:authority` for it.
fn require_host<B>(request: &Request<B>) -> Result<(), ApiError> {
    if request.version() != Version::HTTP_11 || request.headers().contains_key(header::HOST) {
        return Ok(());
    }
    let message = "the header `Host` is missing, and HTTP/1.1 demands it; send it";
    Err(ApiError::new(ErrorKind::InvalidRequest, message).with_code("missing_host"))
}

/// The caller's own request id where it is fit for a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    match given {
        Some(id)
            if !id.is_empty()
                && id.len() <= MAX_REQUEST_ID
                && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            id.to_owned()
        }
        _ => format!("req_{}", id_seed()),
    }
}

/// In the order of their bytes.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 24 letters and digits, for ids that must differ but need not be secret.
pub(crate) fn id_seed() -> String {
    random_letters(24).collect()
}

/// As [`id_seed`], but greater for a later time: the database looks for each id in an index, and
/// adds to an end of it what it would else write all over it.
pub(crate) fn record_id(at_ms: i64) -> String {
    const TIME: u32 = 8;
    let at_ms = u64::try_from(at_ms).unwrap_or_default();
    let time = (0..TIME).rev().map(|digit| {
        let value = at_ms / 62_u64.pow(digit) % 62;
        char::from(ALPHABET[value as usize])
    });
    time.chain(random_letters(16)).collect()
}

fn random_letters(count: usize) -> impl Iterator<Item = char> {
    thread_local! {
        static RANDOM: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
    }
    let letter = |_| {
        let place = RANDOM.with_borrow_mut(|random| random.usize(..ALPHABET.len()));
        char::from(ALPHABET[place])
    };
    (0..count).map(letter)
}

#[cfg(test)]
mod tests {
    use super::record_id;

    #[test]
    fn ids_of_records_differ_and_grow_with_time() {
        // 2026, a millisecond later, the next places of the number, 2100.
        let times = [1_795_392_000_000, 1_795_392_000_001, 1_795_392_000_062, 4_102_444_800_000];
        let ids = times.map(record_id);
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.len() == 24));
        assert!(record_id(times[0]) < ids[1]);
        assert_ne!(record_id(times[0]), ids[0]);
        // Behind the greatest letter comes the next place.
        let carry = [record_id(61), record_id(62), record_id(62 * 62)];
        assert_eq!(carry.each_ref().map(|id| &id[..8]), ["0000000z", "00000010", "00000100"]);
        assert_eq!(&record_id(-1)[..8], "00000000");
    }
}
