//! Workers open connections to providers before there are requests for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::server::{ConnectionLimits, Server, ServerOptions};
use gateway::{Deployment, DeploymentOptions, Gateway, Route, Settings, Snapshot};
use http::HeaderMap;
use identity::KeyRing;
use providers::kind::{self, OpenAiApis};
use providers::{Credentials, OriginOptions, Provider, ProviderSpec, Timeouts};
use routing::{BreakerOptions, DeploymentProfile, KnownRateLimit};
use telemetry::Metrics;
use tokio::net::{TcpListener, TcpStream};

const WORKERS: usize = 2;

fn provider(name: &str, address: &str) -> Arc<Provider> {
    let apis = OpenAiApis {
        chat: true,
        responses: false,
        completions: false,
        embeddings: false,
        moderations: false,
    };
    let spec = ProviderSpec {
        name: name.to_owned(),
        base_url: format!("http://{address}/v1").parse().unwrap(),
        kind: Box::new(kind::OpenAiCompatible {
            apis,
            yandex_folder: None,
            project_id: None,
            tokenizes: false,
        }),
        credentials: Credentials::None,
        headers: HeaderMap::new(),
        origin: OriginOptions::new(),
        image_hosts: Vec::new(),
    };
    Arc::new(Provider::new(spec).unwrap())
}

/// Two routes to each provider: what counts is the provider.
fn snapshot(providers: &[&Arc<Provider>], metrics: &Metrics) -> Snapshot {
    let deployment = |provider: &Arc<Provider>| {
        let options = DeploymentOptions {
            provider: Arc::clone(provider),
            model: "m".to_owned(),
            profile: DeploymentProfile::default(),
            breaker: BreakerOptions::default(),
            rate_limits: KnownRateLimit::default(),
            pool: None,
            engine: None,
            unsupported: dialects::Unsupported::Strict,
            timeouts: Timeouts::default(),
            default_max_output_tokens: 1,
            stream_usage: true,
            legacy_max_tokens: false,
            prices: None,
        };
        Arc::new(Deployment::new(options, metrics))
    };
    let routes = ["one", "two"].map(|name| {
        let deployments = providers.iter().map(|provider| deployment(provider)).collect();
        (name.to_owned(), Arc::new(Route::new(name.to_owned(), deployments)))
    });
    Snapshot {
        settings: Settings::default(),
        keys: KeyRing::default(),
        issuers: None,
        routes: BTreeMap::from(routes),
        guard: None,
        created: 0,
    }
}

async fn accepted(listener: &TcpListener) -> TcpStream {
    let accepting = tokio::time::timeout(Duration::from_secs(10), listener.accept());
    accepting.await.expect("a connection").unwrap().0
}

#[tokio::test]
async fn each_worker_connects_after_the_start_and_to_what_a_reload_brings() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let away = provider("away", "127.0.0.1:1");
    let kept = provider("kept", &address(&first));
    let metrics = Arc::new(Metrics::new());
    let gateway = Arc::new(Gateway::new(snapshot(&[&away, &kept], &metrics), Arc::clone(&metrics)));
    let options = ServerOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        workers: WORKERS,
        limits: ConnectionLimits::default(),
        max_connections: 10,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(5),
    };
    let server = Server::bind(options, None, Arc::clone(&gateway)).unwrap();
    let mut connections = Vec::new();
    for _ in 0..WORKERS {
        connections.push(accepted(&first).await);
    }
    assert!(gateway.readiness().ready);

    let new = provider("new", &address(&second));
    gateway.publish(snapshot(&[&away, &kept, &new], &metrics));
    for _ in 0..WORKERS {
        connections.push(accepted(&second).await);
    }
    // What was carried over has its connections; another would be waiting by now.
    let more = std::future::poll_fn(|context| {
        std::task::Poll::Ready(first.poll_accept(context).is_ready())
    });
    assert!(!more.await);
    assert!(server.run(async {}).await);
}
