//! The exact bytes of the older completions, whole and streamed.

use chat::{
    ApiError, ChatResponse, Choice, ErrorKind, FinishReason, Message, Part, Role, StreamEvent,
    Usage,
};
use dialects::openai_completions::{StreamEncoder, decode_request, encode_response};
use dialects::{AnswerContext, StreamEncode, openai_chat};

fn context(stream_usage: bool) -> AnswerContext {
    AnswerContext {
        id_seed: "seed".to_owned(),
        request_id: "req_1".to_owned(),
        now: 7,
        route: "маршрут".to_owned(),
        stream_usage,
    }
}

fn usage() -> Usage {
    Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() }
}

fn streamed(events: &[StreamEvent], stream_usage: bool) -> String {
    let mut encoder = StreamEncoder::new(&context(stream_usage));
    let mut wire = Vec::new();
    for event in events {
        encoder.encode(event, &mut wire);
    }
    String::from_utf8(wire).unwrap()
}

#[test]
fn a_prompt_is_a_word_of_the_user() {
    let body = r#"{"model": "m", "prompt": ["Жил-\u0431ыл 👋"], "max_tokens": 5, "stop": "\n",
        "temperature": 0.5, "seed": -3, "n": 2, "stream": true, "best_of": 1,
        "stream_options": {"include_usage": true}, "echo": false}"#;
    let request = decode_request(body.as_bytes()).unwrap();
    assert_eq!(request.messages, [Message::text(Role::User, "Жил-был 👋")]);
    assert_eq!((request.max_output_tokens, request.choice_count), (Some(5), Some(2)));
    assert_eq!(request.stop, ["\n"]);
    assert_eq!((request.sampling.temperature, request.sampling.seed), (Some(0.5), Some(-3)));
    assert!(request.stream && request.stream_usage);
}

#[test]
fn what_has_no_counterpart_is_refused_by_name() {
    for (member, body) in [
        ("echo", r#"{"prompt": "а", "echo": true}"#),
        ("suffix", r#"{"prompt": "а", "suffix": "я"}"#),
        ("best_of", r#"{"prompt": "а", "best_of": 2}"#),
        ("logprobs", r#"{"prompt": "а", "logprobs": 1}"#),
        ("prompt", r#"{"prompt": ["а", "б"]}"#),
        ("prompt[0]", r#"{"prompt": [1, 2]}"#),
        ("prompt", "{}"),
    ] {
        let error = decode_request(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest, "{body}");
        assert_eq!(error.param.as_deref(), Some(member), "{body}");
    }
}

#[test]
fn a_whole_answer_has_text_only() {
    let response = ChatResponse {
        id: "x".to_owned(),
        model: String::new(),
        created: 0,
        choices: vec![Choice {
            index: 0,
            parts: vec![Part::text("При"), Part::text("вет \"👋\"")],
            finish: FinishReason::Length,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: None,
    };
    let wire = encode_response(&response, &context(false));
    assert_eq!(
        String::from_utf8(wire).unwrap(),
        "{\"id\":\"cmpl-seed\",\"object\":\"text_completion\",\"created\":7,\"model\":\"маршрут\",\
         \"choices\":[{\"text\":\"Привет \\\"👋\\\"\",\"index\":0,\"logprobs\":null,\
         \"finish_reason\":\"length\"}]}"
    );
}

#[test]
fn a_stream_ends_with_usage_where_it_is_wanted() {
    let choice = 0;
    let events = [
        StreamEvent::Start { id: String::new(), model: "m".to_owned(), created: 9 },
        StreamEvent::Text { choice, text: "Да".to_owned() },
        StreamEvent::Finish { choice, reason: FinishReason::Stop, stop_sequence: None },
        StreamEvent::Usage(usage()),
        StreamEvent::End,
    ];
    let head = r#"data: {"id":"cmpl-seed","object":"text_completion","created":9,"model":"m","#;
    let told = [
        head,
        "\"choices\":[{\"text\":\"Да\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        head,
        "\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n",
    ]
    .concat();
    assert_eq!(streamed(&events, false), format!("{told}data: [DONE]\n\n"));
    let counted = streamed(&events, true);
    let last = counted.strip_prefix(&told).unwrap();
    assert!(last.starts_with(&format!("{head}\"choices\":[],\"usage\":{{\"prompt_tokens\":3,")));
    assert!(last.ends_with("}}\n\ndata: [DONE]\n\n"), "{last}");
}

#[test]
fn nothing_follows_an_error() {
    let error = ApiError::new(ErrorKind::BadGateway, "обрыв");
    let alone = streamed(&[StreamEvent::Error(error.clone())], false);
    assert!(alone.starts_with("data: {\"error\":{\"message\":\"обрыв\""), "{alone}");
    let events = [StreamEvent::Error(error), StreamEvent::End];
    assert_eq!(streamed(&events, false), alone);

    let mut encoder = openai_chat::StreamEncoder::new(&context(true));
    let mut wire = Vec::new();
    encoder.encode(&events[0], &mut wire);
    let told = wire.clone();
    encoder.encode(&events[1], &mut wire);
    assert_eq!(wire, told);
}
