//! Tokens of a certified OpenID provider, through the server. The provider runs on Node:
//! `npm ci --prefix tests/oidc`, then `cargo test -p gateway --test oidc_provider -- --ignored`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway::oidc::{IntrospectionOptions, IssuerOptions, OidcIssuers};
use gateway::server::{ConnectionLimits, Server, ServerOptions};
use gateway::{Gateway, Settings, Snapshot};
use http::{HeaderMap, HeaderValue, Method, header};
use identity::token::{
    Algorithm, ClaimMapping, ClaimRule, ClaimSource, IssuerPolicy, JwksTiming, MfaPolicy,
};
use identity::{DirectoryView, KeyDigest, KeyRing, Record, RecordKind, Role, StaticKey};
use providers::{Endpoint, HttpClient, OriginOptions};
use serde_json::{Value, json};
use telemetry::Metrics;

const STATIC_KEY: &str = "sk-for-tests";

/// The provider, as a process that ends with this.
struct Provider {
    process: Child,
    issuer: String,
    secret: String,
    http: HttpClient,
}

impl Drop for Provider {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Provider {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oidc");
        let mut process = Command::new("node")
            .arg("provider.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("`npm ci --prefix tests/oidc` first");
        let text = |key: &str| said[key].as_str().unwrap().to_owned();
        let (issuer, secret) = (text("issuer"), text("secret"));
        Self { process, issuer, secret, http: HttpClient::new() }
    }

    async fn control(&self, what: &str) {
        let url = format!("{}/_control/{what}", self.issuer);
        let (status, _) = ask(&self.http, Method::POST, &url, HeaderMap::new(), "").await;
        assert_eq!(status, 200);
    }

    async fn as_client(&self, client: &str, path: &str, form: &str) -> (u16, Value) {
        let encoded: String = self.secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let pair = STANDARD.encode(format!("{client}:{encoded}"));
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::try_from(text).unwrap();
        headers.insert(header::AUTHORIZATION, value(&format!("Basic {pair}")));
        headers.insert(header::CONTENT_TYPE, value("application/x-www-form-urlencoded"));
        let url = format!("{}{path}", self.issuer);
        ask(&self.http, Method::POST, &url, headers, form).await
    }

    /// A token for the resource, by the client's own credentials.
    async fn token(&self, client: &str, resource: &str) -> String {
        let form =
            format!("grant_type=client_credentials&resource=https://llm-proxy.example/{resource}");
        let (status, answer) = self.as_client(client, "/token", &form).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    fn options(&self) -> IssuerOptions {
        let claim = |name: &str| ClaimSource { claim: Some(name.to_owned()), ..Default::default() };
        let rule = ClaimRule { value: "llm-auditor".to_owned(), means: "auditor".to_owned() };
        IssuerOptions {
            policy: IssuerPolicy {
                issuer: self.issuer.clone(),
                audiences: vec!["llm-proxy".to_owned()],
                algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
                clock_skew_s: 5,
                authorized_parties: None,
                mapping: ClaimMapping {
                    tenant: claim("org"),
                    role: ClaimSource { rules: vec![rule], ..claim("realm_access.roles") },
                    ..ClaimMapping::default()
                },
                mfa: None,
            },
            ca_bundle: None,
            introspection: Some(IntrospectionOptions {
                url: None,
                client_id: "proxy".to_owned(),
                client_secret: self.secret.clone(),
            }),
            timing: JwksTiming { min_forced_ms: 0, retry_ms: 0, ..JwksTiming::default() },
        }
    }
}

async fn ask(
    http: &HttpClient,
    method: Method,
    url: &str,
    headers: HeaderMap,
    body: &str,
) -> (u16, Value) {
    let endpoint = Endpoint::new(url, OriginOptions::new()).unwrap();
    let body = Bytes::copy_from_slice(body.as_bytes());
    let time = Duration::from_secs(30);
    let (status, body) =
        endpoint.exchange(http, method, headers, body, 1 << 20, time).await.unwrap();
    (status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
}

/// A server over the provider.
struct Served {
    gateway: Arc<Gateway>,
    url: String,
    http: HttpClient,
}

fn snapshot(issuers: Arc<OidcIssuers>) -> Snapshot {
    let mut keys = KeyRing::default();
    let fixed = StaticKey { name: "dev".to_owned(), ..StaticKey::default() };
    keys.add(KeyDigest::of(STATIC_KEY), fixed);
    Snapshot {
        settings: Settings::default(),
        keys,
        issuers: Some(issuers),
        routes: BTreeMap::new(),
        guard: None,
        created: 0,
    }
}

impl Served {
    fn start(issuers: Arc<OidcIssuers>) -> Self {
        let gateway = Arc::new(Gateway::new(snapshot(issuers), Arc::new(Metrics::new())));
        let mut directory = DirectoryView::default();
        let record = Record {
            kind: RecordKind::Tenant,
            id: "ten_a".to_owned(),
            tenant: "ten_a".to_owned(),
            revision: 1,
            body: Some(json!({"id": "ten_a", "name": "A"}).to_string()),
        };
        directory.apply(&record).unwrap();
        gateway.accounting().publish_directory(directory);
        let options = ServerOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            workers: 2,
            limits: ConnectionLimits::default(),
            max_connections: 100,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        };
        let server = Server::bind(options, None, Arc::clone(&gateway)).unwrap();
        let url = format!("http://{}/v1/models", server.local_addr().unwrap());
        tokio::spawn(server.run(std::future::pending()));
        Self { gateway, url, http: HttpClient::new() }
    }

    /// Status, and code of the error.
    async fn call(&self, token: &str) -> (u16, String) {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        headers.insert(header::AUTHORIZATION, value);
        let (status, answer) = ask(&self.http, Method::GET, &self.url, headers, "").await;
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn assert_passes(&self, token: &str) {
        assert_eq!(self.call(token).await, (200, String::new()));
    }

    async fn assert_refused(&self, token: &str, status: u16, code: &str) {
        assert_eq!(self.call(token).await, (status, code.to_owned()));
    }
}

#[tokio::test]
#[ignore = "needs Node and `npm ci --prefix tests/oidc`"]
async fn tokens_of_a_certified_provider_are_taken_and_refused_as_they_should() {
    let provider = Provider::start();
    let issuers = OidcIssuers::start(vec![provider.options()], None).unwrap();
    let served = Served::start(Arc::clone(&issuers));

    for resource in ["jwt", "ec", "ed", "opaque"] {
        served.assert_passes(&provider.token("app", resource).await).await;
    }
    served.assert_passes(STATIC_KEY).await;
    for (client, resource, code) in [
        ("app", "other", "token_audience_not_allowed"),
        ("app", "opaque-other", "token_audience_not_allowed"),
        ("stranger", "jwt", "token_claim_unmapped"),
        ("stranger", "opaque", "token_claim_unmapped"),
    ] {
        let token = provider.token(client, resource).await;
        served.assert_refused(&token, 401, code).await;
    }
    served.assert_refused("made-up", 401, "token_inactive").await;
    served.assert_refused("sk-llmp-made-up", 401, "invalid_api_key").await;

    // Claims, and the end of a token's time.
    let token = provider.token("app", "jwt").await;
    let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let verified = issuers.verify(&token, now_ms).unwrap();
    assert_eq!(
        (verified.caller.subject.as_str(), verified.caller.role),
        ("app", Some(Role::Auditor))
    );
    let later = issuers.verify(&token, now_ms + 606_000).unwrap_err();
    assert_eq!(chat::ApiError::from(later).code.as_deref(), Some("token_expired"));

    // A token that is taken back before it was ever seen here.
    let revoked = provider.token("app", "opaque").await;
    let form = format!("token={revoked}");
    assert_eq!(provider.as_client("app", "/token/revocation", &form).await.0, 200);
    served.assert_refused(&revoked, 401, "token_inactive").await;

    // New keys at the provider: its new tokens are taken, its old ones not any more.
    let opaque = provider.token("app", "opaque").await;
    served.assert_passes(&opaque).await;
    provider.control("rotate").await;
    served.assert_passes(&token).await;
    let rotated = provider.token("app", "jwt").await;
    served.assert_passes(&rotated).await;
    served.assert_refused(&token, 401, "token_key_unknown").await;

    // Without the provider, what is known goes on, and what is not known is not refused for good.
    let fresh = provider.token("app", "opaque").await;
    let unseen = provider.token("app", "ec").await;
    provider.control("down").await;
    served.assert_passes(&rotated).await;
    served.assert_passes(&unseen).await;
    served.assert_passes(&opaque).await;
    served.assert_refused(&fresh, 503, "identity_provider_unavailable").await;
    served.assert_refused(&token, 401, "token_key_unknown").await;
    let readiness = served.gateway.readiness();
    assert!(readiness.ready && readiness.not_ready.len() == 1, "{readiness:?}");
    assert!(readiness.not_ready[0].contains(&provider.issuer), "{readiness:?}");
    provider.control("up").await;
    served.assert_passes(&fresh).await;

    // A second factor is demanded from now on.
    let mut strict = provider.options();
    strict.policy.mfa =
        Some(MfaPolicy { acr: vec!["urn:example:mfa".to_owned()], amr: Vec::new() });
    let strict = OidcIssuers::start(vec![strict], Some(&issuers)).unwrap();
    served.gateway.publish(snapshot(strict));
    drop(issuers);
    for resource in ["jwt", "opaque"] {
        let strong = provider.token("app-mfa", resource).await;
        served.assert_passes(&strong).await;
        let weak = provider.token("app", resource).await;
        served.assert_refused(&weak, 401, "mfa_required").await;
    }
}
