//! The command line.

mod demo;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "llm-proxy", version, about = "A gateway between applications and language models")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Simulated providers, gateway and sample keys in a temporary directory
    Demo {
        /// Where callers connect
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Print one line of JSON when ready
        #[arg(long)]
        json: bool,
    },
    /// The provider simulator alone
    Simulate(simulator::SimulateArgs),
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo { listen, json } => demo::run(listen, json),
        Command::Simulate(arguments) => arguments
            .options()
            .map_err(|error| error.to_string())
            .and_then(|options| simulator::run(options).map_err(|error| error.to_string())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llm-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
