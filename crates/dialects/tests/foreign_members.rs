//! Members of Anthropic's requests where the provider speaks another API.

use chat::ResponseFormat;
use dialects::{EncodedRequest, Target, Unsupported, anthropic, gigachat, openai_chat, yandexgpt};
use serde_json::{Value, json};

fn target(unsupported: Unsupported) -> Target<'static> {
    Target {
        model: "claude-opus-4-6",
        unsupported,
        default_max_output_tokens: 100,
        stream_usage: true,
        legacy_max_tokens: false,
    }
}

fn request(member: &str, value: &Value) -> chat::ChatRequest {
    let mut body = json!({"model": "m", "max_tokens": 100,
        "messages": [{"role": "user", "content": "а"}]});
    body[member] = value.clone();
    anthropic::decode_request(body.to_string().as_bytes()).unwrap()
}

fn encoded(
    request: &chat::ChatRequest,
    policy: Unsupported,
) -> [Result<EncodedRequest, String>; 3] {
    let target = target(policy);
    [
        openai_chat::encode_request(request, &target),
        gigachat::encode_request(request, &target),
        yandexgpt::encode_request(request, &target),
    ]
    .map(|encoded| encoded.map_err(|error| error.param.unwrap()))
}

#[test]
fn what_only_anthropic_can_do_is_named_or_refused() {
    for (member, value, named) in [
        ("container", json!("container_1"), "container"),
        (
            "mcp_servers",
            json!([{"type": "url", "url": "https://a.example", "name": "a"}]),
            "mcp_servers",
        ),
        (
            "context_management",
            json!({"edits": [{"type": "clear_tool_uses_20250919"}]}),
            "context_management",
        ),
        ("inference_geo", json!("us"), "inference_geo"),
        ("speed", json!("fast"), "speed"),
        ("betas", json!(["x"]), "betas"),
        (
            "output_config",
            json!({"task_budget": {"type": "tokens", "total": 9}}),
            "output_config.task_budget",
        ),
    ] {
        let request = request(member, &value);
        for encoded in encoded(&request, Unsupported::Emulate) {
            let lost = encoded.unwrap().adaptations;
            let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
            assert_eq!(lost, [format!("dropped={named}")]);
        }
        for encoded in encoded(&request, Unsupported::Strict) {
            assert_eq!(encoded.unwrap_err(), named);
        }
        let own = anthropic::encode_request(&request, &target(Unsupported::Strict)).unwrap();
        let own: Value = serde_json::from_slice(&own.body).unwrap();
        assert_eq!(own[member], value);
    }
}

#[test]
fn what_holds_anyway_is_not() {
    for (member, value) in [
        ("service_tier", json!("auto")),
        ("service_tier", json!("standard_only")),
        ("container", Value::Null),
        ("cache_control", json!({"type": "ephemeral"})),
        ("mcp_servers", json!([])),
    ] {
        for encoded in encoded(&request(member, &value), Unsupported::Strict) {
            assert_eq!(encoded.unwrap().adaptations, [], "{member}");
        }
    }
}

#[test]
fn the_older_name_of_the_form_is_understood() {
    let form = json!({"type": "json_schema", "schema": {"type": "object"}});
    let request = request("output_format", &form);
    assert!(matches!(&request.response_format, ResponseFormat::JsonSchema(format)
        if format.schema.get() == r#"{"type":"object"}"#));
}
