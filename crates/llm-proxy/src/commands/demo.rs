use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use gateway::server::{ConnectionLimits, Server, ServerOptions};
use gateway::{Deployment, DeploymentOptions, Gateway, Residency, Route, Settings, Snapshot};
use identity::{KeyDigest, KeyRing, Principal};
use providers::kind::{self, Kind, OpenAiApis};
use providers::{
    Credentials, GigaChatLogin, OriginOptions, Provider, ProviderSpec, Timeouts, TokenSource,
};
use simulator::Simulator;
use telemetry::Metrics;

fn spec(name: &str, base: &str, kind: Box<dyn Kind>, credentials: Credentials) -> ProviderSpec {
    ProviderSpec {
        name: name.to_owned(),
        base_url: base.parse().expect("base"),
        kind,
        credentials,
        headers: http::HeaderMap::new(),
        origin: OriginOptions::new(),
        image_hosts: Vec::new(),
    }
}

pub(super) fn run(listen: SocketAddr, json: bool) -> Result<(), String> {
    let simulator = Simulator::start_blocking(simulator::Options::default()).map_err(|e| e.to_string())?;
    let base = simulator.base_url();
    let metrics = Arc::new(Metrics::new());
    let all = OpenAiApis { chat: true, responses: true, completions: true, embeddings: true, moderations: true };
    let most = OpenAiApis { responses: false, moderations: false, ..all };
    let compatible = |apis| Box::new(kind::OpenAiCompatible { apis, yandex_folder: None, project_id: None });
    let key = || Credentials::Static("sim-key".to_owned());
    let specs: Vec<(ProviderSpec, &str, Option<&str>, Residency, bool)> = vec![
        (spec("openai", &format!("{base}/openai/v1"), compatible(all), key()), "gpt-4o-mini", Some("text-embedding-3-small"), Residency::Global, false),
        (spec("vllm", &format!("{base}/vllm/v1"), compatible(most), key()), "qwen3-32b", Some("bge-m3"), Residency::OnPremise, true),
        (spec("qwen", &format!("{base}/qwen/compatible-mode/v1"), compatible(most), key()), "qwen-plus", Some("text-embedding-v4"), Residency::Global, true),
        (spec("cloudru", &format!("{base}/cloudru/v1"), compatible(most), Credentials::Token(TokenSource::CloudRu { url: format!("{base}/cloudru/api/v1/auth/token"), key_id: "sim-id".into(), secret: "sim-secret".into() })), "ai-sage/GigaChat3-10B-A1.8B", Some("BAAI/bge-m3"), Residency::Russia, true),
        (spec("azure", &format!("{base}/azure"), Box::new(kind::AzureOpenAi { api_version: Some("2024-10-21".into()), entra: false }), key()), "gpt-4o", Some("text-embedding-3-small"), Residency::Global, false),
        (spec("anthropic", &format!("{base}/anthropic"), Box::new(kind::Anthropic { version: http::HeaderValue::from_static("2023-06-01"), beta: None }), key()), "claude-sonnet-4-5", None, Residency::Global, false),
        (spec("gigachat", &format!("{base}/gigachat/api/v1"), Box::new(kind::GigaChat), Credentials::Token(TokenSource::GigaChat { url: format!("{base}/gigachat/api/v2/oauth"), login: GigaChatLogin::Key { credentials: "c2ltLWlkOnNpbS1zZWNyZXQ=".into(), scope: "GIGACHAT_API_PERS".into() } })), "GigaChat-2-Pro", Some("Embeddings"), Residency::Russia, false),
        (spec("yandexgpt", &format!("{base}/yandex"), Box::new(kind::YandexGpt { folder: "b1gsim".into(), folder_header: http::HeaderValue::from_static("b1gsim"), api_key: true }), key()), "yandexgpt", Some("text-search-doc"), Residency::Russia, false),
    ];
    let mut routes = BTreeMap::new();
    for (spec, model, embeddings, residency, legacy) in specs {
        let name = spec.name.clone();
        let provider = Arc::new(Provider::new(spec).map_err(|e| e.to_string())?);
        let mut add = |route: String, model: &str| {
            let deployment = Deployment::new(DeploymentOptions {
                provider: Arc::clone(&provider), model: model.to_owned(), residency, priority: 1,
                unsupported: dialects::Unsupported::Emulate, timeouts: Timeouts::default(),
                default_max_output_tokens: 4096, stream_usage: true, legacy_max_tokens: legacy,
            }, &metrics);
            routes.insert(route.clone(), Arc::new(Route::new(route, vec![Arc::new(deployment)])));
        };
        add(name.clone(), model);
        if let Some(embeddings) = embeddings { add(format!("{name}-embeddings"), embeddings); }
        if name == "openai" { add("openai-moderation".into(), "omni-moderation-latest"); }
    }
    let mut keys = KeyRing::default();
    keys.add(KeyDigest::of("sk-demo"), Principal { name: "default".into(), models: None });
    let models: Vec<String> = routes.keys().cloned().collect();
    let snapshot = Snapshot { settings: Settings::default(), keys, routes, created: 1_700_000_000 };
    let gateway = Arc::new(Gateway::new(snapshot, metrics));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async move {
        let options = ServerOptions { listen, workers: 2, limits: ConnectionLimits::default(), max_connections: 10000, drain_delay: std::time::Duration::ZERO, drain_timeout: std::time::Duration::from_secs(10) };
        let server = Server::bind(options, None, Arc::clone(&gateway)).map_err(|e| e.to_string())?;
        let address = server.local_addr().map_err(|e| e.to_string())?;
        let ops = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|e| e.to_string())?;
        let ops_address = ops.local_addr().map_err(|e| e.to_string())?;
        tokio::spawn(gateway::serve_operations(ops, gateway));
        let line = serde_json::json!({"base_url": format!("http://{address}"), "ops_url": format!("http://{ops_address}"), "simulator_url": base, "keys": {"default": "sk-demo"}, "models": models, "data_dir": ""});
        if json { println!("{line}"); } else { println!("{line:#}"); }
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(|e| e.to_string())?;
        server.run(async move { term.recv().await; }).await;
        Ok(())
    })
}
