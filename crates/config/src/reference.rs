//! Documents that are made from the types.

use serde_json::Value;

use crate::types::Config;

/// The JSON Schema of the configuration.
#[must_use]
pub(crate) fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// The JSON Schema of the configuration, as text.
#[must_use]
pub fn schema_json() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// The reference of all keys, in Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let schema = schema();
    let mut text = String::from(
        "# Configuration reference\n\n\
         Made from the types by `cargo xtask schema`; `llm-proxy schema` prints the JSON Schema, \
         and `llm-proxy check --effective` the values in force.\n\n\
         One YAML file. `${NAME}`, `${NAME:-default}` and `os.environ/NAME` stand for variables \
         of the environment, `include: [file.yaml]` joins files. A change of a file, or SIGHUP, is \
         taken whole or not at all.\n",
    );
    section(&mut text, &schema, &schema, "Top level");
    let definitions = schema.get("$defs").and_then(Value::as_object);
    for (name, definition) in definitions.into_iter().flatten() {
        if definition.get("properties").is_some() {
            section(&mut text, &schema, definition, name);
        }
    }
    text
}

fn section(text: &mut String, root: &Value, schema: &Value, title: &str) {
    text.push_str(&format!("\n## {title}\n\n"));
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        text.push_str(&format!("{}\n\n", one_line(description)));
    }
    text.push_str("| key | type | default | what it is |\n| --- | --- | --- | --- |\n");
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let default = match property.get("default") {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(Value::Object(_) | Value::Array(_)) => "see below".to_owned(),
            Some(value) => format!("`{}`", value.to_string().trim_matches('"')),
        };
        let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!(
            "| `{name}` | {} | {default} | {} |\n",
            type_of(root, property),
            one_line(description).replace('|', "\\|")
        ));
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn type_of(root: &Value, schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.trim_start_matches('#');
        let target = root.pointer(pointer).unwrap_or(&Value::Null);
        if target.get("properties").is_some() {
            return reference.rsplit('/').next().unwrap_or_default().to_owned();
        }
        return type_of(root, target);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(choice).and_then(Value::as_array) {
            let names: Vec<String> = choices
                .iter()
                .filter(|choice| choice.get("type") != Some(&Value::from("null")))
                .map(|choice| type_of(root, choice))
                .collect();
            return names.join(", ");
        }
    }
    if let Some(word) = schema.get("const") {
        return format!("`{}`", word.as_str().unwrap_or_default());
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> =
            words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
        }
        _ => "",
    };
    let range = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(minimum), Some(maximum)) => format!(" {minimum}-{maximum}"),
        _ => String::new(),
    };
    match kind {
        "array" => {
            let inner = schema.get("items").map(|items| type_of(root, items)).unwrap_or_default();
            format!("list of {inner}")
        }
        "object" => match schema.get("additionalProperties") {
            Some(inner @ Value::Object(_)) => format!("map of {}", type_of(root, inner)),
            _ => "map".to_owned(),
        },
        kind => format!("{kind}{range}"),
    }
}
