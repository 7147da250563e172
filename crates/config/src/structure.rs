//! Checks a document against the JSON Schema of the configuration's types: every unknown key,
//! wrong type and value out of range, each with its place.

use serde_json::{Map, Value};

use crate::document::Document;
use crate::fault::{Fault, nearest};

/// Top-level keys that a later version will know.
const LATER: [&str; 9] = [
    "storage", "routing", "tenants", "limits", "guard", "cache", "sessions", "audit", "prompts",
];

/// All structural faults of a document. Texts that came from the environment and stand for numbers
/// or booleans are turned into them.
pub(crate) fn check(document: &mut Document, schema: &Value) -> Vec<Fault> {
    let mut value = std::mem::take(&mut document.value);
    let mut checker = Checker { document, root: schema, faults: Vec::new() };
    checker.value(&mut value, schema, "");
    let faults = checker.faults;
    document.value = value;
    faults
}

struct Checker<'c> {
    document: &'c Document,
    root: &'c Value,
    faults: Vec<Fault>,
}

impl<'c> Checker<'c> {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(self.document.fault_at(path, message));
    }

    fn resolved(&self, schema: &'c Value) -> &'c Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let pointer = reference.trim_start_matches('#');
                self.root.pointer(pointer).unwrap_or(&Value::Null)
            }
            None => schema,
        }
    }

    fn value(&mut self, value: &mut Value, schema: &'c Value, path: &str) {
        let schema = self.resolved(schema);
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(choice).and_then(Value::as_array) {
                return self.choice(value, choices, path);
            }
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            return self.word(value, allowed, path);
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        if value.is_null() && kinds.contains(&"null") {
            return;
        }
        let kind = kinds.iter().find(|kind| **kind != "null").copied().unwrap_or("null");
        self.coerce(value, kind, path);
        match (kind, &mut *value) {
            ("object", Value::Object(members)) => self.object(members, schema, path),
            ("array", Value::Array(items)) => {
                if let Some(inner) = schema.get("items") {
                    for (number, item) in items.iter_mut().enumerate() {
                        self.value(item, inner, &format!("{path}[{number}]"));
                    }
                }
            }
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => {}
            ("integer", Value::Number(number)) if number.is_u64() || number.is_i64() => {
                let number = number.as_f64().unwrap_or(0.0);
                self.range(number, schema, path);
            }
            (kind, found) => {
                let message = format!("must be {}, not {}", article(kind), describe(found));
                self.fault(path, message);
            }
        }
    }

    /// `null` or one thing, or a list of words.
    fn choice(&mut self, value: &mut Value, choices: &'c [Value], path: &str) {
        let choices: Vec<&'c Value> =
            choices.iter().map(|choice| self.resolved(choice)).collect();
        let is_null = |choice: &&&Value| choice.get("type") == Some(&Value::from("null"));
        if value.is_null() && choices.iter().any(|choice| is_null(&choice)) {
            return;
        }
        let words: Vec<Value> = choices
            .iter()
            .flat_map(|choice| {
                let constant = choice.get("const").into_iter();
                let listed = choice.get("enum").and_then(Value::as_array).into_iter().flatten();
                constant.chain(listed).cloned()
            })
            .collect();
        if !words.is_empty() {
            return self.word(value, &words, path);
        }
        if let Some(only) = choices.iter().find(|choice| !is_null(choice)) {
            self.value(value, only, path);
        }
    }

    fn word(&mut self, value: &Value, allowed: &[Value], path: &str) {
        if allowed.contains(value) {
            return;
        }
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let meant = value.as_str().and_then(|wrong| nearest(wrong, words.iter().copied()));
        let hint = meant.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        let message =
            format!("must be one of {}, not {}{hint}", words.join(", "), describe(value));
        self.fault(path, message);
    }

    fn object(&mut self, members: &mut Map<String, Value>, schema: &'c Value, path: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let inner_path = |name: &str| {
            if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
        };
        let additional = schema.get("additionalProperties");
        for (name, value) in members.iter_mut() {
            let inner = inner_path(name);
            if let Some(known) = properties.and_then(|properties| properties.get(name)) {
                self.value(value, known, &inner);
                continue;
            }
            match additional {
                Some(Value::Object(_)) => {
                    if let Some(schema) = additional {
                        self.value(value, schema, &inner);
                    }
                }
                _ if path.is_empty() && LATER.contains(&name.as_str()) => {
                    let message = format!("`{name}` is not available in this version; remove it");
                    self.fault(&inner, message);
                }
                _ => {
                    let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
                    let message = match nearest(name, known) {
                        Some(meant) => {
                            format!("there is no key `{name}`; did you mean `{meant}`?")
                        }
                        None => format!("there is no key `{name}` here; remove it"),
                    };
                    self.fault(&inner, message);
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if members.get(name).is_none_or(Value::is_null) {
                self.fault(path, format!("`{name}` is missing; add it"));
            }
        }
    }

    fn range(&mut self, number: f64, schema: &Value, path: &str) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let below = bound("minimum").is_some_and(|minimum| number < minimum);
        let above = bound("maximum").is_some_and(|maximum| number > maximum);
        if below || above {
            let end = |bound: Option<f64>| bound.map_or("...".to_owned(), |end| end.to_string());
            let message = format!(
                "must be from {} to {}, not {number}",
                end(bound("minimum")),
                end(bound("maximum"))
            );
            self.fault(path, message);
        }
    }

    fn coerce(&self, value: &mut Value, kind: &str, path: &str) {
        let Value::String(text) = &*value else { return };
        if !self.document.is_referenced(path) {
            return;
        }
        let parsed = match kind {
            "integer" => text.parse::<u64>().ok().map(Value::from),
            "boolean" => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        if let Some(parsed) = parsed {
            *value = parsed;
        }
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "a map of keys",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "something else",
    }
}

/// What stands there; texts are not shown, as they may be secrets.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "this text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map of keys".to_owned(),
    }
}
