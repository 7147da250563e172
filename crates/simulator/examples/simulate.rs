//! The simulator by itself, for tests that have no `llm-proxy` binary yet.
//!
//! `cargo run -p simulator --example simulate -- --listen 127.0.0.1:8090`

use clap::Parser;

#[derive(Parser)]
struct Cli {
    /// So that the arguments are those of `llm-proxy simulate`.
    #[arg(value_parser = ["simulate"])]
    command: Option<String>,
    #[command(flatten)]
    simulate: simulator::SimulateArgs,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    let _ = cli.command;
    simulator::run(cli.simulate.options()?)?;
    Ok(())
}
