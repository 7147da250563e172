//! Structured output: what Anthropic's API enforces itself, and how the rest is asked for.

use chat::{Json, ResponseFormat};
use serde_json::Value;

use super::models;

/// Whether the API can enforce `schema` for `model`: the model must be recent enough, every object
/// closed, and no keyword used that the API refuses.
pub(super) fn is_native(schema: &Json, model: &str) -> bool {
    models::takes_schema(model)
        && schema.decode::<Value>().is_ok_and(|schema| schema.is_object() && is_accepted(&schema))
}

fn is_accepted(schema: &Value) -> bool {
    const REFUSED: [&str; 14] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
        "patternProperties",
        "if",
        "not",
        "oneOf",
        "dependentSchemas",
    ];
    let Value::Object(members) = schema else { return true };
    if members.keys().any(|key| REFUSED.contains(&key.as_str())) {
        return false;
    }
    let is_object = members.contains_key("properties")
        || members.get("type").is_some_and(|kind| match kind {
            Value::String(kind) => kind == "object",
            Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
            _ => false,
        });
    if is_object && members.get("additionalProperties") != Some(&Value::Bool(false)) {
        return false;
    }
    members.iter().all(|(key, value)| match key.as_str() {
        "properties" | "$defs" | "definitions" => match value {
            Value::Object(schemas) => schemas.values().all(is_accepted),
            _ => false,
        },
        "anyOf" | "allOf" | "prefixItems" => match value {
            Value::Array(schemas) => schemas.iter().all(is_accepted),
            _ => false,
        },
        "items" => is_accepted(value),
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        _ => true,
    })
}

/// The words that ask for `form`; `None` for free text.
pub(super) fn instruction(form: &ResponseFormat) -> Option<String> {
    const ALONE: &str = "Write nothing before or after it, and no Markdown fence.";
    match form {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(format!("Answer with exactly one JSON object. {ALONE}")),
        ResponseFormat::JsonSchema(format) => {
            let purpose = match &format.description {
                Some(description) => format!(" It is: {description}"),
                None => String::new(),
            };
            Some(format!(
                "Answer with exactly one JSON value that is valid against the JSON Schema below. \
                 {ALONE}{purpose}\n\n{}",
                format.schema.get()
            ))
        }
    }
}
