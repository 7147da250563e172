//! Providers behind an HTTP proxy written here. Their names exist for the proxy alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::ApiError;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use providers::kind::{self, OpenAiApis};
use providers::{
    Answer, Call, Credentials, EgressProxy, Http2, HttpClient, Operation, OriginOptions, Provider,
    ProviderSpec, Timeouts, TokenSource,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

async fn serve<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// `None` when the other side is gone.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers each request; heads go to `heads`.
async fn answer<S>(mut stream: S, heads: mpsc::UnboundedSender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(head) = read_head(&mut stream).await {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let token = r#"{"access_token":"t","expires_in":3600}"#;
        let answer = match head.starts_with("POST /token ") {
            true => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{token}", token.len()),
            false => OK.to_owned(),
        };
        heads.send(head).unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A proxy that connects to `target`, whatever it is asked for, and says `established` first.
async fn proxy_to(
    target: String,
    established: &'static str,
) -> (String, mpsc::UnboundedReceiver<String>) {
    let (heads, asked) = mpsc::unbounded_channel();
    let proxy = serve(move |mut stream| {
        let (heads, target) = (heads.clone(), target.clone());
        async move {
            heads.send(read_head(&mut stream).await.unwrap()).unwrap();
            let mut upstream = TcpStream::connect(target).await.unwrap();
            stream.write_all(established.as_bytes()).await.unwrap();
            _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
        }
    })
    .await;
    (proxy, asked)
}

/// A proxy that says `said` and closes the connection.
async fn proxy_that_says(said: &'static str) -> String {
    serve(move |mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
    })
    .await
}

fn through(proxy: &str) -> OriginOptions {
    let url = format!("http://%D1%8F:hunter%3A2@{proxy}");
    OriginOptions { egress_proxy: Some(EgressProxy::parse(&url).unwrap()), ..OriginOptions::new() }
}

fn provider(base: &str, credentials: Credentials, origin: OriginOptions) -> Provider {
    let apis = OpenAiApis {
        chat: true,
        responses: false,
        completions: false,
        embeddings: false,
        moderations: false,
    };
    let spec = ProviderSpec {
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
    };
    Provider::new(spec).unwrap()
}

async fn send_within(
    timeouts: Timeouts,
    provider: &Provider,
    http: &HttpClient,
) -> Result<Answer, ApiError> {
    let extra_headers = HeaderMap::new();
    let call = Call {
        operation: Operation::Chat,
        model: "m",
        stream: false,
        body: vec!["{}".into()],
        request_id: "req_test",
        timeouts: &timeouts,
        extra_headers: &extra_headers,
    };
    provider.send(http, call).await
}

async fn send(provider: &Provider, http: &HttpClient) -> Result<String, ApiError> {
    let mut answer = send_within(Timeouts::default(), provider, http).await?;
    let mut text = Vec::new();
    while let Some(piece) = answer.body.next().await {
        text.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(text).unwrap())
}

fn drained<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> Vec<T> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

#[tokio::test]
async fn what_is_in_the_clear_goes_through_a_tunnel_that_is_kept() {
    let (heads, mut requests) = mpsc::unbounded_channel();
    let upstream = serve(move |stream| answer(stream, heads.clone())).await;
    // Preliminary answers and lengths are not the tunnel's (RFC 9110, 9.3.6 and 15.2).
    let established = "HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n\
                       HTTP/1.0 200 Connection established\r\ncontent-length: 9\r\n\r\n";
    let (proxy, mut asked) = proxy_to(upstream, established).await;
    let provider = provider("http://m.invalid/v1", Credentials::None, through(&proxy));
    let http = HttpClient::new();
    for _ in 0..2 {
        assert_eq!(send(&provider, &http).await.unwrap(), "{}");
    }
    let connect = "CONNECT m.invalid:80 HTTP/1.1\r\nHost: m.invalid:80\r\n\
                   Proxy-Authorization: Basic 0Y86aHVudGVyOjI=\r\n\r\n";
    assert_eq!(drained(&mut asked), [connect]);
    let requests = drained(&mut requests);
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: m.invalid\r\n"), "{request}");
        assert!(!request.to_ascii_lowercase().contains("proxy-"), "{request}");
    }
}

#[tokio::test]
async fn the_token_service_is_asked_through_the_proxy_and_no_user_is_made_up() {
    let (heads, _requests) = mpsc::unbounded_channel();
    let upstream = serve(move |stream| answer(stream, heads.clone())).await;
    let (proxy, mut asked) = proxy_to(upstream, "HTTP/1.1 200 OK\r\n\r\n").await;
    let credentials = Credentials::Token(TokenSource::Entra {
        url: "http://login.invalid:81/token".to_owned(),
        client_id: "id".to_owned(),
        client_secret: "secret".to_owned(),
        scope: "scope".to_owned(),
    });
    let egress_proxy = Some(EgressProxy::parse(&format!("http://{proxy}")).unwrap());
    let origin = OriginOptions { egress_proxy, ..OriginOptions::new() };
    let provider = provider("http://[2001:db8::1]:8000/v1", credentials, origin);
    assert_eq!(send(&provider, &HttpClient::new()).await.unwrap(), "{}");
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    assert_eq!(drained(&mut asked), [connect("login.invalid:81"), connect("[2001:db8::1]:8000")]);
}

#[tokio::test]
async fn tls_is_with_the_provider_not_with_the_proxy() {
    let made = rcgen::generate_simple_self_signed(vec!["m.invalid".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (heads, mut requests) = mpsc::unbounded_channel();
    let upstream = serve(move |stream| {
        let (acceptor, heads) = (acceptor.clone(), heads.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, heads).await;
            }
        }
    })
    .await;
    let (proxy, mut asked) = proxy_to(upstream, "HTTP/1.1 200 OK\r\n\r\n").await;
    let folder = tempfile::tempdir().unwrap();
    let ca_bundle = folder.path().join("ca.pem");
    std::fs::write(&ca_bundle, made.cert.pem()).unwrap();
    let origin = OriginOptions { ca_bundle: Some(ca_bundle), ..through(&proxy) };
    let trusting = provider("https://m.invalid/v1", Credentials::None, origin);
    assert_eq!(send(&trusting, &HttpClient::new()).await.unwrap(), "{}");
    assert!(asked.recv().await.unwrap().starts_with("CONNECT m.invalid:443 HTTP/1.1\r\n"));
    assert_eq!(drained(&mut requests).len(), 1);

    let untrusting = provider("https://m.invalid/v1", Credentials::None, through(&proxy));
    let error = send(&untrusting, &HttpClient::new()).await.unwrap_err();
    assert!(error.message.contains("`ca_bundle`"), "{error}");
    assert!(drained(&mut requests).is_empty());
}

#[tokio::test]
async fn bytes_that_follow_the_proxys_answer_are_the_providers() {
    let upstream = serve(|stream| async move {
        let answer = async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
        };
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        _ = http2.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    })
    .await;
    let proxy = serve(move |mut stream| {
        let upstream = upstream.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            let mut upstream = TcpStream::connect(upstream).await.unwrap();
            // A server of HTTP/2 speaks first; the beginning comes in one piece with the answer.
            let mut piece = b"HTTP/1.1 200 OK\r\n\r\n12345".to_vec();
            let at = piece.len() - 5;
            upstream.read_exact(&mut piece[at..]).await.unwrap();
            stream.write_all(&piece).await.unwrap();
            // The rest when the client has gone on (its preface, RFC 9113, 3.4): without the
            // beginning it would make no sense.
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            upstream.write_all(&preface).await.unwrap();
            _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
        }
    })
    .await;
    let origin = OriginOptions { http2: Http2::PriorKnowledge, ..through(&proxy) };
    let provider = provider("http://m.invalid/v1", Credentials::None, origin);
    assert_eq!(send(&provider, &HttpClient::new()).await.unwrap(), "{}");
}

#[tokio::test]
async fn a_proxy_that_opens_no_tunnel_is_named_and_its_password_is_not() {
    let long: &'static str = String::leak("x".repeat(1 << 20));
    for (said, expected) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "(status 407)"),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            "connect to m.invalid:443 (status 403)",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "answered with status 502"),
        ("HTTP/1.1 302 Found\r\nlocation: http://login/\r\n\r\n", "answered with status 302"),
        ("HTTP/1.1 200 OK\r\nx: y", "closed the connection"),
        ("", "closed the connection"),
        ("SSH-2.0-proxy\r\n\r\n", "did not answer as an HTTP proxy does"),
        (long, "did not answer as an HTTP proxy does"),
    ] {
        let proxy = proxy_that_says(said).await;
        let provider = provider("https://m.invalid/v1", Credentials::None, through(&proxy));
        let error = send(&provider, &HttpClient::new()).await.unwrap_err();
        assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
        assert!(error.message.contains(expected), "{error}");
        assert!(error.message.contains(&proxy), "{error}");
        let shown = format!("{error} {error:?} {provider:?} {:?}", through(&proxy));
        assert!(!shown.contains("hunter") && !shown.contains("0Y86"), "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let provider = provider("http://m.invalid", Credentials::None, through("127.0.0.1:1"));
    let error = send(&provider, &HttpClient::new()).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
    assert!(error.message.contains("the proxy 127.0.0.1:1 could not be reached"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_never_answers_meets_the_connect_timeout() {
    let proxy = serve(|mut stream| async move {
        _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let provider = provider("http://m.invalid", Credentials::None, through(&proxy));
    let timeouts = Timeouts { connect: Duration::from_millis(50), ..Timeouts::default() };
    let error = send_within(timeouts, &provider, &HttpClient::new()).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("provider_unreachable"));
    assert!(error.message.contains("no connection within 50ms"), "{error}");
}
