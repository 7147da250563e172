//! Providers over real sockets: the simulator, and servers that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat::{ChatRequest, ErrorKind, Image, MediaSource, Message, Part, Role};
use http::HeaderMap;
use providers::kind::{self, Kind, OpenAiApis};
use providers::{
    Call, Credentials, GigaChatLogin, Http2, HttpClient, Operation, OriginOptions, Provider,
    ProviderSpec, ServiceAccountKey, Timeouts, TokenSource,
};
use simulator::{Options, Outcome, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn openai() -> Box<dyn Kind> {
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
        tokenizes: false,
    })
}

fn provider(
    base: &str,
    kind: Box<dyn Kind>,
    credentials: Credentials,
    origin: OriginOptions,
) -> Provider {
    Provider::new(ProviderSpec {
        name: "tested".to_owned(),
        base_url: base.parse().unwrap(),
        kind,
        credentials,
        headers: HeaderMap::new(),
        origin,
        image_hosts: Vec::new(),
    })
    .unwrap()
}

fn plain(base: &str) -> Provider {
    provider(base, openai(), Credentials::Static("sim-a".to_owned()), OriginOptions::new())
}

fn short() -> Timeouts {
    Timeouts {
        connect: Duration::from_millis(300),
        first_byte: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        total: Duration::from_millis(900),
    }
}

fn body(text: &str, stream: bool) -> Vec<bytes::Bytes> {
    let message = serde_json::json!({"role": "user", "content": text});
    let request = serde_json::json!({"model": "m", "messages": [message], "stream": stream});
    vec![request.to_string().into()]
}

async fn send(
    provider: &Provider,
    http: &HttpClient,
    body: Vec<bytes::Bytes>,
    timeouts: &Timeouts,
) -> Result<providers::Answer, chat::ApiError> {
    let extra_headers = HeaderMap::new();
    let call = Call {
        operation: Operation::Chat,
        model: "m",
        stream: false,
        body,
        request_id: "req_test",
        timeouts,
        extra_headers: &extra_headers,
    };
    provider.send(http, call).await
}

async fn whole(mut answer: providers::Answer) -> String {
    let mut text = Vec::new();
    while let Some(piece) = answer.body.next().await {
        text.extend_from_slice(&piece.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// A server that counts connections and answers each request on them with `answer`.
async fn counting_server(answer: &'static str, close_after: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                for _ in 0..close_after {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    }
                }
            });
        }
    });
    (base, connections)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_connection_is_used_again_and_a_stale_one_replaced() {
    let http = HttpClient::new();
    let (base, connections) = counting_server(OK, usize::MAX).await;
    let kept = plain(&base);
    for _ in 0..5 {
        let answer = send(&kept, &http, body("да", false), &Timeouts::default()).await.unwrap();
        assert_eq!(whole(answer).await, "{}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);

    let (base, connections) = counting_server(OK, 1).await;
    let closing = plain(&base);
    for _ in 0..5 {
        let answer = send(&closing, &http, body("да", false), &Timeouts::default()).await.unwrap();
        assert_eq!(whole(answer).await, "{}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn every_wait_has_its_limit() {
    let http = HttpClient::new();
    let (silent, _) = counting_server("", usize::MAX).await;
    let error = send(&plain(&silent), &http, body("да", false), &short()).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Timeout, Some("provider_timeout")));

    let stalled = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{";
    let (stalled, _) = counting_server(stalled, usize::MAX).await;
    let mut answer = send(&plain(&stalled), &http, body("да", false), &short()).await.unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "{");
    let error = answer.body.next().await.unwrap().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_idle_timeout"));

    let dead = plain("http://127.0.0.1:1/v1");
    let error = send(&dead, &http, body("да", false), &short()).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
    assert_eq!(error.kind, ErrorKind::BadGateway);
}

#[tokio::test]
async fn dropping_an_answer_cancels_the_call() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    for http2 in [Http2::Never, Http2::PriorKnowledge] {
        let origin = OriginOptions { http2, ..OriginOptions::new() };
        let base = format!("{}/vllm/v1", simulator.base_url());
        let provider = provider(&base, openai(), Credentials::Static("sim-a".to_owned()), origin);
        let http = HttpClient::new();
        let text = "[[sim: chunks=500; between_ms=20]] да";
        let mut answer =
            send(&provider, &http, body(text, true), &Timeouts::default()).await.unwrap();
        answer.body.next().await.unwrap().unwrap();
        drop(answer);
        let mut gone = false;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            gone =
                simulator.requests().last().is_some_and(|seen| seen.outcome == Outcome::ClientGone);
            if gone {
                break;
            }
        }
        assert!(gone, "{http2:?}");
    }
}

fn token_providers(base: &str) -> Vec<(Provider, &'static str)> {
    let key: ServiceAccountKey =
        serde_json::from_str(simulator::YANDEX_SERVICE_ACCOUNT_KEY).unwrap();
    let folder = "b1gsim".to_owned();
    let sources: Vec<(String, Box<dyn Kind>, TokenSource, &str)> = vec![
        (
            format!("{base}/gigachat/api/v1"),
            Box::new(kind::GigaChat),
            TokenSource::GigaChat {
                url: format!("{base}/gigachat/api/v2/oauth"),
                login: GigaChatLogin::Key {
                    credentials: "c2ltLWlkOnNpbS1zZWNyZXQ=".to_owned(),
                    scope: "GIGACHAT_API_PERS".to_owned(),
                },
            },
            "/gigachat/api/v2/oauth",
        ),
        (
            format!("{base}/yandex"),
            Box::new(kind::YandexGpt {
                folder_header: folder.parse().unwrap(),
                folder,
                api_key: false,
            }),
            TokenSource::YandexIam { url: format!("{base}/yandex/iam/v1/tokens"), key },
            "/yandex/iam/v1/tokens",
        ),
        (
            format!("{base}/cloudru/v1"),
            openai(),
            TokenSource::CloudRu {
                url: format!("{base}/cloudru/api/v1/auth/token"),
                key_id: "sim-id".to_owned(),
                secret: "sim-secret".to_owned(),
            },
            "/cloudru/api/v1/auth/token",
        ),
        (
            format!("{base}/azure"),
            Box::new(kind::AzureOpenAi { api_version: None, entra: true }),
            TokenSource::Entra {
                url: format!("{base}/azure/tenant/oauth2/v2.0/token"),
                client_id: "sim-client".to_owned(),
                client_secret: "sim-secret".to_owned(),
                scope: "https://cognitiveservices.azure.com/.default".to_owned(),
            },
            "/azure/tenant/oauth2/v2.0/token",
        ),
    ];
    sources
        .into_iter()
        .map(|(base, kind, source, path)| {
            (provider(&base, kind, Credentials::Token(source), OriginOptions::new()), path)
        })
        .collect()
}

fn token_requests(simulator: &Simulator, path: &str) -> usize {
    simulator.requests().iter().filter(|seen| seen.path.starts_with(path)).count()
}

#[tokio::test]
async fn a_token_is_fetched_once_however_many_wait_for_it() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    for (provider, path) in token_providers(&simulator.base_url()) {
        let provider = Arc::new(provider);
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move {
                    let timeouts = Timeouts::default();
                    send(&provider, &HttpClient::new(), vec!["{}".into()], &timeouts).await
                })
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap().unwrap();
            assert_ne!(answer.status, 401, "{path}");
        }
        assert_eq!(token_requests(&simulator, path), 1, "{path}");
        assert!(provider.credential_fault().is_none());
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_call_made_once_more() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let http = HttpClient::new();
    // Yandex's service would refuse our JWT, too, from a clock that far ahead.
    let providers = token_providers(&simulator.base_url()).into_iter();
    for (provider, path) in providers.filter(|(_, path)| !path.starts_with("/yandex")) {
        let timeouts = Timeouts::default();
        send(&provider, &http, vec!["{}".into()], &timeouts).await.unwrap();
        // The provider's clock runs ahead of ours: it refuses what we hold for good.
        simulator.advance_clock(13 * 3600);
        let answer = send(&provider, &http, vec!["{}".into()], &timeouts).await.unwrap();
        assert_ne!(answer.status, 401, "{path}");
        assert_eq!(token_requests(&simulator, path), 2, "{path}");
        simulator.reset();
    }
}

#[tokio::test]
async fn wrong_credentials_are_told_without_showing_them() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let base = simulator.base_url();
    let source = TokenSource::CloudRu {
        url: format!("{base}/cloudru/api/v1/auth/token"),
        key_id: "stranger".to_owned(),
        secret: "hunter2-secret".to_owned(),
    };
    let base = format!("{base}/cloudru/v1");
    let refused = provider(&base, openai(), Credentials::Token(source), OriginOptions::new());
    let http = HttpClient::new();
    let error = send(&refused, &http, vec!["{}".into()], &Timeouts::default()).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_credentials_rejected"));
    assert!(refused.credential_fault().is_some());
    let shown = format!("{error:?} {refused:?} {:?}", refused.credential_fault());
    assert!(!shown.contains("hunter2"), "{shown}");

    let stranger = provider(
        &format!("{}/vllm/v1", simulator.base_url()),
        openai(),
        Credentials::Static("stranger".to_owned()),
        OriginOptions::new(),
    );
    let answer = send(&stranger, &http, body("да", false), &Timeouts::default()).await.unwrap();
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_picture_is_uploaded_once_and_fetched_from_public_hosts_only() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (gigachat, _) = token_providers(&simulator.base_url()).remove(0);
    let http = HttpClient::new();
    let request = |source| ChatRequest {
        messages: vec![Message {
            role: Role::User,
            parts: vec![Part::Image(Image { source, detail: None, cache_control: None })],
            name: None,
        }],
        ..ChatRequest::default()
    };
    let png = MediaSource::Base64 {
        media_type: "image/png".to_owned(),
        data: "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==".to_owned(),
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut request = request(png.clone());
        gigachat.prepare_images(&http, &mut request, &Timeouts::default()).await.unwrap();
        let Part::Image(image) = &request.messages[0].parts[0] else { panic!("no picture") };
        let MediaSource::FileId(id) = &image.source else { panic!("not uploaded") };
        ids.push(id.clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(token_requests(&simulator, "/gigachat/api/v1/files"), 1);

    let inside = MediaSource::Url(format!("{}/_sim/bill", simulator.base_url()));
    let mut request = request(inside);
    let refused = gigachat.prepare_images(&http, &mut request, &Timeouts::default()).await;
    let error = refused.unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages[0].content"));
    assert!(error.message.contains("public"), "{error}");
    assert_eq!(token_requests(&simulator, "/_sim/bill"), 0);
}

#[tokio::test]
async fn a_bundle_of_ones_own_is_trusted_and_nothing_else() {
    let simulator = Simulator::start(Options { tls: true, ..Options::default() }).await.unwrap();
    let base = format!("{}/vllm/v1", simulator.tls_base_url().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, simulator.ca_pem().unwrap()).unwrap();
    let http = HttpClient::new();
    let key = || Credentials::Static("sim-a".to_owned());
    let trusting = OriginOptions { ca_bundle: Some(bundle), ..OriginOptions::new() };
    let trusted = provider(&base, openai(), key(), trusting);
    let answer = send(&trusted, &http, body("да", false), &Timeouts::default()).await.unwrap();
    assert_eq!(answer.status, 200);
    let stranger = provider(&base, openai(), key(), OriginOptions::new());
    let error = send(&stranger, &http, body("да", false), &Timeouts::default()).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
}
