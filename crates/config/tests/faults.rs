//! What a person sees who wrote a wrong configuration.

use std::collections::HashMap;
use std::fs;

use config::{Fingerprint, Loaded, load, load_text};
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
        Err(faults) => faults.faults.iter().map(ToString::to_string).collect(),
    }
}

fn loaded(text: &str) -> Loaded {
    loaded_with(text, &environment)
}

fn loaded_with(text: &str, environment: &config::Environment<'_>) -> Loaded {
    load_text("llm-proxy.yaml", text, environment).unwrap_or_else(|faults| panic!("{faults}"))
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

/// Structure and meaning, all in one go, in the order of the lines; nothing is said about what
/// follows from another fault.
#[test]
fn every_fault_is_told_at_once_with_its_place_and_remedy() {
    let text = r#"server:
  listen: "nowhere"
  max_body_bytes: 12
  workres: 2
  max_body_bytes: 13
cache: {}
providers:
  gigachat: {kind: gigachet, credentials: "${NOT_SET}"}
  openai: {kind: openai}
  azure: {kind: azure_openai, base_url: "ftp://x", api_key: a, entra: {token_url: u}}
  yandex: {kind: yandexgpt, api_key: [a], folder_id: b1g, ca_bundle: /nowhere/ca.pem}
models:
  - name: chat
    deployments:
      - {provider: gigachad, model: 5}
  - name: chat
    deployments: []
identity:
  static_keys: [{name: dev}, {name: dev, key: 1234567890}]
"#;
    let expected = r#"
llm-proxy.yaml:2:3: server.listen: must be an address and a port, such as 127.0.0.1:8080
llm-proxy.yaml:3:3: server.max_body_bytes: must be from 1024 to 1073741824, not 12
llm-proxy.yaml:4:3: server.workres: there is no key `workres`; did you mean `workers`?
llm-proxy.yaml:5:3: the key `max_body_bytes` stands twice; keep one
llm-proxy.yaml:6:1: cache: `cache` is not available in this version; remove it
llm-proxy.yaml:8:14: providers.gigachat.kind: must be one of openai, qwen, cloudru, vllm, sglang, llamacpp, ollama, openrouter, gemini, azure_openai, anthropic, gigachat, yandexgpt, not this text; did you mean `gigachat`?
llm-proxy.yaml:8:43: providers.gigachat.credentials: the environment variable `NOT_SET` is not set; set it, or write `${NOT_SET:-default}`
llm-proxy.yaml:9:3: providers.openai: `api_key` is missing; add it, as a reference: "${KEY}"
llm-proxy.yaml:10:31: providers.azure.base_url: must be a URL that begins with http:// or https://, with a host, without user
llm-proxy.yaml:10:64: providers.azure.entra: `client_id` is missing; add it
llm-proxy.yaml:10:64: providers.azure.entra: `client_secret` is missing; add it
llm-proxy.yaml:11:29: providers.yandex.api_key: must be a text, not a list
llm-proxy.yaml:11:59: providers.yandex.ca_bundle: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2); correct the path or its permissions
llm-proxy.yaml:15:10: models[0].deployments[0].provider: there is no provider `gigachad`; did you mean `gigachat`?
llm-proxy.yaml:15:30: models[0].deployments[0].model: must be a text, not a number; put it in quotes
llm-proxy.yaml:16:5: models[1].name: the model `chat` stands twice; rename one
llm-proxy.yaml:17:5: models[1].deployments: is empty; add a deployment
llm-proxy.yaml:19:17: identity.static_keys[0]: give either `key` or `key_sha256`
llm-proxy.yaml:19:31: identity.static_keys[1].name: this name stands twice; rename one
llm-proxy.yaml:19:42: identity.static_keys[1].key: must be a text, not a number; put it in quotes
"#;
    assert_eq!(faults(text).join("\n"), expected.trim());
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
        "there is no model `чай`; did you mean `чат`?",
        "providers.local.scope: belongs to providers of kind gigachat; remove it",
    ] {
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn empty_texts_and_addresses_that_reach_nobody_are_refused() {
    let text = r#"server: {admin_listen: "127.0.0.1"}
providers:
  "a\nb": {kind: vllm, base_url: "http://:80/v1", image_hosts: ["http://minio"], apis: []}
  big: {kind: vllm, base_url: "http://v:99999/v1"}
  giga: {kind: gigachat, user: "", password: ""}
  cloud: {kind: cloudru, api_key: k, key_id: i}
  azure: {kind: azure_openai, base_url: "https://a", entra: {token_url: "https://t", client_id: "", client_secret: ""}}
models:
  - {name: "m\r", deployments: [{provider: big, model: " "}]}
identity:
  static_keys: [{name: "", key: long-enough, models: []}]
"#;
    let found = faults(text);
    let expected = [
        "llm-proxy.yaml:1:10: server.admin_listen: must be an address and a port",
        "llm-proxy.yaml:3:3: providers.a\\nb: is empty or holds a control character",
        "llm-proxy.yaml:3:24: providers.a\\nb.base_url: must be a URL",
        "llm-proxy.yaml:3:65: providers.a\\nb.image_hosts[0]: must be a host alone",
        "llm-proxy.yaml:3:82: providers.a\\nb.apis: is empty",
        "llm-proxy.yaml:4:21: providers.big.base_url: must be a URL",
        "llm-proxy.yaml:5:26: providers.giga.user: is empty",
        "llm-proxy.yaml:5:36: providers.giga.password: is empty",
        "llm-proxy.yaml:6:3: providers.cloud: give either `api_key` or `key_id` and `key_secret`",
        "providers.azure.entra.client_id: is empty",
        "providers.azure.entra.client_secret: is empty",
        "models[0].name: is empty or holds a control character",
        "models[0].deployments[0].model: is empty",
        "identity.static_keys[0].name: is empty",
        "identity.static_keys[0].models: is empty, so that this key may call nothing",
    ];
    for expected in expected {
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_digest_is_the_same_key_in_either_case() {
    let digest = "0a".repeat(32);
    let keys = format!(
        "[{{name: a, key_sha256: {digest}}}, {{name: b, key_sha256: {}}}]",
        digest.to_uppercase()
    );
    let own = "[{name: dev, key: os.environ/DEV_KEY, models: [чат]}]";
    let found = faults(&SOUND.replace(own, &keys));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("static_keys[1].key_sha256: is the key of another entry too"));
}

/// The wrong variable may hold a secret.
#[test]
fn faults_do_not_show_what_the_environment_holds() {
    let text = SOUND
        .replace("provider: local", "provider: \"${DEV_KEY}\"")
        .replace("models: [чат]", "models: [os.environ/DEV_KEY]")
        .replace("name: чат", "name: \"чат\"");
    let found = faults(&text).join("\n");
    assert!(found.contains("there is no provider of this name, which the environment"), "{found}");
    assert!(found.contains("there is no model of this name, which the environment"), "{found}");
    assert!(!found.contains("very-secret"), "{found}");
}

#[test]
fn what_a_kind_implies_is_resolved() {
    let text = SOUND
        .replace(
            "credentials: \"${GIGACHAT_CREDENTIALS}\", scope: GIGACHAT_API_B2B",
            "user: u, password: p, base_url: \"http://g/api/v1/\"",
        )
        .replace("  local: {", "  claude: {kind: anthropic, api_key: k}\n  local: {");
    let providers = loaded(&text).config.providers;
    assert_eq!(providers["gigachat"].resolved_token_url(), "http://g/api/v1/token");
    assert_eq!(providers["claude"].resolved_version(), "2023-06-01");
    assert_eq!(providers["claude"].resolved_base_url(), "https://api.anthropic.com");
}

#[test]
fn duplicate_keys_and_broken_yaml_are_refused_with_their_line() {
    let twice = faults(&format!("{SOUND}server: {{}}\n"));
    assert_eq!(twice, ["llm-proxy.yaml:13:1: the key `server` stands twice; keep one"]);
    let broken = faults("server:\n  listen: [\n");
    assert!(broken[0].contains("this is not YAML"), "{broken:?}");
}

#[test]
fn included_files_are_joined_and_faults_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let main = folder.path().join("main.yaml");
    let faults = || {
        let prefix = format!("{}/", folder.path().display());
        load(&main).unwrap_err().to_string().replace(&prefix, "")
    };
    write(
        "main.yaml",
        "include: [models.yaml, keys.yaml]\nproviders:\n  local: {kind: vllm, base_url: \
         \"http://v/v1\"}\nmodels:\n  - {name: чат, deployments: [{provider: local, model: a}]}\n\
         identity:\n  static_keys:\n    - {name: a, key: first-key}\n",
    );
    write("models.yaml", "models:\n  - {name: m, deployments: [{provider: local, model: q}]}\n");
    write("keys.yaml", "identity:\n  static_keys:\n    - {name: b, key: second-key}\n");
    let sound = load(&main).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(sound.files.len(), 3);
    let models: Vec<&str> = sound.config.models.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(models, ["чат", "m"]);
    assert_eq!(sound.config.identity.static_keys.len(), 2);

    write("models.yaml", "\nmodels:\n  - {name: m, deployments: [{provider: lokal, model: q}]}\n");
    write("keys.yaml", "identity:\n  static_keys:\n    - {name: a, key: second-key}\n");
    assert_eq!(
        faults(),
        "keys.yaml:3:8: identity.static_keys[1].name: this name stands twice; rename one\n\
         models.yaml:3:30: models[1].deployments[0].provider: there is no provider `lokal`; did \
         you mean `local`?"
    );

    write("models.yaml", "include: [main.yaml]\nproviders: {local: {kind: ollama}}\n");
    write("keys.yaml", "include: [../nowhere.yaml]\n");
    let found = faults();
    for expected in [
        "models.yaml:1:11: include: main.yaml includes itself; remove it from the list",
        "models.yaml:2:21: providers.local.kind: this key stands in two files; keep one",
        "keys.yaml:1:11: include: ../nowhere.yaml cannot be read: No such file",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn a_file_that_is_not_there_says_how_to_name_one() {
    let faults = load("/nowhere/llm-proxy.yaml".as_ref()).unwrap_err().to_string();
    assert!(faults.contains("cannot be read") && faults.contains("--config"), "{faults}");
}

#[test]
fn references_may_have_defaults_stand_within_a_text_and_be_quoted() {
    let text = SOUND
        .replace("http://vllm:8000/v1", "http://${HOST:-vllm}:${VLLM_PORT:-80}/v1")
        .replace("model: qwen3-32b", "model: \"$${literal}\"")
        .replace("${IDLE:-7}", "${IDLE:-lots}");
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("providers.local.max_idle_connections: must be a whole number"));
    let config = loaded(&text.replace("${IDLE:-lots}", "${IDLE:-8}")).config;
    assert_eq!(config.providers["local"].base_url.as_deref(), Some("http://vllm:80/v1"));
    assert_eq!(config.models[0].deployments[1].model, "${literal}");
    let empty = loaded_with(SOUND, &|name| Some(environment(name).unwrap_or_default()));
    assert_eq!(empty.config.server.listen, "127.0.0.1:8080", "an empty variable is not set");
}

#[test]
fn what_headers_cannot_carry_is_refused() {
    let environment = |name: &str| Some(format!("{}\n", environment(name)?));
    let found = load_text("x.yaml", SOUND, &environment).unwrap_err().to_string();
    assert!(found.contains("providers.gigachat.credentials: is empty or holds"), "{found}");
    assert!(found.contains("identity.static_keys[0].key: holds a blank"), "{found}");
    assert!(!found.contains("sk-very-secret"), "{found}");
}

#[test]
fn the_effective_configuration_is_one_too() {
    let config = loaded(SOUND).config;
    let effective = config::effective_yaml(&config);
    for expected in ["residency: \"russia\"", "apis: [\"chat_completions\"", "total_ms: 600000"] {
        assert!(effective.contains(expected), "{expected}\n{effective}");
    }
    let again = loaded(&effective.replace("***", "not-shown")).config;
    assert_eq!(config::effective_yaml(&again), effective);
}

#[test]
fn only_a_restart_changes_listeners() {
    let old = loaded(SOUND).config;
    let mut new = old.clone();
    new.models[0].name = "other".to_owned();
    new.server.max_body_bytes += 1;
    assert!(config::restart_required(&old, &new).is_empty());
    new.server.listen = "127.0.0.1:1".to_owned();
    new.server.workers = 3;
    assert_eq!(config::restart_required(&old, &new), ["server.listen", "server.workers"]);
}

/// The reference says which keys need a restart, and a change of each is noticed.
#[test]
fn keys_that_need_a_restart_are_those_that_say_so() {
    let schema: serde_json::Value = serde_json::from_str(&config::schema_json()).unwrap();
    let old = loaded(SOUND).config;
    let whole = serde_json::to_value(&old).unwrap();
    for (section, kind) in [("server", "Server"), ("telemetry", "Telemetry")] {
        for (name, property) in schema["$defs"][kind]["properties"].as_object().unwrap() {
            let mut changed = whole[section].clone();
            changed[name] = match (name.as_str(), &changed[name]) {
                ("log_format", _) => "text".into(),
                ("access_log", _) => "off".into(),
                ("admin_addresses", _) => serde_json::json!(["10.0.0.0/8"]),
                (_, serde_json::Value::Number(number)) => (number.as_u64().unwrap() + 1).into(),
                (_, serde_json::Value::Bool(value)) => (!value).into(),
                (_, serde_json::Value::String(_)) => "127.0.0.1:1".into(),
                _ => serde_json::json!({"certificate": "a", "key": "b"}),
            };
            let mut new = old.clone();
            match section {
                "server" => new.server = serde_json::from_value(changed).unwrap(),
                _ => new.telemetry = serde_json::from_value(changed).unwrap(),
            }
            assert_ne!(new, old, "{section}.{name}");
            let says_so = property["description"].as_str().unwrap().contains("Needs a restart");
            let noticed = config::restart_required(&old, &new);
            let expected = format!("{section}.{name}");
            let wanted = if says_so || name == "tls" { vec![expected.as_str()] } else { vec![] };
            assert_eq!(noticed, wanted);
        }
    }
}

#[test]
fn a_file_that_changes_has_another_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("a.yaml"), folder.path().join("b.yaml")];
    fs::write(&files[0], "one").unwrap();
    let before = Fingerprint::of(&files);
    assert_eq!(Fingerprint::of(&files), before);
    fs::write(&files[1], "two").unwrap();
    let appeared = Fingerprint::of(&files);
    assert_ne!(appeared, before);
    fs::write(folder.path().join("c.yaml"), "eno").unwrap();
    fs::rename(folder.path().join("c.yaml"), &files[0]).unwrap();
    assert_ne!(Fingerprint::of(&files), appeared);
}

#[test]
fn faults_know_all_files_that_could_mend_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("main.yaml"), "include: [faulty.yaml, sound.yaml, absent.yaml]\n").unwrap();
    fs::write(file("faulty.yaml"), "models: {").unwrap();
    fs::write(file("sound.yaml"), "telemetry: {log_level: info}\n").unwrap();
    let faults = load(&file("main.yaml")).unwrap_err();
    let files = ["main.yaml", "faulty.yaml", "sound.yaml", "absent.yaml"].map(file);
    assert_eq!(faults.files, files);
}

#[test]
fn a_fingerprint_keeps_how_files_looked_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("a.yaml"), folder.path().join("b.yaml")];
    fs::write(&files[0], "one").unwrap();
    fs::write(&files[1], "two").unwrap();
    let before = Fingerprint::of(&files[..1]);
    fs::write(&files[0], "three").unwrap();
    let both = before.widened(&files);
    assert_ne!(both, Fingerprint::of(&files));
    fs::write(&files[0], "four").unwrap();
    assert_eq!(Fingerprint::of(&files[..1]).widened(&files), Fingerprint::of(&files));
}

#[test]
fn proxies_are_secrets_and_must_be_addresses() {
    let given = |proxy: &str| {
        SOUND.replace("kind: vllm,", &format!("kind: vllm, egress_proxy: \"{proxy}\","))
    };
    let config = loaded(&given("http://user:${DEV_KEY}@proxy:3128")).config;
    let proxy = config.providers["local"].egress_proxy.as_ref().unwrap();
    assert_eq!(proxy.expose(), "http://user:sk-very-secret@proxy:3128");
    let shown = format!("{config:?}\n{}", config::effective_yaml(&config));
    assert!(!shown.contains("very-secret"), "{shown}");
    let found = faults(&given("https://user:${DEV_KEY}@proxy:3128"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("providers.local.egress_proxy: must be http://host:port"));
    assert!(!found[0].contains("very-secret"), "{found:#?}");
}

#[test]
fn a_deployment_waits_as_its_provider_does_but_where_it_says_otherwise() {
    let text = SOUND
        .replace("kind: vllm,", "kind: vllm, timeouts: {connect_ms: 7, idle_ms: 8},")
        .replace("model: qwen3-32b,", "model: qwen3-32b, timeouts: {idle_ms: 9},");
    let config = loaded(&text).config;
    let deployment = &config.models[0].deployments[1];
    let timeouts = deployment.resolved_timeouts(&config.providers["local"]);
    assert_eq!((timeouts.connect_ms, timeouts.idle_ms, timeouts.total_ms), (7, 9, 600_000));
    let found = faults(&text.replace("idle_ms: 9", "total_ms: 9"));
    assert!(found[0].contains("models[0].deployments[1].timeouts.first_byte_ms: is longer than"));
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
    fn no_change_of_a_sound_text_makes_the_loader_panic_or_tell_secrets(
        at in any::<prop::sample::Index>(), junk in any::<char>(),
    ) {
        let mut characters: Vec<char> = SOUND.chars().collect();
        let at = at.index(characters.len());
        characters[at] = junk;
        let text: String = characters.into_iter().collect();
        if let Err(faults) = load_text("x.yaml", &text, &environment) {
            let shown = faults.to_string();
            prop_assert!(!shown.is_empty());
            prop_assert!(!shown.contains("very-secret") && !shown.contains("c2VjcmV0"), "{}", shown);
        }
    }
}
