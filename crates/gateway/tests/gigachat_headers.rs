//! Which headers of a caller reach GigaChat.

mod common;

use common::{Gate, KEY, Stub};
use providers::kind::GigaChat;

const CHAT: &str = r#"{"choices":[{"message":{"role":"assistant","content":"{}"},"index":0,
    "finish_reason":"stop"}],"created":1,"model":"GigaChat-2:1","object":"chat.completion",
    "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

const EMBEDDINGS: &str = r#"{"object":"list","model":"Embeddings","data":[{"object":"embedding",
    "embedding":[0.5],"index":0,"usage":{"prompt_tokens":1}}]}"#;

#[tokio::test]
async fn those_of_a_session_pass_and_no_others() {
    let key = format!("authorization: Bearer {KEY}");
    let headers = [
        key.as_str(),
        "content-type: application/json",
        "X-Session-ID: session-7",
        "X-Client-ID: client-7",
        "x-request-id: request-7",
        "x-trace-id: trace-7",
        "openai-beta: beta-7",
        "anthropic-beta: beta-7",
        "cookie: cookie-7",
    ];
    let messages = r#""model":"main","messages":[{"role":"user","content":"Да"}]"#;
    for (line, body, answer) in [
        ("POST /v1/chat/completions", format!("{{{messages}}}"), CHAT),
        (
            "POST /v1/chat/completions",
            format!(r#"{{{messages},"response_format":{{"type":"json_object"}}}}"#),
            CHAT,
        ),
        ("POST /v1/messages", format!(r#"{{{messages},"max_tokens":5}}"#), CHAT),
        ("POST /v1/embeddings", r#"{"model":"main","input":"Да"}"#.to_owned(), EMBEDDINGS),
    ] {
        let stub = Stub::start("application/json", vec![answer.to_owned()]).await;
        let gate = Gate::start(&stub.base_url, Box::new(GigaChat));
        let reply = gate.request(line, &headers, &body).await;
        assert_eq!(reply.status, 200, "{line}: {}", reply.body);
        let requests = stub.requests();
        let [request] = requests.as_slice() else { panic!("{line}: {requests:?}") };
        for passed in
            ["x-session-id: session-7", "x-client-id: client-7", "x-request-id: request-7"]
        {
            assert!(request.contains(&format!("\r\n{passed}\r\n")), "{line}: {request}");
        }
        for kept in ["trace-7", "beta-7", "cookie-7", KEY] {
            assert!(!request.contains(kept), "{line}: {request}");
        }
    }
}

#[tokio::test]
async fn another_provider_that_is_converted_to_gets_none() {
    let answer = r#"{"result":{"alternatives":[{"message":{"role":"assistant","text":"Да"},
        "status":"ALTERNATIVE_STATUS_FINAL"}],"usage":{"inputTextTokens":"1",
        "completionTokens":"1","totalTokens":"2"},"modelVersion":"1"}}"#;
    let stub = Stub::start("application/json", vec![answer.to_owned()]).await;
    let kind = providers::kind::YandexGpt {
        folder: "b1g".to_owned(),
        folder_header: http::HeaderValue::from_static("b1g"),
        api_key: true,
    };
    let gate = Gate::start(&stub.base_url, Box::new(kind));
    let key = format!("authorization: Bearer {KEY}");
    let body = r#"{"model":"main","messages":[{"role":"user","content":"Да"}]}"#;
    let headers = [key.as_str(), "X-Session-ID: session-7"];
    let reply = gate.request("POST /v1/chat/completions", &headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(!stub.requests().concat().contains("session-7"));
}
