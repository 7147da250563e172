//! The command line is a contract: commands, exit codes, what is printed where.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn llm_proxy(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llm-proxy"))
        .args(arguments)
        .current_dir(folder)
        .env("TEST_KEY", "sk-never-shown")
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SOUND: &str = "\
providers:
  local: {kind: ollama, api_key: \"${TEST_KEY}\"}
models:
  - {name: чат, deployments: [{provider: local, model: \"qwen3:8b\"}]}
identity:
  static_keys: [{name: dev, key: os.environ/TEST_KEY}]
";

#[test]
fn check_ends_with_0_or_2_and_names_each_fault() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("llm-proxy.yaml"), SOUND).unwrap();
    fs::write(folder.path().join("wrong.yaml"), SOUND.replace("provider:", "provder:")).unwrap();

    let sound = llm_proxy(folder.path(), &["check"]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stderr));

    let wrong = llm_proxy(folder.path(), &["check", "--config", "wrong.yaml"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(
        text(&wrong.stderr).trim(),
        "wrong.yaml:4:32: models[0].deployments[0].provder: there is no key `provder`; did you \
         mean `provider`?"
    );

    let json = llm_proxy(folder.path(), &["check", "--config", "wrong.yaml", "--json"]);
    assert_eq!(json.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("a line of JSON");
    assert_eq!(json["valid"], false);
    assert_eq!(json["faults"][0]["line"], 4);

    let missing = llm_proxy(folder.path(), &["check", "--config", "nowhere.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn the_effective_configuration_has_defaults_but_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("llm-proxy.yaml"), SOUND).unwrap();
    for arguments in [&["check", "--effective"][..], &["check", "--effective", "--json"]] {
        let output = llm_proxy(folder.path(), arguments);
        let shown = text(&output.stdout);
        assert!(shown.contains("http://127.0.0.1:11434/v1"), "{shown}");
        assert!(!shown.contains("never-shown"), "{shown}");
    }
}

#[test]
fn without_command_and_configuration_it_says_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    let output = llm_proxy(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("llm-proxy demo"));
    let serve = llm_proxy(folder.path(), &["serve"]);
    assert_eq!(serve.status.code(), Some(2));
    assert!(text(&serve.stderr).contains("llm-proxy.yaml"), "{}", text(&serve.stderr));
    assert_eq!(llm_proxy(folder.path(), &["sreve"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_done_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("server: {{listen: \"{address}\", ops_listen: \"127.0.0.1:0\"}}\n{SOUND}");
    fs::write(folder.path().join("llm-proxy.yaml"), config).unwrap();
    let output = llm_proxy(folder.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("server.listen"), "{}", text(&output.stderr));
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["serve", "demo", "simulate", "check", "schema"] {
        let output = llm_proxy(folder.path(), &[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        assert!(help.contains(&format!("Example: llm-proxy {command}")), "{help}");
    }
    let schema = llm_proxy(folder.path(), &["schema"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&schema.stdout).is_ok());
}
