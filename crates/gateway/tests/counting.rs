//! Counting tokens: by the provider where it can, estimated where not.

mod served;

use serde_json::{Value, json};
use served::Served;

fn asked(model: &str) -> Value {
    json!({"model": model, "system": "Отвечай кратко.",
        "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [{"role": "user", "content": "Какая погода в Твери?"}]})
}

#[tokio::test]
async fn providers_that_count_are_asked() {
    let served = Served::start().await;
    for (model, path) in [
        ("gigachat", "/gigachat/api/v1/tokens/count"),
        ("yandexgpt", "/yandex/foundationModels/v1/tokenizeCompletion"),
        ("vllm", "/vllm/tokenize"),
        ("anthropic", "/anthropic/v1/messages/count_tokens"),
    ] {
        let short = served.post("/v1/messages/count_tokens", &asked(model)).await;
        assert_eq!(short.status, 200, "{model}: {}", short.body);
        assert!(served.called().iter().any(|called| called == path), "{:?}", served.called());
        assert!(!short.head.contains("x-llm-proxy-estimated"), "{}", short.head);
        assert!(short.head.contains(&format!("x-llm-proxy-provider: {model}")), "{}", short.head);
        // The simulator counts a token for each of these words, wherever it counts.
        let mut longer = asked(model);
        longer["messages"][0]["content"] =
            json!(format!("Какая погода в Твери?{}", " да".repeat(50)));
        let long = served.post("/v1/messages/count_tokens", &longer).await;
        let tokens = |body: &Value| body["input_tokens"].as_u64().unwrap();
        assert_eq!(tokens(&long.body), tokens(&short.body) + 50, "{model}");
    }
}

#[tokio::test]
async fn where_nobody_counts_it_is_estimated_and_said_to_be() {
    let served = Served::start().await;
    for model in ["openai", "lacking"] {
        let counted = served.post("/v1/messages/count_tokens", &asked(model)).await;
        assert_eq!(counted.status, 200, "{model}: {}", counted.body);
        assert!(counted.body["input_tokens"].as_u64().unwrap() > 10);
        assert!(counted.head.contains("x-llm-proxy-estimated: true"), "{}", counted.head);
        assert!(!counted.head.contains("x-llm-proxy-provider:"), "{}", counted.head);
    }
    // Workers fetch tokens ahead of requests.
    let mut called = served.called();
    called.retain(|path| !path.ends_with("/oauth"));
    assert_eq!(called, ["/openai/tokenize"]);
}

#[tokio::test]
async fn pictures_that_gigachat_does_not_count_are_estimated() {
    let served = Served::start().await;
    let mut body = asked("gigachat");
    let plain = served.post("/v1/messages/count_tokens", &body).await;
    let picture = json!({"type": "image", "source":
        {"type": "base64", "media_type": "image/png", "data": "aGk="}});
    let text = json!({"type": "text", "text": "Какая погода в Твери?"});
    body["messages"][0]["content"] = json!([picture, text]);
    let counted = served.post("/v1/messages/count_tokens", &body).await;
    let tokens = |body: &Value| body["input_tokens"].as_u64().unwrap();
    assert_eq!(tokens(&counted.body), tokens(&plain.body) + 1300);
    assert!(counted.head.contains("x-llm-proxy-estimated: true"), "{}", counted.head);
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let served = Served::start().await;
    for model in ["gigachat", "openai"] {
        let body = json!({"model": model, "messages": [{"role": "robot", "content": "а"}]});
        let refused = served.post("/v1/messages/count_tokens", &body).await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.body["error"]["type"], "invalid_request_error");
    }
}
