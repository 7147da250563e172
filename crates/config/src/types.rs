use std::collections::BTreeMap;
use std::path::PathBuf;

use ::routing::{KnownRateLimit, Sensitivity};
use metering::{Limits, PriceOverride};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accounting::{AdminKey, GlobalLimits, KeyRotation, Storage};
use crate::guard::Guard;
use crate::oidc::Oidc;
use crate::routing::{DeploymentCapabilities, ModelRouting, Quality, Routing};
use crate::secret::Secret;
use crate::telemetry::Telemetry;

/// The configuration of llm-proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners, limits and shutdown.
    #[serde(default)]
    pub server: Server,
    /// Providers by name.
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
    /// Routes: public model names and the deployments that may serve them.
    #[serde(default)]
    pub models: Vec<Model>,
    /// How requests find a deployment, and what protects both.
    #[serde(default)]
    pub routing: Routing,
    /// What is looked for in requests and answers, and what is done about it.
    #[serde(default)]
    pub guard: Guard,
    /// Who may call.
    #[serde(default)]
    pub identity: Identity,
    /// Where things are kept, and what replicas share.
    #[serde(default)]
    pub storage: Storage,
    /// Limits of all requests together, and what is done about prices.
    #[serde(default)]
    pub limits: GlobalLimits,
    /// Logs.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// Listeners, limits and shutdown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port for callers. Needs a restart.
    pub listen: String,
    /// Address and port for `/health/live`, `/health/ready` and `/metrics`. Needs a restart.
    pub ops_listen: String,
    /// Address and port of the admin API, which is served if there is a key for it
    /// (`identity.admin_keys`). Needs a restart.
    pub admin_listen: String,
    /// Addresses and networks that may call the admin API, `10.0.0.0/8` say; empty: all.
    /// Needs a restart.
    pub admin_addresses: Vec<String>,
    /// Threads that serve requests; 0: one for each core. Needs a restart.
    #[schemars(range(min = 0, max = 1024))]
    pub workers: usize,
    /// TLS for callers; without it they connect in the clear.
    pub tls: Option<Tls>,
    /// Most bytes of a request's headers. Needs a restart.
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub max_header_bytes: usize,
    /// Most bytes of a request's body, after decompression too.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_body_bytes: usize,
    /// Most levels of nesting of a request's JSON.
    #[schemars(range(min = 8, max = 1024))]
    pub max_json_depth: usize,
    /// Most bytes of a provider's whole answer.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_answer_bytes: usize,
    /// Most connections of callers at a time. Needs a restart.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Milliseconds from the first byte of a request to the end of its headers. Needs a restart.
    #[schemars(range(min = 100, max = 600_000))]
    pub header_read_timeout_ms: u64,
    /// Milliseconds for a request's body to arrive.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub body_read_timeout_ms: u64,
    /// Seconds that a connection may stay open without a request. Needs a restart.
    #[schemars(range(min = 1, max = 86_400))]
    pub idle_timeout_s: u64,
    /// Seconds that a caller may leave an answer unread. Needs a restart.
    #[schemars(range(min = 1, max = 86_400))]
    pub unread_timeout_s: u64,
    /// Seconds between readiness going false and the listener closing, for load balancers.
    /// Needs a restart.
    #[schemars(range(min = 0, max = 3600))]
    pub drain_delay_s: u64,
    /// Seconds that requests in flight get to finish at shutdown. Needs a restart.
    #[schemars(range(min = 0, max = 86_400))]
    pub drain_timeout_s: u64,
    /// Milliseconds of silence in a stream after which the caller gets a comment as a sign of life.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub heartbeat_interval_ms: u64,
    /// Bytes of an answer that are buffered for a caller who reads slowly (HTTP/2).
    /// Needs a restart.
    #[schemars(range(min = 4096, max = 16_777_216))]
    pub stream_buffer_bytes: usize,
    /// Whether answers carry `Server-Timing`.
    pub expose_server_timing: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            ops_listen: "127.0.0.1:8082".to_owned(),
            admin_listen: "127.0.0.1:8081".to_owned(),
            admin_addresses: Vec::new(),
            workers: 0,
            tls: None,
            max_header_bytes: 64 * 1024,
            max_body_bytes: 32 << 20,
            max_json_depth: 128,
            max_answer_bytes: 64 << 20,
            max_connections: 10_000,
            header_read_timeout_ms: 10_000,
            body_read_timeout_ms: 60_000,
            idle_timeout_s: 120,
            unread_timeout_s: 120,
            drain_delay_s: 0,
            drain_timeout_s: 30,
            heartbeat_interval_ms: 15_000,
            stream_buffer_bytes: 64 * 1024,
            expose_server_timing: false,
        }
    }
}

/// TLS for callers: version 1.3, with session resumption. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM, own certificate first. Another path needs a restart.
    pub certificate: PathBuf,
    /// Private key, PEM. Another path needs a restart.
    pub key: PathBuf,
    /// Whether TLS 1.2 is taken too. Needs a restart.
    #[serde(default)]
    pub allow_tls12: bool,
    /// `max-age` of `Strict-Transport-Security` in seconds; 0: the header is not sent.
    #[serde(default = "one_year")]
    pub hsts_max_age_s: u64,
}

fn one_year() -> u64 {
    31_536_000
}

/// What kind a provider is. All but `azure_openai`, `anthropic`, `gigachat` and `yandexgpt` speak
/// OpenAI's API and differ in defaults only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum ProviderKind {
    #[serde(rename = "openai")]
    OpenAi,
    Qwen,
    #[serde(rename = "cloudru")]
    CloudRu,
    Vllm,
    Sglang,
    #[serde(rename = "llamacpp")]
    LlamaCpp,
    Ollama,
    #[serde(rename = "openrouter")]
    OpenRouter,
    Gemini,
    #[serde(rename = "azure_openai")]
    AzureOpenAi,
    Anthropic,
    #[serde(rename = "gigachat")]
    GigaChat,
    #[serde(rename = "yandexgpt")]
    YandexGpt,
}

/// Where a provider processes data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Residency {
    /// Anywhere.
    Global,
    /// In Russia.
    Russia,
    /// In the own building.
    OnPremise,
}

/// What is done with a part of a request that the provider cannot do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unsupported {
    /// The request is refused with a 400 that names the member.
    Strict,
    /// Done without; the header `x-llm-proxy-adapted` names it.
    Drop,
    /// Brought about in another way where there is one, else done without; named in the header.
    #[default]
    Emulate,
}

/// Which of YandexGPT's APIs is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum YandexApi {
    /// Its own REST API.
    #[default]
    Native,
    /// Its OpenAI-compatible endpoint.
    #[serde(rename = "openai")]
    OpenAi,
}

/// When HTTP/2 is spoken to a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Http2 {
    /// Over TLS, where the provider offers it.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Always, also in the clear.
    PriorKnowledge,
}

/// An endpoint in OpenAI's style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Api {
    ChatCompletions,
    Responses,
    Completions,
    Embeddings,
    Moderations,
}

/// A provider: where it is, who we are to it, how long to wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// What kind it is.
    pub kind: ProviderKind,
    /// Its address. Kinds of public services have a default.
    pub base_url: Option<String>,
    /// Key that is sent with each request (all kinds but `gigachat`).
    pub api_key: Option<Secret>,
    /// GigaChat: the authorization key, base64 of `id:secret`.
    pub credentials: Option<Secret>,
    /// GigaChat: `GIGACHAT_API_PERS` (default), `GIGACHAT_API_B2B` or `GIGACHAT_API_CORP`.
    pub scope: Option<String>,
    /// GigaChat: its token service; default `https://ngw.devices.sberbank.ru:9443/api/v2/oauth`,
    /// with `user` the path `/token` of `base_url`.
    pub auth_url: Option<String>,
    /// GigaChat: user, instead of `credentials`.
    pub user: Option<String>,
    /// GigaChat: password of `user`.
    pub password: Option<Secret>,
    /// YandexGPT: an IAM token, instead of `api_key`. It lives 12 hours at most.
    pub iam_token: Option<Secret>,
    /// YandexGPT: file with the key of a service account, for which IAM tokens are fetched.
    pub service_account_key_file: Option<PathBuf>,
    /// YandexGPT: the IAM service; default `https://iam.api.cloud.yandex.net/iam/v1/tokens`.
    pub iam_url: Option<String>,
    /// YandexGPT: the folder.
    pub folder_id: Option<String>,
    /// YandexGPT: which of its APIs is spoken; default `native`.
    pub api: Option<YandexApi>,
    /// Cloud.ru: id of a key, instead of `api_key`.
    pub key_id: Option<String>,
    /// Cloud.ru: secret of the key `key_id`.
    pub key_secret: Option<Secret>,
    /// Cloud.ru: its token service; default `https://iam.api.cloud.ru/api/v1/auth/token`.
    pub token_url: Option<String>,
    /// Cloud.ru: the project.
    pub project_id: Option<String>,
    /// Azure: `api-version` of deployment URLs; without it the v1 path is used.
    pub api_version: Option<String>,
    /// Azure: an application in Entra ID, instead of `api_key`.
    pub entra: Option<Entra>,
    /// Anthropic: `anthropic-version`; default `2023-06-01`.
    pub version: Option<String>,
    /// Anthropic: `anthropic-beta`.
    pub beta: Option<String>,
    /// Headers that each request carries besides.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Where it processes data; default by kind.
    pub residency: Option<Residency>,
    /// How long to wait for it.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Certificates (PEM) trusted besides the public ones, such as the Russian Trusted Root CA.
    pub ca_bundle: Option<PathBuf>,
    /// Client certificate, PEM.
    pub client_certificate: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    pub client_key: Option<PathBuf>,
    /// HTTP proxy through which it and its token service are reached, by CONNECT:
    /// `http://user:password@host:port`, or without user.
    pub egress_proxy: Option<Secret>,
    /// When HTTP/2 is spoken.
    #[serde(default)]
    pub http2: Http2,
    /// Connections kept open without a request, for each worker.
    #[serde(default = "max_idle_connections")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_idle_connections: usize,
    /// Seconds that they are kept.
    #[serde(default = "idle_connection_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub idle_connection_s: u64,
    /// Endpoints in OpenAI's style that it offers itself; default by kind.
    pub apis: Option<Vec<Api>>,
    /// What is done with what it cannot do.
    #[serde(default)]
    pub unsupported: Unsupported,
    /// Hosts whose pictures are fetched although their addresses are not public.
    #[serde(default)]
    pub image_hosts: Vec<String>,
}

fn max_idle_connections() -> usize {
    64
}

fn idle_connection_s() -> u64 {
    60
}

/// An application in Microsoft Entra ID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entra {
    /// `https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`
    pub token_url: String,
    /// The application's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// What is asked for.
    #[serde(default = "cognitive_services")]
    pub scope: String,
}

fn cognitive_services() -> String {
    "https://cognitiveservices.azure.com/.default".to_owned()
}

/// How long to wait for a provider, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection, TLS included.
    #[schemars(range(min = 1, max = 600_000))]
    pub connect_ms: u64,
    /// From the request to the head of the answer.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub first_byte_ms: u64,
    /// Between two pieces of the answer.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub idle_ms: u64,
    /// For all of it.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 60_000, idle_ms: 60_000, total_ms: 600_000 }
    }
}

/// How long to wait for one deployment, in milliseconds; what is not given is the provider's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutOverrides {
    /// For a connection, TLS included.
    #[schemars(range(min = 1, max = 600_000))]
    pub connect_ms: Option<u64>,
    /// From the request to the head of the answer.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub first_byte_ms: Option<u64>,
    /// Between two pieces of the answer.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub idle_ms: Option<u64>,
    /// For all of it.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub total_ms: Option<u64>,
}

/// A public model name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What callers ask for.
    pub name: String,
    /// Who may serve it.
    pub deployments: Vec<Deployment>,
    /// Limits of all requests for it together.
    #[serde(default)]
    pub limits: Limits,
    /// How its requests find a deployment.
    #[serde(default)]
    pub routing: ModelRouting,
    /// Guard policy of its requests, which narrows the general one.
    pub guard: Option<String>,
}

/// One model at one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Name of the provider.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// Lower is tried first by the policy `priority`, and decides between equals by the others. A
    /// deployment that fails before its first byte is followed by the next.
    #[serde(default = "first")]
    pub priority: u32,
    /// Its share of the requests among equals, relative to the others'; 0: only when they fail.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub weight: f64,
    /// The most sensitive data that may go to it; default: `sensitive` on the own premises, else
    /// `internal`.
    pub sensitivity: Option<Sensitivity>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: DeploymentCapabilities,
    /// Most tokens of prompt and answer together. Longer requests do not go to it.
    #[schemars(range(min = 1))]
    pub context_tokens: Option<u64>,
    /// How good its answers are taken to be, 0 to 1, until outcomes say otherwise; default 0.7.
    pub quality: Option<Quality>,
    /// Expected milliseconds to the first token, until they were measured; default 1000.
    #[schemars(range(min = 1, max = 600_000))]
    pub first_token_ms: Option<u32>,
    /// Limits that the provider is known to have: what it would refuse is not sent.
    #[serde(default)]
    pub rate_limits: KnownRateLimit,
    /// The pool of local engines that it belongs to.
    pub pool: Option<String>,
    /// How long to wait, where it differs from the provider's.
    #[serde(default)]
    pub timeouts: TimeoutOverrides,
    /// What is done with what it cannot do, if not as for the provider in general.
    pub unsupported: Option<Unsupported>,
    /// Output limit where the provider demands one and the caller gives none.
    #[serde(default = "default_max_output_tokens")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub default_max_output_tokens: u64,
    /// Whether usage may be asked for in streams (`stream_options.include_usage`).
    #[serde(default = "yes")]
    pub stream_usage: bool,
    /// Whether the provider knows the output limit only as `max_tokens`; default: not for `openai`
    /// and `azure_openai`.
    pub legacy_max_tokens: Option<bool>,
    /// What it costs, if not as the shipped catalogue says. Providers on the own premises without a
    /// price cost nothing.
    pub price: Option<PriceOverride>,
}

fn first() -> u32 {
    1
}

fn one() -> f64 {
    1.0
}

fn default_max_output_tokens() -> u64 {
    4096
}

fn yes() -> bool {
    true
}

/// Who may call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Keys that stand in this file.
    pub static_keys: Vec<StaticKey>,
    /// Keys for the admin API. With one, the admin API is served, and virtual keys can be made.
    pub admin_keys: Vec<AdminKey>,
    /// How old the secrets of virtual keys may become.
    pub key_rotation: KeyRotation,
    /// Identity providers whose tokens are taken instead of keys.
    pub oidc: Vec<Oidc>,
}

/// A key that stands in this file, itself or as its SHA-256.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticKey {
    /// Its name in logs.
    pub name: String,
    /// The key.
    pub key: Option<Secret>,
    /// SHA-256 of the key, 64 hexadecimal digits, instead of `key`.
    pub key_sha256: Option<String>,
    /// Models it may call; without it, all.
    pub models: Option<Vec<String>>,
    /// Its limits.
    #[serde(default)]
    pub limits: Limits,
}
