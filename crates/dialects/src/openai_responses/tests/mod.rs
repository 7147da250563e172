mod errors;
mod properties;
mod request;
mod response;
mod stream;
mod stream_tap;

use crate::AnswerContext;

use super::{DecodedRequest, decode_request};

fn context() -> AnswerContext {
    AnswerContext {
        id_seed: "0123456789abcdefABCDEF01".to_owned(),
        request_id: "req_1".to_owned(),
        now: 1_700_000_000,
        route: "chat".to_owned(),
        stream_usage: true,
    }
}

fn decoded(body: &str) -> DecodedRequest {
    decode_request(body.as_bytes()).unwrap()
}

/// A request whose response repeats as much as can be.
fn full_request() -> DecodedRequest {
    decoded(
        r#"{"model": "chat", "input": "Привет", "instructions": "Ты — помощник",
            "tools": [{"type": "function", "name": "f", "description": "d", "strict": true,
                       "parameters": {"type":  "object", "properties": {}}}],
            "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false,
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
                     "verbosity": "low"},
            "reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 100,
            "temperature": 0.5, "top_p": 0.9, "top_logprobs": 2,
            "include": ["message.output_text.logprobs"], "metadata": {"k": "v"}, "user": "u",
            "safety_identifier": "s", "prompt_cache_key": "p", "store": true,
            "truncation": "auto", "service_tier": "auto", "llm_proxy": {"max_cost": 1}}"#,
    )
}

/// Compares with the file of that name, or writes it when `UPDATE_SNAPSHOTS` is set.
#[track_caller]
fn snapshot(name: &str, actual: &str) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/openai_responses/tests/wire/");
    let path = format!("{directory}{name}");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{path}");
}
