use chat::{ChatResponse, Choice, ErrorKind, FinishReason, Part, Reasoning, ToolCall, Usage};

use super::context;
use crate::anthropic::{
    decode_count_tokens, decode_response, encode_count_tokens, encode_response,
};

fn answer() -> ChatResponse {
    ChatResponse {
        id: "chatcmpl-1".to_owned(),
        model: "m".to_owned(),
        created: 5,
        choices: vec![Choice {
            index: 0,
            parts: vec![
                Part::Reasoning(Reasoning {
                    text: "хм".to_owned(),
                    signature: Some("s".to_owned()),
                    encrypted: None,
                }),
                Part::Reasoning(Reasoning {
                    encrypted: Some("e".to_owned()),
                    ..Reasoning::default()
                }),
                Part::text("Привет \"мир\" 😀"),
                Part::ToolCall(ToolCall {
                    id: "call_1".to_owned(),
                    name: "f".to_owned(),
                    arguments: r#"{"город": "Москва"}"#.to_owned(),
                }),
                Part::ToolCall(ToolCall {
                    id: "call_2".to_owned(),
                    name: "g".to_owned(),
                    arguments: "{\"обор".to_owned(),
                }),
            ],
            finish: FinishReason::ToolCalls,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: Some(Usage {
            prompt_tokens: 100,
            cached_prompt_tokens: 60,
            cache_write_tokens: 10,
            completion_tokens: 20,
            reasoning_tokens: 7,
        }),
    }
}

const WIRE: &str = concat!(
    r#"{"id":"msg_0123456789abcdefABCDEF01","type":"message","role":"assistant","model":"m","content":["#,
    r#"{"type":"thinking","thinking":"хм","signature":"s"},{"type":"redacted_thinking","data":"e"},"#,
    r#"{"type":"text","text":"Привет \"мир\" 😀"},"#,
    r#"{"type":"tool_use","id":"call_1","name":"f","input":{"город": "Москва"}},"#,
    r#"{"type":"tool_use","id":"call_2","name":"g","input":{"INVALID_JSON":"{\"обор"}}],"#,
    r#""stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":30,"#,
    r#""cache_creation_input_tokens":10,"cache_read_input_tokens":60,"output_tokens":20,"#,
    r#""output_tokens_details":{"thinking_tokens":7}}}"#,
);

#[test]
fn an_answer_is_written_and_read() {
    assert_eq!(String::from_utf8(encode_response(&answer(), &context())).unwrap(), WIRE);
    let read = decode_response(WIRE.as_bytes()).unwrap();
    let mut expected = answer();
    expected.id = "msg_0123456789abcdefABCDEF01".to_owned();
    expected.created = 0;
    expected.choices[0].parts[4] = Part::ToolCall(ToolCall {
        id: "call_2".to_owned(),
        name: "g".to_owned(),
        arguments: r#"{"INVALID_JSON":"{\"обор"}"#.to_owned(),
    });
    assert_eq!(read, expected);
}

#[test]
fn reasons_to_stop() {
    let cases = [
        (FinishReason::Stop, None, "end_turn"),
        (FinishReason::Stop, Some("СТОП"), "stop_sequence"),
        (FinishReason::Length, None, "max_tokens"),
        (FinishReason::Refusal, None, "refusal"),
        (FinishReason::Other("pause_turn".to_owned()), None, "pause_turn"),
    ];
    for (finish, sequence, reason) in cases {
        let mut response = answer();
        response.choices[0].finish = finish.clone();
        response.choices[0].stop_sequence = sequence.map(str::to_owned);
        let wire = encode_response(&response, &context());
        let value = super::value(&wire);
        assert_eq!(value["stop_reason"], reason);
        assert_eq!(value["stop_sequence"].as_str(), sequence);
        let read = decode_response(&wire).unwrap();
        assert_eq!(read.choices[0].finish, finish);
        assert_eq!(read.choices[0].stop_sequence.as_deref(), sequence);
    }
    let mut filtered = answer();
    filtered.choices[0].finish = FinishReason::ContentFilter;
    assert_eq!(super::value(&encode_response(&filtered, &context()))["stop_reason"], "refusal");
}

#[test]
fn nonsense_is_refused_without_repeating_it() {
    let error = decode_response(br#"{"content":"my secret"}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadGateway);
    assert!(!error.message.contains("secret"), "{error}");
}

#[test]
fn counts() {
    assert_eq!(encode_count_tokens(12), br#"{"input_tokens":12}"#);
    assert_eq!(decode_count_tokens(br#"{"input_tokens":12}"#).unwrap(), 12);
}
