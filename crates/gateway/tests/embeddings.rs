//! Embeddings asked of models that only chat.

#[allow(dead_code, reason = "other tests use the rest")]
mod served;

use serde_json::json;
use served::Served;

#[tokio::test]
async fn a_model_that_only_chats_offers_no_embeddings() {
    let served = Served::start().await;
    for model in ["gigachat", "yandexgpt"] {
        let refused = served.post("/v1/embeddings", &json!({"model": model, "input": "а"})).await;
        assert_eq!(refused.status, 400, "{model}: {}", refused.body);
        let error = &refused.body["error"];
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["code"], "unsupported_operation");
        assert_eq!(error["param"], "model");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("offers no embeddings"), "{message}");
        // What the provider itself said.
        let said = message.split_once("`: ").unwrap().1.to_lowercase();
        assert!(said.contains("model"), "{message}");
        assert!(refused.head.contains(&format!("x-llm-proxy-provider: {model}")));
    }
}

#[tokio::test]
async fn other_faults_stay_the_operators() {
    let served = Served::start().await;
    // The same statuses, asked for an answer: the model is not there.
    let body = json!({"model": "unknown", "messages": [{"role": "user", "content": "а"}]});
    let refused = served.post("/v1/chat/completions", &body).await;
    assert_eq!(refused.status, 502, "{}", refused.body);
    assert_eq!(refused.body["error"]["code"], "provider_model_not_found");
}
