//! Documents that are made from the types.

use serde_json::Value;

use crate::types::{Config, ProviderKind};

/// The JSON Schema of the types.
#[must_use]
pub(crate) fn types_schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// The JSON Schema of a file: numbers and booleans may be references too, and files be included.
fn file_schema() -> Value {
    let mut schema = types_schema();
    allow_references(&mut schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "include".to_owned(),
            serde_json::json!({
                "description": "Further files, relative to this one: maps are joined, lists appended.",
                "type": "array",
                "items": { "type": "string" },
            }),
        );
    }
    schema
}

/// Adds `${NAME}` to what a number or a boolean may be, throughout.
fn allow_references(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(allow_references),
        Value::Object(members) => {
            members.values_mut().for_each(allow_references);
            let kinds: Vec<Value> = match members.get("type") {
                Some(Value::String(kind)) => vec![Value::from(kind.as_str())],
                Some(Value::Array(kinds)) => kinds.clone(),
                _ => return,
            };
            if kinds.iter().any(|kind| kind == "integer" || kind == "number" || kind == "boolean") {
                let kinds = kinds.into_iter().chain([Value::from("string")]).collect();
                members.insert("type".to_owned(), Value::Array(kinds));
                members.insert("pattern".to_owned(), Value::from(REFERENCE_PATTERN));
            }
        }
        _ => {}
    }
}

/// A text that is a reference to the environment.
const REFERENCE_PATTERN: &str = r"^(\$\{[^}]+\}|os\.environ/.+)$";

/// The JSON Schema of the configuration, as text.
#[must_use]
pub fn schema_json() -> String {
    let mut text = serde_json::to_string_pretty(&file_schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// The reference of all keys, in Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let schema = types_schema();
    let mut text = String::from(
        "# Configuration reference\n\n\
         Made from the types by `cargo xtask schema`; `llm-proxy schema` prints the JSON Schema, \
         and `llm-proxy check --effective` the values in force.\n\n\
         One YAML file of at most 4 MiB. `${NAME}`, `${NAME:-default}` and `os.environ/NAME` \
         stand for variables of the environment (`$${` for the text itself), `include: \
         [file.yaml]` joins files: maps are joined, lists appended, and what else stands in two \
         files is a fault. Paths of included files are relative to the file that names them, all \
         others to the working directory. Anchors, aliases and `<<` may be used. A key without a \
         value has its default.\n\n\
         A change of a file, or SIGHUP, is taken whole or not at all. What needs a restart says \
         so.\n",
    );
    let mut sections = Vec::new();
    collect(&mut sections, &schema, &schema, String::new());
    for (number, (path, section)) in sections.iter().enumerate() {
        if sections[..number].iter().any(|(_, earlier)| earlier == section) {
            continue;
        }
        let same = sections.iter().filter(|(_, other)| other == section);
        let paths: Vec<String> = same.map(|(path, _)| format!("`{path}`")).collect();
        let title = if path.is_empty() { "Top level".to_owned() } else { paths.join(", ") };
        write_section(&mut text, &schema, section, &title);
    }
    write_kinds(&mut text);
    text
}

/// All maps with fixed keys, with the paths they stand at.
fn collect<'s>(
    sections: &mut Vec<(String, &'s Value)>,
    root: &'s Value,
    schema: &'s Value,
    path: String,
) {
    sections.push((path.clone(), schema));
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some((suffix, target)) = map_below(root, property) {
            collect(sections, root, target, format!("{inner}{suffix}"));
        }
    }
}

/// The map with fixed keys that a property is, or is a list or a map of.
fn map_below<'s>(root: &'s Value, property: &'s Value) -> Option<(&'static str, &'s Value)> {
    if let Some(reference) = property.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#'))?;
        return target.get("properties").is_some().then_some(("", target));
    }
    if let Some(choices) = property.get("anyOf").and_then(Value::as_array) {
        return choices.iter().find_map(|choice| map_below(root, choice));
    }
    if let Some(items) = property.get("items") {
        return map_below(root, items).map(|(_, target)| ("[]", target));
    }
    let named = property.get("additionalProperties").filter(|inner| inner.is_object())?;
    map_below(root, named).map(|(_, target)| (".NAME", target))
}

fn write_section(text: &mut String, root: &Value, schema: &Value, title: &str) {
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
            Some(Value::Object(_)) => "below".to_owned(),
            Some(Value::Array(_)) => "empty".to_owned(),
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

/// What each kind of provider implies.
fn write_kinds(text: &mut String) {
    text.push_str(
        "\n## Kinds of providers\n\nWhat `base_url`, `residency` and `apis` are where they are \
         not given.\n\n| kind | base_url | residency | apis |\n| --- | --- | --- | --- |\n",
    );
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    for kind in ProviderKind::ALL {
        let base_url =
            kind.default_base_url().map_or("required".to_owned(), |url| format!("`{url}`"));
        let residency = word(serde_json::to_value(kind.default_residency()).unwrap_or_default());
        let apis = if kind.is_openai_compatible() {
            let apis = kind.default_apis().iter();
            let names: Vec<String> =
                apis.map(|api| word(serde_json::to_value(api).unwrap_or_default())).collect();
            names.join(", ")
        } else {
            "its own".to_owned()
        };
        text.push_str(&format!("| `{}` | {base_url} | {residency} | {apis} |\n", kind.name()));
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
            return "map".to_owned();
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
            let plural = if inner.starts_with('`') { "" } else { "s" };
            format!("list of {inner}{plural}")
        }
        "object" => match schema.get("additionalProperties") {
            Some(inner @ Value::Object(_)) => format!("map of {}s by name", type_of(root, inner)),
            _ => "map".to_owned(),
        },
        kind => format!("{kind}{range}"),
    }
}
