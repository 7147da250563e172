//! What a person sees who wrote a wrong configuration.

use std::collections::HashMap;
use std::fs;

use config::{Loaded, load, load_text};
use proptest::prelude::*;

const SOUND: &str = r#"
server: {listen: "127.0.0.1:${PORT:-8080}"}
providers:
  gigachat: {kind: gigachat, credentials: "${GIGACHAT_CREDENTIALS}", scope: GIGACHAT_API_B2B}
  local: {kind: vllm, base_url: "http://vllm:8000/v1", max_idle_connections: "${IDLE:-7}"}
models:
  - name: чат
    deployments:
      - {provider: gigachat, model: GigaChat-2-Pro, priority: 1}
      - {provider: local, model: qwen3-32b, priority: 2}
identity:
  static_keys: [{name: dev, key: os.environ/DEV_KEY, models: [чат]}]
"#;

fn environment(name: &str) -> Option<String> {
    let known =
        HashMap::from([("GIGACHAT_CREDENTIALS", "c2VjcmV0"), ("DEV_KEY", "sk-very-secret")]);
    known.get(name).map(|value| (*value).to_owned())
}

fn faults(text: &str) -> Vec<String> {
    match load_text("llm-proxy.yaml", text, &environment) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    }
}

fn loaded(text: &str) -> Loaded {
    load_text("llm-proxy.yaml", text, &environment).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn references_are_put_in_their_place_and_secrets_are_not_shown() {
    let config = loaded(SOUND).config;
    assert_eq!(config.server.listen, "127.0.0.1:8080");
    assert_eq!(config.providers["local"].max_idle_connections, 7);
    let key = config.identity.static_keys[0].key.as_ref().unwrap();
    assert_eq!(key.expose(), "sk-very-secret");
    let shown = format!("{config:?}\n{}", config::effective_yaml(&config));
    for secret in ["sk-very-secret", "c2VjcmV0"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("GIGACHAT_API_B2B"));
}

#[test]
fn every_fault_is_told_at_once_with_its_place_and_remedy() {
    let text = r#"server:
  listen: "nowhere"
  max_body_bytes: 12
  workres: 2
cache: {}
providers:
  gigachat: {kind: gigachet, credentials: "${NOT_SET}"}
  openai: {kind: openai}
  azure: {kind: azure_openai, base_url: "ftp://x", api_key: a, entra: {token_url: u}}
models:
  - name: chat
    deployments:
      - {provider: gigachad, model: 5}
  - name: chat
    deployments: []
identity:
  static_keys: [{name: dev}]
"#;
    let found = faults(text);
    for expected in [
        "llm-proxy.yaml:3:3: server.max_body_bytes: must be from 1024 to 1073741824, not 12",
        "llm-proxy.yaml:4:3: server.workres: there is no key `workres`; did you mean `workers`?",
        "llm-proxy.yaml:5:1: cache: `cache` is not available in this version; remove it",
        "llm-proxy.yaml:7:14: providers.gigachat.kind: must be one of",
        "did you mean `gigachat`?",
        "the environment variable `NOT_SET` is not set; set it, or write `${NOT_SET:-default}`",
        "providers.azure.entra: `client_id` is missing; add it",
        "llm-proxy.yaml:13:30: models[0].deployments[0].model: must be a text, not 5",
    ] {
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}\n{found:#?}");
    }
    assert!(found.len() >= 8);
}

#[test]
fn what_types_cannot_say_is_told_too() {
    let text = SOUND
        .replace("provider: local", "provider: locale")
        .replace("127.0.0.1:${PORT:-8080}", "127.0.0.1:8082")
        .replace("models: [чат]", "models: [чат, чай]")
        .replace("kind: vllm", "kind: vllm, scope: x, apis: [embeddings]");
    let found = faults(&text);
    for expected in [
        "server.ops_listen: is the same as server.listen",
        "there is no provider `locale`; did you mean `local`?",
        "there is no model `чай`",
        "providers.local.scope: belongs to another kind of provider",
    ] {
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn duplicate_keys_and_broken_yaml_are_refused_with_their_line() {
    let twice = faults("server: {}\nserver: {}\n");
    assert_eq!(twice.len(), 1, "{twice:?}");
    let broken = faults("server:\n  listen: [\n");
    assert!(broken[0].contains("this is not YAML"), "{broken:?}");
}

#[test]
fn included_files_are_joined_and_faults_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let main = folder.path().join("main.yaml");
    write(
        "main.yaml",
        "include: [models.yaml]\nproviders:\n  local: {kind: vllm, base_url: \"http://v/v1\"}\nidentity:\n  static_keys: [{name: a, key: 0123456789abcdef}]\n",
    );
    write("models.yaml", "models:\n  - {name: m, deployments: [{provider: local, model: q}]}\n");
    let sound = load(&main).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(sound.files.len(), 2);
    assert_eq!(sound.config.models[0].name, "m");
    write("models.yaml", "include: [main.yaml]\nmodels:\n  - {name: m, deployment: []}\n");
    let faults = load(&main).unwrap_err().to_string();
    assert!(faults.contains("models.yaml:3:"), "{faults}");
    assert!(faults.contains("includes itself"), "{faults}");
}

#[test]
fn only_a_restart_changes_listeners() {
    let old = loaded(SOUND).config;
    let mut new = old.clone();
    new.models[0].name = "other".to_owned();
    assert!(config::restart_required(&old, &new).is_empty());
    new.server.listen = "127.0.0.1:1".to_owned();
    assert_eq!(config::restart_required(&old, &new), ["server.listen"]);
}

#[test]
fn generated_files_are_up_to_date() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for (file, text) in [
        ("schema/llm-proxy.schema.json", config::schema_json()),
        ("docs/configuration.md", config::reference_markdown()),
    ] {
        let path = format!("{root}/{file}");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{file} is out of date; run `cargo xtask schema`");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "[a-z:\\[\\]{}\"'&*!|>$\\-\n 0-9]{0,200}") {
        _ = load_text("x.yaml", &text, &environment);
    }

    #[test]
    fn no_change_of_a_sound_text_makes_the_loader_panic(
        at in any::<prop::sample::Index>(), junk in any::<char>(),
    ) {
        let mut characters: Vec<char> = SOUND.chars().collect();
        let at = at.index(characters.len());
        characters[at] = junk;
        let text: String = characters.into_iter().collect();
        _ = load_text("x.yaml", &text, &environment);
    }
}
