use chat::{ApiError, ErrorKind, FinishReason, StreamAccumulator, StreamEvent, Usage};

use super::context;
use crate::anthropic::{StreamDecoder, StreamEncoder};
use crate::{StreamDecode, StreamEncode};

fn encode(events: &[StreamEvent]) -> String {
    let mut encoder = StreamEncoder::new(context());
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

fn decode(pieces: &[&[u8]]) -> Vec<StreamEvent> {
    let mut decoder = StreamDecoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.decode(piece, &mut events);
    }
    decoder.finish(&mut events);
    events
}

fn text(text: &str) -> StreamEvent {
    StreamEvent::Text { choice: 0, text: text.to_owned() }
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

fn start() -> StreamEvent {
    StreamEvent::Start { id: "msg_a".to_owned(), model: "m".to_owned(), created: 0 }
}

fn finish(reason: FinishReason) -> StreamEvent {
    StreamEvent::Finish { choice: 0, reason, stop_sequence: None }
}

fn whole() -> Vec<StreamEvent> {
    vec![
        start(),
        StreamEvent::Usage(Usage { prompt_tokens: 9, cached_prompt_tokens: 4, ..Usage::default() }),
        StreamEvent::Reasoning { choice: 0, text: "хм".to_owned() },
        StreamEvent::ReasoningSignature { choice: 0, signature: "s".to_owned() },
        StreamEvent::ReasoningEncrypted { choice: 0, data: "e".to_owned() },
        text("При"),
        text("вет 😀"),
        call(0),
        arguments(0, "{\"a\":"),
        arguments(0, "1}"),
        call(1),
        finish(FinishReason::ToolCalls),
        StreamEvent::Usage(Usage {
            prompt_tokens: 9,
            cached_prompt_tokens: 4,
            completion_tokens: 5,
            ..Usage::default()
        }),
        StreamEvent::End,
    ]
}

const WIRE: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_a","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"хм"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"e"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"При"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"вет 😀"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"call_0","name":"f0","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"call_1","name":"f1","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":5}}

event: message_stop
data: {"type":"message_stop"}

"#;

#[test]
fn the_events_of_a_stream() {
    assert_eq!(encode(&whole()), WIRE);
}

#[test]
fn a_stream_cut_anywhere_is_read_alike() {
    let mut expected = whole();
    // A tool without arguments streams none, yet its input is an object.
    expected.insert(11, arguments(1, "{}"));
    let bytes = WIRE.as_bytes();
    assert_eq!(decode(&[bytes]), expected);
    for cut in 0..=bytes.len() {
        assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
    }
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&singles), expected);
}

#[test]
fn interleaved_calls_become_whole_blocks() {
    let events = [
        start(),
        call(0),
        call(1),
        arguments(1, "{\"x\":"),
        arguments(0, "{\"}\":"),
        text("между"),
        arguments(1, "2}"),
        arguments(0, "\"{\"}"),
        text("!"),
        arguments(0, "\n"),
        call(2),
        finish(FinishReason::ToolCalls),
        StreamEvent::End,
    ];
    let wire = encode(&events);
    let order: Vec<StreamEvent> = decode(&[wire.as_bytes()])
        .into_iter()
        .filter(|event| !matches!(event, StreamEvent::Usage(_)))
        .collect();
    assert_eq!(
        order,
        [
            start(),
            call(0),
            arguments(0, "{\"}\":"),
            arguments(0, "\"{\"}"),
            call(1),
            arguments(1, "{\"x\":"),
            arguments(1, "2}"),
            text("между"),
            text("!"),
            call(2),
            arguments(2, "{}"),
            finish(FinishReason::ToolCalls),
            StreamEvent::End,
        ]
    );
}

#[test]
fn a_broken_stream_ends_with_an_error_event() {
    let error = ApiError::new(ErrorKind::Overloaded, "занято");
    let wire =
        encode(&[start(), text("a"), StreamEvent::Error(error), text("b"), StreamEvent::End]);
    let last = r#"event: error
data: {"type":"error","error":{"type":"overloaded_error","message":"занято"},"request_id":"req_1"}

"#;
    assert!(wire.ends_with(last), "{wire}");
    let Some(StreamEvent::Error(read)) = decode(&[wire.as_bytes()]).pop() else {
        panic!("the error was lost")
    };
    assert_eq!((read.kind, read.message.as_str()), (ErrorKind::Overloaded, "занято"));
}

#[test]
fn an_early_end_is_an_error_and_never_an_answer() {
    let end = WIRE.find("event: message_stop").unwrap();
    for cut in 0..end {
        let events = decode(&[&WIRE.as_bytes()[..cut]]);
        assert!(
            matches!(events.last(), Some(StreamEvent::Error(error))
                if error.kind == ErrorKind::BadGateway),
            "cut at {cut}"
        );
        let mut accumulator = StreamAccumulator::default();
        for event in &events {
            accumulator.push(event);
        }
        assert!(accumulator.finish().is_err());
    }
}

#[test]
fn garbage_is_an_error_that_does_not_repeat_it() {
    let events = decode(&[b"data: {\"type\":\"secret\n\n", WIRE.as_bytes()]);
    let [StreamEvent::Error(error)] = events.as_slice() else { panic!("{events:?}") };
    assert!(!error.message.contains("secret"));
}

#[test]
fn other_choices_and_unknown_events_are_passed_over() {
    let second = StreamEvent::Text { choice: 1, text: "b".to_owned() };
    assert!(!encode(&[start(), second, StreamEvent::End]).contains("text_delta"));
    let events = decode(&[b"event: future\ndata: {\"type\":\"future\",\"delta\":{\"x\":1}}\n\n"]);
    assert_eq!(events.len(), 1, "only the missing end is said: {events:?}");
}
