//! Who asked, and that every answer leaves one count and one line of the access log.

mod common;

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use common::{BARE_KEY, Gate, KEY};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn models_and_refused_request_lines_are_counted_and_logged() {
    let format = tracing_subscriber::fmt().json().flatten_event(true);
    format.with_writer(|| Log).init();
    let gate = Gate::alone();
    let key = format!("authorization: Bearer {KEY}");
    let cases = [
        ("GET /v1/models", key.as_str(), "models", "", 200, ""),
        ("GET /v1/models/main", &key, "models", "main", 200, ""),
        ("GET /v1/models/none", &key, "models", "", 404, "not_found"),
        ("GET /v1/models", "x-other: 1", "models", "", 401, "authentication"),
        ("GET /v2/secret-path", &key, "unknown", "", 404, "not_found"),
        ("DELETE /v1/models", &key, "models", "", 405, "method_not_allowed"),
        ("PUT /v1/messages", &key, "messages", "", 405, "method_not_allowed"),
        ("GET /v1/responses", &key, "responses", "", 405, "method_not_allowed"),
    ];
    for (number, (line, key, surface, route, status, error)) in cases.into_iter().enumerate() {
        let id = format!("case-{number}");
        let reply = gate.request(line, &[key, &format!("x-request-id: {id}")], "").await;
        assert_eq!(reply.status, status, "{line}: {}", reply.body);
        let labels = format!(
            r#"surface="{surface}",route="{route}",status="{status}",error_type="{error}""#
        );
        assert_eq!(gate.counted(&labels), 1, "{line}\n{}", gate.metrics.encode());
        let log = LOG.lock().unwrap().clone();
        let log = String::from_utf8(log).unwrap();
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["request_id"] == *id)
            .collect();
        let [logged] = lines.as_slice() else { panic!("{line}: {lines:?}") };
        assert_eq!(logged["message"], "request");
        assert_eq!(logged["surface"], surface);
        assert_eq!(logged["http.response.status_code"], status);
        assert_eq!(logged["error.type"].as_str().unwrap_or_default(), error);
        assert_eq!(
            logged["key"].as_str(),
            (status == 200 || line.ends_with("none")).then_some("all")
        );
    }
    assert_eq!(gate.metrics.in_flight.get(), 0);
}

#[tokio::test]
async fn of_two_keys_the_one_of_the_spoken_api_counts() {
    let gate = Gate::alone();
    let bearer = format!("authorization: Bearer {KEY}");
    let named = format!("x-api-key: {BARE_KEY}");
    let openai = gate.request("GET /v1/models", &[&bearer, &named], "").await;
    assert!(openai.body.contains(r#""id":"main""#), "{}", openai.body);
    let version = "anthropic-version: 2023-06-01";
    let anthropic = gate.request("GET /v1/models", &[&bearer, &named, version], "").await;
    assert!(anthropic.body.starts_with(r#"{"data":[],"#), "{}", anthropic.body);
    let body = r#"{"model":"main","max_tokens":5,"messages":[{"role":"user","content":"Да"}]}"#;
    let refused = gate.request("POST /v1/messages", &[&bearer, &named], body).await;
    assert_eq!(refused.status, 404, "{}", refused.body);
}

#[tokio::test]
async fn refused_request_lines_are_told_in_the_callers_words() {
    let gate = Gate::alone();
    let anthropic = "anthropic-version: 2023-06-01";
    for (line, header, is_anthropic) in [
        ("GET /v1/models", anthropic, true),
        ("GET /nothing", anthropic, true),
        ("PUT /v1/messages", "x-other: 1", true),
        ("GET /v1/models", "x-other: 1", false),
        ("PUT /v1/chat/completions", anthropic, false),
    ] {
        let reply = gate.request(line, &[header], "").await;
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["type"] == "error", is_anthropic, "{line}: {body}");
        if reply.status == 405 {
            assert_eq!(reply.headers["allow"], "POST");
        }
    }
}
