//! Writes what the simulation of outages measures:
//! `cargo run --release -p routing-simulation --example outages > docs/routing-outages.md`.

use routing_simulation::outage::{availability_report, mixed_faults_report};

const SEEDS: u64 = 20;

fn main() {
    println!("# Outages, simulated\n");
    println!(
        "Seeded simulations of discrete events, {SEEDS} seeds each; means over seeds with 95 % \
         intervals. `llm-proxy` is the code that serves requests, on the clock of the simulation: \
         plans, breakers, load, retry budget, without hedging and without limits known in advance. \
         The others are re-implemented: round robin and least loaded with two retries, and LiteLLM's \
         shuffle with cooldown, which does not count errors of the connection.\n"
    );
    println!(
        "`cargo run --release -p routing-simulation --example outages > docs/routing-outages.md`\n"
    );
    println!("## Five deployments, four of them with faults\n");
    println!(
        "20 requests a second for four minutes. One is eight times as slow, one fails 5 % of the \
         calls, one takes 300 requests a minute, one is dead from the first to the third minute.\n"
    );
    println!("{}", mixed_faults_report(SEEDS).table());
    println!("## Three providers, each away 1 % of the time\n");
    println!(
        "5 requests a second for two hours; outages of a minute on average, independent of each \
         other.\n"
    );
    let report = availability_report(SEEDS);
    println!("{}", report.table());
    for row in &report.rows {
        println!("- {}: {:.4} % of the requests are answered", row.strategy, 100.0 - row.lost.mean);
    }
}
