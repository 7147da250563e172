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
    install(packages)
}

/// Installs Debian packages of servers of which one of `programs` is not there yet, and does not
/// let them start: tests start their own.
pub(crate) fn debian_servers(programs: &[&str], packages: &[&str]) -> Outcome {
    let is_there = |program: &&str| {
        // Debian keeps PostgreSQL's programs outside `PATH`, by version.
        let places = format!("{program} /usr/lib/postgresql/*/bin/{program}");
        let find = format!("for there in {places}; do command -v $there && exit; done; exit 1");
        succeeds("sh", &["-c", &find])
    };
    if programs.iter().all(is_there) {
        return Ok(());
    }
    let _policy = NoServices::new()
        .map_err(|error| format!("{error}; as root: apt-get install {}", packages.join(" ")))?;
    install(packages)
}

/// While it lives, packages start no services when they are installed.
struct NoServices {
    made: bool,
}

impl NoServices {
    /// What Debian's `invoke-rc.d` asks; 101 forbids.
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn new() -> Result<Self, String> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o755).open(Self::POLICY) {
            Ok(mut file) => {
                let policy = Self { made: true };
                std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")
                    .map_err(|error| format!("{} cannot be written: {error}", Self::POLICY))?;
                Ok(policy)
            }
            // This machine has a policy of its own: it stays.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok(Self { made: false })
            }
            Err(error) => Err(format!("{} cannot be made: {error}", Self::POLICY)),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            // Left behind, it would keep services from starting later: say so.
            if let Err(error) = std::fs::remove_file(Self::POLICY) {
                eprintln!("{} must be removed by hand: {error}", Self::POLICY);
            }
        }
    }
}

fn install(packages: &[&str]) -> Outcome {
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
