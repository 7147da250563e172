//! `llm-proxy route replay`: what is read, what is printed, how it ends.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn replay(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llm-proxy"))
        .args(["route", "replay"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A dear deployment that is right in 8 of 10 rows, a cheap one that is right in 5 of 10.
fn table() -> String {
    (0..40).fold(String::new(), |mut text, row| {
        let (strong, weak) = (row % 10 < 8, row % 2 == 0);
        _ = writeln!(
            text,
            r#"{{"prompt": "Question {row}?", "task": "t", "outcomes": {{"weak": {{"correct": {weak}, "prompt_tokens": 10, "completion_tokens": 2, "cost_usd": 0.1}}, "strong": {{"correct": {strong}, "prompt_tokens": 10, "completion_tokens": 2, "cost_usd": 1.0}}}}}}"#
        );
        text
    })
}

/// Decisions by the toss of a coin.
fn log() -> String {
    (0..200).fold(String::new(), |mut text, row| {
        let strong = row % 2 == 0;
        let (name, cost) = if strong { ("strong", 1_000_000_000) } else { ("weak", 100_000_000) };
        let quality = if (row / 2) % 10 < if strong { 8 } else { 5 } { 1 } else { 0 };
        _ = writeln!(
            text,
            r#"{{"request_id": "r{row}", "at_ms": {row}, "route": "chat", "class": "conversation", "features": {{"class": "conversation", "complexity": 0.5, "log_tokens": 4.0, "cyrillic": 0, "code": 0, "mathematics": 0, "turns": 1, "tools": 0, "images": 0, "topic": [1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}, "chosen": "{name}", "propensity": 0.5, "outcome": {{"status": 200, "cost_nanos": {cost}, "quality": {quality}}}}}"#
        );
        text
    })
}

fn report(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = replay(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

fn mean(report: &serde_json::Value, policy: &str, figure: &str) -> f64 {
    let policies = report["policies"].as_array().expect("policies");
    let found = policies.iter().find(|found| found["policy"] == policy).expect("the policy");
    found[figure]["mean"].as_f64().expect("a number")
}

#[test]
fn a_table_is_played() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("table.jsonl"), table()).unwrap();
    let arguments = ["table.jsonl", "--seed", "3", "--shuffles", "2", "--json"];
    let played = report(folder.path(), &arguments);
    assert_eq!(played["best_single"], "strong");
    let near = |policy, figure, wanted: f64| {
        let found = mean(&played, policy, figure);
        assert!((found - wanted).abs() < 1e-9, "{policy} {figure}: {found}, not {wanted}");
    };
    near("best-single", "quality", 0.8);
    near("best-single", "regret", 0.1);
    // Of ten rows, four are answered by the strong one alone; one by none, so at the lower price.
    near("oracle", "quality", 0.9);
    near("oracle", "cost", 0.46);
    near("cost", "quality", 0.5);
    near("cost", "relative_cost", 0.1);
    near("quality", "relative_quality", 1.0);
    assert_eq!(played, report(folder.path(), &arguments), "the same seed, the same report");

    let shown = replay(folder.path(), &["table.jsonl", "--policy", "cost", "--shuffles", "1"]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = text(&shown.stdout);
    assert!(shown.contains("best single: strong") && shown.contains("0.5000 ["), "{shown}");
    assert!(!shown.contains("oracle"), "{shown}");
}

#[test]
fn a_log_is_estimated() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("log.jsonl"), log()).unwrap();
    let estimated = report(folder.path(), &["log.jsonl", "--json"]);
    assert_eq!(estimated["method"], "doubly_robust");
    assert_eq!(estimated["best_single"], "strong");
    for (policy, quality, cost) in
        [("quality", 0.8, 1.0), ("cost", 0.5, 0.1), ("random", 0.65, 0.55)]
    {
        let found = (mean(&estimated, policy, "quality"), mean(&estimated, policy, "cost"));
        assert!((found.0 - quality).abs() < 0.03, "{policy}: {found:?}");
        assert!((found.1 - cost).abs() < 0.01, "{policy}: {found:?}");
    }
}

#[test]
fn faults_are_told_by_line_and_end_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = |name: &str, content: String, told: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        let output = replay(folder.path(), &[name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    };
    wrong("broken.jsonl", format!("{}{{\"prompt\": ", table()), "broken.jsonl:41: ");
    wrong("mixed.jsonl", table() + &log(), "mixed.jsonl:41: ");
    wrong("other.jsonl", "{\"a\": 1}\n".to_owned(), "other.jsonl:1: expected");
    wrong(
        "range.jsonl",
        table().replacen("\"cost_usd\": 0.1", "\"cost_usd\": -1", 1),
        "range.jsonl:1: ",
    );
    wrong("chance.jsonl", log().replacen("0.5, \"outcome", "0, \"outcome", 1), "chance.jsonl:1: ");
    wrong("empty.jsonl", "\n".to_owned(), "empty.jsonl: has no outcome");
    assert_eq!(replay(folder.path(), &["nowhere.jsonl"]).status.code(), Some(2));
    assert_eq!(replay(folder.path(), &["empty.jsonl", "--policy", "luck"]).status.code(), Some(2));
}
