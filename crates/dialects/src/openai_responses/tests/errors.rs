use chat::{ApiError, ErrorKind};

use crate::openai_responses::{encode_error, encode_websocket_error};

#[test]
fn errors_over_http_and_websocket() {
    let error = ApiError::invalid("input", "пусто").with_code("c");
    let encoded = encode_error(&error);
    assert_eq!(encoded.status, 400);
    assert_eq!(
        String::from_utf8(encoded.body).unwrap(),
        r#"{"error":{"message":"пусто","type":"invalid_request_error","param":"input","code":"c"}}"#
    );
    let error = ApiError::new(ErrorKind::RateLimited, "m");
    assert_eq!(
        String::from_utf8(encode_websocket_error(&error, Some("lane"))).unwrap(),
        r#"{"type":"error","status":429,"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"},"stream_id":"lane"}"#
    );
}
