//! The test command, in parts.

use std::path::Path;

use crate::steps::{Outcome, cargo_tool, debian_package, debian_servers, root, run, run_with};

/// Everything.
pub(crate) fn all() -> Outcome {
    lint()?;
    unit()?;
    clients()
}

/// Formatting, clippy, dependency audit, documentation build.
pub(crate) fn lint() -> Outcome {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    cargo_tool("deny", "cargo-deny", "0.20.2")?;
    run("cargo", &["deny", "--locked", "check", "bans", "licenses", "sources"])?;
    run_with(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

/// Unit, property, integration and documentation tests.
pub(crate) fn unit() -> Outcome {
    servers()?;
    run("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"])
}

/// A certified OpenID provider against the gateway; SDKs and curl against the release binary.
pub(crate) fn clients() -> Outcome {
    debian_package("curl", &["curl"])?;
    debian_package("openssl", &["openssl"])?;
    debian_package("python3", &["python3", "python3-venv"])?;
    debian_package("node", &["nodejs", "npm"])?;
    servers()?;
    run("npm", &["ci", "--prefix", "tests/oidc", "--no-audit", "--no-fund"])?;
    run(
        "cargo",
        &["test", "--locked", "--package", "gateway", "--test", "oidc_provider", "--", "--ignored"],
    )?;
    run("cargo", &["build", "--release", "--locked", "--package", "llm-proxy"])?;
    let environment = root().join("target/client-tests");
    let python = environment.join("bin/python");
    if !python.exists() {
        run("python3", &["-m", "venv", &text(&environment)])?;
    }
    let requirements = text(&root().join("tests/requirements.txt"));
    run(&text(&python), &["-m", "pip", "install", "--quiet", "-r", &requirements])?;
    let unresolved = text(&root().join("tests/requirements-no-deps.txt"));
    run(&text(&python), &["-m", "pip", "install", "--quiet", "--no-deps", "-r", &unresolved])?;
    run("npm", &["ci", "--prefix", "tests/node", "--no-audit", "--no-fund"])?;
    let binary = text(&root().join("target/release/llm-proxy"));
    run_with(
        &text(&python),
        &["-m", "pytest", "-q", "--timeout=120", "tests"],
        &[("LLM_PROXY_BIN", &binary)],
    )
}

/// PostgreSQL and Redis, which tests start by themselves.
fn servers() -> Outcome {
    debian_servers(
        &["initdb", "postgres", "redis-server", "redis-sentinel"],
        &["postgresql", "redis-server", "redis-sentinel"],
    )
}

/// Writes the files that are generated from the configuration's types.
pub(crate) fn write_schema() -> Outcome {
    run_with(
        "cargo",
        &["test", "--package", "config", "generated_files", "--", "--nocapture"],
        &[("UPDATE_GENERATED", "1")],
    )
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
