//! What the dialect can carry survives the way there and back.

use chat::{
    ChatRequest, ChatResponse, Choice, FinishReason, Image, Json, JsonSchema, MediaSource, Message,
    Part, Reasoning, ReasoningEffort, ReasoningRequest, ResponseFormat, Role, StreamAccumulator,
    StreamEvent, Text, Tool, ToolCall, ToolChoice, ToolResult, Usage,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{context, target};
use crate::anthropic::{
    StreamDecoder, StreamEncoder, decode_count_tokens_request, decode_request, decode_response,
    encode_request, encode_response,
};
use crate::{StreamDecode, StreamEncode, Target, Unsupported};

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[а-яё ]{1,12}", "\\PC{1,8}", any::<String>(), Just("😀\u{1F}\"\\".to_owned())]
        .prop_filter("the API refuses empty texts", |text| !text.is_empty())
}

fn object() -> impl Strategy<Value = String> {
    (words(), words()).prop_map(|(key, value)| {
        format!("{{{}: {}}}", serde_json::json!(key), serde_json::json!([value, {"}": 1.50}]))
    })
}

fn text() -> impl Strategy<Value = Part> {
    (words(), any::<bool>()).prop_map(|(text, cached)| {
        let mark = || Json::parse(r#"{"type":"ephemeral"}"#).unwrap();
        Part::Text(Text { text, cache_control: cached.then(mark) })
    })
}

fn image() -> impl Strategy<Value = Part> {
    let source = prop_oneof![
        Just(MediaSource::Url("https://a/б.png".to_owned())),
        Just(MediaSource::Base64 { media_type: "image/png".into(), data: "aGk=".into() }),
        Just(MediaSource::FileId("file_1".to_owned())),
    ];
    source.prop_map(|source| Part::Image(Image { source, detail: None, cache_control: None }))
}

fn proven_reasoning() -> impl Strategy<Value = Part> {
    prop_oneof![
        (words(), "[a-z=]{1,5}").prop_map(|(text, signature)| Part::Reasoning(Reasoning {
            text,
            signature: Some(signature),
            encrypted: None,
        })),
        "[a-z=]{1,5}".prop_map(|data| Part::Reasoning(Reasoning {
            encrypted: Some(data),
            ..Reasoning::default()
        })),
    ]
}

/// A turn of the user, then one of the assistant with all its calls answered.
fn exchange(number: usize) -> impl Strategy<Value = Vec<Message>> {
    let user = vec(prop_oneof![text(), image()], 1..3);
    let assistant = vec(prop_oneof![text(), proven_reasoning()], 1..3);
    let calls = vec((object(), vec(prop_oneof![text(), image()], 0..3), any::<bool>()), 0..3);
    (user, assistant, calls).prop_map(move |(user, mut assistant, calls)| {
        let mut results = Vec::new();
        for (index, (arguments, content, is_error)) in calls.into_iter().enumerate() {
            let id = format!("toolu_{number}_{index}");
            results.push(Part::ToolResult(ToolResult {
                call_id: id.clone(),
                name: None,
                content,
                is_error,
            }));
            assistant.push(Part::ToolCall(ToolCall { id, name: "f".to_owned(), arguments }));
        }
        let message = |role, parts| Message { role, parts, name: None };
        let mut messages = vec![message(Role::User, user), message(Role::Assistant, assistant)];
        if !results.is_empty() {
            messages.push(message(Role::Tool, results));
        }
        messages
    })
}

fn conversation() -> impl Strategy<Value = Vec<Message>> {
    (vec(text(), 0..3), exchange(0), exchange(1), words()).prop_map(
        |(system, first, second, last)| {
            let mut messages = Vec::new();
            if !system.is_empty() {
                messages.push(Message { role: Role::System, parts: system, name: None });
            }
            messages.extend(first);
            messages.extend(second);
            messages.push(Message::text(Role::User, last));
            messages
        },
    )
}

fn tool() -> impl Strategy<Value = Tool> {
    ("[a-z]{1,6}", option::of(words()), object(), any::<bool>()).prop_map(
        |(name, description, schema, strict)| Tool {
            name,
            description,
            parameters: Some(Json::parse(schema).unwrap()),
            strict: strict.then_some(true),
            cache_control: None,
        },
    )
}

fn closed_schema() -> ResponseFormat {
    ResponseFormat::JsonSchema(JsonSchema {
        name: "output".to_owned(),
        description: None,
        schema: Json::parse(r#"{"type": "object", "additionalProperties": false}"#).unwrap(),
        strict: Some(true),
    })
}

fn reasoning() -> impl Strategy<Value = ReasoningRequest> {
    prop_oneof![
        any::<bool>().prop_map(|visible| ReasoningRequest {
            effort: None,
            budget_tokens: Some(2000),
            visible,
        }),
        any::<bool>().prop_map(|visible| ReasoningRequest {
            effort: Some(ReasoningEffort::Medium),
            budget_tokens: None,
            visible,
        }),
        Just(ReasoningRequest {
            effort: Some(ReasoningEffort::None),
            budget_tokens: None,
            visible: false,
        }),
    ]
}

prop_compose! {
    /// What the dialect carries whole, in the form in which its decoder gives it.
    fn carried()(
        messages in conversation(),
        tools in vec(tool(), 0..3),
        choice in 0..4u8,
        parallel in option::of(any::<bool>()),
        formatted in any::<bool>(),
        temperature in option::of(0.0..1.0f64),
        top_k in option::of(1..50u64),
        limit in 3000..9000u64,
        stop in vec("[а-я]{1,4}", 0..3),
        reasoning in option::of(reasoning()),
        user in option::of(words()),
        stream in any::<bool>(),
    ) -> ChatRequest {
        let mut request = ChatRequest {
            model: "claude-sonnet-4-6".to_owned(),
            messages,
            max_output_tokens: Some(limit),
            stop,
            user,
            stream,
            stream_usage: true,
            ..ChatRequest::default()
        };
        if formatted {
            request.response_format = closed_schema();
        }
        if let Some(tool) = tools.first() {
            request.tool_choice = match choice {
                0 => Some(ToolChoice::Auto),
                1 if reasoning.is_none() => Some(ToolChoice::Required),
                2 if reasoning.is_none() => Some(ToolChoice::Named(tool.name.clone())),
                _ => None,
            };
            request.parallel_tool_calls = parallel.filter(|_| request.tool_choice.is_some());
        }
        request.tools = tools;
        if reasoning.is_none() {
            request.sampling.temperature = temperature;
            request.sampling.top_k = top_k;
        }
        // The API does not think with a budget after calls that were made without thinking.
        if reasoning.as_ref().is_some_and(|reasoning| reasoning.budget_tokens.is_some()) {
            for message in &mut request.messages {
                if message.role == Role::Assistant {
                    let encrypted = Some("first".to_owned());
                    let first = Reasoning { encrypted, ..Reasoning::default() };
                    message.parts.insert(0, Part::Reasoning(first));
                }
            }
        }
        request.reasoning = reasoning;
        request
    }
}

pub(crate) fn answer() -> impl Strategy<Value = ChatResponse> {
    let part = prop_oneof![
        words().prop_map(Part::text),
        proven_reasoning(),
        words().prop_map(|text| Part::Reasoning(Reasoning { text, ..Reasoning::default() })),
        ("[a-z0-9_]{1,8}", object()).prop_map(|(id, arguments)| Part::ToolCall(ToolCall {
            id,
            name: "f".to_owned(),
            arguments,
        })),
    ];
    let finish = prop_oneof![
        Just((FinishReason::Stop, None)),
        Just((FinishReason::Stop, Some("СТОП".to_owned()))),
        Just((FinishReason::Length, None)),
        Just((FinishReason::ToolCalls, None)),
        Just((FinishReason::Refusal, None)),
    ];
    let usage = (0..99u64, 0..99u64, 0..99u64, 0..99u64, 0..9u64);
    (vec(part, 0..6), finish, usage).prop_map(|(parts, (finish, stop_sequence), usage)| {
        ChatResponse {
            id: "msg_1".to_owned(),
            model: "m".to_owned(),
            created: 0,
            choices: vec![Choice { index: 0, parts, finish, stop_sequence, logprobs: None }],
            usage: Some(Usage {
                prompt_tokens: usage.0 + usage.1 + usage.2,
                cached_prompt_tokens: usage.1,
                cache_write_tokens: usage.2,
                completion_tokens: usage.3 + usage.4,
                reasoning_tokens: usage.4,
            }),
        }
    })
}

/// A stream of `response` whose pieces are of at most `size` characters; the arguments of each
/// call come after those of the calls that follow it when `reversed`.
pub(crate) fn events_of(response: &ChatResponse, size: usize, reversed: bool) -> Vec<StreamEvent> {
    let choice = 0;
    let pieces = |text: &str| -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        characters.chunks(size).map(|piece| piece.iter().collect()).collect()
    };
    let mut events = vec![StreamEvent::Start {
        id: response.id.clone(),
        model: response.model.clone(),
        created: 0,
    }];
    let mut late: Vec<Vec<StreamEvent>> = Vec::new();
    let mut index = 0;
    for part in &response.choices[0].parts {
        match part {
            Part::Text(text) => events.extend(
                pieces(&text.text).into_iter().map(|text| StreamEvent::Text { choice, text }),
            ),
            Part::Refusal(refusal) => events.extend(
                pieces(refusal).into_iter().map(|text| StreamEvent::Refusal { choice, text }),
            ),
            Part::Reasoning(reasoning) => {
                events.extend(
                    pieces(&reasoning.text)
                        .into_iter()
                        .map(|text| StreamEvent::Reasoning { choice, text }),
                );
                if let Some(signature) = reasoning.signature.clone() {
                    events.push(StreamEvent::ReasoningSignature { choice, signature });
                }
                if let Some(data) = reasoning.encrypted.clone() {
                    events.push(StreamEvent::ReasoningEncrypted { choice, data });
                }
            }
            Part::ToolCall(call) => {
                events.push(StreamEvent::ToolCallStart {
                    choice,
                    index,
                    id: call.id.clone(),
                    name: call.name.clone(),
                });
                let fragments = pieces(&call.arguments).into_iter();
                let arguments = fragments.map(|fragment| StreamEvent::ToolCallArguments {
                    choice,
                    index,
                    fragment,
                });
                if reversed {
                    late.push(arguments.collect());
                } else {
                    events.extend(arguments);
                }
                index += 1;
            }
            _ => {}
        }
    }
    events.extend(late.into_iter().rev().flatten());
    let end = &response.choices[0];
    events.push(StreamEvent::Finish {
        choice,
        reason: end.finish.clone(),
        stop_sequence: end.stop_sequence.clone(),
    });
    events.extend(response.usage.map(StreamEvent::Usage));
    events.push(StreamEvent::End);
    events
}

pub(crate) fn accumulate(events: &[StreamEvent]) -> ChatResponse {
    let mut accumulator = StreamAccumulator::default();
    for event in events {
        accumulator.push(event);
    }
    accumulator.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_request_returns_as_it_went(request in carried()) {
        let encoded = encode_request(&request, &target(Unsupported::Strict)).unwrap();
        prop_assert!(encoded.adaptations.is_empty());
        let returned = decode_request(&encoded.body).unwrap();
        prop_assert_eq!(returned, request);
    }

    #[test]
    fn any_request_is_written_and_what_was_written_stays(
        request in carried(),
        roles in vec(0..3usize, 20),
        model in prop_oneof![Just("claude-3-5-haiku-latest"), Just("claude-opus-4-7")],
        temperature in option::of(0.0..2.0f64),
    ) {
        const ROLES: [Role; 3] = [Role::System, Role::Developer, Role::User];
        let mut request = request;
        for (message, role) in request.messages.iter_mut().zip(roles) {
            if message.role == Role::User {
                message.role = ROLES[role];
                message.name = (role == 0).then(|| "Иван".to_owned());
            }
            message.parts.push(Part::text(""));
            if message.role == Role::Assistant {
                let text = "без подписи".to_owned();
                message.parts.push(Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
            }
        }
        request.messages.insert(0, Message::text(Role::User, "x"));
        request.sampling.temperature = temperature;
        let target = Target { model, ..target(Unsupported::Emulate) };
        let once = encode_request(&request, &target).unwrap();
        let mut read = decode_count_tokens_request(&once.body).unwrap();
        read.stream_usage = true;
        let twice = encode_request(&read, &target).unwrap();
        prop_assert_eq!(super::value(&twice.body), super::value(&once.body));
    }

    #[test]
    fn an_answer_returns_as_it_went(answer in answer()) {
        let wire = encode_response(&answer, &context());
        prop_assert_eq!(decode_response(&wire).unwrap(), answer);
    }

    #[test]
    fn a_streamed_answer_returns_as_it_went(
        answer in answer(),
        size in 1..9usize,
        reversed in any::<bool>(),
        cuts in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let events = events_of(&answer, size, reversed);
        let mut encoder = StreamEncoder::new(context());
        let mut wire = Vec::new();
        for event in &events {
            encoder.encode(event, &mut wire);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.sort_unstable();
        let mut decoder = StreamDecoder::new();
        let mut read = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([wire.len()]) {
            decoder.decode(&wire[from..cut], &mut read);
            from = cut;
        }
        decoder.finish(&mut read);
        prop_assert_eq!(accumulate(&read), accumulate(&events));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..300), text in "(data: |event: |\\{\"type\":\"[a-z_]*\"\\}|\n){0,20}") {
        let mut events = Vec::new();
        let mut decoder = StreamDecoder::new();
        decoder.decode(text.as_bytes(), &mut events);
        decoder.decode(&bytes, &mut events);
        decoder.finish(&mut events);
        prop_assert!(matches!(events.last(), Some(StreamEvent::Error(_) | StreamEvent::End)));
        let _ = decode_request(&bytes);
        let _ = decode_response(&bytes);
    }
}
