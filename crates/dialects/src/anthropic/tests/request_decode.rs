use chat::{
    Audience, ErrorKind, MediaSource, Part, ReasoningEffort, ResponseFormat, Role, ToolChoice,
};

use crate::anthropic::{decode_count_tokens_request, decode_request};

fn refused(body: &str) -> (String, String) {
    let error = decode_request(body.as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    (error.param.unwrap_or_default(), error.message)
}

#[test]
fn a_whole_request_is_read() {
    let body = r#"{
        "model": "chat", "max_tokens": 2048, "stream": true, "temperature": 1, "top_k": 5,
        "stop_sequences": ["КОНЕЦ"], "metadata": {"user_id": "u-1"}, "service_tier": "auto",
        "system": [{"type": "text", "text": "Ты — помощник", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "tools": [{"name": "погода", "description": "d", "input_schema": {"type":  "object"}, "strict": true}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "привет"}},
                {"type": "text", "text": "\u041f\u0440\ud83d\ude00"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "хм", "signature": "s=="},
                {"type": "redacted_thinking", "data": "xx"},
                {"type": "tool_use", "id": "toolu_1", "name": "погода", "input": {"a":  1.50}}]},
            {"role": "user", "content": [
                {"type": "text", "text": "и ещё"},
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [{"type": "text", "text": "нет"}]}]}
        ]}"#;
    let request = decode_request(body.as_bytes()).unwrap();
    assert_eq!(request.model, "chat");
    assert_eq!(request.max_output_tokens, Some(2048));
    assert_eq!(request.user.as_deref(), Some("u-1"));
    assert_eq!(request.stop, ["КОНЕЦ"]);
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert_eq!(request.tool_choice, Some(ToolChoice::Auto));
    assert_eq!(request.extra.audience, Some(Audience::Anthropic));
    assert_eq!(request.extra.members[0].0, "service_tier");
    assert_eq!(request.reasoning.unwrap().budget_tokens, Some(1024));
    assert!(matches!(&request.response_format, ResponseFormat::JsonSchema(format)
        if format.schema.get() == r#"{"type": "object"}"#));
    assert_eq!(request.tools[0].parameters.as_ref().unwrap().get(), r#"{"type":  "object"}"#);

    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    assert!(matches!(&request.messages[0].parts[0], Part::Text(text)
        if text.text == "Ты — помощник" && text.cache_control.is_some()));
    let user = &request.messages[1];
    assert_eq!(user.joined_text(), "Пр😀");
    assert!(matches!(&user.parts[1], Part::File(file) if file.source
        == MediaSource::Base64 { media_type: "text/plain".into(), data: "0L/RgNC40LLQtdGC".into() }));
    let assistant = &request.messages[2].parts;
    assert!(matches!(&assistant[0], Part::Reasoning(reasoning)
        if reasoning.text == "хм" && reasoning.signature.as_deref() == Some("s==")));
    assert!(matches!(&assistant[1], Part::Reasoning(reasoning)
        if reasoning.encrypted.as_deref() == Some("xx")));
    assert!(matches!(&assistant[2], Part::ToolCall(call) if call.arguments == r#"{"a":  1.50}"#));
    assert!(matches!(&request.messages[3].parts[0], Part::ToolResult(result)
        if result.is_error && result.joined_text() == "нет"));
}

#[test]
fn efforts_and_modes_of_thinking_are_read() {
    let read = |members: &str| {
        let body = format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"x"}}],{members}}}"#
        );
        decode_request(body.as_bytes()).unwrap().reasoning.unwrap()
    };
    let adaptive = read(r#""thinking":{"type":"adaptive"},"output_config":{"effort":"max"}"#);
    assert_eq!(adaptive.effort, Some(ReasoningEffort::ExtraHigh));
    assert!(adaptive.visible);
    let omitted = read(r#""thinking":{"type":"adaptive","display":"omitted"}"#);
    assert_eq!((omitted.effort, omitted.visible), (None, false));
    let off = read(r#""thinking":{"type":"disabled"}"#);
    assert_eq!(off.effort, Some(ReasoningEffort::None));
}

#[test]
fn faults_are_named_in_the_words_of_the_api() {
    let user = r#"{"role":"user","content":"x"}"#;
    let cases = [
        (r#"{"max_tokens":1,"messages":[]}"#.to_owned(), "model", "model: Field required"),
        (
            format!(r#"{{"model":"m","messages":[{user}]}}"#),
            "max_tokens",
            "max_tokens: Field required",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[]}"#.to_owned(),
            "messages",
            "messages: at least one message is required",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":"x"}]}"#
                .to_owned(),
            "messages.0.role",
            "messages: first message must use the \"user\" role",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":""}]}]}"#
                .to_owned(),
            "messages.0.content.0.text",
            "messages.0.content.0: text content blocks must be non-empty",
        ),
        (
            format!(
                r#"{{"model":"m","max_tokens":1,"messages":[{user},{{"role":"assistant","content":[{{"type":"tool_use","id":"t1","name":"f","input":{{}}}}]}},{user}]}}"#
            ),
            "messages.1",
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: \
             t1. Each `tool_use` block must have a corresponding `tool_result` block in the next \
             message.",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t9"}]}]}"#
                .to_owned(),
            "messages.0.content.0",
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t9. \
             Each `tool_result` block must have a corresponding `tool_use` block in the previous \
             message.",
        ),
        (
            format!(r#"{{"model":"m","max_tokens":1,"temperature":1.5,"messages":[{user}]}}"#),
            "temperature",
            "temperature: range: 0..1",
        ),
        (
            format!(
                r#"{{"model":"m","max_tokens":1024,"thinking":{{"type":"enabled","budget_tokens":1024}},"messages":[{user}]}}"#
            ),
            "max_tokens",
            "`max_tokens` must be greater than `thinking.budget_tokens`",
        ),
    ];
    for (body, param, message) in cases {
        assert_eq!(refused(&body), (param.to_owned(), message.to_owned()), "{body}");
    }
}

#[test]
fn types_and_duplicates_are_told_by_path() {
    let (param, message) =
        refused(r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":5}]}"#);
    assert_eq!(param, "messages[0].content");
    assert!(message.contains("expected a string or an array of content blocks"), "{message}");
    let (param, _) = refused(
        r#"{"tools":[{"name":"f","input_schema":{"a":[1,{}]}}],"container":{"x":1},"max_tokens":"1"}"#,
    );
    assert_eq!(param, "max_tokens");
    let (_, message) = refused(r#"{"model":"m","model":"n","max_tokens":1,"messages":[]}"#);
    assert!(message.contains("duplicate field `model`"), "{message}");
    let (param, _) = refused(
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":7}]}]}"#,
    );
    assert_eq!(param, "messages[0].content[0].text");
}

#[test]
fn what_only_anthropic_serves_is_refused_unless_it_is_only_counted() {
    let body = r#"{"model":"m","max_tokens":1,"tools":[{"type":"web_search_20250305","name":"web_search"}],
        "tool_choice":{"type":"any"},"messages":[{"role":"user","content":"x"}]}"#;
    let (param, message) = refused(body);
    assert_eq!(param, "tools.0.type");
    assert!(message.contains("web_search_20250305"), "{message}");
    let request = decode_count_tokens_request(body.as_bytes()).unwrap();
    assert!(request.tools.is_empty());
    let block = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"search_result"}]}]}"#;
    assert_eq!(refused(block).0, "messages.0.content.0");
    assert!(decode_count_tokens_request(block.as_bytes()).is_ok());
}

#[test]
fn counting_needs_no_limit() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(decode_count_tokens_request(body.as_bytes()).unwrap().max_output_tokens, None);
}
