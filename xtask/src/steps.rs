//! Runs programs, and installs those that are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a step ends with when it fails: a sentence for a person.
pub(crate) type Outcome = Result<(), String>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Runs `program` from the root of the workspace and says how long it took.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Outcome {
    run_with(program, arguments, &[])
}

/// As [`run`], with further environment variables.
pub(crate) fn run_with(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    println!("==> {program} {}", arguments.join(" "));
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    println!("    {:.0} s", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}")) }
}

/// Whether `program ARGUMENTS` runs and succeeds, silently.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs Debian packages of which `program` is not there yet.
pub(crate) fn debian_package(program: &str, packages: &[&str]) -> Outcome {
    if succeeds("sh", &["-c", &format!("command -v {program}")]) {
        return Ok(());
    }
    run("apt-get", &["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    run_with("apt-get", &arguments, &[("DEBIAN_FRONTEND", "noninteractive")])
}

/// Installs a cargo subcommand that is not there yet.
pub(crate) fn cargo_tool(subcommand: &str, package: &str, version: &str) -> Outcome {
    if succeeds("cargo", &[subcommand, "--version"]) {
        return Ok(());
    }
    run("cargo", &["install", "--locked", "--version", version, package])
}
