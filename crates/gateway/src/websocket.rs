//! The Responses API over a WebSocket on the path of the HTTP one: the caller sends
//! `response.create` messages, and gets the events that a stream would carry, one a message. One
//! response runs at a time; what is asked meanwhile waits its turn.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{ApiError, ErrorKind};
use dialects::json::{Outline, Patch};
use dialects::sse::SseParser;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::exchange::Exchange;
use crate::receive::{Received, understand};
use crate::relay::Relay;
use crate::reply::ReplyBody;
use crate::surface::{Surface, Vendor};
use crate::worker::{Worker, id_seed};
use crate::{codec, pipeline};

/// How often an idle socket looks whether the process is about to stop.
const DRAIN_CHECK: Duration = Duration::from_millis(500);

/// Largest event of a stream that is put into a message.
const MAX_EVENT_BYTES: usize = 64 << 20;

/// Messages that may wait while a response runs.
const MAX_WAITING: usize = 16;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers the handshake (RFC 6455, 4.2) and serves the socket in a task of its own.
pub(crate) async fn upgrade(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    mut request: Request<Incoming>,
) -> Response<ReplyBody> {
    let Some(accept) = accept_key(request.headers()) else {
        let error = ApiError::new(
            ErrorKind::MethodNotAllowed,
            "GET /v1/responses is a WebSocket; connect with one, or POST the request",
        )
        .with_code("websocket_expected");
        return pipeline::refuse(exchange, &error);
    };
    // A key that is not known gets no socket.
    if let Err(error) = pipeline::identify(&mut exchange, request.headers()).await {
        return pipeline::refuse(exchange, &error);
    }
    exchange.finish(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let peer = exchange.peer;
    let headers = request.headers().clone();
    let upgraded = hyper::upgrade::on(&mut request);
    let worker = Arc::clone(worker);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let limit = worker.gateway().snapshot().settings.body.max_bytes;
        let config =
            WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Box::pin(Session { worker, headers, socket, peer, waiting: VecDeque::new() }.run()).await;
    });
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(header::UPGRADE)?.to_str().ok()?;
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?.as_bytes();
    if !upgrade.eq_ignore_ascii_case("websocket") || version != b"13" {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

struct Session {
    worker: Arc<Worker>,
    headers: HeaderMap,
    socket: Socket,
    peer: Option<IpAddr>,
    /// What the caller sent while a response ran.
    waiting: VecDeque<Message>,
}

/// The caller is gone, or about to be.
struct Closed;

impl Session {
    async fn run(mut self) {
        loop {
            let next = match self.waiting.pop_front() {
                Some(message) => Ok(Some(Ok(message))),
                None => tokio::time::timeout(DRAIN_CHECK, self.socket.next()).await,
            };
            let message = match next {
                Err(_) if self.worker.gateway().is_draining() => {
                    return self.close(CloseCode::Away, "the server is about to stop").await;
                }
                Err(_) => continue,
                Ok(None) => return,
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(SocketError::Capacity(_)))) => {
                    return self.close(CloseCode::Size, "the message is too large").await;
                }
                Ok(Some(Err(_))) => return,
            };
            let served = match message {
                Message::Text(text) => {
                    self.respond(Bytes::copy_from_slice(text.as_str().as_bytes())).await
                }
                Message::Binary(_) => {
                    self.send_error(&ApiError::new(
                        ErrorKind::InvalidRequest,
                        "messages must be text: one JSON object each",
                    ))
                    .await
                }
                Message::Close(_) => return,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
            };
            if served.is_err() {
                return;
            }
        }
    }

    async fn close(mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        _ = self.socket.close(Some(frame)).await;
    }

    async fn respond(&mut self, message: Bytes) -> Result<(), Closed> {
        let gateway = Arc::clone(self.worker.gateway());
        let snapshot = gateway.snapshot();
        let limits = snapshot.settings.body.clone();
        let request_id = format!("req_{}", id_seed());
        let mut exchange = Exchange::begin(gateway, snapshot, Surface::Responses, request_id);
        exchange.peer = self.peer;
        // The key may have been taken back since the handshake.
        let received = pipeline::identify(&mut exchange, &self.headers).await.and_then(|()| {
            let body = request_body(&message, limits.max_json_depth)?;
            understand(Surface::Responses, &self.headers, body, &limits)
        });
        let received: Received = match received {
            Ok(received) => received,
            Err(error) => {
                exchange.fail(error.kind.status(), &error);
                return self.send_error(&error).await;
            }
        };
        let response =
            pipeline::serve_received(&self.worker, exchange, &self.headers, received).await;
        let status = response.status();
        match response.into_body().into_relay() {
            Ok(relay) => self.relay(relay).await,
            Err(body) => self.send(codec::websocket_error(status.as_u16(), &body)).await,
        }
    }

    /// Sends each event of a stream as a message, and notices if the caller goes away meanwhile.
    async fn relay(&mut self, mut relay: Box<Relay>) -> Result<(), Closed> {
        let mut parser = SseParser::new(MAX_EVENT_BYTES);
        let mut messages = Vec::new();
        loop {
            let piece = tokio::select! {
                piece = poll_fn(|context| relay.poll_piece(context)) => piece,
                gone = caller_gone(&mut self.socket, &mut self.waiting) => return Err(gone),
            };
            let Some(piece) = piece else { return Ok(()) };
            parser.feed(&piece, |event| {
                if event.data != b"[DONE]" {
                    messages.push(String::from_utf8_lossy(event.data).into_owned());
                }
            });
            for message in messages.drain(..) {
                self.socket.feed(Message::text(message)).await.map_err(|_| Closed)?;
            }
            self.socket.flush().await.map_err(|_| Closed)?;
        }
    }

    async fn send_error(&mut self, error: &ApiError) -> Result<(), Closed> {
        let encoded = codec::encode_error(Vendor::OpenAi, error, "");
        self.send(codec::websocket_error(encoded.status, &encoded.body)).await
    }

    async fn send(&mut self, message: String) -> Result<(), Closed> {
        self.socket.send(Message::text(message)).await.map_err(|_| Closed)
    }
}

/// Ends when the caller closes the socket, or has more waiting than may wait.
async fn caller_gone(socket: &mut Socket, waiting: &mut VecDeque<Message>) -> Closed {
    loop {
        match socket.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if waiting.len() < MAX_WAITING {
                    waiting.push_back(message);
                    continue;
                }
                let reason = "too many requests wait for the response that runs".into();
                let frame = CloseFrame { code: CloseCode::Policy, reason };
                _ = socket.close(Some(frame)).await;
                return Closed;
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Closed,
        }
    }
}

/// The request that a `response.create` message stands for: its members, or those of its
/// `response` member, as a stream.
fn request_body(message: &Bytes, max_depth: usize) -> Result<Bytes, ApiError> {
    let outline = Outline::read(message, max_depth)?;
    match outline.get(message, "type") {
        Some("\"response.create\"") => {}
        Some(other) => {
            let shown: String = other.chars().take(60).collect();
            return Err(ApiError::invalid(
                "type",
                format!("there is no client event of type {shown}; send `response.create`"),
            )
            .with_code("unknown_event"));
        }
        None => {
            return Err(ApiError::invalid(
                "type",
                "`type` is missing; send an object of type `response.create`",
            ));
        }
    }
    let streamed = |body: &Bytes, outline: &Outline| {
        let mut patch = Patch::new(body, outline);
        patch.remove("type").set("stream", b"true".to_vec());
        Bytes::from(patch.apply().concat())
    };
    if let Some(range) = outline.range(message, "response") {
        let inner = message.slice(range);
        let inner_outline = Outline::read(&inner, max_depth)?;
        return Ok(streamed(&inner, &inner_outline));
    }
    Ok(streamed(message, &outline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &str) -> Result<String, ApiError> {
        let message = Bytes::copy_from_slice(message.as_bytes());
        request_body(&message, 64).map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn both_forms_of_the_message_are_taken() {
        let wanted = r#"{"model":"чат","input":"да","stream":true}"#;
        assert_eq!(
            body(r#"{"type":"response.create","model":"чат","input":"да"}"#).unwrap(),
            wanted
        );
        let nested = r#"{"type":"response.create","response":{"model":"чат","input":"да"}}"#;
        assert_eq!(body(nested).unwrap(), wanted);
        for wrong in [r#"{"type":"session.update"}"#, "{}", "[]", "гарбидж"] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
    }
}
