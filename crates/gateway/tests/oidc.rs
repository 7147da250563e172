//! Tokens of identity providers: what is fetched, how often, and what holds while it cannot be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use gateway::oidc::{IntrospectionOptions, IssuerOptions, OidcError, OidcIssuers, principal_of};
use gateway::server::{ConnectionLimits, Server, ServerOptions};
use gateway::{Gateway, Settings, Snapshot};
use http::{HeaderMap, HeaderValue, Method};
use identity::token::{Algorithm, ClaimMapping, ClaimSource, IssuerPolicy, JwksTiming, TokenError};
use identity::{DirectoryView, KeyDigest, KeyRing, Record, RecordKind, Refusal, StaticKey};
use parking_lot::Mutex;
use providers::{Endpoint, HttpClient, OriginOptions};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// An identity provider that says what a test tells it to.
#[derive(Clone)]
struct Fake {
    url: String,
    /// Status and body by path.
    answers: Arc<Mutex<HashMap<&'static str, (u16, String)>>>,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    bodies: Arc<Mutex<Vec<String>>>,
    delay_ms: Arc<AtomicUsize>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self {
            answers: Arc::default(),
            asked: Arc::default(),
            bodies: Arc::default(),
            delay_ms: Arc::default(),
            url: url.clone(),
        };
        let document = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/keys"),
            "introspection_endpoint": format!("{url}/introspection"),
        });
        fake.say("/.well-known/openid-configuration", 200, &document);
        fake.publish(&[1]);
        let serving = fake.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        fake
    }

    async fn serve(self, mut stream: tokio::net::TcpStream) {
        let mut request = Vec::new();
        let whole = |request: &[u8]| {
            let text = String::from_utf8_lossy(request).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            (body.len() >= length).then(|| (head.to_owned(), body.to_owned()))
        };
        let (head, body) = loop {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(whole) = whole(&request) {
                break whole;
            }
        };
        let path = head.split(' ').nth(1).unwrap().to_owned();
        *self.asked.lock().entry(path.clone()).or_default() += 1;
        if !body.is_empty() {
            self.bodies.lock().push(body);
        }
        let delay = self.delay_ms.load(Ordering::Relaxed) as u64;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let answer = self.answers.lock().get(path.as_str()).cloned();
        let (status, body) = answer.unwrap_or((404, String::new()));
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close", body.len());
        _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await;
    }

    fn say(&self, path: &'static str, status: u16, body: &Value) {
        self.answers.lock().insert(path, (status, body.to_string()));
    }

    fn publish(&self, seeds: &[u8]) {
        let jwk = |seed: &u8| {
            let x = URL_SAFE_NO_PAD.encode(pair(*seed).public_key());
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": seed.to_string()})
        };
        self.say("/keys", 200, &json!({"keys": seeds.iter().map(jwk).collect::<Vec<_>>()}));
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().get(path).copied().unwrap_or(0)
    }

    fn claims(&self) -> Value {
        let exp = now_ms() / 1000 + 600;
        json!({"iss": self.url, "sub": "anna", "aud": "llm-proxy", "exp": exp, "org": "ten_a"})
    }

    fn token(&self, seed: u8) -> String {
        signed(seed, &self.claims())
    }

    fn options(&self) -> IssuerOptions {
        let mapping = ClaimMapping {
            tenant: ClaimSource { claim: Some("org".to_owned()), ..ClaimSource::default() },
            ..ClaimMapping::default()
        };
        IssuerOptions {
            policy: IssuerPolicy {
                issuer: self.url.clone(),
                audiences: vec!["llm-proxy".to_owned()],
                algorithms: vec![Algorithm::EdDSA],
                clock_skew_s: 0,
                authorized_parties: None,
                mapping,
                mfa: None,
            },
            ca_bundle: None,
            introspection: Some(IntrospectionOptions {
                url: None,
                client_id: "proxy".to_owned(),
                client_secret: "secret".to_owned(),
            }),
            timing: JwksTiming { min_forced_ms: 0, retry_ms: 0, ..JwksTiming::default() },
        }
    }
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn signed(seed: u8, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "kid": seed.to_string()});
    let parts = [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn token_error<T: std::fmt::Debug>(result: Result<T, OidcError>) -> TokenError {
    match result.unwrap_err() {
        OidcError::Token(error) => error,
        other => panic!("{other:?}"),
    }
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn a_rotated_key_is_fetched_when_the_first_token_shows_it() {
    let fake = Fake::start().await;
    let issuers = OidcIssuers::start(vec![fake.options()], None).unwrap();
    // Before anything is there, a token waits for it.
    let verified = issuers.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    assert_eq!(verified.caller.tenant, "ten_a");
    assert!(issuers.verify(&fake.token(1), now_ms()).is_ok());

    fake.publish(&[2]);
    assert!(issuers.verify(&fake.token(1), now_ms()).is_ok(), "nothing says that it is gone");
    assert_eq!(token_error(issuers.verify(&fake.token(2), now_ms())), TokenError::UnknownKey);
    assert!(issuers.verify_waiting(&fake.token(2), now_ms()).await.is_ok());
    assert_eq!(token_error(issuers.verify(&fake.token(1), now_ms())), TokenError::UnknownKey);
    assert_eq!(fake.asked(DISCOVERY), 1, "where the keys are was known");

    let elsewhere = signed(2, &json!({"iss": "https://other.example.com", "sub": "anna"}));
    let before = fake.asked("/keys");
    let refused = issuers.verify_waiting(&elsewhere, now_ms()).await;
    assert_eq!(token_error(refused), TokenError::Issuer);
    assert_eq!(fake.asked("/keys"), before);
}

#[tokio::test]
async fn made_up_key_ids_neither_wait_nor_cause_fetches() {
    let fake = Fake::start().await;
    let options = IssuerOptions { timing: JwksTiming::default(), ..fake.options() };
    let issuers = OidcIssuers::start(vec![options], None).unwrap();
    issuers.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    // If each waited its 2 s, this would take minutes.
    let many = async {
        for _ in 0..200 {
            let refused = issuers.verify_waiting(&fake.token(9), now_ms()).await;
            assert_eq!(token_error(refused), TokenError::UnknownKey);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), many).await.unwrap();
    assert_eq!(fake.asked("/keys"), 1);
}

#[tokio::test]
async fn keys_outlive_an_issuer_in_trouble_and_its_fault_is_told() {
    let fake = Fake::start().await;
    let issuers = OidcIssuers::start(vec![fake.options()], None).unwrap();
    issuers.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    assert!(issuers.faults().is_empty());
    let long = "x".repeat(300 << 10);
    for (path, status, answer, says) in [
        ("/keys", 500, json!({}), "status 500"),
        ("/keys", 302, json!({}), "status 302"),
        ("/keys", 200, json!({"keys": []}), "no key"),
        ("/keys", 200, json!({"keys": [], "x": long}), "longer than"),
        (DISCOVERY, 200, json!({"issuer": "https://evil", "jwks_uri": "x"}), "another issuer"),
    ] {
        fake.say(path, status, &answer);
        let refused = issuers.verify_waiting(&fake.token(3), now_ms()).await;
        assert_eq!(token_error(refused), TokenError::UnknownKey);
        let fault = issuers.faults().remove(&fake.url).unwrap_or_default();
        assert!(fault.contains(says), "{says}: {fault}");
        assert!(issuers.verify(&fake.token(1), now_ms()).is_ok());
    }
    // One that was never reached.
    let nowhere = Fake { url: "http://127.0.0.1:1".to_owned(), ..fake };
    let issuers = OidcIssuers::start(vec![nowhere.options()], None).unwrap();
    let refused = issuers.verify_waiting(&nowhere.token(1), now_ms()).await;
    assert_eq!(refused.unwrap_err(), OidcError::Unavailable);
}

#[tokio::test]
async fn issuers_that_a_reload_leaves_as_they_are_keep_their_keys() {
    let fake = Fake::start().await;
    let before = OidcIssuers::start(vec![fake.options()], None).unwrap();
    before.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    let all = OidcIssuers::start(vec![fake.options()], Some(&before)).unwrap();
    assert!(Arc::ptr_eq(&all, &before));
    let mut another = fake.options();
    another.policy.issuer = "http://127.0.0.1:1".to_owned();
    let same = OidcIssuers::start(vec![another, fake.options()], Some(&before)).unwrap();
    drop((all, before));
    assert!(same.verify(&fake.token(1), now_ms()).is_ok());
    fake.publish(&[1, 2]);
    assert!(same.verify_waiting(&fake.token(2), now_ms()).await.is_ok(), "its task goes on");
    let mut changed = fake.options();
    changed.policy.audiences = vec!["other".to_owned()];
    let changed = OidcIssuers::start(vec![changed], Some(&same)).unwrap();
    let refused = changed.verify_waiting(&fake.token(1), now_ms()).await;
    assert_eq!(token_error(refused), TokenError::Audience);

    let broken = IssuerOptions { ca_bundle: Some("/does/not/exist".into()), ..fake.options() };
    let mut broken = broken;
    broken.policy.issuer = "https://id.example.com".to_owned();
    let error = OidcIssuers::start(vec![broken], None).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
}

fn active(fake: &Fake) -> Value {
    let mut answer = fake.claims();
    answer["active"] = json!(true);
    answer
}

#[tokio::test]
async fn an_opaque_token_is_looked_up_once_for_all_who_show_it() {
    let fake = Fake::start().await;
    fake.say("/introspection", 200, &active(&fake));
    fake.delay_ms.store(50, Ordering::Relaxed);
    let issuers = OidcIssuers::start(vec![fake.options()], None).unwrap();
    issuers.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    let asking = (0..20).map(|_| issuers.introspect("opaque +&", now_ms()));
    for verdict in futures_util::future::join_all(asking).await {
        assert_eq!(verdict.unwrap().caller.subject, "anna");
    }
    assert!(issuers.introspect("opaque +&", now_ms()).await.is_ok());
    assert_eq!(fake.asked("/introspection"), 1);
    let body = fake.bodies.lock().remove(0);
    assert_eq!(body, "token_type_hint=access_token&token=opaque+%2B%26");
    // Whoever asked first may give up: the answer comes for the next.
    let first = issuers.introspect("second", now_ms());
    assert!(tokio::time::timeout(Duration::from_millis(10), first).await.is_err());
    assert!(issuers.introspect("second", now_ms()).await.is_ok());
    assert_eq!(fake.asked("/introspection"), 2);
    // A clock that says that it has ended is believed.
    fake.say("/introspection", 200, &json!({"active": false}));
    let later = now_ms() + 3_600_000;
    assert_eq!(token_error(issuers.introspect("second", later).await), TokenError::Inactive);
}

#[tokio::test]
async fn refusals_are_remembered_and_troubles_are_not() {
    let fake = Fake::start().await;
    let issuers = OidcIssuers::start(vec![fake.options()], None).unwrap();
    issuers.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    for (number, (status, answer)) in
        [(500, json!({})), (401, json!({})), (200, json!([]))].into_iter().enumerate()
    {
        fake.say("/introspection", status, &answer);
        let verdict = issuers.introspect("a", now_ms()).await;
        assert_eq!(verdict.unwrap_err(), OidcError::Unavailable, "{status}");
        assert_eq!(fake.asked("/introspection"), number + 1);
    }
    fake.say("/introspection", 200, &json!({"active": false}));
    for _ in 0..5 {
        let refused = issuers.introspect("a", now_ms()).await;
        assert_eq!(token_error(refused), TokenError::Inactive);
    }
    assert_eq!(fake.asked("/introspection"), 4);
    let mut other = active(&fake);
    other["aud"] = json!("another-service");
    fake.say("/introspection", 200, &other);
    assert_eq!(token_error(issuers.introspect("b", now_ms()).await), TokenError::Audience);
    let huge = "x".repeat(17 << 10);
    assert_eq!(token_error(issuers.introspect(&huge, now_ms()).await), TokenError::TooLarge);
    assert_eq!(fake.asked("/introspection"), 5);
}

#[tokio::test]
async fn a_token_stands_for_somebody_of_a_tenant_that_is_known() {
    let fake = Fake::start().await;
    let issuers = OidcIssuers::start(vec![fake.options()], None).unwrap();
    let verified = issuers.verify_waiting(&fake.token(1), now_ms()).await.unwrap();
    let mut directory = DirectoryView::default();
    let unknown = principal_of(&verified, &directory, None);
    assert_eq!(token_error(unknown).code(), "token_claim_unmapped");
    let mut put = |revision, blocked| {
        let tenant = json!({"id": "ten_a", "name": "A", "blocked": blocked}).to_string();
        let record = Record {
            kind: RecordKind::Tenant,
            id: "ten_a".to_owned(),
            tenant: "ten_a".to_owned(),
            revision,
            body: Some(tenant),
        };
        directory.apply(&record).unwrap();
        principal_of(&verified, &directory, None)
    };
    assert_eq!(put(1, false).unwrap().actor_name(), "subject:anna");
    let blocked = put(2, true).unwrap_err();
    assert!(matches!(blocked, OidcError::Principal(Refusal::Blocked(_))), "{blocked:?}");
    assert_eq!(chat::ApiError::from(blocked).kind.status(), 403);
}

/// Statuses and codes of `GET /v1/models` with each credential, over one server.
async fn answers(issuers: Option<Arc<OidcIssuers>>, credentials: &[&str]) -> Vec<(u16, String)> {
    let mut keys = KeyRing::default();
    keys.add(KeyDigest::of("sk-for-tests"), StaticKey::default());
    let snapshot = Snapshot {
        settings: Settings::default(),
        keys,
        issuers,
        routes: BTreeMap::new(),
        guard: None,
        created: 0,
    };
    let gateway = Arc::new(Gateway::new(snapshot, Arc::new(Metrics::new())));
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
        workers: 1,
        limits: ConnectionLimits::default(),
        max_connections: 10,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::ZERO,
    };
    let server = Server::bind(options, None, gateway).unwrap();
    let url = format!("http://{}/v1/models", server.local_addr().unwrap());
    tokio::spawn(server.run(std::future::pending()));
    let http = HttpClient::new();
    let endpoint = Endpoint::new(&url, OriginOptions::new()).unwrap();
    let mut answers = Vec::new();
    for credential in credentials {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::try_from(*credential).unwrap());
        let time = Duration::from_secs(30);
        let asked = endpoint.exchange(&http, Method::GET, headers, Bytes::new(), 1 << 20, time);
        let (status, body) = asked.await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
        answers.push((status.as_u16(), code));
    }
    answers
}

#[tokio::test]
async fn requests_carry_keys_or_tokens() {
    let fake = Fake::start().await;
    fake.say("/introspection", 200, &active(&fake));
    let mut elsewhere = fake.claims();
    elsewhere["org"] = json!("ten_b");
    let elsewhere = signed(1, &elsewhere);
    let passes = (200, String::new());
    let refused = |status, code: &str| (status, code.to_owned());
    let issuers = OidcIssuers::start(vec![fake.options()], None).unwrap();
    let asked = ["sk-for-tests", &fake.token(1), "opaque", &elsewhere, "sk-llmp-made-up"];
    let told = answers(Some(issuers), &asked).await;
    let unmapped = refused(401, "token_claim_unmapped");
    let unknown = refused(401, "invalid_api_key");
    assert_eq!(told, [passes.clone(), passes.clone(), passes.clone(), unmapped, unknown.clone()]);
    assert_eq!(fake.asked("/introspection"), 1, "keys are shown to no issuer");

    // Without introspection only what has the form of a JWT is a token.
    fake.say("/keys", 500, &json!({}));
    let options = IssuerOptions { introspection: None, ..fake.options() };
    let issuers = OidcIssuers::start(vec![options], None).unwrap();
    let asked = ["sk-for-tests", &fake.token(1), "opaque"];
    let told = answers(Some(issuers), &asked).await;
    let unavailable = refused(503, "identity_provider_unavailable");
    assert_eq!(told, [passes, unavailable, unknown.clone()]);
    assert_eq!(answers(None, &[&fake.token(1)]).await, [unknown]);
}
