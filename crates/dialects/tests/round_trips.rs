//! Any exchange survives OpenAI's dialect as far as it can carry it, and a stream cut anywhere
//! equals the whole.

use chat::{
    ChatRequest, ChatResponse, Choice, FinishReason, Image, Json, JsonSchema, MediaSource, Message,
    Part, Reasoning, ResponseFormat, Role, Sampling, StreamAccumulator, StreamEvent, Tool,
    ToolCall, ToolChoice, ToolResult, Usage,
};
use dialects::{
    AnswerContext, StreamDecode, StreamEncode, Target, Unsupported, gigachat, openai_chat,
    yandexgpt,
};
use proptest::prelude::*;

const TARGET: Target<'static> = Target {
    model: "m",
    unsupported: Unsupported::Emulate,
    default_max_output_tokens: 100,
    stream_usage: false,
    legacy_max_tokens: false,
};

fn words() -> impl Strategy<Value = String> {
    "[а-яёa-z \"\\\\\n\u{1}👋🏽]{1,16}"
}

fn user_part() -> impl Strategy<Value = Part> {
    prop_oneof![
        words().prop_map(Part::text),
        Just(Part::Image(Image {
            source: MediaSource::Url("https://example.com/кот.png".to_owned()),
            detail: None,
            cache_control: None,
        })),
        Just(Part::Image(Image {
            source: MediaSource::Base64 {
                media_type: "image/png".to_owned(),
                data: "aGk=".to_owned(),
            },
            detail: None,
            cache_control: None,
        })),
    ]
}

/// A turn of the user, and one of the assistant with calls and their results.
fn turns() -> impl Strategy<Value = Vec<Message>> {
    let user = prop::collection::vec(user_part(), 1..4);
    let calls = prop::collection::vec(("[a-z]{1,6}", words(), words()), 0..3);
    (user, prop::option::of(words()), calls, 0u32..1000).prop_map(|(parts, text, calls, number)| {
        let mut messages = vec![Message { role: Role::User, parts, name: None }];
        let mut parts: Vec<Part> = text.map(Part::text).into_iter().collect();
        let mut results = Vec::new();
        for (place, (name, argument, result)) in calls.into_iter().enumerate() {
            let id = format!("call_{number}_{place}");
            let arguments = serde_json::json!({ "что": argument }).to_string();
            parts.push(Part::ToolCall(ToolCall { id: id.clone(), name: name.clone(), arguments }));
            let result = ToolResult {
                call_id: id,
                name: Some(name),
                content: vec![Part::text(result)],
                is_error: false,
            };
            results.push(Message {
                role: Role::Tool,
                parts: vec![Part::ToolResult(result)],
                name: None,
            });
        }
        if !parts.is_empty() {
            messages.push(Message { role: Role::Assistant, parts, name: None });
        }
        messages.extend(results);
        messages
    })
}

fn request() -> impl Strategy<Value = ChatRequest> {
    let format = prop_oneof![
        Just(ResponseFormat::Text),
        Just(ResponseFormat::JsonObject),
        Just(ResponseFormat::JsonSchema(JsonSchema {
            name: "s".to_owned(),
            description: Some("схема".to_owned()),
            schema: Json::parse(r#"{"type":"object"}"#).unwrap(),
            strict: Some(true),
        })),
    ];
    let tool = (prop::option::of(words()), any::<bool>()).prop_map(|(description, named)| {
        let tool = Tool {
            name: "get_weather".to_owned(),
            description,
            parameters: Some(Json::parse(r#"{"type":"object","properties":{}}"#).unwrap()),
            strict: None,
            cache_control: None,
        };
        let choice =
            if named { ToolChoice::Named(tool.name.clone()) } else { ToolChoice::Required };
        (tool, choice)
    });
    (
        prop::option::of(words()),
        prop::collection::vec(turns(), 1..4),
        format,
        prop::option::of(tool),
        (prop::option::of(0.0..2.0f64), prop::option::of(any::<i64>()), prop::option::of(1u64..9)),
        prop::collection::vec(words(), 0..4),
        any::<bool>(),
    )
        .prop_map(|(system, turns, response_format, tool, numbers, stop, stream)| {
            let mut messages: Vec<Message> =
                system.map(|text| Message::text(Role::System, text)).into_iter().collect();
            messages.extend(turns.into_iter().flatten());
            let (tools, tool_choice) = match tool {
                Some((tool, choice)) => (vec![tool], Some(choice)),
                None => (Vec::new(), None),
            };
            ChatRequest {
                model: "m".to_owned(),
                messages,
                tools,
                tool_choice,
                response_format,
                sampling: Sampling {
                    temperature: numbers.0,
                    seed: numbers.1,
                    ..Sampling::default()
                },
                max_output_tokens: numbers.2,
                stop,
                stream,
                ..ChatRequest::default()
            }
        })
}

fn answer() -> impl Strategy<Value = ChatResponse> {
    let calls = prop::collection::vec(("[a-z]{1,6}", words()), 0..3);
    (prop::option::of(words()), prop::option::of(words()), calls).prop_map(
        |(reasoning, text, calls)| {
            let mut parts = Vec::new();
            if let Some(text) = reasoning {
                parts.push(Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
            }
            parts.extend(text.map(Part::text));
            let finish =
                if calls.is_empty() { FinishReason::Length } else { FinishReason::ToolCalls };
            for (number, (name, argument)) in calls.into_iter().enumerate() {
                let arguments = serde_json::json!({ "что": argument }).to_string();
                parts.push(Part::ToolCall(ToolCall { id: format!("c{number}"), name, arguments }));
            }
            ChatResponse {
                id: "chatcmpl-1".to_owned(),
                model: "модель".to_owned(),
                created: 7,
                choices: vec![Choice {
                    index: 0,
                    parts,
                    finish,
                    stop_sequence: None,
                    logprobs: None,
                }],
                usage: Some(Usage {
                    prompt_tokens: 5,
                    cached_prompt_tokens: 2,
                    cache_write_tokens: 0,
                    completion_tokens: 4,
                    reasoning_tokens: 1,
                }),
            }
        },
    )
}

fn decoded(decoder: &mut dyn StreamDecode, pieces: &[&[u8]]) -> Vec<StreamEvent> {
    let mut events = Vec::new();
    for piece in pieces {
        decoder.decode(piece, &mut events);
    }
    decoder.finish(&mut events);
    events
}

fn whole(events: &[StreamEvent]) -> ChatResponse {
    let mut accumulator = StreamAccumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    accumulator.finish().unwrap()
}

/// What is equal although it stands in another place: streams interleave parts otherwise.
fn normal(mut response: ChatResponse) -> ChatResponse {
    for choice in &mut response.choices {
        choice.parts.sort_by_key(|part| match part {
            Part::Reasoning(_) => 0,
            Part::Text(_) => 1,
            _ => 2,
        });
    }
    response
}

proptest! {
    #[test]
    fn a_request_comes_back_as_it_went(request in request()) {
        let encoded = openai_chat::encode_request(&request, &TARGET).unwrap();
        let mut back = openai_chat::decode_request(&encoded.body).unwrap();
        back.extra.audience = None;
        prop_assert_eq!(back, request);
    }

    #[test]
    fn an_answer_comes_back_whole_and_streamed_wherever_it_is_cut(
        answer in answer(), cut in any::<prop::sample::Index>(),
    ) {
        let context = AnswerContext { stream_usage: true, ..AnswerContext::default() };
        let body = openai_chat::encode_response(&answer, &context);
        prop_assert_eq!(&openai_chat::decode_response(&body).unwrap(), &answer);

        let mut encoder = openai_chat::StreamEncoder::new(&context);
        let mut wire = Vec::new();
        for event in answer.clone().into_events() {
            encoder.encode(&event, &mut wire);
        }
        let (head, tail) = wire.split_at(cut.index(wire.len()));
        let events = decoded(&mut openai_chat::StreamDecoder::new(), &[head, tail]);
        prop_assert_eq!(normal(whole(&events)), answer);
        // Cut off anywhere before its end, it is no answer.
        let mut partial = Vec::new();
        let mut decoder = openai_chat::StreamDecoder::new();
        decoder.decode(head, &mut partial);
        decoder.finish(&mut partial);
        let ended = partial.contains(&StreamEvent::End);
        let finished = String::from_utf8_lossy(head).contains("\"finish_reason\":\"");
        prop_assert!(!ended || finished, "{}", String::from_utf8_lossy(head));
    }

    #[test]
    fn gigachats_rules_are_kept_whatever_the_conversation(request in request()) {
        let encoded = gigachat::encode_request(&request, &TARGET).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let messages = body["messages"].as_array().unwrap();
        for (number, message) in messages.iter().enumerate() {
            prop_assert!(message["content"].is_string());
            prop_assert!(message["role"] != "system" || number == 0);
            if message["role"] == "function" {
                let before = &messages[number - 1];
                prop_assert_eq!(&before["function_call"]["name"], &message["name"]);
                let content = message["content"].as_str().unwrap();
                prop_assert!(serde_json::from_str::<serde_json::Value>(content).is_ok());
            }
            if let Some(call) = message.get("function_call") {
                prop_assert!(call["arguments"].is_object());
                prop_assert_eq!(message["functions_state_id"].as_str().unwrap().len(), 36);
            }
        }
    }

    #[test]
    fn yandexgpts_rules_are_kept_whatever_the_conversation(request in request()) {
        let encoded = yandexgpt::encode_request(&request, &TARGET).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let messages = body["messages"].as_array().unwrap();
        let names = |list: &serde_json::Value, function: &str| -> Vec<String> {
            let entries = list.as_array().cloned().unwrap_or_default();
            entries.iter().map(|entry| entry[function]["name"].to_string()).collect()
        };
        let mut open = None;
        for message in messages {
            let role = message["role"].as_str().unwrap();
            prop_assert!(["system", "user", "assistant"].contains(&role));
            // The role and exactly one kind of content.
            prop_assert_eq!(message.as_object().unwrap().len(), 2);
            if let Some(list) = message.get("toolResultList") {
                let answered = names(&list["toolResults"], "functionResult");
                prop_assert_eq!(open.take(), Some(answered));
                continue;
            }
            prop_assert!(open.is_none(), "calls without their results");
            if let Some(list) = message.get("toolCallList") {
                for call in list["toolCalls"].as_array().unwrap() {
                    prop_assert!(call["functionCall"]["arguments"].is_object());
                }
                open = Some(names(&list["toolCalls"], "functionCall"));
            } else {
                prop_assert!(!message["text"].as_str().unwrap().is_empty());
            }
        }
        prop_assert!(open.is_none(), "calls without their results");
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        junk in prop::collection::vec(any::<u8>(), 0..400), status in 400u16..600,
    ) {
        _ = openai_chat::decode_request(&junk);
        _ = openai_chat::decode_response(&junk);
        _ = openai_chat::decode_error(status, &junk, None);
        _ = gigachat::decode_response(&junk, "s");
        _ = yandexgpt::decode_response(&junk, "s");
        decoded(&mut openai_chat::StreamDecoder::new(), &[&junk]);
        decoded(&mut gigachat::StreamDecoder::new("s"), &[&junk]);
        decoded(&mut yandexgpt::StreamDecoder::new("s"), &[&junk]);
    }
}
