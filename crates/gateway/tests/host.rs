//! RFC 9112, 3.2: who speaks HTTP/1.1 names the host.

mod common;

use common::{Gate, KEY};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

#[tokio::test]
async fn http_1_1_without_a_host_is_refused_in_the_callers_words() {
    let gate = Gate::alone();
    for (line, wanted) in [
        ("POST /v1/chat/completions", r#""code":"missing_host""#),
        ("POST /v1/messages", r#"{"type":"error","error":{"type":"invalid_request_error""#),
        ("GET /v1/models", r#""code":"missing_host""#),
        ("GET /v1/responses", r#""code":"missing_host""#),
        ("GET /nothing", r#""code":"missing_host""#),
    ] {
        let request = format!(
            "{line} HTTP/1.1\r\nauthorization: Bearer {KEY}\r\ncontent-length: 2\r\n\
             connection: close\r\n\r\n{{}}"
        );
        let reply = gate.exchange(&request).await;
        assert_eq!(reply.status, 400, "{line}");
        assert!(reply.body.contains(wanted), "{line}: {}", reply.body);
    }
    let labels = r#"surface="models",route="",status="400",error_type="invalid_request""#;
    assert_eq!(gate.counted(labels), 1);
}

#[tokio::test]
async fn http_1_0_and_http_2_need_none() {
    let gate = Gate::alone();
    let old = format!("GET /v1/models HTTP/1.0\r\nauthorization: Bearer {KEY}\r\n\r\n");
    assert_eq!(gate.exchange(&old).await.status, 200);

    let socket = tokio::net::TcpStream::connect(gate.address).await.unwrap();
    let io = TokioIo::new(socket);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/v1/models", gate.address))
        .header("authorization", format!("Bearer {KEY}"))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"object\":\"list\""), "{body:?}");
}
