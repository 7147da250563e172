//! Writes what the simulation of a pool measures:
//! `cargo run --release -p routing-simulation --example pools > docs/routing-pools.md`.

use routing_simulation::pool::{admission_report, prefix_report};

const SEEDS: u64 = 20;

fn main() {
    println!("# Pools of local engines, simulated\n");
    println!(
        "Seeded simulations of discrete events over the code that serves requests, {SEEDS} seeds \
         each; in brackets 95 % intervals of the mean over seeds.\n"
    );
    println!(
        "`cargo run --release -p routing-simulation --example pools > docs/routing-pools.md`\n"
    );
    println!("## The queue: mixed short and long answers of several tenants on one pool\n");
    println!("{}", admission_report(SEEDS).table().trim_end());
    println!("\n## Prefix affinity: several engines, conversations that share beginnings\n");
    println!("{}", prefix_report(SEEDS).table().trim_end());
}
