//! The configuration file: schema, references, faults with file and line, reload.
//!
//! The types in here are the single source of the JSON Schema, the reference in `docs/` and the
//! checks: [`load`] reads a file, puts the environment's values in, and returns either a
//! [`Config`] without a fault, or every [`Fault`] at once.

mod defaults;
mod document;
mod fault;
mod reference;
mod reload;
mod semantics;
mod structure;
mod types;
mod yaml;

use std::path::{Path, PathBuf};

use document::Document;

pub use document::Environment;
pub use fault::{Fault, Faults};
pub use reference::{reference_markdown, schema_json};
pub use reload::{Fingerprint, restart_required};
pub use types::{
    AccessLog, Api, Config, Deployment, Entra, Http2, Identity, LogFormat, Model, Provider,
    ProviderKind, Residency, Secret, Server, StaticKey, Telemetry, Timeouts, Tls, Unsupported,
    YandexApi,
};

/// A configuration and the files it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file itself, and those that it includes.
    pub files: Vec<PathBuf>,
}

/// Reads a file with the process's environment.
///
/// # Errors
/// Every fault at once.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    finish(Document::read(path, &|name| std::env::var(name).ok()))
}

/// Reads `text` as if it stood in a file called `name`, with another environment.
///
/// # Errors
/// Every fault at once.
pub fn load_text(name: &str, text: &str, environment: &Environment<'_>) -> Result<Loaded, Faults> {
    finish(Document::parse(name, text, environment))
}

/// The configuration with all its defaults, as YAML; secrets are not shown.
#[must_use]
pub fn effective_yaml(config: &Config) -> String {
    // JSON is YAML; the tree is written by hand so that a person can read it.
    let value = serde_json::to_value(config).unwrap_or_default();
    let mut text = String::new();
    write_yaml(&mut text, &value, 0);
    text
}

fn write_yaml(text: &mut String, value: &serde_json::Value, indent: usize) {
    use serde_json::Value;
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        text.push_str(&format!("{pad}{name}:\n"));
                        write_yaml(text, value, indent + 1);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        text.push_str(&format!("{pad}{name}:\n"));
                        for item in items {
                            text.push_str(&format!("{pad}  - {item}\n"));
                        }
                    }
                    value => text.push_str(&format!("{pad}{name}: {value}\n")),
                }
            }
        }
        value => text.push_str(&format!("{pad}{value}\n")),
    }
}

fn finish(mut document: Document) -> Result<Loaded, Faults> {
    let structural = structure::check(&mut document, &reference::schema());
    let mut faults = std::mem::take(&mut document.faults);
    faults.extend(structural);
    let sound = faults.is_empty();
    if document.unreadable {
        faults.sort();
        return Err(Faults(faults));
    }
    match serde_json::from_value::<Config>(document.value.clone()) {
        Ok(config) => {
            faults.extend(semantics::check(&config, &document));
            if faults.is_empty() {
                return Ok(Loaded { config, files: document.files });
            }
        }
        Err(_) if !sound => {}
        // The schema and the types are one; this is for what only the types can refuse.
        Err(error) => faults.push(document.fault_at("", error.to_string())),
    }
    faults.sort();
    faults.dedup();
    Err(Faults(faults))
}
