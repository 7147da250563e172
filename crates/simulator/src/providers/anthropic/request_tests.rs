//! Rules of Messages requests, each broken once.

use serde_json::{Value, json};

use super::Version;
use super::request::{Choice, Endpoint, Request, Thinking, parse};

fn base() -> Value {
    json!({
        "model": "claude-sonnet-4-5", "max_tokens": 2048,
        "messages": [{"role": "user", "content": "Привет"}],
    })
}

fn check(body: &Value) -> Result<Request, String> {
    parse(body.to_string().as_bytes(), Endpoint::Messages, Version::Of2023, false).map_err(
        |error| {
            assert_eq!(error.status, 400);
            error.message
        },
    )
}

fn refused(change: impl Fn(&mut Value)) -> String {
    let mut body = base();
    change(&mut body);
    check(&body).expect_err("must be refused")
}

fn tools() -> Value {
    json!([{"name": "get_weather", "description": "погода",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}])
}

#[test]
fn required_and_unknown_members_are_named() {
    for name in ["model", "max_tokens", "messages"] {
        let message = refused(|body| {
            body.as_object_mut().unwrap().remove(name);
        });
        assert_eq!(message, format!("{name}: Field required"));
    }
    assert_eq!(refused(|body| body["stop"] = json!(["x"])), "stop: Extra inputs are not permitted");
    assert!(refused(|body| body["max_tokens"] = json!("5")).starts_with("max_tokens:"));
    assert!(refused(|body| body["temperature"] = json!(1.5)).starts_with("temperature:"));
    assert!(
        parse(b"{\"model\":", Endpoint::Messages, Version::Of2023, false)
            .unwrap_err()
            .message
            .contains("not valid JSON")
    );
}

#[test]
fn counting_needs_no_max_tokens() {
    let mut body = base();
    body.as_object_mut().unwrap().remove("max_tokens");
    assert!(
        parse(body.to_string().as_bytes(), Endpoint::CountTokens, Version::Of2023, false).is_ok()
    );
}

#[test]
fn turns_start_with_user_and_neighbours_merge() {
    let mut body = base();
    body["messages"] = json!([
        {"role": "user", "content": "а"},
        {"role": "user", "content": [{"type": "text", "text": "б"}]},
        {"role": "assistant", "content": "в"},
        {"role": "user", "content": "г"},
    ]);
    let request = check(&body).expect("valid");
    let shape: Vec<(&str, usize)> =
        request.turns.iter().map(|turn| (turn.role.as_str(), turn.blocks.len())).collect();
    assert_eq!(shape, [("user", 2), ("assistant", 1), ("user", 1)]);
    assert!(
        refused(|body| body["messages"] = json!([{"role": "assistant", "content": "а"}]))
            .contains("first message")
    );
    assert!(refused(|body| body["messages"] = json!([])).contains("at least one"));
    assert!(
        refused(|body| body["messages"][0]["role"] = json!("tool")).contains("Unexpected role")
    );
    assert!(refused(|body| body["messages"][0]["content"] = json!("")).contains("non-empty"));
    assert!(
        refused(|body| body["messages"]
            .as_array_mut()
            .unwrap()
            .push(json!({"role": "assistant", "content": "Ответ: "})))
        .contains("trailing whitespace")
    );
}

fn exchange(uses: &[&str], results: &[&str]) -> Value {
    let uses: Vec<Value> = uses
        .iter()
        .map(|id| json!({"type": "tool_use", "id": id, "name": "get_weather", "input": {}}))
        .collect();
    let results: Vec<Value> = results
        .iter()
        .map(|id| json!({"type": "tool_result", "tool_use_id": id, "content": "ясно"}))
        .collect();
    let mut body = base();
    body["tools"] = tools();
    body["messages"] = json!([
        {"role": "user", "content": "погода"},
        {"role": "assistant", "content": uses},
        {"role": "user", "content": results},
    ]);
    body
}

#[test]
fn every_use_has_its_result_at_once() {
    check(&exchange(&["toolu_1", "toolu_2"], &["toolu_2", "toolu_1"])).expect("valid");
    let message = check(&exchange(&["toolu_1", "toolu_2"], &["toolu_1"])).unwrap_err();
    assert!(message.starts_with("messages.1: `tool_use` ids were found without `tool_result`"));
    assert!(message.contains("toolu_2"));
    let stray = check(&exchange(&["toolu_1"], &["toolu_1", "toolu_9"])).unwrap_err();
    assert!(stray.contains("unexpected `tool_use_id`"), "{stray}");
    let twice = check(&exchange(&["toolu_1"], &["toolu_1", "toolu_1"])).unwrap_err();
    assert!(twice.contains("single result"), "{twice}");
    let mut late = exchange(&["toolu_1"], &["toolu_1"]);
    late["messages"][2]["content"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"type": "text", "text": "вот"}));
    assert!(check(&late).unwrap_err().contains("must come first"));
    let mut whole = exchange(&["toolu_1"], &["toolu_1"]);
    whole["messages"].as_array_mut().unwrap().pop();
    assert!(check(&whole).is_err());
}

#[test]
fn thinking_has_a_budget_and_forbids_forcing() {
    let enabled = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
    let mut body = base();
    body["thinking"] = enabled(1024);
    assert_eq!(
        check(&body).expect("valid").thinking,
        Thinking::On { budget: Some(1024), omitted: false }
    );
    body["thinking"] = json!({"type": "adaptive"});
    assert_eq!(
        check(&body).expect("valid").thinking,
        Thinking::On { budget: None, omitted: false }
    );
    assert!(refused(|body| body["thinking"] = enabled(100)).contains("1024"));
    assert!(refused(|body| body["thinking"] = enabled(2048)).contains("max_tokens"));
    assert!(
        refused(|body| {
            body["thinking"] = enabled(1024);
            body["temperature"] = json!(0.2);
        })
        .contains("temperature")
    );
    assert!(
        refused(|body| {
            body["thinking"] = enabled(1024);
            body["tools"] = tools();
            body["tool_choice"] = json!({"type": "any"});
        })
        .contains("forces tool use")
    );
    let mut history = exchange(&["toolu_1"], &["toolu_1"]);
    history["thinking"] = enabled(1024);
    assert!(check(&history).unwrap_err().contains("Expected `thinking`"));
    let block =
        |signature: &str| json!({"type": "thinking", "thinking": "думаю", "signature": signature});
    history["messages"][1]["content"]
        .as_array_mut()
        .unwrap()
        .insert(0, block(&format!("{}abc", super::SIGNATURE_PREFIX)));
    check(&history).expect("valid");
    history["messages"][1]["content"][0] = block("forged");
    assert!(check(&history).unwrap_err().contains("Invalid `signature`"));
}

#[test]
fn tools_and_choices_are_checked() {
    let mut body = base();
    body["tools"] = tools();
    for (choice, expected) in [
        (json!({"type": "auto"}), Choice::Auto),
        (json!({"type": "any"}), Choice::Any),
        (json!({"type": "none"}), Choice::None),
        (json!({"type": "tool", "name": "get_weather"}), Choice::Named("get_weather".to_owned())),
    ] {
        body["tool_choice"] = choice;
        assert_eq!(check(&body).expect("valid").choice, expected);
    }
    body["tool_choice"] = json!({"type": "auto", "disable_parallel_tool_use": true});
    assert!(check(&body).expect("valid").one_tool_at_most);
    for choice in [json!({"type": "tool", "name": "f"}), json!({"type": "required"})] {
        body["tool_choice"] = choice;
        assert!(check(&body).is_err());
    }
    assert!(
        refused(|body| body["tools"] = json!([{"name": "f"}]))
            .contains("input_schema: Field required")
    );
    assert!(
        refused(|body| {
            body["tools"] = json!([{"name": "погода", "input_schema": {"type": "object"}}]);
        })
        .contains("pattern")
    );
}

#[test]
fn images_are_base64_or_url() {
    let image = |source: Value| {
        json!([{"role": "user", "content": [{"type": "image", "source": source},
            {"type": "text", "text": "что это?"}]}])
    };
    for (source, ok) in [
        (json!({"type": "base64", "media_type": "image/png", "data": "aGk="}), true),
        (json!({"type": "url", "url": "https://example.com/a.png"}), true),
        (json!({"type": "base64", "media_type": "image/bmp", "data": "aGk="}), false),
        (json!({"type": "base64", "media_type": "image/png", "data": "не base64"}), false),
        (json!({"type": "url", "url": "ftp://example.com/a.png"}), false),
    ] {
        let mut body = base();
        body["messages"] = image(source);
        assert_eq!(check(&body).is_ok(), ok, "{body}");
    }
}

#[test]
fn output_schemas_close_their_objects() {
    let format = |schema: Value| json!({"format": {"type": "json_schema", "schema": schema}});
    let mut body = base();
    body["output_config"] = format(json!({"type": "object", "properties": {},
        "additionalProperties": false}));
    assert!(check(&body).expect("valid").schema.is_some());
    body["output_config"] = format(json!({"type": "object", "properties": {}}));
    assert!(check(&body).unwrap_err().contains("additionalProperties"));
    body["output_config"] = json!({"format": {"type": "json_object"}});
    assert!(check(&body).is_err());
}

#[test]
fn the_newer_version_has_no_sampling() {
    let newer = |body: &Value| {
        parse(body.to_string().as_bytes(), Endpoint::Messages, Version::Of2026, false)
    };
    assert!(newer(&base()).is_ok());
    for (name, value) in [("temperature", json!(1)), ("top_p", json!(0.9)), ("top_k", json!(5))] {
        let mut body = base();
        body[name] = value;
        assert!(check(&body).is_ok(), "{name}");
        let error = newer(&body).unwrap_err();
        assert_eq!(error.message, format!("{name}: Extra inputs are not permitted"));
    }
    let mut cited = base();
    cited["messages"][0]["content"] =
        json!([{"type": "text", "text": "a", "citations": [{"type": "char_location"}]}]);
    assert!(check(&cited).is_ok());
    assert!(newer(&cited).is_err());
}

#[test]
fn newer_models_refuse_sampling_budgets_and_prefill() {
    let with = |model: &str, name: &str, value: Value| {
        let mut body = base();
        body["model"] = json!(model);
        body[name] = value;
        check(&body)
    };
    let budget = json!({"type": "enabled", "budget_tokens": 1024});
    let prefill = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]);
    for (model, sampling, prefilling) in [
        ("claude-haiku-4-5-20251001", true, true),
        ("claude-sonnet-4-6", true, false),
        ("claude-opus-4-8", false, false),
        ("claude-sonnet-5", false, false),
    ] {
        assert_eq!(with(model, "temperature", json!(0.5)).is_ok(), sampling, "{model}");
        assert_eq!(with(model, "thinking", budget.clone()).is_ok(), sampling, "{model}");
        assert_eq!(with(model, "messages", prefill.clone()).is_ok(), prefilling, "{model}");
        assert!(with(model, "thinking", json!({"type": "adaptive"})).is_ok());
    }
}

#[test]
fn beta_members_need_the_beta_path_and_threads_are_declined_by_code() {
    let parse_as = |beta: bool, name: &str, value: Value| {
        let mut body = base();
        body[name] = value;
        parse(body.to_string().as_bytes(), Endpoint::Messages, Version::Of2026, beta)
    };
    assert!(parse_as(true, "context_management", json!({"edits": []})).is_ok());
    assert!(parse_as(false, "context_management", json!({"edits": []})).is_err());
    let declined = parse_as(true, "thread", json!({"type": "create"})).unwrap_err();
    assert_eq!(declined.code, Some("thread_unsupported_request"));
    assert_eq!(
        declined.body("req_1")["error"]["details"]["error_code"],
        "thread_unsupported_request"
    );
}
