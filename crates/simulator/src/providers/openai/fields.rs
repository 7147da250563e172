//! Members of a request body, read with OpenAI's words for what is wrong with them.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::error::ApiError;

type Object = Map<String, Value>;

/// "a string", "an integer": how the API names what it got.
pub(crate) fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub(crate) fn wrong_type(path: impl Display, expected: &str, found: &Value) -> ApiError {
    let found = match found {
        Value::Null => "null instead".to_owned(),
        other => format!("{} instead", named(other)),
    };
    ApiError::invalid(format!("Invalid type for '{path}': expected {expected}, but got {found}."))
        .param(path.to_string())
        .code("invalid_type")
}

pub(crate) fn missing(path: impl Display) -> ApiError {
    ApiError::invalid(format!("Missing required parameter: '{path}'."))
        .param(path.to_string())
        .code("missing_required_parameter")
}

/// `found` is not among `supported`.
pub(crate) fn unsupported_value(path: impl Display, found: &str, supported: &[&str]) -> ApiError {
    let list = match supported {
        [] => String::new(),
        [only] => format!("'{only}'"),
        [first, second] => format!("'{first}' and '{second}'"),
        [start @ .., last] => {
            let start: Vec<String> = start.iter().map(|value| format!("'{value}'")).collect();
            format!("{}, and '{last}'", start.join(", "))
        }
    };
    ApiError::invalid(format!("Invalid value: '{found}'. Supported values are: {list}."))
        .param(path.to_string())
        .code("invalid_value")
}

/// A member that is absent or null.
fn present<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

pub(crate) fn boolean(object: &Object, name: &str) -> Result<Option<bool>, ApiError> {
    present(object, name)
        .map(|value| value.as_bool().ok_or_else(|| wrong_type(name, "a boolean", value)))
        .transpose()
}

pub(crate) fn string<'a>(
    object: &'a Object,
    name: &str,
    path: &str,
) -> Result<Option<&'a str>, ApiError> {
    present(object, name)
        .map(|value| value.as_str().ok_or_else(|| wrong_type(path, "a string", value)))
        .transpose()
}

pub(crate) fn integer(
    object: &Object,
    name: &str,
    least: i64,
    most: i64,
) -> Result<Option<i64>, ApiError> {
    let Some(value) = present(object, name) else { return Ok(None) };
    let number = value.as_i64().ok_or_else(|| wrong_type(name, "an integer", value))?;
    if number < least {
        return Err(out_of_range(name, "integer below minimum", ">=", least, number)
            .code("integer_below_min_value"));
    }
    if number > most {
        return Err(out_of_range(name, "integer above maximum", "<=", most, number)
            .code("integer_above_max_value"));
    }
    Ok(Some(number))
}

pub(crate) fn decimal(
    object: &Object,
    name: &str,
    least: f64,
    most: f64,
) -> Result<Option<f64>, ApiError> {
    let Some(value) = present(object, name) else { return Ok(None) };
    let number = value.as_f64().ok_or_else(|| wrong_type(name, "a decimal", value))?;
    if number < least {
        return Err(out_of_range(name, "decimal below minimum", ">=", least, number)
            .code("decimal_below_min_value"));
    }
    if number > most {
        return Err(out_of_range(name, "decimal above maximum", "<=", most, number)
            .code("decimal_above_max_value"));
    }
    Ok(Some(number))
}

fn out_of_range(
    name: &str,
    what: &str,
    relation: &str,
    bound: impl Display,
    found: impl Display,
) -> ApiError {
    ApiError::invalid(format!(
        "Invalid '{name}': {what} value. Expected a value {relation} {bound}, but got {found} instead."
    ))
    .param(name)
}

pub(crate) fn object<'a>(
    object: &'a Object,
    name: &str,
    path: &str,
) -> Result<Option<&'a Object>, ApiError> {
    present(object, name)
        .map(|value| value.as_object().ok_or_else(|| wrong_type(path, "an object", value)))
        .transpose()
}

pub(crate) fn array<'a>(
    object: &'a Object,
    name: &str,
    expected: &str,
) -> Result<Option<&'a Vec<Value>>, ApiError> {
    present(object, name)
        .map(|value| value.as_array().ok_or_else(|| wrong_type(name, expected, value)))
        .transpose()
}

/// One of `supported`.
pub(crate) fn choice<'a>(
    object: &'a Object,
    name: &str,
    supported: &[&str],
) -> Result<Option<&'a str>, ApiError> {
    let value = string(object, name, name)?;
    match value {
        Some(value) if !supported.contains(&value) => {
            Err(unsupported_value(name, value, supported))
        }
        other => Ok(other),
    }
}

/// A string or up to `most` strings.
pub(crate) fn strings(object: &Object, name: &str, most: usize) -> Result<Vec<String>, ApiError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) if many.len() > most => Err(ApiError::invalid(format!(
            "Invalid '{name}': array too long. Expected an array with maximum length {most}, but \
             got an array with length {} instead.",
            many.len()
        ))
        .param(name)
        .code("array_above_max_length")),
        Some(Value::Array(many)) => many
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let text = item.as_str().map(str::to_owned);
                text.ok_or_else(|| wrong_type(format_args!("{name}[{index}]"), "a string", item))
            })
            .collect(),
        Some(other) => Err(wrong_type(name, "one of a string or array of strings", other)),
    }
}

/// Members outside `known` and `extensions` in the words of chat completions, whose gateway checks names first.
pub(crate) fn unrecognized(
    object: &Object,
    known: &[&str],
    extensions: &[&str],
) -> Option<ApiError> {
    let unknown: Vec<&str> = object
        .keys()
        .map(String::as_str)
        .filter(|name| !known.contains(name) && !extensions.contains(name))
        .collect();
    match unknown.as_slice() {
        [] => None,
        [one] => Some(ApiError::invalid(format!("Unrecognized request argument supplied: {one}"))),
        many => Some(ApiError::invalid(format!(
            "Unrecognized request arguments supplied: {}",
            many.join(", ")
        ))),
    }
}

/// The first member outside `known` in the words of nested objects and newer endpoints.
pub(crate) fn unknown_parameter(
    object: &Object,
    known: &[&str],
    prefix: impl Display,
) -> Option<ApiError> {
    let unknown = object.keys().find(|name| !known.contains(&name.as_str()))?;
    let path = format!("{prefix}{unknown}");
    Some(
        ApiError::invalid(format!("Unknown parameter: '{path}'."))
            .param(path)
            .code("unknown_parameter"),
    )
}
