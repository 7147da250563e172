//! A gateway over real sockets, and providers that answer what a test wants.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialects::Unsupported;
use gateway::server::{ConnectionLimits, Server, ServerOptions};
use gateway::{Deployment, DeploymentOptions, Gateway, MissingPrice, Route, Settings, Snapshot};
use http::HeaderMap;
use identity::{KeyDigest, KeyRing, Policy, Role, StaticKey};
use providers::kind::{Kind, OpenAiApis, OpenAiCompatible};
use providers::{Credentials, OriginOptions, Provider, ProviderSpec, Timeouts};
use routing::{BreakerOptions, DeploymentProfile, KnownRateLimit};
use telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// May call every model.
pub(crate) const KEY: &str = "sk-all";
/// Is known, and may call no model.
pub(crate) const BARE_KEY: &str = "sk-none";

/// A gateway that listens; it stops with the runtime of the test.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
}

/// An answer as it came over the socket.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// As it came, chunks with their lengths.
    pub(crate) body: String,
}

impl Gate {
    /// A gateway with one model, `main`, at a provider of `kind` at `base_url`.
    pub(crate) fn start(base_url: &str, kind: Box<dyn Kind>) -> Self {
        Self::with_policy(base_url, kind, Unsupported::default())
    }

    /// As [`Gate::start`], with what is to be done about what the provider cannot do.
    pub(crate) fn with_policy(
        base_url: &str,
        kind: Box<dyn Kind>,
        unsupported: Unsupported,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let provider = Provider::new(ProviderSpec {
            name: "stub".to_owned(),
            base_url: base_url.parse().unwrap(),
            kind,
            credentials: Credentials::Static("provider-secret".to_owned()),
            headers: HeaderMap::new(),
            origin: OriginOptions::new(),
            image_hosts: Vec::new(),
        });
        let options = DeploymentOptions {
            provider: Arc::new(provider.unwrap()),
            model: "far".to_owned(),
            profile: DeploymentProfile::default(),
            breaker: BreakerOptions::default(),
            rate_limits: KnownRateLimit::default(),
            pool: None,
            engine: None,
            unsupported,
            timeouts: Timeouts::default(),
            default_max_output_tokens: 100,
            stream_usage: true,
            legacy_max_tokens: false,
            prices: None,
        };
        let deployment = Arc::new(Deployment::new(options, &metrics));
        let route = Arc::new(Route::new("main".to_owned(), vec![deployment]));
        let mut keys = KeyRing::default();
        for (key, name, models) in [(KEY, "all", None), (BARE_KEY, "none", Some(Vec::new()))] {
            let policy = Policy { models, ..Policy::default() };
            let key_of = StaticKey { name: name.to_owned(), role: Role::User, policy };
            assert!(keys.add(KeyDigest::of(key), key_of));
        }
        let snapshot = Snapshot {
            settings: Settings { missing_price: MissingPrice::Free, ..Settings::default() },
            issuers: None,
            keys,
            routes: BTreeMap::from([(route.name.clone(), route)]),
            guard: None,
            created: 1,
        };
        let gateway = Arc::new(Gateway::new(snapshot, Arc::clone(&metrics)));
        let options = ServerOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 1,
            limits: ConnectionLimits::default(),
            max_connections: 100,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        };
        let server = Server::bind(options, None, gateway).unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(server.run(std::future::pending()));
        Self { address, metrics }
    }

    /// A gateway whose provider is of no interest.
    pub(crate) fn alone() -> Self {
        Self::start("http://127.0.0.1:1/v1", openai_compatible())
    }

    /// Sends `request` as it is.
    pub(crate) async fn send(&self, request: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    /// Sends `request` as it is and reads until the connection ends.
    pub(crate) async fn exchange(&self, request: &str) -> Reply {
        let mut socket = self.send(request).await;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Reply { status, headers, body: body.to_owned() }
    }

    /// A request with a `Host`, after which the connection ends. `headers` are whole lines.
    pub(crate) async fn request(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        let mut request = format!("{line} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.exchange(&request).await
    }

    /// How many requests were counted under these labels, as OpenMetrics writes them.
    pub(crate) fn counted(&self, labels: &str) -> u64 {
        let wanted = format!("llm_proxy_requests_total{{{labels}}} ");
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
        line.map_or(0, |count| count.parse().unwrap())
    }
}

/// The kind of provider that offers chat completions in OpenAI's form.
pub(crate) fn openai_compatible() -> Box<dyn Kind> {
    Box::new(OpenAiCompatible {
        apis: OpenAiApis {
            chat: true,
            responses: false,
            completions: false,
            embeddings: false,
            moderations: false,
        },
        yandex_folder: None,
        project_id: None,
        tokenizes: false,
    })
}

/// A provider that gives each request the same answer and keeps what it was asked.
pub(crate) struct Stub {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// A permit for each piece that may be written.
    permits: Arc<Semaphore>,
}

impl Stub {
    /// Answers with `pieces` as the body, each in a write of its own.
    pub(crate) async fn start(content_type: &'static str, pieces: Vec<String>) -> Self {
        let stub = Self::start_stepwise(content_type, pieces).await;
        stub.permits.add_permits(Semaphore::MAX_PERMITS / 2);
        stub
    }

    /// Lets the next piece be written.
    pub(crate) fn proceed(&self) {
        self.permits.add_permits(1);
    }

    /// As [`Stub::start`], but each piece after the first waits for [`Stub::proceed`].
    pub(crate) async fn start_stepwise(content_type: &'static str, pieces: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let permits = Arc::new(Semaphore::new(1));
        let may_write = Arc::clone(&permits);
        tokio::spawn(async move {
            // Each by itself: a worker opens connections before there is a request for them.
            while let Ok((mut socket, _)) = listener.accept().await {
                let (seen, may_write) = (Arc::clone(&seen), Arc::clone(&may_write));
                let pieces = pieces.clone();
                tokio::spawn(async move {
                    let Some(request) = read_request(&mut socket).await else { return };
                    seen.lock().unwrap().push(request);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n\
                         connection: close\r\n\r\n"
                    );
                    socket.write_all(head.as_bytes()).await.unwrap();
                    for piece in &pieces {
                        may_write.acquire().await.unwrap().forget();
                        socket.write_all(piece.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Self { base_url, requests, permits }
    }

    /// Heads and bodies, oldest first.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// `None`: the connection was not needed.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.unwrap();
        if count == 0 {
            assert!(read.is_empty(), "the request ended early");
            return None;
        }
        read.extend_from_slice(&buffer[..count]);
    }
}
