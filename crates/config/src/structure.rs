//! Checks a document against the JSON Schema of the configuration's types: every unknown key,
//! wrong type and value out of range, each with its place.
//!
//! What is wrong is replaced by something harmless, so that the types can be read all the same and
//! [`crate::semantics`] can tell its faults in the same breath.

use serde_json::{Map, Number, Value};

use crate::document::{Document, joined};
use crate::fault::{Fault, nearest};

/// Paths of keys that a later version will know.
const LATER: [&str; 5] = ["tenants", "cache", "sessions", "audit", "prompts"];

/// What a document has against the schema.
pub(crate) struct Structure {
    pub(crate) faults: Vec<Fault>,
    /// Paths whose values are not what was meant, so that nothing further is said about them.
    pub(crate) doubtful: Vec<String>,
}

/// All structural faults of a document. Afterwards it fits the schema: texts that came from the
/// environment and stand for numbers or booleans are turned into them, what is wrong or missing is
/// filled in.
pub(crate) fn check(document: &mut Document, schema: &Value) -> Structure {
    let mut value = std::mem::take(&mut document.value);
    let mut checker = Checker { document, root: schema, faults: Vec::new(), doubtful: Vec::new() };
    checker.value(&mut value, schema, "");
    let Checker { faults, doubtful, .. } = checker;
    document.value = value;
    Structure { faults, doubtful }
}

struct Checker<'c> {
    document: &'c Document,
    root: &'c Value,
    faults: Vec<Fault>,
    doubtful: Vec<String>,
}

impl<'c> Checker<'c> {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.doubtful.push(path.to_owned());
        // What else a provider needs depends on its kind.
        self.doubtful.extend(path.strip_suffix(".kind").map(str::to_owned));
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
        let choices = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(name)?.as_array());
        if let Some(choices) = choices {
            return self.choice(value, choices, path);
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            return self.word(value, allowed, path);
        }
        let Some(kind) = kind_of(schema) else { return };
        if value.is_null() && allows_null(schema) {
            return;
        }
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
                if let Some(message) = out_of_range(number, schema) {
                    self.fault(path, message);
                    *value = self.harmless(schema);
                }
            }
            ("number", Value::Number(number)) => {
                if let Some(message) = beyond(number, schema) {
                    self.fault(path, message);
                    *value = self.harmless(schema);
                }
            }
            (kind, found) => {
                let message = mismatch(kind, found);
                self.fault(path, message);
                *value = self.harmless(schema);
            }
        }
    }

    /// `null` or one thing, or a list of words.
    fn choice(&mut self, value: &mut Value, choices: &'c [Value], path: &str) {
        let choices: Vec<&'c Value> = choices.iter().map(|choice| self.resolved(choice)).collect();
        if value.is_null() && choices.iter().any(|choice| allows_null(choice)) {
            return;
        }
        let words: Vec<Value> = choices.iter().flat_map(|choice| words_of(choice)).collect();
        if !words.is_empty() {
            return self.word(value, &words, path);
        }
        let fits = |choice: &&&'c Value| kind_of(choice) == Some(kind_of_value(value));
        let only = choices.iter().find(fits);
        if let Some(only) = only.or_else(|| choices.iter().find(|choice| !allows_null(choice))) {
            self.value(value, only, path);
        }
    }

    fn word(&mut self, value: &mut Value, allowed: &[Value], path: &str) {
        if allowed.contains(value) {
            return;
        }
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let meant = value.as_str().and_then(|wrong| nearest(wrong, words.iter().copied()));
        let hint = meant.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        let message = format!("must be one of {}, not {}{hint}", words.join(", "), describe(value));
        self.fault(path, message);
        *value = meant.or(words.first().copied()).map_or(Value::Null, Value::from);
    }

    fn object(&mut self, members: &mut Map<String, Value>, schema: &'c Value, path: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        // A key without a value is as good as none: all below it is commented out, say.
        let known = |name: &str| properties.is_some_and(|known| known.contains_key(name));
        members.retain(|name, value| !(value.is_null() && known(name)));
        let additional = schema.get("additionalProperties").filter(|inner| inner.is_object());
        let mut unknown = Vec::new();
        for (name, value) in members.iter_mut() {
            let inner = joined(path, name);
            let known = properties.and_then(|properties| properties.get(name));
            if let Some(schema) = known.or(additional) {
                self.value(value, schema, &inner);
                continue;
            }
            unknown.push(name.clone());
            if LATER.contains(&inner.as_str()) {
                let message = format!("`{name}` is not available in this version; remove it");
                self.fault(&inner, message);
                continue;
            }
            let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
            let message = match nearest(name, known) {
                Some(meant) => {
                    self.doubtful.push(joined(path, meant));
                    format!("there is no key `{name}`; did you mean `{meant}`?")
                }
                None => format!("there is no key `{name}` here; remove it"),
            };
            self.fault(&inner, message);
        }
        for name in unknown {
            members.remove(&name);
        }
        for name in required(schema) {
            if !members.contains_key(name) {
                // A key that was meant to be this one has been reported.
                if !self.doubtful.contains(&joined(path, name)) {
                    self.fault(path, format!("`{name}` is missing; add it"));
                }
                let property = properties.and_then(|properties| properties.get(name));
                let value = property.map_or(Value::Null, |property| self.harmless(property));
                members.insert(name.to_owned(), value);
            }
        }
    }

    /// A value that fits a schema.
    fn harmless(&self, schema: &'c Value) -> Value {
        if let Some(default) = schema.get("default") {
            return default.clone();
        }
        let schema = self.resolved(schema);
        for choice in ["anyOf", "oneOf"] {
            let Some(choices) = schema.get(choice).and_then(Value::as_array) else { continue };
            return match choices.iter().any(allows_null) {
                true => Value::Null,
                false => choices.first().map_or(Value::Null, |first| self.harmless(first)),
            };
        }
        if let Some(word) = words_of(schema).into_iter().next() {
            return word;
        }
        match kind_of(schema) {
            _ if allows_null(schema) => Value::Null,
            Some("string") => Value::from(""),
            Some("boolean") => Value::from(false),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(Value::from(0)),
            Some("array") => Value::Array(Vec::new()),
            Some("object") => {
                let properties = schema.get("properties");
                let filled = required(schema).into_iter().filter_map(|name| {
                    Some((name.to_owned(), self.harmless(properties?.get(name)?)))
                });
                Value::Object(filled.collect())
            }
            _ => Value::Null,
        }
    }

    fn coerce(&self, value: &mut Value, kind: &str, path: &str) {
        let Value::String(text) = &*value else { return };
        if !self.document.is_referenced(path) {
            return;
        }
        let parsed = match kind {
            "integer" => text.parse::<u64>().ok().map(Value::from),
            "number" => text.parse::<f64>().ok().map(Value::from),
            "boolean" => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        if let Some(parsed) = parsed {
            *value = parsed;
        }
    }
}

fn kind_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

fn allows_null(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "null",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
        _ => false,
    }
}

fn words_of(schema: &Value) -> Vec<Value> {
    let constant = schema.get("const").into_iter();
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    constant.chain(listed).cloned().collect()
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// The kind under which a schema knows such a value.
fn kind_of_value(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn beyond(number: &Number, schema: &Value) -> Option<String> {
    let value = number.as_f64()?;
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        (Some(minimum), Some(maximum)) if !(minimum..=maximum).contains(&value) => {
            Some(format!("must be from {minimum} to {maximum}, not {value}"))
        }
        (Some(minimum), None) if value < minimum => {
            Some(format!("must be at least {minimum}, not {value}"))
        }
        (None, Some(maximum)) if value > maximum => {
            Some(format!("must be at most {maximum}, not {value}"))
        }
        _ => None,
    }
}

fn out_of_range(number: &Number, schema: &Value) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
    let largest = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => i128::from(u32::MAX),
        _ => i128::from(u64::MAX),
    };
    let minimum = bound("minimum").unwrap_or(0);
    let maximum = bound("maximum").unwrap_or(largest);
    let value = number.as_i128()?;
    if (minimum..=maximum).contains(&value) {
        return None;
    }
    Some(format!("must be from {minimum} to {maximum}, not {value}"))
}

/// What was expected and what stands there. Where a text is expected a number is not shown: it may
/// be a secret without its quotes.
fn mismatch(kind: &str, found: &Value) -> String {
    match (kind, found) {
        ("string", Value::Number(_)) => "must be a text, not a number; put it in quotes".to_owned(),
        ("string", Value::Bool(_)) => {
            "must be a text, not true or false; put it in quotes".to_owned()
        }
        ("integer", Value::Number(_)) => {
            format!("must be a whole number, not {}", describe(found))
        }
        _ => format!("must be {}, not {}", article(kind), describe(found)),
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "a map of keys",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
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
