use chat::{ApiError, ErrorKind, FinishReason, StreamEvent, Usage};

use super::{context, decoded};
use crate::StreamEncode;
use crate::openai_responses::{Outcome, StreamEncoder, StreamTap, observe_response};

fn stream(end: &[StreamEvent]) -> Vec<u8> {
    let echo = decoded(r#"{"model":"m","input":"x"}"#).echo;
    let mut encoder = StreamEncoder::new(context(), echo);
    let mut out = Vec::new();
    let start = StreamEvent::Start { id: "resp_p".to_owned(), model: "m".to_owned(), created: 7 };
    let text = StreamEvent::Text { choice: 0, text: "Привет".to_owned() };
    let call = StreamEvent::ToolCallStart {
        choice: 0,
        index: 0,
        id: "c".to_owned(),
        name: "f".to_owned(),
    };
    for event in [start, text, call].iter().chain(end) {
        encoder.encode(event, &mut out);
    }
    out
}

fn watch(pieces: &[&[u8]]) -> Outcome {
    let mut tap = StreamTap::new();
    for piece in pieces {
        tap.observe(piece);
    }
    tap.finish()
}

#[test]
fn a_complete_stream_tells_its_usage_wherever_it_is_cut() {
    let usage = Usage {
        prompt_tokens: 9,
        cached_prompt_tokens: 2,
        cache_write_tokens: 1,
        completion_tokens: 5,
        reasoning_tokens: 3,
    };
    let bytes = stream(&[StreamEvent::Usage(usage), StreamEvent::End]);
    let expected = Outcome {
        id: "resp_p".to_owned(),
        model: "m".to_owned(),
        usage: Some(usage),
        finish: Some(FinishReason::ToolCalls),
        error: None,
    };
    for cut in 0..=bytes.len() {
        assert_eq!(watch(&[&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
    }
}

#[test]
fn failure_and_interruption_are_errors() {
    let error = ApiError::new(ErrorKind::RateLimited, "позже");
    let failed = watch(&[&stream(&[StreamEvent::Error(error)])]);
    let error = failed.error.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::RateLimited, "позже"));

    let interrupted = watch(&[&stream(&[])]);
    assert_eq!(interrupted.finish, None);
    assert_eq!(interrupted.error.unwrap().kind, ErrorKind::BadGateway);

    let bare =
        watch(&[b"data: {\"type\":\"error\",\"message\":\"m\",\"code\":\"server_error\"}\n\n"]);
    assert_eq!(bare.error.unwrap().message, "m");
}

#[test]
fn a_whole_response_tells_its_usage() {
    let body = br#"{"id":"resp_1","model":"m","status":"incomplete",
        "incomplete_details":{"reason":"content_filter"},"output":[],
        "usage":{"input_tokens":3,"output_tokens":4}}"#;
    let outcome = observe_response(body).unwrap();
    assert_eq!(outcome.finish, Some(FinishReason::ContentFilter));
    assert_eq!(outcome.usage.unwrap().total_tokens(), 7);
    let error = observe_response(b"[secret").unwrap_err();
    assert!(!error.message.contains("secret"));
}
