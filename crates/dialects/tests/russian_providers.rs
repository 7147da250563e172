//! The exact bytes that GigaChat and YandexGPT get and send.

use chat::{
    ChatRequest, ErrorKind, FinishReason, Image, MediaSource, Message, Part, Role,
    StreamAccumulator, ToolCall, ToolResult,
};
use dialects::{StreamDecode, Target, Unsupported, anthropic, gigachat, openai_chat, yandexgpt};
use serde_json::{Value, json};

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
        assert_eq!(call.id, "call_fs_AZjBohERQiKDM0REVVVmZg0seed");
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

fn picture(id: &str) -> Part {
    let source = MediaSource::FileId(id.to_owned());
    Part::Image(Image { source, detail: None, cache_control: None })
}

fn request(messages: Vec<Message>) -> ChatRequest {
    ChatRequest { messages, ..ChatRequest::default() }
}

fn gigachat_body(request: &ChatRequest) -> (Value, Vec<String>) {
    let encoded = gigachat::encode_request(request, &target(Unsupported::Emulate)).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), adapted(&encoded.adaptations))
}

fn yandexgpt_body(request: &ChatRequest) -> (Value, Vec<String>) {
    let encoded = yandexgpt::encode_request(request, &target(Unsupported::Emulate)).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), adapted(&encoded.adaptations))
}

#[test]
fn gigachat_gets_one_picture_a_message() {
    let parts = vec![Part::text("Что общего?"), picture("1"), picture("2"), picture("3")];
    let (body, lost) =
        gigachat_body(&request(vec![Message { role: Role::User, parts, name: None }]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": "", "attachments": ["1"]},
            {"role": "user", "content": "", "attachments": ["2"]},
            {"role": "user", "content": "Что общего?", "attachments": ["3"]},
        ])
    );
    assert!(lost.is_empty(), "{lost:?}");
}

fn with_picture_from_a_tool() -> ChatRequest {
    let (id, name) = ("1".to_owned(), "camera".to_owned());
    let call = Part::ToolCall(ToolCall { id: id.clone(), name, arguments: "[1]".to_owned() });
    let content = vec![Part::text("вот"), picture("1")];
    let result = ToolResult { call_id: id, name: None, content, is_error: false };
    request(vec![
        Message {
            role: Role::Assistant,
            parts: vec![Part::Refusal("Нет. ".to_owned()), call],
            name: None,
        },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)], name: None },
    ])
}

#[test]
fn nothing_of_a_history_is_lost_silently() {
    let request = with_picture_from_a_tool();
    let (body, lost) = gigachat_body(&request);
    assert_eq!(body["messages"][0]["content"], "Нет. ");
    assert_eq!(body["messages"][0]["function_call"]["arguments"], json!({"value": [1]}));
    assert_eq!(lost, ["dropped=messages.content.image_url"]);

    let (body, lost) = yandexgpt_body(&request);
    assert_eq!(body["messages"][0], json!({"role": "assistant", "text": "Нет. "}));
    let call = &body["messages"][1]["toolCallList"]["toolCalls"][0]["functionCall"];
    assert_eq!(call["arguments"], json!({"value": [1]}));
    assert_eq!(lost, ["dropped=messages.content.image_url"]);

    let orphan = ChatRequest { messages: request.messages[1..].to_vec(), ..request };
    let target = target(Unsupported::Drop);
    for refused in
        [gigachat::encode_request(&orphan, &target), yandexgpt::encode_request(&orphan, &target)]
    {
        assert_eq!(refused.unwrap_err().param.as_deref(), Some("messages[0]"));
    }
}

#[test]
fn a_stop_text_that_is_said_to_be_dropped_is() {
    let request = openai_chat::decode_request(
        r#"{"model":"m","messages":[{"role":"user","content":"я"}],"stop":"а","temperature":0,"top_p":0.5}"#
            .as_bytes(),
    )
    .unwrap();
    let target = target(Unsupported::Drop);
    let encoded = gigachat::encode_request(&request, &target).unwrap();
    assert!(encoded.stop_at.is_empty());
    assert_eq!(adapted(&encoded.adaptations), ["dropped=temperature", "dropped=stop"]);
    assert!(String::from_utf8(encoded.body).unwrap().contains(r#""top_p":0.5"#));
    assert!(yandexgpt::encode_request(&request, &target).unwrap().stop_at.is_empty());
}

#[test]
fn the_strict_policy_names_an_unknown_member() {
    let request = openai_chat::decode_request(
        r#"{"model":"m","messages":[{"role":"user","content":"я"}],"guided_regex":"а"}"#.as_bytes(),
    )
    .unwrap();
    let target = target(Unsupported::Strict);
    for refused in
        [gigachat::encode_request(&request, &target), yandexgpt::encode_request(&request, &target)]
    {
        assert_eq!(refused.unwrap_err().param.as_deref(), Some("guided_regex"));
    }
}

#[test]
fn tokens_are_counted_over_all_texts() {
    let mut request = with_picture_from_a_tool();
    request.tools = vec![chat::Tool {
        name: "f".to_owned(),
        description: Some(String::new()),
        parameters: Some(chat::Json::parse("{}").unwrap()),
        strict: None,
        cache_control: None,
    }];
    let body = gigachat::encode_token_count(&request, &target(Unsupported::Emulate));
    let wanted = r#"{"model":"model","input":["f","{}","Нет. ","[1]","вот"]}"#;
    assert_eq!(String::from_utf8(body).unwrap(), wanted);
    let counts = br#"[{"object":"tokens","tokens":2,"characters":10},{"tokens":3}]"#;
    assert_eq!(gigachat::decode_token_count(counts).unwrap(), 5);
    let tokens =
        br#"{"tokens":[{"id":"1","text":"a","special":false},{"id":"2"}],"modelVersion":"v"}"#;
    assert_eq!(yandexgpt::decode_token_count(tokens).unwrap(), 2);
    assert!(yandexgpt::decode_token_count(b"[]").is_err());
    let body = openai_chat::encode_token_count(&request, &target(Unsupported::Emulate));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["messages"][0]["role"], "assistant");
    assert_eq!(body["tools"][0]["function"]["name"], "f");
    let counted = openai_chat::decode_token_count(br#"{"count":7,"max_model_len":9,"tokens":[1]}"#);
    assert_eq!(counted.unwrap(), 7);
    assert!(openai_chat::decode_token_count(br#"{"tokens":[1]}"#).is_err());
}

#[test]
fn nothing_follows_the_finish_of_a_choice() {
    let wire = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"а\"},\"index\":0,\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"б\"},\"index\":0,\"finish_reason\":\"length\"}]}\n\n",
        "data: [DONE]\n\n",
    );
    let mut decoder = gigachat::StreamDecoder::new("s");
    let mut events = Vec::new();
    decoder.decode(wire.as_bytes(), &mut events);
    let mut accumulator = StreamAccumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    let response = accumulator.finish().unwrap();
    assert_eq!(response.choices[0].joined_text(), "а");
    assert_eq!(response.choices[0].finish, FinishReason::Stop);
}

#[test]
fn gigachat_gets_schemas_without_references_and_the_caller_learns_of_the_cut() {
    let request = |parameters: Value| {
        let body = json!({"model": "route", "messages": [{"role": "user", "content": "а"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]});
        openai_chat::decode_request(body.to_string().as_bytes()).unwrap()
    };
    let flat = request(json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "integer"}}}));
    let encoded = gigachat::encode_request(&flat, &target(Unsupported::Strict)).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(
        body["functions"][0]["parameters"],
        json!({"type": "object", "properties": {"a": {"type": "integer"}}})
    );
    assert!(encoded.adaptations.is_empty());

    let recursive = request(json!({"type": "object", "properties": {"next": {"$ref": "#"}}}));
    let encoded = gigachat::encode_request(&recursive, &target(Unsupported::Drop)).unwrap();
    assert!(!String::from_utf8(encoded.body).unwrap().contains("$ref"));
    assert_eq!(adapted(&encoded.adaptations), ["dropped=tools.function.parameters.$ref"]);
    let refused = gigachat::encode_request(&recursive, &target(Unsupported::Strict)).unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("tools.function.parameters.$ref"));

    let mut definitions = json!({"d0": {"type": "string"}});
    for number in 1..30 {
        let below = json!({"$ref": format!("#/$defs/d{}", number - 1)});
        definitions[format!("d{number}")] = json!({"properties": {"a": below, "b": below}});
    }
    let bomb = request(json!({"$ref": "#/$defs/d29", "$defs": definitions}));
    let refused = gigachat::encode_request(&bomb, &target(Unsupported::Emulate)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidRequest);
    assert_eq!(refused.param.as_deref(), Some("tools.function.parameters"));
}

/// What the encoders make of `body`, a request of Anthropic's, under a policy.
fn converted(body: &Value, unsupported: Unsupported) -> [Result<(Value, Vec<String>), String>; 3] {
    let request = anthropic::decode_request(body.to_string().as_bytes()).unwrap();
    let target = target(unsupported);
    [
        openai_chat::encode_request(&request, &target),
        gigachat::encode_request(&request, &target),
        yandexgpt::encode_request(&request, &target),
    ]
    .map(|encoded| match encoded {
        Ok(encoded) => {
            Ok((serde_json::from_slice(&encoded.body).unwrap(), adapted(&encoded.adaptations)))
        }
        Err(refused) => Err(refused.param.unwrap()),
    })
}

#[test]
fn a_tool_that_failed_says_so_in_words_where_there_is_no_member_for_it() {
    let body = json!({"model": "m", "max_tokens": 100, "messages": [
        {"role": "user", "content": "а"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1",
            "is_error": true, "content": "{\"code\":5}"}]}]});
    let text = |body: &Value| {
        [
            &body["messages"][2]["content"],
            &body["messages"][2]["toolResultList"]["toolResults"][0]["functionResult"]["content"],
        ]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap()
        .to_owned()
    };
    let marked = [r#"Error: {"code":5}"#, r#""Error: {\"code\":5}""#, r#"Error: {"code":5}"#]
        .map(str::to_owned);
    for (encoded, marked) in converted(&body, Unsupported::Emulate).into_iter().zip(marked) {
        let (body, lost) = encoded.unwrap();
        assert_eq!(text(&body), marked);
        assert_eq!(lost, ["emulated=messages.content.is_error"]);
    }
    for encoded in converted(&body, Unsupported::Drop) {
        let (body, lost) = encoded.unwrap();
        assert_eq!(text(&body), r#"{"code":5}"#);
        assert_eq!(lost, ["dropped=messages.content.is_error"]);
    }
    for encoded in converted(&body, Unsupported::Strict) {
        assert_eq!(encoded.unwrap_err(), "messages.content.is_error");
    }
}

#[test]
fn what_is_lost_of_thinking_is_named() {
    let body = |thinking: Value, effort: Value| {
        json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "а"}],
            "thinking": thinking, "output_config": {"effort": effort}})
    };
    let budget = body(json!({"type": "enabled", "budget_tokens": 4000}), Value::Null);
    let [openai, giga, yandex] = converted(&budget, Unsupported::Emulate).map(Result::unwrap);
    assert_eq!(openai.0["reasoning_effort"], "medium");
    assert_eq!(openai.1, ["emulated=thinking.budget_tokens"]);
    assert_eq!(giga.1, ["dropped=reasoning_effort"]);
    assert_eq!(yandex.0["completionOptions"]["reasoningOptions"]["mode"], "ENABLED_HIDDEN");
    assert_eq!(yandex.1, ["dropped=reasoning.summary", "emulated=thinking.budget_tokens"]);
    let [openai, _, yandex] = converted(&budget, Unsupported::Drop).map(Result::unwrap);
    assert_eq!(openai.0.get("reasoning_effort"), None);
    assert_eq!(openai.1, ["dropped=thinking.budget_tokens"]);
    assert_eq!(yandex.0["completionOptions"].get("reasoningOptions"), None);

    let hidden = json!({"type": "adaptive", "display": "omitted"});
    let [_, _, yandex] = converted(&body(hidden, Value::Null), Unsupported::Strict);
    let yandex = yandex.unwrap();
    assert_eq!(yandex.0["completionOptions"]["reasoningOptions"]["mode"], "ENABLED_HIDDEN");
    let effort = body(Value::Null, json!("low"));
    let [_, giga, yandex] = converted(&effort, Unsupported::Emulate).map(Result::unwrap);
    assert!(giga.1.is_empty());
    assert_eq!(yandex.1, ["emulated=reasoning_effort"]);
    let [_, _, yandex] = converted(&effort, Unsupported::Strict);
    assert_eq!(yandex.unwrap_err(), "reasoning_effort");
    let off = body(json!({"type": "disabled"}), Value::Null);
    let [_, _, yandex] = converted(&off, Unsupported::Strict);
    assert_eq!(yandex.unwrap().0["completionOptions"]["reasoningOptions"]["mode"], "DISABLED");

    let remembered = json!({"model": "m", "max_tokens": 9000, "messages": [
        {"role": "user", "content": "а"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "б"}, {"type": "text", "text": "в"}]},
        {"role": "user", "content": "г"}]});
    let [openai, giga, yandex] = converted(&remembered, Unsupported::Emulate).map(Result::unwrap);
    assert!(openai.1.is_empty());
    assert_eq!(giga.1, ["dropped=messages.reasoning_content"]);
    assert_eq!(yandex.1, giga.1);
}
