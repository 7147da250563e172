//! The configuration file: schema, references, faults with file and line, reload.
//!
//! The types in here are the single source of the JSON Schema, the reference in `docs/` and the
//! checks: [`load`] reads a file, puts the environment's values in, and returns either a
//! [`Config`] without a fault, or every [`Fault`] at once.

mod accounting;
mod accounting_checks;
mod content;
mod defaults;
mod document;
mod effective;
mod fault;
mod guard;
mod oidc;
mod reference;
mod reload;
mod routing;
mod routing_checks;
mod secret;
mod semantics;
mod structure;
mod syntax;
mod telemetry;
mod types;
mod yaml;

use std::path::{Path, PathBuf};

use document::Document;

pub use self::routing::{
    Decisions, DeploymentCapabilities, Fallbacks, ModelRouting, Pool, Probes, Quality,
    QualityByClass, RecordedDecisions, Routing, WhenFull,
};
pub use accounting::{AdminKey, AdminRole, GlobalLimits, KeyRotation, MissingPrice, Storage};
pub use accounting_checks::resolve_price;
pub use document::Environment;
pub use effective::effective_yaml;
pub use fault::{Fault, Faults};
pub use guard::{AllowList, Guard, GuardFault, GuardMode, GuardPolicyOptions};
pub use oidc::{Introspection, Oidc, OidcClaim, OidcClaims, OidcRule, TokenAlgorithm};
pub use reference::{reference_markdown, schema_json};
pub use reload::{Fingerprint, restart_required};
pub use secret::{Secret, SecretUrl};
pub use telemetry::{AccessLog, LogFormat, Telemetry};
pub use types::{
    Api, Config, Deployment, Entra, Http2, Identity, Model, Provider, ProviderKind, Residency,
    Server, StaticKey, TimeoutOverrides, Timeouts, Tls, Unsupported, YandexApi,
};

/// A configuration and the files it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file itself, those that it includes, and the packs of the guard: where one changes, what is
    /// in force is out of date.
    pub files: Vec<PathBuf>,
}

/// Reads a file with the process's environment.
///
/// # Errors
/// Every fault at once.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// As [`load`], with another environment.
///
/// # Errors
/// Every fault at once.
pub fn load_with(path: &Path, environment: &Environment<'_>) -> Result<Loaded, Faults> {
    finish(Document::read(path, environment))
}

/// Reads `text` as if it stood in a file called `name`, with another environment.
///
/// # Errors
/// Every fault at once.
pub fn load_text(name: &str, text: &str, environment: &Environment<'_>) -> Result<Loaded, Faults> {
    finish(Document::parse(name, text, environment))
}

fn finish(mut document: Document) -> Result<Loaded, Faults> {
    let structure::Structure { faults: structural, mut doubtful } =
        structure::check(&mut document, &reference::types_schema());
    let mut faults = std::mem::take(&mut document.faults);
    doubtful.extend(faults.iter().map(|fault| fault.path.clone()));
    faults.extend(structural);
    if !document.unreadable {
        // What is still refused is what only the types can say.
        match serde_json::from_value::<Config>(document.value.clone()) {
            Ok(config) => {
                faults.extend(semantics::check(&config, &document, &doubtful));
                if faults.is_empty() {
                    let mut files = document.files;
                    files.extend_from_slice(&config.guard.packs);
                    return Ok(Loaded { config, files });
                }
            }
            Err(_) if !faults.is_empty() => {}
            Err(error) => faults.push(document.fault_at("", error.to_string())),
        }
    }
    faults.sort();
    faults.dedup();
    Err(Faults { faults, files: document.files })
}
