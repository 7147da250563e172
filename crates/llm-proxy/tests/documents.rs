//! What the documents of the repository promise and a program can check: examples without a
//! fault, two README files that say the same, links that lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that hold no documents of ours.
const FOREIGN: [&str; 6] = ["target", "node_modules", ".git", "results", "peers", ".pytest_cache"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with this extension, but for foreign folders.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !FOREIGN.contains(&name.as_str()) {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let found = files(&root(), "md");
    assert!(found.len() > 10, "{found:?}");
    found
}

/// Text and fenced blocks of a document, apart. The first line of a block is its language.
fn split(document: &str) -> (Vec<&str>, Vec<String>) {
    let (mut text, mut blocks) = (Vec::new(), Vec::new());
    let mut open: Option<String> = None;
    for line in document.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(language)) => Some(format!("{language}\n")),
            (None, None) => {
                text.push(line);
                None
            }
            (Some(block), Some(_)) => {
                blocks.push(block);
                None
            }
            (Some(block), None) => Some(format!("{block}{line}\n")),
        };
    }
    assert!(open.is_none(), "a block is not closed");
    (text, blocks)
}

fn headings<'t>(text: &[&'t str]) -> Vec<&'t str> {
    text.iter().filter(|line| line.starts_with('#')).copied().collect()
}

/// The name by which a heading is linked to: letters and digits in lower case, blanks as hyphens.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Targets of `[text](target)`.
fn links(line: &str) -> Vec<&str> {
    let pieces = line.split("](").skip(1);
    pieces.filter_map(|piece| piece.split_once(')')).map(|(target, _)| target).collect()
}

/// Files that variables of the environment name, as far as `check` looks into them.
struct Environment {
    folder: tempfile::TempDir,
}

impl Environment {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("certificate.pem", "-----BEGIN CERTIFICATE-----\n"),
            ("key.pem", "-----BEGIN PRIVATE KEY-----\n"),
            ("account.json", simulator::YANDEX_SERVICE_ACCOUNT_KEY),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        Self { folder }
    }

    /// A value that fits the name of the variable: hashes are hashes, files exist.
    fn value(&self, name: &str) -> String {
        let file = |file: &str| self.folder.path().join(file).display().to_string();
        match name {
            "TLS_KEY" | "GIGACHAT_KEY" => file("key.pem"),
            "YANDEX_SERVICE_ACCOUNT_KEY" => file("account.json"),
            "AZURE_ENDPOINT" => "https://models.example.com".to_owned(),
            _ if name.ends_with("_CA") || name.ends_with("_CERTIFICATE") => file("certificate.pem"),
            // Different keys have different hashes.
            _ if name.ends_with("_SHA256") => format!("{:02x}", name.as_bytes()[1]).repeat(32),
            _ => format!("value-of-{name}"),
        }
    }

    /// Values of all variables that `text` refers to and gives no default for.
    fn of(&self, text: &str) -> Vec<(String, String)> {
        let names = text.split("${").skip(1).filter_map(|piece| piece.split_once('}'));
        let names = names.map(|(name, _)| name).filter(|name| !name.contains(":-"));
        names.map(|name| (name.to_owned(), self.value(name))).collect()
    }
}

#[test]
fn check_finds_no_fault_in_the_examples() {
    let environment = Environment::new();
    let examples = files(&root().join("examples"), "yaml");
    assert!(examples.len() >= 16, "{examples:?}");
    for path in examples {
        let output = Command::new(env!("CARGO_BIN_EXE_llm-proxy"))
            .args(["check", "--config"])
            .arg(&path)
            .env_clear()
            .envs(environment.of(&read(&path)))
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}:\n{said}", path.display());
    }
}

#[test]
fn configurations_in_documents_have_no_faults() {
    let environment = Environment::new();
    let mut checked = 0;
    for path in documents() {
        let document = read(&path);
        for block in split(&document).1 {
            let Some(text) = block.strip_prefix("yaml\n") else { continue };
            if !text.contains("providers:") {
                continue;
            }
            // A fragment becomes whole by what every configuration needs.
            let mut whole = text.to_owned();
            if !text.contains("models:") {
                let name = text.lines().skip(1).find_map(|line| line.trim().split_once(':'));
                let name = name.expect("a provider").0;
                whole.push_str(&format!(
                    "models: [{{name: m, deployments: [{{provider: {name}, model: m}}]}}]\n"
                ));
            }
            if !text.contains("limits:") {
                whole.push_str("limits: {missing_price: free}\n");
            }
            if !text.contains("identity:") {
                whole.push_str("identity: {static_keys: [{name: dev, key: \"${DEV_KEY}\"}]}\n");
            }
            let name = path.display().to_string();
            if let Err(faults) =
                config::load_text(&name, &whole, &|name| Some(environment.value(name)))
            {
                panic!("{name}:\n{faults}\n{whole}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn both_readmes_say_the_same() {
    let (english, russian) = (read(&root().join("README.md")), read(&root().join("README.ru.md")));
    let ((english, english_blocks), (russian, russian_blocks)) = (split(&english), split(&russian));
    assert_eq!(english_blocks, russian_blocks);
    let levels = |text: &[&str]| -> Vec<usize> {
        headings(text).iter().map(|line| line.chars().take_while(|c| *c == '#').count()).collect()
    };
    assert_eq!(levels(&english), levels(&russian));
    let rows = |text: &[&str]| text.iter().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows(&english), rows(&russian), "rows of tables");
    let targets = |text: &[&str]| -> BTreeSet<String> {
        let targets = text.iter().flat_map(|line| links(line)).map(str::to_owned);
        targets.filter(|target| !target.starts_with("README")).collect()
    };
    assert_eq!(targets(&english), targets(&russian));
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    for path in documents() {
        let document = read(&path);
        for line in split(&document).0 {
            for target in links(line) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, section) = target.split_once('#').unwrap_or((target, ""));
                let folder = path.parent().expect("a folder");
                let file = if file.is_empty() { path.clone() } else { folder.join(file) };
                let there = file.exists()
                    && (section.is_empty()
                        || headings(&split(&read(&file)).0)
                            .iter()
                            .any(|heading| anchor(heading) == section));
                if !there {
                    broken.push(format!("{}: {target}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_error_code_of_the_request_path_is_documented() {
    let documented = read(&root().join("docs/errors.md"));
    let mut missing = BTreeSet::new();
    for folder in ["gateway/src", "providers/src", "dialects/src"] {
        for path in files(&root().join("crates").join(folder), "rs") {
            if path.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            for piece in read(&path).split("with_code(\"").skip(1) {
                let code = piece.split('"').next().unwrap_or_default();
                if !documented.contains(&format!("`{code}`")) {
                    missing.insert(code.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/errors.md: {missing:?}");
}

#[test]
fn every_metric_is_documented() {
    let documented = read(&root().join("docs/operations.md"));
    let metrics = telemetry::Metrics::new();
    metrics.count_reload(true);
    let text = metrics.encode();
    let names = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some(if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
    });
    let missing: Vec<String> =
        names.filter(|name| !documented.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
    assert!(text.contains("llm_proxy_panics"), "{text}");
}
