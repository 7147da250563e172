//! Deployments that are slow, fail, refuse or die, and callers who should not notice.

mod ours;
mod scenario;
mod strategy;
mod world;

pub use ours::Router;
pub use scenario::{OutageReport, StrategyRow, availability_report, mixed_faults_report};
pub use strategy::{LeastLoaded, LiteLlmShuffle, RoundRobin, Strategy};
pub use world::{Fault, Run, Simulated, World, run};
