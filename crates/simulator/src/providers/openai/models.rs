//! `/models`: what each provider says it has.

use serde_json::{Value, json};

use super::error::ApiError;
use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::providers::Provider;

/// When all models were made, Unix seconds.
const CREATED: u64 = 1_715_367_049;

fn usual(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::OpenAi | Provider::Azure => &[
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-4.1",
            "gpt-4.1-mini",
            "gpt-5",
            "o3",
            "text-embedding-3-small",
            "text-embedding-3-large",
            "omni-moderation-latest",
        ],
        Provider::Qwen => {
            &["qwen-turbo", "qwen-plus", "qwen-max", "qwen3-32b", "text-embedding-v4"]
        }
        Provider::CloudRu => &[
            "ai-sage/GigaChat3-10B-A1.8B",
            "Qwen/Qwen3-235B-A22B-Instruct-2507",
            "openai/gpt-oss-120b",
            "BAAI/bge-m3",
        ],
        Provider::Vllm | Provider::SgLang => &["Qwen/Qwen3-32B", "qwen3-32b"],
        Provider::Ollama => &["qwen3:8b", "nomic-embed-text:latest"],
        Provider::LlamaCpp => &["qwen3-8b-q4_k_m.gguf"],
        Provider::OpenRouter => &["openai/gpt-4o", "anthropic/claude-sonnet-4.5", "qwen/qwen3-32b"],
        Provider::Gemini => &["models/gemini-2.5-flash", "models/gemini-2.5-pro"],
        _ => &["yandexgpt/latest", "yandexgpt-lite/latest"],
    }
}

fn names(provider: Provider, exchange: &Exchange) -> Vec<String> {
    let profile = exchange.world.profile();
    match profile.models.get(&provider) {
        Some(listed) => listed.clone(),
        None => usual(provider).iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn card(provider: Provider, name: &str) -> Value {
    match provider {
        Provider::Vllm | Provider::SgLang => json!({
            "id": name, "object": "model", "created": CREATED,
            "owned_by": if provider == Provider::Vllm { "vllm" } else { "sglang" },
            "root": name, "parent": null, "max_model_len": 40960,
            "permission": [{
                "id": "modelperm-simulator", "object": "model_permission", "created": CREATED,
                "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
                "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false,
                "organization": "*", "group": null, "is_blocking": false,
            }],
        }),
        Provider::OpenRouter => json!({
            "id": name, "name": name, "created": CREATED, "context_length": 131_072,
            "description": "", "pricing": {"prompt": "0.000001", "completion": "0.000003"},
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"],
                "tokenizer": "Other", "instruct_type": null},
            "top_provider": {"context_length": 131_072, "max_completion_tokens": 16384,
                "is_moderated": false},
            "supported_parameters": ["tools", "tool_choice", "max_tokens", "temperature"],
        }),
        _ => json!({"id": name, "object": "model", "created": CREATED, "owned_by": match provider {
            Provider::OpenAi | Provider::Azure => "system",
            Provider::Ollama => "library",
            Provider::LlamaCpp => "llamacpp",
            Provider::Gemini => "google",
            other => other.name(),
        }}),
    }
}

pub(crate) fn list(provider: Provider, exchange: &Exchange) -> Answer {
    let cards: Vec<Value> =
        names(provider, exchange).iter().map(|name| card(provider, name)).collect();
    Answer::json(200, json!({"object": "list", "data": cards}).to_string())
}

pub(crate) fn one(provider: Provider, exchange: &Exchange, name: &str) -> Result<Answer, ApiError> {
    let name = name.replace("%2F", "/").replace("%3A", ":");
    if names(provider, exchange).contains(&name) {
        Ok(Answer::json(200, card(provider, &name).to_string()))
    } else {
        let message = format!("The model '{name}' does not exist");
        Err(ApiError::new(404, "invalid_request_error", message)
            .param("model")
            .code("model_not_found"))
    }
}

/// Ollama's own listing.
pub(crate) fn tags(exchange: &Exchange) -> Answer {
    let models: Vec<Value> = names(Provider::Ollama, exchange)
        .iter()
        .map(|name| {
            json!({"name": name, "model": name, "modified_at": "2026-01-01T00:00:00Z",
                "size": 5_225_387_923_u64, "digest": "0".repeat(64),
                "details": {"parent_model": "", "format": "gguf", "family": "qwen3",
                    "families": ["qwen3"], "parameter_size": "8.2B",
                    "quantization_level": "Q4_K_M"}})
        })
        .collect();
    Answer::json(200, json!({ "models": models }).to_string())
}
