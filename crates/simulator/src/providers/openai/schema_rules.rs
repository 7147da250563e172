//! OpenAI's subset of JSON schema in strict mode, and the rules for function tools.

use serde_json::{Map, Value};

use super::error::ApiError;
use super::fields::{missing, unsupported_value, wrong_type};
use crate::prompt::{ToolChoice, ToolOffer};

/// The first way in which `schema` breaks strict mode: every object closed, every property
/// required.
pub(crate) fn strict_fault(schema: &Value) -> Option<String> {
    check(schema, &mut Vec::new(), 0)
}

fn check(schema: &Value, path: &mut Vec<String>, depth: usize) -> Option<String> {
    let object = schema.as_object()?;
    if depth > 64 {
        return Some(format!("{}too deeply nested.", context(path)));
    }
    let is_object = object.get("type").is_some_and(|kind| match kind {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    });
    if is_object {
        if object.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Some(format!(
                "{}'additionalProperties' is required to be supplied and to be false.",
                context(path)
            ));
        }
        let required: Vec<&str> = object
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let properties = object.get("properties").and_then(Value::as_object);
        for name in properties.into_iter().flat_map(Map::keys) {
            if !required.contains(&name.as_str()) {
                return Some(format!(
                    "{}'required' is required to be supplied and to be an array including every \
                     key in properties. Missing '{name}'.",
                    context(path)
                ));
            }
        }
    }
    for keyword in ["properties", "$defs", "definitions"] {
        for (name, part) in object.get(keyword).and_then(Value::as_object).into_iter().flatten() {
            path.extend([keyword.to_owned(), name.clone()]);
            let fault = check(part, path, depth + 1);
            path.truncate(path.len() - 2);
            if fault.is_some() {
                return fault;
            }
        }
    }
    if let Some(items) = object.get("items") {
        path.push("items".to_owned());
        let fault = check(items, path, depth + 1);
        path.pop();
        if fault.is_some() {
            return fault;
        }
    }
    for (index, part) in
        object.get("anyOf").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        path.extend(["anyOf".to_owned(), index.to_string()]);
        let fault = check(part, path, depth + 1);
        path.truncate(path.len() - 2);
        if fault.is_some() {
            return fault;
        }
    }
    None
}

fn context(path: &[String]) -> String {
    let parts: Vec<String> = path.iter().map(|part| format!("'{part}'")).collect();
    let comma = if parts.len() == 1 { "," } else { "" };
    format!("In context=({}{comma}), ", parts.join(", "))
}

/// A name for functions and schemas: `^[a-zA-Z0-9_-]+$`, at most 64.
pub(crate) fn check_name(name: &str, path: &str) -> Result<(), ApiError> {
    if name.len() > 64 {
        return Err(ApiError::invalid(format!(
            "Invalid '{path}': string too long. Expected a string with maximum length 64, but got \
             a string with length {} instead.",
            name.chars().count()
        ))
        .param(path)
        .code("string_above_max_length"));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(ApiError::invalid(format!(
            "Invalid '{path}': string does not match pattern. Expected a string that matches the \
             pattern '^[a-zA-Z0-9_-]+$'."
        ))
        .param(path)
        .code("invalid_value"));
    }
    Ok(())
}

/// One function definition; `path` is where it stands.
pub(crate) fn function(
    definition: &Map<String, Value>,
    path: &str,
    strict_rules: bool,
) -> Result<ToolOffer, ApiError> {
    let name = match definition.get("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong_type(format_args!("{path}.name"), "a string", other)),
        None => return Err(missing(format_args!("{path}.name"))),
    };
    if strict_rules {
        check_name(name, &format!("{path}.name"))?;
    }
    let parameters = match definition.get("parameters") {
        None | Some(Value::Null) => Value::Null,
        Some(schema @ Value::Object(object)) => {
            if strict_rules && object.get("type").is_some_and(|kind| kind != "object") {
                let message = format!(
                    "Invalid schema for function '{name}': schema must be a JSON Schema of \
                     'type: \"object\"', got 'type: {}'.",
                    object.get("type").unwrap_or(&Value::Null)
                );
                let error = ApiError::invalid(message).param(format!("{path}.parameters"));
                return Err(error.code("invalid_function_parameters"));
            }
            schema.clone()
        }
        Some(other) => {
            return Err(wrong_type(format_args!("{path}.parameters"), "an object", other));
        }
    };
    if strict_rules
        && definition.get("strict") == Some(&Value::Bool(true))
        && let Some(fault) = strict_fault(&parameters)
    {
        return Err(ApiError::invalid(format!("Invalid schema for function '{name}': {fault}"))
            .param(format!("{path}.parameters"))
            .code("invalid_function_parameters"));
    }
    Ok(ToolOffer { name: name.clone(), parameters })
}

/// `tool_choice`; `nested` is chat's `{"function": {"name"}}`, otherwise the name stands directly.
pub(crate) fn tool_choice(
    value: Option<&Value>,
    tools: &[ToolOffer],
    nested: bool,
) -> Result<ToolChoice, ApiError> {
    let value = match value {
        None | Some(Value::Null) => return Ok(ToolChoice::Auto),
        Some(value) => value,
    };
    if tools.is_empty() && value != "none" && value != "auto" {
        return Err(ApiError::invalid(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are \
             specified.",
        )
        .param("tool_choice"));
    }
    match value {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            other => Err(unsupported_value("tool_choice", other, &["none", "auto", "required"])),
        },
        Value::Object(choice) => {
            let holder = if nested {
                let function = choice.get("function").and_then(Value::as_object);
                function.ok_or_else(|| missing("tool_choice.function"))?
            } else {
                choice
            };
            let path = if nested { "tool_choice.function.name" } else { "tool_choice.name" };
            let name = holder.get("name").and_then(Value::as_str).ok_or_else(|| missing(path))?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(ApiError::invalid(format!(
                    "Tool choice 'function' '{name}' not found in 'tools' parameter."
                ))
                .param("tool_choice"));
            }
            Ok(ToolChoice::Named(name.to_owned()))
        }
        other => Err(wrong_type("tool_choice", "one of a string or an object", other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strict_mode_closes_every_object() {
        let good = json!({"type": "object", "properties": {"a": {"type": "string"}},
            "required": ["a"], "additionalProperties": false});
        assert_eq!(strict_fault(&good), None);
        let open = json!({"type": "object", "properties": {"a": good}, "required": ["a"]});
        assert_eq!(
            strict_fault(&open).as_deref(),
            Some(
                "In context=(), 'additionalProperties' is required to be supplied and to be false."
            )
        );
        let nested = json!({"type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "object", "properties": {"b": {}},
                "additionalProperties": false}}});
        assert_eq!(
            strict_fault(&nested).as_deref(),
            Some(
                "In context=('properties', 'a'), 'required' is required to be supplied and to be \
                  an array including every key in properties. Missing 'b'."
            )
        );
    }

    #[test]
    fn names_keep_to_their_pattern() {
        assert!(check_name("get_weather-2", "p").is_ok());
        assert_eq!(check_name("погода", "p").expect_err("refused").code, Some("invalid_value"));
        assert!(check_name(&"a".repeat(65), "p").is_err());
    }

    #[test]
    fn choices_name_offered_tools() {
        let tools = [ToolOffer { name: "f".to_owned(), parameters: Value::Null }];
        let named = json!({"type": "function", "function": {"name": "f"}});
        assert_eq!(tool_choice(Some(&named), &tools, true), Ok(ToolChoice::Named("f".to_owned())));
        let flat = json!({"type": "function", "name": "g"});
        assert!(tool_choice(Some(&flat), &tools, false).is_err());
        assert!(tool_choice(Some(&json!("required")), &[], true).is_err());
        assert_eq!(tool_choice(Some(&json!("none")), &tools, true), Ok(ToolChoice::None));
    }
}
