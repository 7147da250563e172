//! `tool_choice` of the type `allowed_tools`, in both of OpenAI's dialects.

use chat::ToolChoice;
use dialects::{Target, Unsupported, gigachat, openai_chat, openai_responses};
use serde_json::{Value, json};

type Narrowed = Result<(Vec<String>, Option<ToolChoice>), Option<String>>;

fn names(chat: chat::ChatRequest) -> (Vec<String>, Option<ToolChoice>) {
    (chat.tools.into_iter().map(|tool| tool.name).collect(), chat.tool_choice)
}

fn in_chat(mode: &str, allowed: &[&str]) -> Value {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    let offered = ["a", "b", "c"].map(tool);
    let allowed: Vec<Value> = allowed.iter().copied().map(tool).collect();
    json!({"model": "m", "messages": [{"role": "user", "content": "а"}],
        "tools": offered,
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}})
}

fn in_responses(mode: &str, allowed: &[&str]) -> Value {
    let tool = |name: &str| json!({"type": "function", "name": name});
    let offered = ["a", "b", "c"].map(tool);
    let allowed: Vec<Value> = allowed.iter().copied().map(tool).collect();
    json!({"model": "m", "input": "а",
        "tools": offered,
        "tool_choice": {"type": "allowed_tools", "mode": mode, "tools": allowed}})
}

fn narrowed(mode: &str, allowed: &[&str]) -> [Narrowed; 2] {
    let chat = in_chat(mode, allowed).to_string();
    let responses = in_responses(mode, allowed).to_string();
    [
        openai_chat::decode_request(chat.as_bytes()).map(names),
        openai_responses::decode_request(responses.as_bytes()).map(|decoded| names(decoded.chat)),
    ]
    .map(|decoded| decoded.map_err(|error| error.param))
}

#[test]
fn only_the_allowed_tools_are_offered() {
    for (mode, choice) in [("auto", ToolChoice::Auto), ("required", ToolChoice::Required)] {
        for decoded in narrowed(mode, &["c", "a"]) {
            let kept = vec!["a".to_owned(), "c".to_owned()];
            assert_eq!(decoded, Ok((kept, Some(choice.clone()))), "{mode}");
        }
    }
}

#[test]
fn a_tool_that_is_not_offered_cannot_be_allowed() {
    for decoded in narrowed("auto", &["a", "d"]) {
        assert_eq!(decoded, Err(Some("tool_choice".to_owned())));
    }
}

#[test]
fn of_no_tools_none_can_be_required() {
    for decoded in narrowed("required", &[]) {
        assert!(decoded.is_err_and(|param| param.is_some_and(|path| path.contains("tool_choice"))));
    }
    for decoded in narrowed("auto", &[]) {
        assert_eq!(decoded, Ok((Vec::new(), Some(ToolChoice::Auto))));
    }
}

#[test]
fn a_provider_with_another_dialect_gets_only_the_allowed_tools() {
    let body = in_chat("required", &["b"]).to_string();
    let request = openai_chat::decode_request(body.as_bytes()).unwrap();
    let target = Target {
        model: "m",
        unsupported: Unsupported::Strict,
        default_max_output_tokens: 100,
        stream_usage: true,
        legacy_max_tokens: false,
    };
    let encoded = gigachat::encode_request(&request, &target).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["functions"].as_array().unwrap().len(), 1);
    assert_eq!(body["function_call"], json!({"name": "b"}));
}
