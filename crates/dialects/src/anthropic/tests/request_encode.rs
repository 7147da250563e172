use chat::{
    Audience, ChatRequest, ErrorKind, ExtraMembers, Image, ImageDetail, Json, JsonSchema,
    MediaSource, Message, Part, Reasoning, ReasoningEffort, ReasoningRequest, ResponseFormat, Role,
    Tool, ToolCall, ToolChoice, ToolResult,
};

use super::target;
use crate::anthropic::{encode_count_tokens_request, encode_request};
use crate::{Adaptation, EncodedRequest, Target, Unsupported};

fn asks(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::text(Role::User, text)], ..ChatRequest::default() }
}

fn encode(request: &ChatRequest) -> EncodedRequest {
    encode_request(request, &target(Unsupported::Emulate)).unwrap()
}

fn text(encoded: &EncodedRequest) -> &str {
    std::str::from_utf8(&encoded.body).unwrap()
}

#[track_caller]
fn member(encoded: &EncodedRequest, name: &str, expected: &str) {
    let body = super::value(&encoded.body);
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    assert_eq!(body[name], expected, "{body}");
}

#[test]
fn the_least_request() {
    assert_eq!(
        text(&encode(&asks("Привет"))),
        r#"{"model":"claude-sonnet-4-6","max_tokens":4096,"messages":[{"role":"user","content":"Привет"}]}"#
    );
    let counted = encode_count_tokens_request(&asks("x"), &target(Unsupported::Emulate)).unwrap();
    assert_eq!(
        text(&counted),
        r#"{"model":"claude-sonnet-4-6","messages":[{"role":"user","content":"x"}]}"#
    );
}

#[test]
fn a_conversation_with_tools() {
    let call = |id: &str, arguments: &str| {
        Part::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
        })
    };
    let result = |id: &str, is_error| Message {
        role: Role::Tool,
        parts: vec![Part::ToolResult(ToolResult {
            call_id: id.to_owned(),
            name: None,
            content: vec![Part::text("да")],
            is_error,
        })],
        name: None,
    };
    let reasoning = |signature: Option<&str>| {
        Part::Reasoning(Reasoning {
            text: "хм".to_owned(),
            signature: signature.map(str::to_owned),
            encrypted: None,
        })
    };
    let request = ChatRequest {
        messages: vec![
            Message::text(Role::System, "S"),
            Message::text(Role::Developer, "D"),
            Message::text(Role::User, "u1"),
            Message::text(Role::User, "u2"),
            Message {
                role: Role::Assistant,
                parts: vec![
                    reasoning(Some("sig")),
                    reasoning(None),
                    Part::text(""),
                    call("call:1", r#"{"a": 1}"#),
                    call("b", "не JSON"),
                ],
                name: None,
            },
            result("call:1", false),
            result("b", true),
            Message::text(Role::User, "дальше"),
        ],
        tools: vec![
            Tool {
                name: "f".to_owned(),
                description: Some("d".to_owned()),
                parameters: Some(Json::parse(r#"{"type":"object"}"#).unwrap()),
                strict: Some(true),
                cache_control: None,
            },
            Tool {
                name: "g".to_owned(),
                description: None,
                parameters: None,
                strict: Some(false),
                cache_control: None,
            },
        ],
        parallel_tool_calls: Some(false),
        ..ChatRequest::default()
    };
    let encoded = encode(&request);
    assert_eq!(
        text(&encoded),
        concat!(
            r#"{"model":"claude-sonnet-4-6","max_tokens":4096,"#,
            r#""system":[{"type":"text","text":"S"},{"type":"text","text":"D"}],"messages":["#,
            r#"{"role":"user","content":[{"type":"text","text":"u1"},{"type":"text","text":"u2"}]},"#,
            r#"{"role":"assistant","content":[{"type":"thinking","thinking":"хм","signature":"sig"},"#,
            r#"{"type":"tool_use","id":"call_1","name":"f","input":{"a": 1}},"#,
            r#"{"type":"tool_use","id":"b","name":"f","input":{"INVALID_JSON":"не JSON"}}]},"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"да"},"#,
            r#"{"type":"tool_result","tool_use_id":"b","content":"да","is_error":true},"#,
            r#"{"type":"text","text":"дальше"}]}],"#,
            r#""tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true},"#,
            r#"{"name":"g","input_schema":{"type":"object","properties":{}}}],"#,
            r#""tool_choice":{"type":"auto","disable_parallel_tool_use":true}}"#,
        )
    );
    assert_eq!(
        encoded.adaptations,
        [Adaptation { member: "messages.reasoning_content", emulated: false }]
    );
}

#[test]
fn forced_and_forbidden_tools() {
    let mut request = asks("x");
    request.tool_choice = Some(ToolChoice::Required);
    assert!(!text(&encode(&request)).contains("tool_choice"), "no tools, no choice");
    request.tools = vec![Tool {
        name: "f".to_owned(),
        description: None,
        parameters: None,
        strict: None,
        cache_control: None,
    }];
    member(&encode(&request), "tool_choice", r#"{"type":"any"}"#);
    request.tool_choice = Some(ToolChoice::None);
    request.parallel_tool_calls = Some(false);
    member(&encode(&request), "tool_choice", r#"{"type":"none"}"#);
    request.tool_choice = Some(ToolChoice::Named("f".to_owned()));
    request.parallel_tool_calls = Some(true);
    member(
        &encode(&request),
        "tool_choice",
        r#"{"type":"tool","name":"f","disable_parallel_tool_use":false}"#,
    );
    request.reasoning =
        Some(ReasoningRequest { effort: Some(ReasoningEffort::High), ..Default::default() });
    let encoded = encode(&request);
    assert!(!text(&encoded).contains("thinking"), "a forced tool forbids thinking");
    assert_eq!(encoded.adaptations[0].member, "reasoning_effort");
}

#[test]
fn images_by_every_source() {
    let image = |source, detail| Part::Image(Image { source, detail, cache_control: None });
    let mut request = asks("x");
    request.messages[0].parts = vec![
        image(MediaSource::Url("https://a/b.png".into()), Some(ImageDetail::High)),
        image(
            MediaSource::Base64 { media_type: "image/png".into(), data: "aGk=".into() },
            Some(ImageDetail::Auto),
        ),
        image(MediaSource::FileId("file_1".into()), None),
    ];
    let encoded = encode(&request);
    member(
        &encoded,
        "messages",
        r#"[{"role":"user","content":[
            {"type":"image","source":{"type":"url","url":"https://a/b.png"}},
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}},
            {"type":"image","source":{"type":"file","file_id":"file_1"}}]}]"#,
    );
    assert_eq!(encoded.adaptations[0].member, "messages.content.image_url.detail");
}

#[test]
fn thinking_by_effort_and_by_budget() {
    let think = |model: &'static str, request: ReasoningRequest, limit: Option<u64>| {
        let mut asked = asks("x");
        asked.reasoning = Some(request);
        asked.max_output_tokens = limit;
        asked.sampling.temperature = Some(0.3);
        let target = Target { model, ..target(Unsupported::Emulate) };
        encode_request(&asked, &target).unwrap()
    };
    let effort = |effort| ReasoningRequest { effort: Some(effort), ..Default::default() };
    let new = think("claude-opus-4-7", effort(ReasoningEffort::ExtraHigh), None);
    member(&new, "thinking", r#"{"type":"adaptive","display":"omitted"}"#);
    member(&new, "output_config", r#"{"effort":"xhigh"}"#);
    member(&new, "temperature", "null");
    assert_eq!(new.adaptations, [Adaptation { member: "temperature", emulated: false }]);

    let old = think("claude-sonnet-4-5", effort(ReasoningEffort::Medium), None);
    member(&old, "thinking", r#"{"type":"enabled","budget_tokens":8192}"#);
    member(&old, "max_tokens", "12288");

    let tight = think("claude-sonnet-4-5", effort(ReasoningEffort::Medium), Some(2000));
    member(&tight, "thinking", r#"{"type":"enabled","budget_tokens":1600}"#);
    member(&tight, "max_tokens", "2000");

    let too_tight = think("claude-sonnet-4-5", effort(ReasoningEffort::Medium), Some(1100));
    member(&too_tight, "thinking", "null");
    member(&too_tight, "temperature", "0.3");

    let off = think("claude-opus-4-7", effort(ReasoningEffort::None), None);
    member(&off, "thinking", r#"{"type":"disabled"}"#);

    let budget =
        |tokens| ReasoningRequest { budget_tokens: Some(tokens), effort: None, visible: true };
    let least = think("claude-opus-4-6", budget(5), Some(9000));
    member(&least, "thinking", r#"{"type":"enabled","budget_tokens":1024}"#);
    let newest = think("claude-opus-4-7", budget(20_000), Some(9000));
    member(&newest, "thinking", r#"{"type":"adaptive","display":"summarized"}"#);
    member(&newest, "output_config", r#"{"effort":"high"}"#);
    assert!(
        newest
            .adaptations
            .contains(&Adaptation { member: "thinking.budget_tokens", emulated: true })
    );
}

#[test]
fn newest_models_take_no_sampling() {
    let target = Target { model: "claude-opus-4-8", ..target(Unsupported::Strict) };
    let mut request = asks("x");
    request.sampling.temperature = Some(1.0);
    request.sampling.top_p = Some(1.0);
    let encoded = encode_request(&request, &target).unwrap();
    assert!(!text(&encoded).contains("temperature") && !text(&encoded).contains("top_p"));
    request.sampling.temperature = Some(0.2);
    let refused = encode_request(&request, &target).unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("temperature"));
}

#[test]
fn thinking_is_not_taken_up_between_a_call_and_its_result() {
    let call = ToolCall { id: "a".into(), name: "f".into(), arguments: "{}".into() };
    let result = ToolResult { call_id: "a".into(), name: None, content: vec![], is_error: false };
    let mut request = asks("x");
    request.messages.extend([
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)], name: None },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)], name: None },
    ]);
    request.reasoning =
        Some(ReasoningRequest { effort: Some(ReasoningEffort::Low), ..Default::default() });
    let old = Target { model: "claude-haiku-4-5", ..target(Unsupported::Emulate) };
    let encoded = encode_request(&request, &old).unwrap();
    member(&encoded, "thinking", "null");
    assert_eq!(encoded.adaptations[0].member, "reasoning_effort");
    let proof = Reasoning { signature: Some("s".into()), ..Reasoning::default() };
    request.messages[1].parts.insert(0, Part::Reasoning(proof));
    let encoded = encode_request(&request, &old).unwrap();
    member(&encoded, "thinking", r#"{"type":"enabled","budget_tokens":2048}"#);
}

#[test]
fn instructions_alone_become_the_users_turn() {
    let mut request = asks("Скажи «да»");
    request.messages[0].role = Role::System;
    let encoded = encode(&request);
    member(&encoded, "messages", r#"[{"role":"user","content":"Скажи «да»"}]"#);
    member(&encoded, "system", "null");
    assert_eq!(encoded.adaptations, [Adaptation { member: "messages.role", emulated: true }]);
}

#[test]
fn schemas_that_the_api_enforces_and_those_that_are_asked_for() {
    let form = |schema: &str| {
        let mut request = asks("x");
        request.messages.insert(0, Message::text(Role::System, "S"));
        request.response_format = ResponseFormat::JsonSchema(JsonSchema {
            name: "n".to_owned(),
            description: None,
            schema: Json::parse(schema).unwrap(),
            strict: Some(true),
        });
        request
    };
    let closed =
        r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#;
    let native = encode(&form(closed));
    member(
        &native,
        "output_config",
        &format!(r#"{{"format":{{"type":"json_schema","schema":{closed}}}}}"#),
    );
    assert_eq!(native.validate, ResponseFormat::Text);
    assert!(native.adaptations.is_empty());

    for open in [
        r#"{"type":"object","properties":{"a":{"type":"object"}},"additionalProperties":false}"#,
        r#"{"type":"object","properties":{"a":{"type":"integer","minimum":3}},"additionalProperties":false}"#,
        r#"{"type":"object"}"#,
    ] {
        let request = form(open);
        let emulated = encode(&request);
        assert_eq!(emulated.validate, request.response_format);
        assert_eq!(
            emulated.adaptations,
            [Adaptation { member: "response_format", emulated: true }]
        );
        let body = super::value(&emulated.body);
        assert!(body["system"][1]["text"].as_str().unwrap().ends_with(open), "{body}");

        let dropped = encode_request(&request, &target(Unsupported::Drop)).unwrap();
        assert_eq!(dropped.validate, ResponseFormat::Text);
        member(&dropped, "system", r#""S""#);
    }
    let old = Target { model: "claude-3-haiku-20240307", ..target(Unsupported::Emulate) };
    assert_ne!(encode_request(&form(closed), &old).unwrap().validate, ResponseFormat::Text);
}

#[test]
fn members_that_the_api_lacks_follow_the_policy() {
    let mut request = asks("x");
    request.choice_count = Some(2);
    request.top_logprobs = Some(1);
    request.sampling.seed = Some(1);
    request.sampling.presence_penalty = Some(0.5);
    request.sampling.frequency_penalty = Some(0.5);
    request.sampling.repetition_penalty = Some(1.1);
    request.sampling.logit_bias = Some(Json::parse("{}").unwrap());
    request.sampling.temperature = Some(1.7);
    request.metadata = Some(Json::parse("{}").unwrap());
    request.stop = vec![" ".to_owned(), "стоп".to_owned()];
    let encoded = encode(&request);
    let lost: Vec<String> = encoded.adaptations.iter().map(ToString::to_string).collect();
    assert_eq!(
        lost,
        [
            "dropped=n",
            "dropped=logprobs",
            "dropped=seed",
            "dropped=frequency_penalty",
            "dropped=presence_penalty",
            "dropped=repetition_penalty",
            "dropped=logit_bias",
            "dropped=metadata",
            "dropped=stop",
            "emulated=temperature",
        ]
    );
    member(&encoded, "temperature", "1");
    member(&encoded, "stop_sequences", r#"["стоп"]"#);

    let refused = encode_request(&request, &target(Unsupported::Strict)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidRequest);
    assert_eq!(refused.param.as_deref(), Some("n"));
}

#[test]
fn unknown_members_reach_their_own_dialect_only() {
    let mut request = asks("x");
    let members = vec![("service_tier".to_owned(), Json::parse("\"auto\"").unwrap())];
    request.extra = ExtraMembers { audience: Some(Audience::Anthropic), members };
    member(&encode(&request), "service_tier", "\"auto\"");
    request.extra.audience = Some(Audience::OpenAiChat);
    member(&encode(&request), "service_tier", "null");
    request.extra.members[0].1 = Json::parse("\"flex\"").unwrap();
    request.extra.members.push(("tier".to_owned(), Json::parse("1").unwrap()));
    let encoded = encode_request(&request, &target(Unsupported::Drop)).unwrap();
    let lost: Vec<String> = encoded.adaptations.iter().map(ToString::to_string).collect();
    assert_eq!(lost, ["dropped=service_tier", "dropped=members that Anthropic does not know"]);
}
