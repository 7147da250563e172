//! A gateway over simulated providers, in the test's own process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dialects::Unsupported;
use gateway::server::{ConnectionLimits, Server, ServerOptions};
use gateway::{Deployment, DeploymentOptions, Gateway, MissingPrice, Route, Settings, Snapshot};
use http::HeaderMap;
use identity::{KeyDigest, KeyRing, StaticKey};
use providers::kind::{self, Kind, OpenAiApis};
use providers::{
    Credentials, GigaChatLogin, OriginOptions, Provider, ProviderSpec, Timeouts, TokenSource,
};
use routing::{BreakerOptions, DeploymentProfile, KnownRateLimit};
use serde_json::Value;
use simulator::{Options, Simulator};
use telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KEY: &str = "sk-test";

/// Stops when dropped.
pub(crate) struct Served {
    pub(crate) simulator: Simulator,
    address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// An answer that came whole.
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// Lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

fn openai(tokenizes: bool) -> Box<dyn Kind> {
    Box::new(kind::OpenAiCompatible {
        apis: OpenAiApis {
            chat: true,
            responses: false,
            completions: false,
            embeddings: true,
            moderations: false,
        },
        yandex_folder: None,
        project_id: None,
        tokenizes,
    })
}

/// Routes, each with one deployment: name, kind, path of the simulator, model.
fn deployments() -> Vec<(&'static str, Box<dyn Kind>, &'static str, &'static str)> {
    let yandex = || kind::YandexGpt {
        folder: "b1gsim".to_owned(),
        folder_header: "b1gsim".parse().unwrap(),
        api_key: true,
    };
    let anthropic = kind::Anthropic { version: "2023-06-01".parse().unwrap(), beta: None };
    vec![
        ("gigachat", Box::new(kind::GigaChat), "/gigachat/api/v1", "GigaChat-2-Pro"),
        ("yandexgpt", Box::new(yandex()), "/yandex", "yandexgpt"),
        ("vllm", openai(true), "/vllm/v1", "qwen3-32b"),
        // It has no `/tokenize` although it should.
        ("lacking", openai(true), "/openai/v1", "gpt-4o-mini"),
        ("openai", openai(false), "/openai/v1", "gpt-4o-mini"),
        ("unknown", Box::new(yandex()), "/yandex", "gpt-that-is-not"),
        ("anthropic", Box::new(anthropic), "/anthropic", "claude-sonnet-4-5"),
    ]
}

impl Served {
    pub(crate) async fn start() -> Self {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let mut routes = BTreeMap::new();
        for (name, kind, path, model) in deployments() {
            let credentials = match name {
                "gigachat" => Credentials::Token(TokenSource::GigaChat {
                    url: format!("{}/gigachat/api/v2/oauth", simulator.base_url()),
                    login: GigaChatLogin::Key {
                        credentials: "c2ltLWlkOnNpbS1zZWNyZXQ=".to_owned(),
                        scope: "GIGACHAT_API_PERS".to_owned(),
                    },
                }),
                _ => Credentials::Static("sim-a".to_owned()),
            };
            let provider = Provider::new(ProviderSpec {
                name: name.to_owned(),
                base_url: format!("{}{path}", simulator.base_url()).parse().unwrap(),
                kind,
                credentials,
                headers: HeaderMap::new(),
                origin: OriginOptions::new(),
                image_hosts: Vec::new(),
            });
            let options = DeploymentOptions {
                provider: Arc::new(provider.unwrap()),
                model: model.to_owned(),
                profile: DeploymentProfile::default(),
                breaker: BreakerOptions::default(),
                rate_limits: KnownRateLimit::default(),
                pool: None,
                engine: None,
                unsupported: Unsupported::Emulate,
                timeouts: Timeouts::default(),
                default_max_output_tokens: 4096,
                stream_usage: true,
                legacy_max_tokens: false,
                prices: None,
            };
            let deployment = Arc::new(Deployment::new(options, &metrics));
            routes.insert(name.to_owned(), Arc::new(Route::new(name.to_owned(), vec![deployment])));
        }
        let mut keys = KeyRing::default();
        let key = StaticKey { name: "test".to_owned(), ..StaticKey::default() };
        keys.add(KeyDigest::of(KEY), key);
        let settings = Settings { missing_price: MissingPrice::Free, ..Settings::default() };
        let snapshot = Snapshot { settings, keys, routes, created: 0, issuers: None, guard: None };
        let gateway = Arc::new(Gateway::new(snapshot, metrics));
        let options = ServerOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            workers: 1,
            limits: ConnectionLimits::default(),
            max_connections: 100,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
        };
        let server = Server::bind(options, None, gateway).unwrap();
        let address = server.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(server.run(async move { _ = stopped.await }));
        Self { simulator, address, _stop: stop }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answered {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answered {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: serde_json::from_str(body).unwrap(),
        }
    }

    /// Paths of the simulator that were called.
    pub(crate) fn called(&self) -> Vec<String> {
        self.simulator.requests().into_iter().map(|request| request.path).collect()
    }
}
