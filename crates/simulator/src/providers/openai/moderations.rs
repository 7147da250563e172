//! `/moderations`: flags by a few words, so that tests can flag at will.

use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::fields::{self, missing, unknown_parameter, wrong_type};
use crate::prompt::Prompt;
use crate::providers::Provider;
use crate::text::count_tokens;

const CATEGORIES: &[&str] = &[
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// Parts of words and the category that they flag.
const WORDS: &[(&str, &str)] = &[
    ("kill", "violence"),
    ("убить", "violence"),
    ("убью", "harassment/threatening"),
    ("бомб", "illicit/violent"),
    ("bomb", "illicit/violent"),
    ("hate", "hate"),
    ("ненавижу", "hate"),
    ("suicide", "self-harm"),
    ("суицид", "self-harm"),
    ("porn", "sexual"),
    ("порно", "sexual"),
    ("наркотик", "illicit"),
];

pub(crate) struct ModerationRequest {
    pub(crate) prompt: Prompt,
    inputs: Vec<String>,
}

pub(crate) fn read(provider: Provider, body: &Value) -> Result<ModerationRequest, ApiError> {
    let Value::Object(body) = body else {
        return Err(ApiError::invalid("Invalid request body: expected an object."));
    };
    if let Some(error) = unknown_parameter(body, &["input", "model"], "") {
        return Err(error);
    }
    let model = fields::string(body, "model", "model")?.unwrap_or("omni-moderation-latest");
    let inputs = match body.get("input") {
        None | Some(Value::Null) => return Err(missing("input")),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        // Parts are one input together.
        Some(Value::Array(items)) => {
            let texts: Vec<&str> = items.iter().filter_map(|item| item["text"].as_str()).collect();
            if items.iter().any(|item| item.get("type").is_none()) {
                return Err(missing("input[0].type"));
            }
            vec![texts.join("\n")]
        }
        Some(other) => return Err(wrong_type("input", "one of a string or an array", other)),
    };
    Ok(ModerationRequest {
        prompt: Prompt {
            provider,
            model: model.to_owned(),
            text: inputs.join("\n"),
            prompt_tokens: inputs.iter().map(|input| count_tokens(input)).sum(),
            ..Prompt::default()
        },
        inputs,
    })
}

/// `forced` is a category that the script flags in every input.
pub(crate) fn whole(request: &ModerationRequest, id: &str, forced: Option<&str>) -> String {
    let results: Vec<Value> = request.inputs.iter().map(|input| result(input, forced)).collect();
    json!({"id": format!("modr-{id}"), "model": request.prompt.model, "results": results})
        .to_string()
}

fn result(input: &str, forced: Option<&str>) -> Value {
    let lower = input.to_lowercase();
    let hits: Vec<&str> = WORDS
        .iter()
        .filter(|(word, _)| lower.contains(word))
        .map(|(_, category)| *category)
        .chain(forced)
        .collect();
    let flags: Map<String, Value> = CATEGORIES
        .iter()
        .map(|category| ((*category).to_owned(), Value::Bool(hits.contains(category))))
        .collect();
    let scores: Map<String, Value> = CATEGORIES
        .iter()
        .map(|category| {
            let score = if hits.contains(category) { 0.97 } else { 0.000_012 };
            ((*category).to_owned(), json!(score))
        })
        .collect();
    let types: Map<String, Value> =
        CATEGORIES.iter().map(|category| ((*category).to_owned(), json!(["text"]))).collect();
    json!({
        "flagged": flags.values().any(|flag| flag == &Value::Bool(true)),
        "categories": flags,
        "category_scores": scores,
        "category_applied_input_types": types,
    })
}
