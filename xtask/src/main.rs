//! Developer commands: `cargo xtask COMMAND`.

mod steps;
mod tests;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test       everything that must hold before a change lands; installs what it needs
  lint       formatting, clippy with warnings as errors, dependency audit
  unit       unit, property, integration and documentation tests
  clients    official SDKs and curl against gateway and simulator
  schema     writes the configuration's JSON Schema and reference after a change of its types

Example: cargo xtask clients
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let result = match command.as_str() {
        "test" => tests::all(),
        "lint" => tests::lint(),
        "unit" => tests::unit(),
        "clients" => tests::clients(),
        "schema" => tests::write_schema(),
        _ => {
            print!("{HELP}");
            return if matches!(command.as_str(), "--help" | "-h" | "help") {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(2)
            };
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::FAILURE
        }
    }
}
