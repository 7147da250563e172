use chat::{ApiError, ErrorKind};

use crate::openai_responses::encode_error;

#[test]
fn errors_over_http() {
    let error = ApiError::invalid("input", "пусто").with_code("c");
    let encoded = encode_error(&error);
    assert_eq!(encoded.status, 400);
    assert_eq!(
        String::from_utf8(encoded.body).unwrap(),
        r#"{"error":{"message":"пусто","type":"invalid_request_error","param":"input","code":"c"}}"#
    );
    let error = ApiError::new(ErrorKind::RateLimited, "m");
    assert_eq!(
        String::from_utf8(encode_error(&error).body).unwrap(),
        r#"{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
    );
}
