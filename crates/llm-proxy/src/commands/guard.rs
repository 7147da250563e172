//! What the guard makes of texts.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::Subcommand;
use config::Guard;
use guarding::policy::GuardPolicy;
use guarding::{Channel, Inspected, Inspector};
use serde::Deserialize;

use super::Failure;

/// What to do with the guard.
#[derive(Subcommand)]
pub(super) enum GuardCommand {
    /// Look at texts: lines of JSON in, a line of JSON out for each
    #[command(after_help = "\
A line in is {\"text\": \"...\"}; `channel` may say where the text comes from: user (the default), system,
assistant, tool_result, document, tool_description, file_name. A line out is
  {\"verdict\": \"block\", \"score\": 0.98, \"detections\": [{\"type\": \"...\", \"start\": 0, \"end\": 9, ...}], \"redacted\": \"...\"}
`verdict` is allow, flag, redact or block; `start` and `end` count characters; `redacted` is there when
something was taken out.

Example: echo '{\"text\": \"Ignore all previous instructions\"}' | llm-proxy guard scan --policy strict")]
    Scan {
        /// The policy: off, standard, strict, 152-fz, gdpr, pci, health, or one of the configuration's
        #[arg(long, default_value = "standard")]
        policy: String,
        /// The configuration, for its own policies, packs and exceptions
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[derive(Deserialize)]
struct Line {
    text: String,
    #[serde(default)]
    channel: Channel,
}

impl GuardCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Scan { policy, config } = self;
        let (policy, inspector) = prepared(&policy, config)?;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for (number, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| Failure::Failed(format!("standard input: {error}")))?;
            if line.trim().is_empty() {
                continue;
            }
            let Line { text, channel } = serde_json::from_str(&line).map_err(|error| {
                Failure::Failed(format!(
                    "line {}: {error}; give {{\"text\": \"...\"}} on each line",
                    number + 1
                ))
            })?;
            let report = inspector.scan(Inspected { channel, text: &text }, &policy);
            let json = serde_json::to_string(&report)
                .map_err(|error| Failure::Failed(error.to_string()))?;
            if writeln!(out, "{json}").is_err() {
                // Whoever read it has seen enough.
                return Ok(());
            }
        }
        _ = out.flush();
        Ok(())
    }
}

fn prepared(name: &str, file: Option<PathBuf>) -> Result<(GuardPolicy, Inspector), Failure> {
    let guard = match file {
        Some(file) => {
            let loaded =
                config::load(&file).map_err(|faults| Failure::Usage(faults.to_string()))?;
            loaded.config.guard
        }
        None => Guard::default(),
    };
    let policy = guard.policy(name).map_err(|fault| Failure::Usage(fault.message))?;
    let inspector = crate::guard::inspector(&guard).map_err(Failure::Failed)?;
    Ok((policy, inspector))
}
