//! A configuration written back as YAML.

use serde_json::Value;

use crate::types::Config;

/// The configuration with all its defaults, as YAML; secrets are not shown.
#[must_use]
pub fn effective_yaml(config: &Config) -> String {
    let value = serde_json::to_value(config.with_defaults()).unwrap_or_default();
    let mut text = String::new();
    write(&mut text, &value, 0);
    text
}

fn write(text: &mut String, value: &Value, indent: usize) {
    let pad = "  ".repeat(indent);
    let Value::Object(members) = value else {
        return text.push_str(&format!("{pad}{}\n", flow(value)));
    };
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let name = key(name);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{pad}{name}:\n"));
                write(text, value, indent + 1);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{pad}{name}:\n"));
                for item in items {
                    let mut block = String::new();
                    write(&mut block, item, indent + 2);
                    // The dash stands in the indentation of the first line.
                    let rest = block.get(2 * indent + 2..).unwrap_or_default();
                    text.push_str(&format!("{pad}  - {}", rest.trim_start()));
                }
            }
            value => text.push_str(&format!("{pad}{name}: {}\n", flow(value))),
        }
    }
}

/// A value on one line: JSON is YAML. What looks like a reference stays what it is.
fn flow(value: &Value) -> String {
    value.to_string().replace("${", "$${")
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        && !matches!(name.to_ascii_lowercase().as_str(), "null" | "true" | "false");
    if plain { name.to_owned() } else { Value::from(name).to_string() }
}
