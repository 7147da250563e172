//! Answers in a form that the provider cannot enforce: asked for by instruction, checked here.

use chat::ResponseFormat;
use serde_json::Value;

/// Longest answer that is checked, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// Brackets in an answer's prose at which JSON is looked for.
const MAX_CANDIDATES: usize = 16;
/// Longest part of a fault, in code points.
const MAX_REASON: usize = 300;

/// Why an answer does not have the form that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// No JSON in it.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON that breaks the schema.
    #[error("`{path}`: {reason}")]
    Breaks {
        /// Where, as a JSON pointer; empty is the whole answer.
        path: String,
        /// How.
        reason: String,
    },
    /// The caller's schema is none.
    #[error("the schema that was asked for cannot be used: {0}")]
    Schema(String),
}

/// What the model is told. In English whatever the conversation's language: models are trained to
/// follow such instructions in English best, and it says nothing about the language of the answer.
#[must_use]
pub fn instruction(format: &ResponseFormat) -> Option<String> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(
            "Answer with one JSON object and nothing else: no explanation, no Markdown.".to_owned(),
        ),
        ResponseFormat::JsonSchema(schema) => Some(format!(
            "Answer with one JSON value that follows the JSON Schema below and nothing else: no \
             explanation, no Markdown.\n{}",
            schema.schema.get()
        )),
    }
}

/// Finds the JSON in an answer and checks it. Code fences and prose around it are taken off.
///
/// # Errors
/// When there is no JSON, or it does not have the form.
pub fn check(format: &ResponseFormat, answer: &str) -> Result<String, SchemaFault> {
    if *format == ResponseFormat::Text {
        return Ok(answer.to_owned());
    }
    if answer.len() > MAX_ANSWER {
        return Err(SchemaFault::NotJson("it is too long".to_owned()));
    }
    let form = Form::of(format)?;
    let trimmed = answer.trim();
    let not_json = match serde_json::from_str::<Value>(trimmed) {
        Ok(value) => return form.check(&value).map(|()| trimmed.to_owned()),
        Err(error) => SchemaFault::NotJson(error.to_string()),
    };
    let mut first_fault = None;
    let mut from = 0;
    for _ in 0..MAX_CANDIDATES {
        let Some(at) = trimmed[from..].find(['{', '[']).map(|at| from + at) else { break };
        let mut values = serde_json::Deserializer::from_str(&trimmed[at..]).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else {
            from = at + 1;
            continue;
        };
        let end = at + values.byte_offset();
        match form.check(&value) {
            Ok(()) => return Ok(trimmed[at..end].to_owned()),
            // Brackets of the prose, a footnote's say, may be JSON that nobody asked for.
            Err(fault) => _ = first_fault.get_or_insert(fault),
        }
        from = end;
    }
    Err(first_fault.unwrap_or(not_json))
}

/// What an answer is checked against.
enum Form {
    Object,
    Schema(Box<jsonschema::Validator>),
}

impl Form {
    fn of(format: &ResponseFormat) -> Result<Self, SchemaFault> {
        let ResponseFormat::JsonSchema(schema) = format else { return Ok(Self::Object) };
        let schema: Value =
            schema.schema.decode().map_err(|error| SchemaFault::Schema(error.to_string()))?;
        jsonschema::validator_for(&schema)
            .map(|validator| Self::Schema(Box::new(validator)))
            .map_err(|error| SchemaFault::Schema(shortened(&error)))
    }

    fn check(&self, value: &Value) -> Result<(), SchemaFault> {
        match self {
            Self::Object if value.is_object() => Ok(()),
            Self::Object => Err(SchemaFault::Breaks {
                path: String::new(),
                reason: "it must be an object".to_owned(),
            }),
            Self::Schema(validator) => validator.validate(value).map_err(|error| {
                // Faults end up in errors and logs, where nothing of an answer may stand.
                let reason = shortened(&error.masked());
                SchemaFault::Breaks { path: shortened(error.instance_path()), reason }
            }),
        }
    }
}

fn shortened(text: &impl ToString) -> String {
    text.to_string().chars().take(MAX_REASON).collect()
}

/// What the model is told when its answer did not fit.
#[must_use]
pub fn repair_prompt(fault: &SchemaFault) -> String {
    format!(
        "Your last answer does not have the required form: {fault}. Answer again with the \
         corrected JSON only."
    )
}

#[cfg(test)]
mod tests {
    use chat::{Json, JsonSchema};

    use super::*;

    fn city() -> ResponseFormat {
        ResponseFormat::JsonSchema(JsonSchema {
            name: "city".to_owned(),
            description: None,
            schema: Json::parse(
                r#"{"type":"object","properties":{"город":{"type":"string"}},"required":["город"]}"#,
            )
            .unwrap(),
            strict: None,
        })
    }

    #[test]
    fn json_is_found_in_what_models_write_around_it() {
        let wanted = r#"{"город":"Тверь"}"#;
        for answer in [
            wanted.to_owned(),
            format!("```json\n{wanted}\n```"),
            format!("Вот ответ [как просили]: {wanted} Удачи!"),
            format!("По данным [1] и {{}}: {wanted}"),
        ] {
            assert_eq!(check(&city(), &answer).unwrap(), wanted, "{answer}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(matches!(check(&city(), "нет"), Err(SchemaFault::NotJson(_))));
        let fault = check(&city(), r#"{"город":5}"#).unwrap_err();
        assert!(fault.to_string().contains("/город"), "{fault}");
        assert!(check(&ResponseFormat::JsonObject, "[1]").is_err());
        assert_eq!(check(&ResponseFormat::JsonObject, "[1] {}").unwrap(), "{}");
    }

    #[test]
    fn a_fault_says_nothing_of_the_answer() {
        let fault = check(&city(), r#"{"город":["тайна"]}"#).unwrap_err();
        assert!(!repair_prompt(&fault).contains("тайна"), "{fault}");
    }
}
