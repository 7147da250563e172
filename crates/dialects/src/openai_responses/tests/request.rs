use chat::{
    Audience, ErrorKind, ImageDetail, MediaSource, Part, ReasoningEffort, ResponseFormat, Role,
    ToolChoice,
};

use super::{decoded, full_request};
use crate::openai_responses::decode_request;

fn refused(body: &str) -> (String, String, String) {
    let error = decode_request(body.as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    (error.param.unwrap_or_default(), error.code.unwrap_or_default(), error.message)
}

#[test]
fn parameters_are_read() {
    let chat = full_request().chat;
    assert_eq!(chat.model, "chat");
    assert_eq!(chat.messages[0].role, Role::System);
    assert_eq!(chat.messages[1].joined_text(), "Привет");
    assert_eq!(
        chat.tools[0].parameters.as_ref().unwrap().get(),
        r#"{"type":  "object", "properties": {}}"#
    );
    assert_eq!(chat.tools[0].strict, Some(true));
    assert_eq!(chat.tool_choice, Some(ToolChoice::Named("f".to_owned())));
    assert_eq!(chat.parallel_tool_calls, Some(false));
    assert!(matches!(&chat.response_format, ResponseFormat::JsonSchema(format)
        if format.name == "n" && format.schema.get() == r#"{"type": "object"}"#));
    let reasoning = chat.reasoning.unwrap();
    assert_eq!((reasoning.effort, reasoning.visible), (Some(ReasoningEffort::High), true));
    assert_eq!((chat.max_output_tokens, chat.top_logprobs), (Some(100), Some(2)));
    assert_eq!((chat.sampling.temperature, chat.sampling.top_p), (Some(0.5), Some(0.9)));
    assert_eq!(chat.user.as_deref(), Some("u"));
    assert_eq!(chat.metadata.unwrap().get(), r#"{"k": "v"}"#);
    assert_eq!(chat.extra.audience, Some(Audience::OpenAiResponses));
    let names: Vec<&str> = chat.extra.members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["service_tier", "llm_proxy"]);
}

#[test]
fn a_conversation_of_items_is_read() {
    let chat = decoded(
        r#"{"model": "m", "input": [
            {"role": "developer", "content": "D"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "что тут?"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                {"type": "input_image", "image_url": "https://a/b.png", "detail": "auto"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "хм"}],
             "encrypted_content": "signature:abc"},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "sealed"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "смотрю", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c2", "output": "да"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "нет"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "не буду"}]},
            {"role": "user", "content": "ладно"}]}"#,
    )
    .chat;
    let roles: Vec<Role> = chat.messages.iter().map(|message| message.role).collect();
    assert_eq!(
        roles,
        [Role::Developer, Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::User]
    );
    let user = &chat.messages[1].parts;
    assert!(matches!(&user[1], Part::Image(image) if image.detail == Some(ImageDetail::Low)
        && image.source == MediaSource::Base64 { media_type: "image/png".into(), data: "aGk=".into() }));
    assert!(matches!(&user[2], Part::Image(image)
        if image.source == MediaSource::Url("https://a/b.png".into())));
    assert!(matches!(&user[3], Part::File(file) if file.name.as_deref() == Some("a.pdf")
        && file.source == MediaSource::Base64 { media_type: "application/pdf".into(), data: "JVBE".into() }));
    let assistant = &chat.messages[2].parts;
    assert_eq!(assistant.len(), 5);
    assert!(matches!(&assistant[0], Part::Reasoning(reasoning) if reasoning.text == "хм"
        && reasoning.signature.as_deref() == Some("abc") && reasoning.encrypted.is_none()));
    assert!(matches!(&assistant[1], Part::Reasoning(reasoning)
        if reasoning.encrypted.as_deref() == Some("sealed")));
    assert_eq!(assistant[2].as_text(), Some("смотрю"));
    assert!(matches!(&assistant[3], Part::ToolCall(call) if call.arguments == r#"{"a":1}"#));
    assert_eq!(chat.messages[3].parts.len(), 2);
    assert!(matches!(&chat.messages[3].parts[1], Part::ToolResult(result)
        if result.call_id == "c1" && result.joined_text() == "нет"));
}

#[test]
fn allowed_tools_narrow_the_tools() {
    let chat = decoded(
        r#"{"model":"m","input":"x","tools":[{"type":"function","name":"a"},{"type":"function","name":"b"}],
            "tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"b"}]}}"#,
    )
    .chat;
    assert_eq!(chat.tools.len(), 1);
    assert_eq!(chat.tools[0].name, "b");
    assert_eq!(chat.tool_choice, Some(ToolChoice::Required));
}

#[test]
fn what_cannot_be_had_is_named() {
    let cases = [
        (r#"{"input":"x"}"#, "model", "missing_required_parameter"),
        (r#"{"model":"m"}"#, "input", "missing_required_parameter"),
        (r#"{"model":"m","input":[]}"#, "input", ""),
        (
            r#"{"model":"m","input":"x","previous_response_id":"resp_1"}"#,
            "previous_response_id",
            "unsupported_parameter",
        ),
        (
            r#"{"model":"m","input":"x","conversation":"conv_1"}"#,
            "conversation",
            "unsupported_parameter",
        ),
        (r#"{"model":"m","input":"x","background":true}"#, "background", "unsupported_parameter"),
        (
            r#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}"#,
            "input[0].type",
            "unsupported_parameter",
        ),
        (
            r#"{"model":"m","input":[{"type":"web_search_call","id":"ws_1"}]}"#,
            "input[0].type",
            "unsupported_value",
        ),
        (
            r#"{"model":"m","input":"x","tools":[{"type":"function","name":"f"},{"type":"web_search"}]}"#,
            "tools[1].type",
            "unsupported_tool",
        ),
        (
            r#"{"model":"m","input":"x","tools":[{"type":"function","function":{"name":"f"}}]}"#,
            "tools[0].name",
            "missing_required_parameter",
        ),
        (r#"{"model":"m","input":"x","tool_choice":"any"}"#, "tool_choice", "invalid_value"),
        (
            r#"{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":""}]}"#,
            "input",
            "",
        ),
        (
            r#"{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":""}]}"#,
            "input",
            "",
        ),
        (
            r#"{"model":"m","input":[{"role":"tool","content":""}]}"#,
            "input[0].role",
            "invalid_value",
        ),
        (
            r#"{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n"}}}"#,
            "text.format.schema",
            "missing_required_parameter",
        ),
        (
            r#"{"model":"m","input":"x","reasoning":{"effort":"huge"}}"#,
            "reasoning.effort",
            "invalid_value",
        ),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":1}]}]}"#,
            "input[0].content[0].text",
            "",
        ),
    ];
    for (body, param, code) in cases {
        let (found_param, found_code, message) = refused(body);
        assert_eq!((found_param.as_str(), found_code.as_str()), (param, code), "{body}: {message}");
    }
    let (param, _, message) = refused(
        r#"{"model":"m","tools":[{"type":"function","name":"f"}],"metadata":{"a":[1]},"x":{"y":2},"input":[{"role":7}]}"#,
    );
    assert_eq!(param, "input[0].role", "{message}");
    let (_, _, message) = refused(r#"{"model":"m","input":"x","tools":[{"type":"web_search"}]}"#);
    assert!(message.contains("'web_search'"), "{message}");
}
