//! Answers in a form that the provider cannot enforce: asked for by instruction, checked here.

use chat::ResponseFormat;
use serde_json::Value;

/// Longest answer that is checked, in bytes.
const MAX_ANSWER: usize = 4 << 20;

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
    if answer.len() > MAX_ANSWER {
        return Err(SchemaFault::NotJson("it is too long".to_owned()));
    }
    let (text, value) = match format {
        ResponseFormat::Text => return Ok(answer.to_owned()),
        _ => find_json(answer)?,
    };
    match format {
        ResponseFormat::Text => {}
        ResponseFormat::JsonObject => {
            if !value.is_object() {
                return Err(SchemaFault::Breaks {
                    path: String::new(),
                    reason: "it must be an object".to_owned(),
                });
            }
        }
        ResponseFormat::JsonSchema(schema) => {
            let schema: Value =
                schema.schema.decode().map_err(|error| SchemaFault::Schema(error.to_string()))?;
            let validator = jsonschema::validator_for(&schema)
                .map_err(|error| SchemaFault::Schema(error.to_string()))?;
            if let Some(error) = validator.iter_errors(&value).next() {
                return Err(SchemaFault::Breaks {
                    path: error.instance_path().to_string(),
                    reason: error.to_string().chars().take(300).collect(),
                });
            }
        }
    }
    Ok(text)
}

/// The first JSON object or array in `answer` (any value, if it is the whole answer).
fn find_json(answer: &str) -> Result<(String, Value), SchemaFault> {
    let trimmed = answer.trim();
    let whole = serde_json::from_str::<Value>(trimmed);
    let fault = match whole {
        Ok(value) => return Ok((trimmed.to_owned(), value)),
        Err(error) => error.to_string(),
    };
    for (at, _) in trimmed.match_indices(['{', '[']).take(16) {
        let mut values = serde_json::Deserializer::from_str(&trimmed[at..]).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            let end = at + values.byte_offset();
            return Ok((trimmed[at..end].to_owned(), value));
        }
    }
    Err(SchemaFault::NotJson(fault))
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
    }
}
