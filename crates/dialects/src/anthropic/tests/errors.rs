use std::time::Duration;

use chat::{ApiError, ErrorKind};

use crate::anthropic::{decode_error, encode_error};

#[test]
fn errors_have_the_shape_and_status_of_the_api() {
    let encoded = encode_error(&ApiError::invalid("model", "no such thing"), "req_7");
    assert_eq!(encoded.status, 400);
    assert_eq!(
        String::from_utf8(encoded.body).unwrap(),
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"model: no such thing"},"request_id":"req_7"}"#
    );
    let statuses = [
        (ErrorKind::Overloaded, 529, "overloaded_error"),
        (ErrorKind::QuotaExhausted, 402, "billing_error"),
        (ErrorKind::RequestTooLarge, 413, "request_too_large"),
        (ErrorKind::Timeout, 504, "timeout_error"),
        (ErrorKind::BadGateway, 502, "api_error"),
        (ErrorKind::RateLimited, 429, "rate_limit_error"),
        (ErrorKind::Authentication, 401, "authentication_error"),
        (ErrorKind::PermissionDenied, 403, "permission_error"),
        (ErrorKind::NotFound, 404, "not_found_error"),
    ];
    for (kind, status, name) in statuses {
        let encoded = encode_error(&ApiError::new(kind, "m"), "");
        let body = format!(r#"{{"type":"error","error":{{"type":"{name}","message":"m"}}}}"#);
        assert_eq!((encoded.status, encoded.body), (status, body.into_bytes()));
    }
}

#[test]
fn errors_of_a_provider_are_understood() {
    let read = |status, kind: &str, message: &str| {
        let body =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
        decode_error(status, Some(Duration::from_secs(3)), body.as_bytes())
    };
    let busy = read(529, "overloaded_error", "Overloaded");
    assert_eq!((busy.kind, busy.provider_status), (ErrorKind::Overloaded, Some(529)));
    assert_eq!(busy.retry_after, Some(Duration::from_secs(3)));
    let long = read(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000");
    assert_eq!(long.kind, ErrorKind::ContextLengthExceeded);
    assert_eq!(long.retry_after, None);
    let page = decode_error(503, None, b"<html>");
    assert_eq!(page.kind, ErrorKind::Overloaded);
    assert_eq!(page.message, "the provider answered with status 503");
}
