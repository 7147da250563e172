//! Turns a configuration into what runs: providers, routes, keys, listeners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::{Api, Config, ProviderKind, YandexApi};
use gateway::server::{ConnectionLimits, ServerOptions, TlsFiles};
use gateway::{
    AccessLog, BodyLimits, Deployment, DeploymentOptions, MissingPrice, Route, Settings, Snapshot,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use identity::{KeyDigest, KeyRing, Policy, Role, RotationPolicy, StaticKey};
use metering::PriceCatalogue;
use providers::kind::{self, Kind, OpenAiApis};
use providers::{
    Credentials, EgressProxy, GigaChatLogin, Http2, OriginOptions, Provider, ProviderSpec,
    ServiceAccountKey, Timeouts, TokenSource,
};
use telemetry::Metrics;

use crate::routing;

/// Why a configuration without a fault still cannot run: a file that changed in between, say.
pub(crate) type ComposeError = String;

/// Providers that run, with the configuration they were made from: a reload keeps those that did
/// not change, and their tokens.
pub(crate) type RunningProviders = BTreeMap<String, (config::Provider, Arc<Provider>)>;

/// Makes everything that requests are served by.
pub(crate) fn snapshot(
    config: &Config,
    metrics: &Metrics,
    running: &mut RunningProviders,
    before: Option<&Snapshot>,
) -> Result<Snapshot, ComposeError> {
    let mut next = RunningProviders::new();
    for (name, wanted) in &config.providers {
        let provider = match running.get(name) {
            Some((same, provider)) if same == wanted && !reads_files(wanted) => {
                Arc::clone(provider)
            }
            _ => Arc::new(
                provider(name, wanted).map_err(|error| format!("providers.{name}: {error}"))?,
            ),
        };
        next.insert(name.clone(), (wanted.clone(), provider));
    }
    let catalogue = PriceCatalogue::shipped(&config.limits.exchange_rates)
        .map_err(|error| format!("limits.exchange_rates: {error}"))?;
    let pools = routing::pools(config, before);
    let routes = config.models.iter().map(|model| {
        let deployments = model.deployments.iter().filter_map(|deployment| {
            let (settings, provider) = next.get(&deployment.provider)?;
            let mut options = deployment_options(config, deployment, settings, provider);
            options.pool = deployment.pool.as_ref().and_then(|pool| pools.get(pool).cloned());
            options.prices = config::resolve_price(&catalogue, config, deployment).ok();
            if options.prices.is_none() {
                tracing::warn!(
                    event = "price_missing",
                    gen_ai.provider.name = deployment.provider,
                    gen_ai.request.model = deployment.model,
                    "the price is not known; requests cost nothing"
                );
            }
            let deployment = Deployment::new(options, metrics);
            let observed = routing::observed_before(before, &deployment);
            Some(Arc::new(deployment.continuing(observed.as_deref())))
        });
        let route = Route::new(model.name.clone(), deployments.collect()).limited(model.limits);
        let route = routing::route(config, model, route, before);
        (model.name.clone(), Arc::new(route))
    });
    let snapshot = Snapshot {
        settings: settings(config),
        keys: keys(config)?,
        issuers: None,
        routes: routes.collect(),
        guard: Some(crate::guard::setup(config, before)?),
        created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    *running = next;
    Ok(snapshot)
}

/// Whether a provider's files may have changed although its configuration has not.
fn reads_files(provider: &config::Provider) -> bool {
    provider.ca_bundle.is_some()
        || provider.client_certificate.is_some()
        || provider.service_account_key_file.is_some()
}

fn deployment_options(
    config: &Config,
    deployment: &config::Deployment,
    settings: &config::Provider,
    provider: &Arc<Provider>,
) -> DeploymentOptions {
    DeploymentOptions {
        provider: Arc::clone(provider),
        model: deployment.model.clone(),
        profile: routing::profile(config, deployment, settings),
        breaker: config.routing.breaker.clone(),
        rate_limits: deployment.rate_limits,
        pool: None,
        engine: settings.kind.engine(),
        unsupported: match deployment.unsupported.unwrap_or(settings.unsupported) {
            config::Unsupported::Strict => dialects::Unsupported::Strict,
            config::Unsupported::Drop => dialects::Unsupported::Drop,
            config::Unsupported::Emulate => dialects::Unsupported::Emulate,
        },
        timeouts: timeouts(deployment.resolved_timeouts(settings)),
        default_max_output_tokens: deployment.default_max_output_tokens,
        stream_usage: deployment.stream_usage,
        legacy_max_tokens: deployment
            .legacy_max_tokens
            .unwrap_or(settings.default_legacy_max_tokens()),
        prices: None,
    }
}

fn timeouts(config: config::Timeouts) -> Timeouts {
    Timeouts {
        connect: Duration::from_millis(config.connect_ms),
        first_byte: Duration::from_millis(config.first_byte_ms),
        idle: Duration::from_millis(config.idle_ms),
        total: Duration::from_millis(config.total_ms),
    }
}

fn header(value: &str) -> Result<HeaderValue, ComposeError> {
    HeaderValue::try_from(value).map_err(|_| "a value holds characters that no header can".into())
}

fn provider(name: &str, config: &config::Provider) -> Result<Provider, ComposeError> {
    let mut headers = HeaderMap::new();
    for (header_name, value) in &config.headers {
        let header_name = HeaderName::try_from(header_name).map_err(|error| error.to_string())?;
        let mut value = header(value.expose())?;
        value.set_sensitive(true);
        headers.insert(header_name, value);
    }
    let base_url = config.resolved_base_url();
    let spec = ProviderSpec {
        name: name.to_owned(),
        base_url: base_url.parse().map_err(|_| format!("`{base_url}` is not a URL"))?,
        kind: provider_kind(config)?,
        credentials: credentials(config)?,
        headers,
        origin: OriginOptions {
            http2: match config.http2 {
                config::Http2::Auto => Http2::Auto,
                config::Http2::Never => Http2::Never,
                config::Http2::PriorKnowledge => Http2::PriorKnowledge,
            },
            ca_bundle: config.ca_bundle.clone(),
            client_certificate: config.client_certificate.clone().zip(config.client_key.clone()),
            egress_proxy: config
                .egress_proxy
                .as_ref()
                .map(|proxy| EgressProxy::parse(proxy.expose()))
                .transpose()
                .map_err(|error| format!("egress_proxy: {error}"))?,
            max_idle: config.max_idle_connections,
            idle_timeout: Duration::from_secs(config.idle_connection_s),
        },
        image_hosts: config.image_hosts.clone(),
    };
    Provider::new(spec).map_err(|error| error.to_string())
}

fn provider_kind(config: &config::Provider) -> Result<Box<dyn Kind>, ComposeError> {
    let folder = config.folder_id.clone().unwrap_or_default();
    Ok(match config.kind {
        ProviderKind::AzureOpenAi => Box::new(kind::AzureOpenAi {
            api_version: config.api_version.clone(),
            entra: config.entra.is_some(),
        }),
        ProviderKind::Anthropic => Box::new(kind::Anthropic {
            version: header(config.resolved_version())?,
            beta: config.beta.as_deref().map(header).transpose()?,
        }),
        ProviderKind::GigaChat => Box::new(kind::GigaChat),
        ProviderKind::YandexGpt if config.resolved_api() == YandexApi::Native => {
            Box::new(kind::YandexGpt {
                folder_header: header(&folder)?,
                folder,
                api_key: config.api_key.is_some(),
            })
        }
        _ => {
            let apis = config.resolved_apis();
            let offers = |api| apis.contains(&api);
            Box::new(kind::OpenAiCompatible {
                apis: OpenAiApis {
                    chat: offers(Api::ChatCompletions),
                    responses: offers(Api::Responses),
                    completions: offers(Api::Completions),
                    embeddings: offers(Api::Embeddings),
                    moderations: offers(Api::Moderations),
                },
                yandex_folder: config.folder_id.clone(),
                project_id: config.project_id.as_deref().map(header).transpose()?,
                tokenizes: config.kind == ProviderKind::Vllm,
            })
        }
    })
}

fn credentials(config: &config::Provider) -> Result<Credentials, ComposeError> {
    let secret = |secret: &Option<config::Secret>| {
        secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default()
    };
    let url = config.resolved_token_url();
    if config.api_key.is_some() {
        return Ok(Credentials::Static(secret(&config.api_key)));
    }
    if config.iam_token.is_some() {
        return Ok(Credentials::Static(secret(&config.iam_token)));
    }
    if let Some(file) = &config.service_account_key_file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        // What the parser says could quote the key.
        let key: ServiceAccountKey = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("{}:{line}:{column}: this is no service-account key", file.display())
        })?;
        return Ok(Credentials::Token(TokenSource::YandexIam { url, key }));
    }
    if config.credentials.is_some() {
        let login = GigaChatLogin::Key {
            credentials: secret(&config.credentials),
            scope: config.resolved_scope().to_owned(),
        };
        return Ok(Credentials::Token(TokenSource::GigaChat { url, login }));
    }
    if let Some(user) = &config.user {
        let login =
            GigaChatLogin::Password { user: user.clone(), password: secret(&config.password) };
        return Ok(Credentials::Token(TokenSource::GigaChat { url, login }));
    }
    if let Some(key_id) = &config.key_id {
        let (key_id, secret) = (key_id.clone(), secret(&config.key_secret));
        return Ok(Credentials::Token(TokenSource::CloudRu { url, key_id, secret }));
    }
    if let Some(entra) = &config.entra {
        return Ok(Credentials::Token(TokenSource::Entra {
            url: entra.token_url.clone(),
            client_id: entra.client_id.clone(),
            client_secret: entra.client_secret.expose().to_owned(),
            scope: entra.scope.clone(),
        }));
    }
    Ok(Credentials::None)
}

fn keys(config: &Config) -> Result<KeyRing, ComposeError> {
    let mut ring = KeyRing::default();
    for key in &config.identity.static_keys {
        let digest = match (&key.key, &key.key_sha256) {
            (Some(secret), _) => Some(KeyDigest::of(secret.expose())),
            (None, Some(hex)) => KeyDigest::from_hex(hex),
            (None, None) => None,
        };
        let digest = digest.ok_or_else(|| format!("the key `{}` cannot be read", key.name))?;
        let policy = Policy { models: key.models.clone(), limits: key.limits, ..Policy::default() };
        let fixed = StaticKey { name: key.name.clone(), role: Role::User, policy };
        if !ring.add(digest, fixed) {
            return Err(format!("the key `{}` is the same as another; change one", key.name));
        }
    }
    let rotation = &config.identity.key_rotation;
    ring.set_rotation(Some(RotationPolicy {
        max_age_days: rotation.max_age_days,
        warn_days: rotation.warn_days,
        enforce: rotation.enforce,
    }));
    Ok(ring)
}

fn settings(config: &Config) -> Settings {
    let server = &config.server;
    let hsts = server.tls.as_ref().map(|tls| tls.hsts_max_age_s).filter(|seconds| *seconds > 0);
    Settings {
        body: BodyLimits {
            max_bytes: server.max_body_bytes,
            max_json_depth: server.max_json_depth,
            read_timeout: Duration::from_millis(server.body_read_timeout_ms),
        },
        max_answer_bytes: server.max_answer_bytes,
        heartbeat_interval: Duration::from_millis(server.heartbeat_interval_ms),
        hsts: hsts.and_then(|seconds| {
            HeaderValue::try_from(format!("max-age={seconds}; includeSubDomains")).ok()
        }),
        expose_server_timing: server.expose_server_timing,
        access_log: match config.telemetry.access_log {
            config::AccessLog::All => AccessLog::All,
            config::AccessLog::Errors => AccessLog::Errors,
            config::AccessLog::Off => AccessLog::Off,
        },
        everybody_limits: config.limits.everybody,
        missing_price: match config.limits.missing_price {
            config::MissingPrice::Refuse => MissingPrice::Refuse,
            config::MissingPrice::Free => MissingPrice::Free,
        },
    }
}

/// How the server listens.
pub(crate) fn server_options(config: &Config) -> Result<ServerOptions, ComposeError> {
    let server = &config.server;
    let listen = server
        .listen
        .parse()
        .map_err(|_| format!("server.listen: `{}` is no address", server.listen))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(ServerOptions {
        listen,
        workers: if server.workers == 0 { cores } else { server.workers },
        limits: ConnectionLimits {
            max_header_bytes: server.max_header_bytes,
            header_read_timeout: Duration::from_millis(server.header_read_timeout_ms),
            idle_timeout: Duration::from_secs(server.idle_timeout_s),
            unread_timeout: Duration::from_secs(server.unread_timeout_s),
            write_buffer_bytes: server.stream_buffer_bytes,
            ..ConnectionLimits::default()
        },
        max_connections: server.max_connections,
        drain_delay: Duration::from_secs(server.drain_delay_s),
        drain_timeout: Duration::from_secs(server.drain_timeout_s),
    })
}

/// Where the certificate is.
pub(crate) fn tls_files(config: &Config) -> Option<TlsFiles> {
    config.server.tls.as_ref().map(|tls| TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        allow_tls12: tls.allow_tls12,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(provider: &str) -> Config {
        let text = format!(
            "providers: {{a: {{{provider}}}}}\n\
             models: [{{name: m, deployments: [{{provider: a, model: m}}]}}]\n\
             limits: {{missing_price: free}}\n\
             identity: {{static_keys: [{{name: dev, key: sk-for-tests}}]}}\n"
        );
        config::load_text("x.yaml", &text, &|_| None).unwrap().config
    }

    #[test]
    fn anthropic_is_asked_in_the_version_that_the_configuration_resolves_to() {
        for given in ["", "version: \"2099-01-01\", "] {
            let config = loaded(&format!("{given}kind: anthropic, api_key: sk-for-tests"));
            let provider = &config.providers["a"];
            let mut headers = HeaderMap::new();
            provider_kind(provider).unwrap().static_headers(&mut headers);
            assert_eq!(headers["anthropic-version"], provider.resolved_version());
            assert_eq!(headers["anthropic-version"] == "2099-01-01", !given.is_empty());
        }
    }

    #[tokio::test]
    async fn a_provider_behind_a_proxy_is_reached_through_it() {
        let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = proxy.local_addr().unwrap();
        let config = loaded(&format!(
            "kind: vllm, base_url: \"http://m.invalid/v1\", egress_proxy: \"http://{address}\""
        ));
        let provider = provider("a", &config.providers["a"]).unwrap();
        let http = providers::HttpClient::new();
        let timeouts = Timeouts::default();
        let refuse = async {
            let (stream, _) = proxy.accept().await.unwrap();
            stream.writable().await.unwrap();
            stream.try_write(b"HTTP/1.1 418 No\r\n\r\n").unwrap();
            stream
        };
        let (warmed, _stream) = tokio::join!(provider.warm(&http, 1, &timeouts), refuse);
        assert!(warmed.unwrap_err().message.contains("status 418"));
    }
}
