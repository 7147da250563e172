//! Chat completions on the wire: what both forms share, and whole answers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::chat_request::ChatRequest;
use crate::draw::{Draw, stable_hash};
use crate::json_text::JsonText;
use crate::providers::Provider;
use crate::reply::{Choice, Finish, Reply};
use crate::text;

/// What all chunks of one answer share.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) provider: Provider,
    pub(crate) id: String,
    pub(crate) model: String,
    /// Unix seconds.
    pub(crate) created: u64,
    pub(crate) fingerprint: Option<String>,
    pub(crate) logprobs: Option<usize>,
    pub(crate) include_usage: bool,
    pub(crate) continuous_usage: bool,
    /// Names of the reasoning member; none when reasoning stays hidden.
    pub(super) reasoning_members: &'static [&'static str],
    call_ids: Draw,
}

impl Envelope {
    pub(crate) fn new(request: &ChatRequest, reply: &Reply, created: u64) -> Self {
        let provider = request.prompt.provider;
        let mut draw = reply.draw;
        let id = match provider {
            Provider::OpenAi | Provider::Azure => format!("chatcmpl-{}", draw.alphanumeric(29)),
            Provider::OpenRouter => format!("gen-{created}-{}", draw.alphanumeric(20)),
            Provider::Ollama => format!("chatcmpl-{}", draw.below(1000)),
            Provider::LlamaCpp => format!("chatcmpl-{}", draw.alphanumeric(32)),
            Provider::SgLang => draw.hex(32),
            Provider::Gemini => draw.alphanumeric(22),
            Provider::Qwen => format!("chatcmpl-{}", draw.uuid()),
            _ => format!("chatcmpl-{}", draw.hex(32)),
        };
        let fingerprint = match provider {
            Provider::OpenAi | Provider::Azure => {
                let hash = stable_hash(request.prompt.model.as_bytes());
                Some(format!("fp_{}", Draw::new(hash).hex(10)))
            }
            Provider::Ollama => Some("fp_ollama".to_owned()),
            Provider::LlamaCpp => Some("b7200-simulated".to_owned()),
            _ => None,
        };
        let reasoning_members: &[&str] = match (provider, reply.extra("reasoning_field")) {
            (_, Some("reasoning")) => &["reasoning"],
            (_, Some("reasoning_content")) => &["reasoning_content"],
            (Provider::OpenAi | Provider::Azure, _) => &[],
            (Provider::OpenRouter | Provider::Ollama, _) => &["reasoning"],
            // vLLM renamed the member and still sends the old name beside it.
            (Provider::Vllm, _) => &["reasoning", "reasoning_content"],
            _ => &["reasoning_content"],
        };
        Self {
            provider,
            id,
            model: answered_model(provider, &request.prompt.model),
            created,
            fingerprint,
            logprobs: request.logprobs,
            include_usage: request.include_usage,
            continuous_usage: request.continuous_usage,
            reasoning_members,
            call_ids: reply.draw.branch(7),
        }
    }

    fn open(&self, object: &str, capacity: usize) -> JsonText {
        let mut json = JsonText::with_capacity(capacity);
        json.raw("{\"id\":").string(&self.id).raw(",\"object\":\"").raw(object);
        json.raw("\",\"created\":").number(self.created).raw(",\"model\":").string(&self.model);
        json
    }

    /// Members after `choices` that both forms share.
    pub(super) fn close<'a>(&self, json: &'a mut JsonText) -> &'a mut JsonText {
        match self.provider {
            Provider::OpenAi => {
                json.raw(",\"service_tier\":\"default\"");
            }
            Provider::OpenRouter => {
                json.raw(",\"provider\":\"Simulator\"");
            }
            _ => {}
        }
        match (&self.fingerprint, self.provider) {
            (Some(fingerprint), _) => json.raw(",\"system_fingerprint\":").string(fingerprint),
            (None, Provider::Qwen) => json.raw(",\"system_fingerprint\":null"),
            _ => json,
        }
    }

    pub(super) fn call_id(&self, choice: usize, call: usize) -> String {
        let mut draw = self.call_ids.branch((choice * 1000 + call) as u64);
        match self.provider {
            Provider::OpenAi | Provider::Azure => format!("call_{}", draw.alphanumeric(24)),
            Provider::Vllm => format!("chatcmpl-tool-{}", draw.hex(32)),
            Provider::Ollama => format!("call_{}", draw.alphanumeric(8).to_lowercase()),
            Provider::LlamaCpp => draw.alphanumeric(32),
            _ => format!("call_{}", draw.hex(24)),
        }
    }

    pub(super) fn filtered(&self) -> bool {
        self.provider == Provider::Azure
    }
}

/// The model as the answer names it: OpenAI answers with the dated version.
fn answered_model(provider: Provider, model: &str) -> String {
    match (provider, model) {
        (Provider::OpenAi | Provider::Azure, "gpt-4o") => "gpt-4o-2024-11-20",
        (Provider::OpenAi | Provider::Azure, "gpt-4o-mini") => "gpt-4o-mini-2024-07-18",
        (Provider::OpenAi | Provider::Azure, "gpt-4.1") => "gpt-4.1-2025-04-14",
        (Provider::OpenAi | Provider::Azure, "gpt-5") => "gpt-5-2025-08-07",
        _ => model,
    }
    .to_owned()
}

pub(super) fn finish_word(finish: &Finish) -> &str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
        Finish::Other(word) => word,
    }
}

pub(super) const UNFILTERED: &str = "{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},\
    \"self_harm\":{\"filtered\":false,\"severity\":\"safe\"},\
    \"sexual\":{\"filtered\":false,\"severity\":\"safe\"},\
    \"violence\":{\"filtered\":false,\"severity\":\"safe\"}";
const FILTERED: &str = "{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},\
    \"self_harm\":{\"filtered\":false,\"severity\":\"safe\"},\
    \"sexual\":{\"filtered\":false,\"severity\":\"safe\"},\
    \"violence\":{\"filtered\":true,\"severity\":\"medium\"}";

pub(super) fn filter_results(finish: Option<&Finish>) -> &'static str {
    if finish == Some(&Finish::ContentFilter) { FILTERED } else { UNFILTERED }
}

/// The answer in one piece.
pub(crate) fn whole(envelope: &Envelope, reply: &Reply) -> Bytes {
    let size: usize = reply.choices.iter().map(|choice| choice.text.as_str().len()).sum();
    let mut json = envelope.open("chat.completion", size + size / 4 + 1024);
    json.raw(",\"choices\":[");
    for (index, choice) in reply.choices.iter().enumerate() {
        if index > 0 {
            json.raw(",");
        }
        json.raw("{\"index\":").number(index as u64).raw(",\"message\":");
        message(&mut json, envelope, choice, index);
        if envelope.filtered() {
            json.raw(",\"content_filter_results\":")
                .raw(filter_results(Some(&choice.finish)))
                .raw("}");
        }
        json.raw(",\"logprobs\":");
        logprobs(&mut json, envelope, choice.text.as_str());
        json.raw(",\"finish_reason\":").string(finish_word(&choice.finish));
        if matches!(envelope.provider, Provider::Vllm | Provider::SgLang) {
            let stop = choice.stop_sequence.as_deref();
            let member =
                if envelope.provider == Provider::Vllm { "stop_reason" } else { "matched_stop" };
            json.raw(",\"").raw(member).raw("\":").string_or_null(stop);
        }
        json.raw("}");
    }
    json.raw("],\"usage\":");
    usage(&mut json, envelope.provider, reply, reply.completion_tokens);
    envelope.close(&mut json);
    match envelope.provider {
        Provider::Azure => {
            json.raw(",\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":")
                .raw(UNFILTERED)
                .raw(",\"jailbreak\":{\"filtered\":false,\"detected\":false}}}]");
        }
        Provider::Vllm => {
            json.raw(",\"prompt_logprobs\":null,\"kv_transfer_params\":null");
        }
        Provider::LlamaCpp => {
            json.raw(",\"timings\":{\"prompt_n\":").number(reply.prompt_tokens);
            json.raw(",\"predicted_n\":").number(reply.completion_tokens).raw("}");
        }
        _ => {}
    }
    json.raw("}");
    json.into_bytes()
}

fn message(json: &mut JsonText, envelope: &Envelope, choice: &Choice, index: usize) {
    json.raw("{\"role\":\"assistant\",\"content\":");
    let silent = choice.text.is_empty() && !choice.tool_calls.is_empty();
    match (silent, envelope.provider) {
        // DashScope and Ollama send an empty text beside calls, the others none.
        (true, Provider::Qwen | Provider::Ollama) => json.raw("\"\""),
        (true, _) => json.raw("null"),
        (false, _) if choice.refusal => json.raw("null"),
        (false, _) => json.string(choice.text.as_str()),
    };
    if let Some(reasoning) = &choice.reasoning {
        for member in envelope.reasoning_members {
            json.raw(",\"").raw(member).raw("\":").string(reasoning.as_str());
        }
    }
    if !choice.tool_calls.is_empty() {
        json.raw(",\"tool_calls\":[");
        for (at, call) in choice.tool_calls.iter().enumerate() {
            json.raw(if at > 0 { ",{" } else { "{" });
            if matches!(envelope.provider, Provider::Ollama | Provider::Qwen | Provider::SgLang) {
                json.raw("\"index\":").number(at as u64).raw(",");
            }
            json.raw("\"id\":").string(&envelope.call_id(index, at));
            json.raw(",\"type\":\"function\",\"function\":{\"name\":").string(&call.name);
            json.raw(",\"arguments\":").string(&call.raw).raw("}}");
        }
        json.raw("]");
    }
    let refusal = choice.refusal.then(|| choice.text.as_str());
    match envelope.provider {
        Provider::OpenAi => {
            json.raw(",\"refusal\":").string_or_null(refusal).raw(",\"annotations\":[]}")
        }
        Provider::Azure | Provider::OpenRouter => {
            json.raw(",\"refusal\":").string_or_null(refusal).raw("}")
        }
        _ => match refusal {
            Some(text) => json.raw(",\"refusal\":").string(text).raw("}"),
            None => json.raw("}"),
        },
    };
}

pub(super) fn logprobs(json: &mut JsonText, envelope: &Envelope, text: &str) {
    let Some(top) = envelope.logprobs else {
        json.raw("null");
        return;
    };
    let entries: Vec<Value> =
        text::tokens(text).into_iter().map(|token| token_logprob(token, top)).collect();
    json.value(&json!({"content": entries, "refusal": null}));
}

/// A log-probability that only the token decides.
fn token_logprob(token: &str, top: usize) -> Value {
    let mut draw = Draw::new(stable_hash(token.as_bytes()));
    let logprob = -(draw.below(2000) as f64) / 1000.0;
    let entry = |token: &str, logprob: f64| json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()});
    let mut alternatives: Vec<Value> = Vec::new();
    if top > 0 {
        alternatives.push(entry(token, logprob));
        alternatives
            .extend((1..top).map(|rank| entry(&format!(" alt{rank}"), logprob - rank as f64)));
    }
    let mut whole = entry(token, logprob);
    whole["top_logprobs"] = Value::Array(alternatives);
    whole
}

pub(super) fn usage(json: &mut JsonText, provider: Provider, reply: &Reply, completion: u64) {
    json.raw("{\"prompt_tokens\":").number(reply.prompt_tokens);
    json.raw(",\"completion_tokens\":").number(completion);
    json.raw(",\"total_tokens\":").number(reply.prompt_tokens + completion);
    match provider {
        Provider::OpenAi | Provider::Azure => {
            json.raw(",\"prompt_tokens_details\":{\"cached_tokens\":").number(reply.cached_tokens);
            json.raw(",\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":");
            json.number(reply.reasoning_tokens);
            json.raw(
                ",\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\
                 \"rejected_prediction_tokens\":0}}",
            );
        }
        Provider::Qwen | Provider::OpenRouter => {
            json.raw(",\"prompt_tokens_details\":{\"cached_tokens\":").number(reply.cached_tokens);
            json.raw("},\"completion_tokens_details\":{\"reasoning_tokens\":");
            json.number(reply.reasoning_tokens).raw("}}");
        }
        Provider::Vllm => {
            json.raw(",\"prompt_tokens_details\":");
            if reply.cached_tokens > 0 {
                json.raw("{\"cached_tokens\":").number(reply.cached_tokens).raw("}}");
            } else {
                json.raw("null}");
            }
        }
        Provider::SgLang => {
            json.raw(",\"prompt_tokens_details\":null,\"reasoning_tokens\":");
            json.number(reply.reasoning_tokens).raw("}");
        }
        _ => {
            json.raw("}");
        }
    }
}
