use chat::{ApiError, ErrorKind, FinishReason, Json, StreamEvent, Usage};

use super::{context, decoded, full_request, snapshot};
use crate::StreamEncode;
use crate::openai_responses::{Echo, StreamEncoder};
use crate::sse::SseParser;

fn plain() -> Echo {
    decoded(r#"{"model":"m","input":"x"}"#).echo
}

fn encode(echo: Echo, events: &[StreamEvent]) -> String {
    let mut encoder = StreamEncoder::new(context(), echo);
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// Names and payloads.
fn payloads(wire: &str) -> Vec<(String, serde_json::Value)> {
    let mut found = Vec::new();
    let mut parser = SseParser::new(1 << 20);
    parser.feed(wire.as_bytes(), |event| {
        found.push((event.event.to_owned(), serde_json::from_slice(event.data).unwrap()));
    });
    assert_eq!(wire.lines().count(), found.len() * 3, "an event is two lines and a blank one");
    found
}

fn start() -> StreamEvent {
    StreamEvent::Start { id: "resp_p".to_owned(), model: "m".to_owned(), created: 7 }
}

fn text(text: &str) -> StreamEvent {
    StreamEvent::Text { choice: 0, text: text.to_owned() }
}

fn reasoning(text: &str) -> StreamEvent {
    StreamEvent::Reasoning { choice: 0, text: text.to_owned() }
}

fn call(index: u32) -> StreamEvent {
    StreamEvent::ToolCallStart {
        choice: 0,
        index,
        id: format!("call_{index}"),
        name: format!("f{index}"),
    }
}

fn arguments(index: u32, fragment: &str) -> StreamEvent {
    StreamEvent::ToolCallArguments { choice: 0, index, fragment: fragment.to_owned() }
}

fn finish(reason: FinishReason) -> StreamEvent {
    StreamEvent::Finish { choice: 0, reason, stop_sequence: None }
}

fn usage() -> StreamEvent {
    StreamEvent::Usage(Usage { prompt_tokens: 9, completion_tokens: 5, ..Usage::default() })
}

fn everything() -> Vec<StreamEvent> {
    let token = |token: &str| {
        let entry = format!(r#"{{"token":"{token}","logprob":-1,"bytes":[1],"top_logprobs":[]}}"#);
        StreamEvent::Logprobs { choice: 0, content: vec![Json::parse(entry).unwrap()] }
    };
    vec![
        start(),
        reasoning("х"),
        reasoning("м"),
        StreamEvent::ReasoningSignature { choice: 0, signature: "s".to_owned() },
        StreamEvent::ReasoningEncrypted { choice: 0, data: "e".to_owned() },
        text("При"),
        token("При"),
        text("вет 😀"),
        token("вет"),
        StreamEvent::Refusal { choice: 0, text: "но нет".to_owned() },
        call(0),
        arguments(0, "{\"a\":"),
        arguments(0, "1}"),
        call(1),
        finish(FinishReason::ToolCalls),
        usage(),
        StreamEvent::End,
    ]
}

#[test]
fn the_events_of_a_response() {
    snapshot("full.sse", &encode(full_request().echo, &everything()));
}

#[test]
fn thinking_in_the_open() {
    let events = [
        start(),
        reasoning("хм"),
        text("да"),
        finish(FinishReason::Stop),
        usage(),
        StreamEvent::End,
    ];
    snapshot("thinking.sse", &encode(plain(), &events));
}

#[test]
fn events_are_numbered_and_deltas_make_up_the_whole() {
    let events = payloads(&encode(full_request().echo, &everything()));
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], number);
        assert_eq!(data["type"].as_str(), Some(name.as_str()));
    }
    let deltas = |name: &str| -> String {
        let of_name = events.iter().filter(|(event, _)| event == name);
        of_name.map(|(_, data)| data["delta"].as_str().unwrap().to_owned()).collect()
    };
    let (last, whole) = events.last().unwrap();
    assert_eq!(last, "response.completed");
    let output = &whole["response"]["output"];
    assert_eq!(deltas("response.output_text.delta"), output[2]["content"][0]["text"]);
    assert_eq!(output[2]["content"][0]["logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(deltas("response.reasoning_summary_text.delta"), output[0]["summary"][0]["text"]);
    assert_eq!(deltas("response.function_call_arguments.delta"), output[3]["arguments"]);
    let done: Vec<&serde_json::Value> = events
        .iter()
        .filter(|(name, _)| name == "response.output_item.done")
        .map(|(_, data)| &data["item"])
        .collect();
    assert_eq!(done, output.as_array().unwrap().iter().collect::<Vec<_>>());
}

#[test]
fn alternating_calls_keep_their_own_numbers() {
    let events = [
        start(),
        call(0),
        call(1),
        arguments(1, "{\"x\":"),
        arguments(0, "{\"y\":"),
        text("между"),
        arguments(1, "2}"),
        arguments(0, "1}"),
        finish(FinishReason::ToolCalls),
        StreamEvent::End,
    ];
    let events = payloads(&encode(plain(), &events));
    let output = &events.last().unwrap().1["response"]["output"];
    assert_eq!(output[0]["arguments"], "{\"y\":1}");
    assert_eq!(output[1]["arguments"], "{\"x\":2}");
    assert_eq!(output[2]["content"][0]["text"], "между");
    let ids: Vec<&str> =
        output.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [
            "fc_0123456789abcdefABCDEF0100",
            "fc_0123456789abcdefABCDEF0101",
            "msg_0123456789abcdefABCDEF0102"
        ]
    );
}

#[test]
fn a_cut_response_ends_incomplete() {
    let events = [start(), text("a"), finish(FinishReason::Length), StreamEvent::End];
    let events = payloads(&encode(plain(), &events));
    let (last, data) = events.last().unwrap();
    assert_eq!(last, "response.incomplete");
    assert_eq!(data["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(data["response"]["output"][0]["status"], "incomplete");
}

#[test]
fn a_broken_response_fails_and_nothing_follows() {
    let error = ApiError::new(ErrorKind::BadGateway, "связь пропала");
    let events = [start(), text("a"), StreamEvent::Error(error), text("b"), StreamEvent::End];
    snapshot("failed.sse", &encode(plain(), &events));

    let mut names = Vec::new();
    let mut encoder = StreamEncoder::new(context(), plain());
    for event in &events {
        encoder.events(event, &mut |name, _| names.push(name.to_owned()));
    }
    assert_eq!(names.last().unwrap(), "response.failed", "a WebSocket lives on");
}

#[test]
fn events_for_a_websocket_are_bare_and_name_their_lane() {
    let mut decoded = super::decoded(r#"{"stream_id":"lane","model":"m","input":"x"}"#);
    let mut encoder = StreamEncoder::new(context(), std::mem::take(&mut decoded.echo));
    let mut count = 0;
    for event in [start(), text("a"), StreamEvent::End] {
        encoder.events(&event, &mut |name, data| {
            let data: serde_json::Value = serde_json::from_slice(data).unwrap();
            assert_eq!(
                (data["type"].as_str(), data["stream_id"].as_str()),
                (Some(name), Some("lane"))
            );
            count += 1;
        });
    }
    assert_eq!(count, 9);
}
