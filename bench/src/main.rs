//! Load generator and comparison harness.
//!
//! `run` compares llm-proxy with nginx and with other gateways, all between the same load generator
//! and the same simulated providers; `load` is the generator alone; `peers` installs the others;
//! `accounting` measures what keys, limits, budgets and the ledger cost a request.
//! What the figures mean is in `docs/benchmarks.md`.

mod accounting;
mod command_line;
mod compare;
mod error;
mod fixed_provider;
mod http1;
mod load;
mod procfs;
mod readings;
mod report;
mod results;
mod scenario;
mod server;
mod sse;
mod stats;
mod systems;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command_line::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
