//! The exact bytes that GigaChat and YandexGPT get and send.

use chat::{ErrorKind, FinishReason, Part, StreamAccumulator};
use dialects::{StreamDecode, Target, Unsupported, gigachat, openai_chat, yandexgpt};

const CONVERSATION: &str = r#"{
  "model": "route",
  "messages": [
    {"role": "system", "content": "Отвечай кратко."},
    {"role": "developer", "content": "Без «ё»."},
    {"role": "user", "content": "Погода в Твери и Омске?"},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "call_a0_fs_0198c1a2-1111-4222-8333-444455556666", "type": "function",
       "function": {"name": "weather", "arguments": "{\"city\":\"Тверь\"}"}},
      {"id": "call_b", "type": "function",
       "function": {"name": "weather", "arguments": "{\"city\":\"Омск\"}"}}]},
    {"role": "tool", "tool_call_id": "call_b", "content": "{\"t\":7}"},
    {"role": "tool", "tool_call_id": "call_a0_fs_0198c1a2-1111-4222-8333-444455556666",
     "content": "5 градусов"},
    {"role": "user", "content": "Сравни"}
  ],
  "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
  "tool_choice": "none",
  "max_tokens": 50, "temperature": 0, "seed": 3, "stop": ["Конец"], "stream": true
}"#;

fn target(unsupported: Unsupported) -> Target<'static> {
    Target {
        model: "model",
        unsupported,
        default_max_output_tokens: 100,
        stream_usage: true,
        legacy_max_tokens: false,
    }
}

fn adapted(adaptations: &[dialects::Adaptation]) -> Vec<String> {
    adaptations.iter().map(ToString::to_string).collect()
}

#[test]
fn gigachat_gets_pairs_of_calls_and_results() {
    let request = openai_chat::decode_request(CONVERSATION.as_bytes()).unwrap();
    let encoded = gigachat::encode_request(&request, &target(Unsupported::Emulate)).unwrap();
    let body = String::from_utf8(encoded.body).unwrap();
    let state = body.split("functions_state_id\":\"").nth(2).unwrap()[..36].to_owned();
    assert_eq!(
        body,
        [
            r#"{"model":"model","messages":[{"role":"system","content":"Отвечай кратко.\n\nБез «ё»."},"#,
            r#"{"role":"user","content":"Погода в Твери и Омске?"},"#,
            r#"{"role":"assistant","content":"","function_call":{"name":"weather","arguments":{"city":"Тверь"}},"functions_state_id":"0198c1a2-1111-4222-8333-444455556666"},"#,
            r#"{"role":"function","name":"weather","content":"\"5 градусов\""},"#,
            r#"{"role":"assistant","content":"","function_call":{"name":"weather","arguments":{"city":"Омск"}},"functions_state_id":""#,
            &state,
            r#""},{"role":"function","name":"weather","content":"{\"t\":7}"},"#,
            r#"{"role":"user","content":"Сравни"}],"#,
            r#""functions":[{"name":"weather","parameters":{"properties":{},"type":"object"}}],"function_call":"none","#,
            r#""top_p":0,"max_tokens":50,"stream":true}"#,
        ]
        .concat()
    );
    assert_eq!(
        adapted(&encoded.adaptations),
        ["emulated=temperature", "dropped=seed", "emulated=stop"]
    );
    assert_eq!(encoded.stop_at, ["Конец"]);
}

#[test]
fn yandexgpt_gets_all_results_at_once() {
    let request = openai_chat::decode_request(CONVERSATION.as_bytes()).unwrap();
    let encoded = yandexgpt::encode_request(&request, &target(Unsupported::Emulate)).unwrap();
    assert_eq!(
        String::from_utf8(encoded.body).unwrap(),
        [
            r#"{"modelUri":"model","completionOptions":{"stream":true,"temperature":0,"maxTokens":"50"},"#,
            r#""messages":[{"role":"system","text":"Отвечай кратко."},{"role":"system","text":"Без «ё»."},"#,
            r#"{"role":"user","text":"Погода в Твери и Омске?"},"#,
            r#"{"role":"assistant","toolCallList":{"toolCalls":["#,
            r#"{"functionCall":{"name":"weather","arguments":{"city":"Тверь"}}},"#,
            r#"{"functionCall":{"name":"weather","arguments":{"city":"Омск"}}}]}},"#,
            r#"{"role":"user","toolResultList":{"toolResults":["#,
            r#"{"functionResult":{"name":"weather","content":"5 градусов"}},"#,
            r#"{"functionResult":{"name":"weather","content":"{\"t\":7}"}}]}},"#,
            r#"{"role":"user","text":"Сравни"}],"#,
            r#""tools":[{"function":{"name":"weather","parameters":{"type": "object"}}}],"toolChoice":{"mode":"NONE"}}"#,
        ]
        .concat()
    );
    assert_eq!(adapted(&encoded.adaptations), ["dropped=seed", "emulated=stop"]);
}

#[test]
fn the_strict_policy_names_what_cannot_be_done() {
    let request = openai_chat::decode_request(CONVERSATION.as_bytes()).unwrap();
    let refused = gigachat::encode_request(&request, &target(Unsupported::Strict)).unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("temperature"));
    let refused = yandexgpt::encode_request(&request, &target(Unsupported::Strict)).unwrap_err();
    assert_eq!((refused.kind, refused.param.as_deref()), (ErrorKind::InvalidRequest, Some("seed")));
}

const GIGACHAT_STREAM: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"content\":\"\",\"role\":\"function_in_progress\"},\"index\":0}],\"created\":1,\"model\":\"GigaChat-2-Pro:2.0\",\"object\":\"chat.completion\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Смотрю 👋\",\"role\":\"assistant\"},\"index\":0}],\"created\":1,\"model\":\"GigaChat-2-Pro:2.0\"}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"\",\"function_call\":{\"name\":\"weather\",\"arguments\":{\"city\":\"\\u0422\\u0432\\u0435\\u0440\\u044c\"}},\"functions_state_id\":\"0198c1a2-1111-4222-8333-444455556666\"},\"index\":0,\"finish_reason\":\"function_call\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,\"precached_prompt_tokens\":3}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn gigachats_stream_equals_the_whole_wherever_it_is_cut() {
    for cut in 0..=GIGACHAT_STREAM.len() {
        let (head, tail) = GIGACHAT_STREAM.as_bytes().split_at(cut);
        let mut decoder = gigachat::StreamDecoder::new("seed");
        let mut events = Vec::new();
        decoder.decode(head, &mut events);
        decoder.decode(tail, &mut events);
        decoder.finish(&mut events);
        let mut accumulator = StreamAccumulator::default();
        events.iter().for_each(|event| accumulator.push(event));
        let response = accumulator.finish().unwrap();
        let choice = &response.choices[0];
        assert_eq!(choice.joined_text(), "Смотрю 👋", "cut at {cut}");
        assert_eq!(choice.finish, FinishReason::ToolCalls);
        let Part::ToolCall(call) = &choice.parts[1] else { panic!("no call") };
        assert_eq!(call.id, "call_seed0_fs_0198c1a2-1111-4222-8333-444455556666");
        let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
        assert_eq!(arguments["city"], "Тверь");
        let usage = response.usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.cached_prompt_tokens), (13, 3));
    }
}

#[test]
fn an_error_in_the_stream_is_an_error() {
    let wire = b"data: {\"status\":500,\"message\":\"Internal Server Error\"}\n\n";
    let mut decoder = gigachat::StreamDecoder::new("s");
    let mut events = Vec::new();
    decoder.decode(wire, &mut events);
    let mut accumulator = StreamAccumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    assert_eq!(accumulator.finish().unwrap_err().kind, ErrorKind::Internal);
}
