//! Connections and tokens against servers written here, each with one peculiarity.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chat::{ApiError, ErrorKind};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use providers::kind::{self, OpenAiApis};
use providers::{
    Answer, Call, Credentials, Http2, HttpClient, Operation, OriginOptions, Provider,
    ProviderError, ProviderSpec, Timeouts, TokenSource,
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn try_provider(
    base: &str,
    credentials: Credentials,
    origin: OriginOptions,
) -> Result<Provider, ProviderError> {
    let apis = OpenAiApis {
        chat: true,
        responses: false,
        completions: false,
        embeddings: false,
        moderations: false,
    };
    Provider::new(ProviderSpec {
        name: "tested".to_owned(),
        base_url: base.parse().unwrap(),
        kind: Box::new(kind::OpenAiCompatible {
            apis,
            yandex_folder: None,
            project_id: None,
            tokenizes: false,
        }),
        credentials,
        headers: HeaderMap::new(),
        origin,
        image_hosts: Vec::new(),
    })
}

fn provider(base: &str, credentials: Credentials, origin: OriginOptions) -> Provider {
    try_provider(base, credentials, origin).unwrap()
}

fn short() -> Timeouts {
    Timeouts {
        connect: Duration::from_millis(500),
        first_byte: Duration::from_millis(500),
        idle: Duration::from_millis(300),
        total: Duration::from_millis(600),
    }
}

async fn send(
    provider: &Provider,
    http: &HttpClient,
    body: Bytes,
    timeouts: &Timeouts,
) -> Result<Answer, ApiError> {
    let extra_headers = HeaderMap::new();
    let call = Call {
        operation: Operation::Chat,
        model: "m",
        stream: false,
        body: vec![body],
        request_id: "req_test",
        timeouts,
        extra_headers: &extra_headers,
    };
    provider.send(http, call).await
}

async fn whole(mut answer: Answer) -> String {
    let mut text = Vec::new();
    while let Some(piece) = answer.body.next().await {
        text.extend_from_slice(&piece.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// The address of a server that gives each connection to `serve`.
async fn serve<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, number));
        }
    });
    address.to_string()
}

/// Reads the head of a request. `None` when the other side is gone.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads a request whole. `None` when the other side is gone.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let head = read_head(stream).await?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

#[tokio::test]
async fn requests_share_one_http2_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let address = serve(move |stream, number| {
        counter.store(number, Ordering::SeqCst);
        async move {
            let answer = async |request: Request<Incoming>| {
                assert!(!request.headers().contains_key("host"));
                assert_eq!(request.uri().path(), "/v1/chat/completions");
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
            };
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            _ = http2.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        }
    })
    .await;
    let origin = OriginOptions { http2: Http2::PriorKnowledge, ..OriginOptions::new() };
    let provider = Arc::new(provider(&format!("http://{address}/v1"), Credentials::None, origin));
    let http = HttpClient::new();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (provider, http) = (Arc::clone(&provider), http.clone());
            tokio::spawn(async move {
                let answer = send(&provider, &http, "{}".into(), &Timeouts::default()).await;
                whole(answer.unwrap()).await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "{}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let (closed, mut closings) = mpsc::unbounded_channel();
    let address = serve(move |mut stream, number| {
        let closed = closed.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK).await.unwrap();
            }
            closed.send(number).unwrap();
        }
    })
    .await;
    let origin = OriginOptions { idle_timeout: Duration::from_millis(60), ..OriginOptions::new() };
    let provider = provider(&format!("http://{address}"), Credentials::None, origin);
    let http = HttpClient::new();
    for _ in 0..3 {
        let answer = send(&provider, &http, "{}".into(), &Timeouts::default()).await.unwrap();
        assert_eq!(whole(answer).await, "{}");
    }
    let closing = tokio::time::timeout(Duration::from_secs(5), closings.recv()).await;
    assert_eq!(closing.unwrap(), Some(1));
}

#[tokio::test]
async fn warm_connections_are_there_before_the_first_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let address = serve(move |mut stream, number| {
        counter.store(number, Ordering::SeqCst);
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let base = format!("http://{address}");
    let provider = provider(&base, Credentials::None, OriginOptions::new());
    let http = HttpClient::new();
    provider.warm(&http, 2, &Timeouts::default()).await.unwrap();
    let timeouts = Timeouts::default();
    let first = send(&provider, &http, "{}".into(), &timeouts).await.unwrap();
    let second = send(&provider, &http, "{}".into(), &timeouts).await.unwrap();
    assert_eq!((whole(first).await, whole(second).await), ("{}".to_owned(), "{}".to_owned()));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_that_trickles_on_meets_the_total_limit() {
    let address = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(b"1").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let base = format!("http://{address}");
    let provider = provider(&base, Credentials::None, OriginOptions::new());
    let answer = send(&provider, &HttpClient::new(), "{}".into(), &short()).await;
    let mut body = answer.unwrap().body;
    let error = loop {
        if let Err(error) = body.next().await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(error.code.as_deref(), Some("provider_total_timeout"));
    assert!(body.next().await.is_none());
}

async fn fails_to_connect_in_time(base: &str) {
    let provider = provider(base, Credentials::None, OriginOptions::new());
    let timeouts = Timeouts { connect: Duration::from_millis(100), ..Timeouts::default() };
    let error = send(&provider, &HttpClient::new(), "{}".into(), &timeouts).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadGateway);
    assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
    assert!(error.message.contains("no connection within 100ms"), "{error}");
}

#[tokio::test]
async fn a_host_that_takes_no_connection_meets_the_connect_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the backlog is never full");
    }
    fails_to_connect_in_time(&format!("http://{address}")).await;
}

#[tokio::test]
async fn a_host_that_does_not_answer_to_tls_meets_the_connect_timeout() {
    let address = serve(|mut stream, _| async move {
        _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    fails_to_connect_in_time(&format!("https://{address}")).await;
}

#[tokio::test]
async fn giving_up_before_the_answer_begins_closes_the_connection() {
    let (closed, mut closings) = mpsc::unbounded_channel();
    let address = serve(move |mut stream, number| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            assert!(read_head(&mut stream).await.is_none());
            closed.send(number).unwrap();
        }
    })
    .await;
    let base = format!("http://{address}");
    let provider = provider(&base, Credentials::None, OriginOptions::new());
    let http = HttpClient::new();
    let timeouts = Timeouts::default();
    let sending = send(&provider, &http, "{}".into(), &timeouts);
    assert!(tokio::time::timeout(Duration::from_millis(100), sending).await.is_err());
    let closing = tokio::time::timeout(Duration::from_secs(5), closings.recv()).await;
    assert_eq!(closing.unwrap(), Some(1));
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_hold_up_the_next_request() {
    let address = serve(|mut stream, number| async move {
        if number == 1 {
            read_head(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
            std::future::pending::<()>().await;
        }
        while read_request(&mut stream).await.is_some() {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let base = format!("http://{address}");
    let provider = provider(&base, Credentials::None, OriginOptions::new());
    let http = HttpClient::new();
    let large = Bytes::from(vec![b' '; 32 << 20]);
    let answer = send(&provider, &http, large, &short()).await.unwrap();
    assert_eq!(whole(answer).await, "{}");
    let answer = send(&provider, &http, "{}".into(), &short()).await.unwrap();
    assert_eq!(whole(answer).await, "{}");
}

fn entra(address: &str) -> Credentials {
    Credentials::Token(TokenSource::Entra {
        url: format!("http://{address}/token"),
        client_id: "id".to_owned(),
        client_secret: "secret".to_owned(),
        scope: "scope".to_owned(),
    })
}

#[tokio::test]
async fn a_provider_that_refuses_every_token_does_not_make_us_fetch_ever_more() {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let address = serve(move |mut stream, _| {
        let counter = Arc::clone(&counter);
        async move {
            while let Some(head) = read_request(&mut stream).await {
                let answer = if head.starts_with("POST /token ") {
                    let number = counter.fetch_add(1, Ordering::SeqCst);
                    let grant = format!("{{\"access_token\":\"t{number}\",\"expires_in\":3600}}");
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{grant}", grant.len())
                } else {
                    "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned()
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let base = format!("http://{address}");
    let provider = provider(&base, entra(&address), OriginOptions::new());
    let http = HttpClient::new();
    for _ in 0..10 {
        let answer = send(&provider, &http, "{}".into(), &Timeouts::default()).await.unwrap();
        assert_eq!(answer.status, 401);
    }
    assert_eq!(issued.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_comes_in_pieces_is_read() {
    let address = serve(|mut stream, _| async move {
        while let Some(head) = read_request(&mut stream).await {
            if head.starts_with("POST /token ") {
                let grant = "{\"access_token\":\"t\",\"expires_in\":3600}";
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", grant.len());
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(grant.as_bytes()).await.unwrap();
            } else {
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let base = format!("http://{address}");
    let provider = provider(&base, entra(&address), OriginOptions::new());
    let answer = send(&provider, &HttpClient::new(), "{}".into(), &short()).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_token_service_that_is_away_is_not_a_wrong_credential() {
    let base = "http://127.0.0.1:1";
    let provider = provider(base, entra("127.0.0.1:1"), OriginOptions::new());
    let http = HttpClient::new();
    for _ in 0..2 {
        let error = send(&provider, &http, "{}".into(), &short()).await.unwrap_err();
        assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
        assert!(error.message.contains("`tested`"), "{error}");
    }
}

#[test]
fn secrets_in_addresses_are_refused_and_not_shown() {
    let base = "http://user:hunter2@127.0.0.1:1/v1";
    let error = try_provider(base, Credentials::None, OriginOptions::new()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

#[tokio::test]
async fn a_client_certificate_opens_the_door_and_its_lack_is_told() {
    let authority = Authority::new();
    let (server, server_key) = authority.certify(ExtendedKeyUsagePurpose::ServerAuth);
    let (client, client_key) = authority.certify(ExtendedKeyUsagePurpose::ClientAuth);
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&ring));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
            };
            let http1 = hyper::server::conn::http1::Builder::new();
            _ = http1.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        }
    })
    .await;

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let ca_bundle = Some(file("ca.pem", authority.certificate.pem()));
    let chain = file("client.pem", client.pem());
    let key = file("client.key", client_key.serialize_pem());
    let base = format!("https://{address}");
    let http = HttpClient::new();
    let bare = OriginOptions { ca_bundle, ..OriginOptions::new() };
    let known = OriginOptions { client_certificate: Some((chain, key)), ..bare.clone() };
    let known = provider(&base, Credentials::None, known);
    let answer = send(&known, &http, "{}".into(), &Timeouts::default()).await.unwrap();
    assert_eq!(whole(answer).await, "{}");

    let unknown = provider(&base, Credentials::None, bare);
    let refused = send(&unknown, &http, "{}".into(), &Timeouts::default()).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
    assert!(error.message.contains("`client_certificate`"), "{error}");

    let untrusting = provider(&base, Credentials::None, OriginOptions::new());
    let refused = send(&untrusting, &http, "{}".into(), &Timeouts::default()).await;
    let error = refused.unwrap_err();
    assert!(error.message.contains("`ca_bundle`"), "{error}");
}
