//! The files in `examples/` have no faults, and no key in them is without effect.

use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, ProviderKind};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut all = files(&folder);
    all.extend(files(&folder.join("providers")));
    all.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    all.sort();
    all
}

/// Every variable is set: files exist, hashes are hashes, the rest is some text.
fn example(path: &Path) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let certificate = file("certificate.pem", "-----BEGIN CERTIFICATE-----\n");
    let key = file("key.pem", "-----BEGIN PRIVATE KEY-----\n");
    let account = file("key.json", r#"{"id": "a", "service_account_id": "b", "private_key": "c"}"#);
    let environment = |name: &str| {
        Some(match name {
            // Those with defaults.
            "LISTEN" | "OPS_LISTEN" | "VLLM" | "VLLM_A" | "VLLM_B" | "SGLANG" | "LLAMACPP"
            | "GIGACHAT" | "GIGACHAT_AUTH" | "OPENAI" => return None,
            "AZURE_ENDPOINT" => "https://example.openai.azure.com".to_owned(),
            "BATCH_KEY_SHA256" | "CLINIC_KEY_SHA256" => "0a".repeat(32),
            "BRANCH_KEY_SHA256" => "0b".repeat(32),
            "TLS_CERTIFICATE" | "INTERNAL_CA" | "GIGACHAT_CA" | "GIGACHAT_CERTIFICATE" => {
                certificate.clone()
            }
            "TLS_KEY" | "GIGACHAT_KEY" => key.clone(),
            "YANDEX_SERVICE_ACCOUNT_KEY" => account.clone(),
            name => format!("value-of-{name}"),
        })
    };
    let loaded = config::load_with(path, &environment);
    loaded.unwrap_or_else(|faults| panic!("{}:\n{faults}", path.display())).config
}

#[test]
fn every_example_passes() {
    let files = examples();
    assert!(files.len() >= 16, "{files:?}");
    for file in files {
        let config = example(&file);
        assert!(!config.models.is_empty());
    }
}

#[test]
fn every_kind_of_provider_has_an_example() {
    let shown: Vec<ProviderKind> = examples()
        .iter()
        .filter(|path| path.parent().is_some_and(|folder| folder.ends_with("providers")))
        .flat_map(|path| example(path).providers.into_values())
        .map(|provider| provider.kind)
        .collect();
    for kind in ProviderKind::ALL {
        assert!(shown.contains(&kind), "{}", kind.name());
    }
}

#[test]
fn the_regulated_example_reaches_nobody_abroad() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let config = example(&folder.join("regulated.yaml"));
    for provider in config.providers.values() {
        assert_ne!(provider.resolved_residency(), config::Residency::Global);
    }
}
