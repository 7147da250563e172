//! What self-hosted engines serve beside the OpenAI API: health, metrics, tokenizers.

use http::Method;
use serde_json::{Value, json};

use super::error::ApiError;
use super::models;
use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::providers::Provider;
use crate::text;

/// Context length that all simulated engines claim.
const CONTEXT: u64 = 40_960;

/// The answer to `path` when it is one of the engine's own.
pub(crate) fn handle(provider: Provider, exchange: &Exchange) -> Option<Result<Answer, ApiError>> {
    let post = exchange.method() == Method::POST;
    let answer = match (provider, exchange.path()) {
        (Provider::Vllm, "/health" | "/ping") => Answer::bytes(200, "text/plain", ""),
        (Provider::Vllm, "/version") => Answer::json(200, r#"{"version":"0.12.0"}"#),
        (Provider::Vllm, "/load") => {
            let running = exchange.world.requests.running("/vllm/v1/");
            Answer::json(200, json!({"server_load": running}).to_string())
        }
        (Provider::Vllm | Provider::SgLang, "/metrics") => metrics(provider, exchange),
        (Provider::Vllm | Provider::SgLang, "/tokenize") if post => {
            return Some(tokenize(provider, exchange));
        }
        (Provider::Vllm, "/detokenize") if post => {
            return Some(Err(ApiError::new(
                501,
                "NotImplementedError",
                "The simulator's tokens cannot be turned back into text.",
            )));
        }
        (Provider::SgLang, "/health" | "/health_generate") => Answer::bytes(200, "text/plain", ""),
        (Provider::SgLang, "/get_model_info") => Answer::json(
            200,
            r#"{"model_path":"Qwen/Qwen3-32B","tokenizer_path":"Qwen/Qwen3-32B","is_generation":true}"#,
        ),
        (Provider::LlamaCpp, "/health" | "/v1/health") => Answer::json(200, r#"{"status":"ok"}"#),
        (Provider::LlamaCpp, "/props") => Answer::json(
            200,
            json!({"default_generation_settings": {"n_ctx": CONTEXT}, "total_slots": 4,
                "model_path": "qwen3-8b-q4_k_m.gguf", "chat_template": "",
                "modalities": {"vision": false, "audio": false}})
            .to_string(),
        ),
        (Provider::LlamaCpp, "/tokenize") if post => {
            let body: Value = serde_json::from_slice(exchange.body()).unwrap_or(Value::Null);
            let ids = token_ids(body["content"].as_str().unwrap_or(""));
            Answer::json(200, json!({ "tokens": ids }).to_string())
        }
        (Provider::Ollama, "" | "/") => Answer::bytes(200, "text/plain", "Ollama is running"),
        (Provider::Ollama, "/api/tags") => models::tags(exchange),
        (Provider::Ollama, "/api/version") => Answer::json(200, r#"{"version":"0.13.0"}"#),
        _ => return None,
    };
    Some(Ok(answer))
}

/// Numbers that only the token's text decides.
fn token_ids(text: &str) -> Vec<u64> {
    let id = |token: &str| Draw::new(stable_hash(token.as_bytes())).below(151_936);
    text::tokens(text).into_iter().map(id).collect()
}

fn tokenize(provider: Provider, exchange: &Exchange) -> Result<Answer, ApiError> {
    let body: Value = serde_json::from_slice(exchange.body())
        .map_err(|error| ApiError::not_json(provider, &error.to_string()))?;
    let text = match (&body["prompt"], &body["messages"]) {
        (Value::String(prompt), _) => prompt.clone(),
        (_, Value::Array(messages)) => {
            let texts = messages.iter().map(|message| match &message["content"] {
                Value::String(text) => text.clone(),
                Value::Array(parts) => {
                    parts.iter().filter_map(|part| part["text"].as_str()).collect()
                }
                _ => String::new(),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => {
            return Err(ApiError::invalid(
                "[{'type': 'missing', 'loc': ('body', 'prompt'), 'msg': 'Field required'}]",
            ));
        }
    };
    let tokens = token_ids(&text);
    let strings = (body["return_token_strs"] == Value::Bool(true)).then(|| text::tokens(&text));
    Ok(Answer::json(
        200,
        json!({"count": tokens.len(), "max_model_len": CONTEXT, "tokens": tokens,
            "token_strs": strings})
        .to_string(),
    ))
}

/// The gauges and counters that load balancers read, in Prometheus' text format.
fn metrics(provider: Provider, exchange: &Exchange) -> Answer {
    let (prefix, path) = match provider {
        Provider::Vllm => ("vllm", "/vllm/v1/"),
        _ => ("sglang", "/sglang/v1/"),
    };
    let running = exchange.world.requests.running(path);
    // As many as one engine batches; what is beyond waits.
    let (active, waiting) = (running.min(256), running.saturating_sub(256));
    let accounts = exchange.world.bill.accounts();
    let mut totals: Vec<(String, u64, u64, u64)> = Vec::new();
    for account in accounts.values().filter(|account| account.provider == provider.name()) {
        for (model, sums) in &account.models {
            match totals.iter_mut().find(|(name, ..)| name == model) {
                Some(total) => {
                    total.1 += sums.calls;
                    total.2 += sums.prompt_tokens;
                    total.3 += sums.completion_tokens;
                }
                None => totals.push((
                    model.clone(),
                    sums.calls,
                    sums.prompt_tokens,
                    sums.completion_tokens,
                )),
            }
        }
    }
    if totals.is_empty() {
        totals.push(("Qwen/Qwen3-32B".to_owned(), 0, 0, 0));
    }
    let model = &totals[0].0;
    let usage = (active as f64 / 256.0).min(1.0);
    let mut text = String::new();
    let gauges: [(&str, String); 3] = if provider == Provider::Vllm {
        [
            ("num_requests_running", active.to_string()),
            ("num_requests_waiting", waiting.to_string()),
            ("kv_cache_usage_perc", usage.to_string()),
        ]
    } else {
        [
            ("num_running_reqs", active.to_string()),
            ("num_queue_reqs", waiting.to_string()),
            ("token_usage", usage.to_string()),
        ]
    };
    let labels = |model: &str| {
        let model = model.replace(['\\', '"', '\n'], "_");
        if provider == Provider::Vllm {
            format!("engine=\"0\",model_name=\"{model}\"")
        } else {
            format!("model_name=\"{model}\"")
        }
    };
    for (name, value) in gauges {
        text.push_str(&format!(
            "# TYPE {prefix}:{name} gauge\n{prefix}:{name}{{{}}} {value}\n",
            labels(model)
        ));
    }
    for (name, pick) in
        [("request_success_total", 0), ("prompt_tokens_total", 1), ("generation_tokens_total", 2)]
    {
        text.push_str(&format!("# TYPE {prefix}:{name} counter\n"));
        for (model, calls, prompt, completion) in &totals {
            let value = [calls, prompt, completion][pick];
            let reason = if pick == 0 { ",finished_reason=\"stop\"" } else { "" };
            text.push_str(&format!("{prefix}:{name}{{{}{reason}}} {value}.0\n", labels(model)));
        }
    }
    Answer::bytes(200, "text/plain; version=1.0.0; charset=utf-8", text)
}
