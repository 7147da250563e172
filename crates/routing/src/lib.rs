//! Chooses which deployment of a route serves a request, and protects deployments from requests
//! and requests from deployments.
//!
//! Everything here is a state machine or a function: the clock (milliseconds of any monotonic
//! clock, [`Millis`]), randomness ([`fastrand::Rng`]) and observations are arguments. The gateway
//! and the simulation feed the same code.

mod balance;
mod bandit;
mod breaker;
mod deployment;
mod failure;
mod features;
mod filter;
mod hedge;
pub mod local;
mod memory;
mod options;
mod patterns;
mod plan;
mod policy;
mod quality;
pub mod replay;
mod request;
mod retry;
mod ridge;
mod steady;
mod stickiness;

pub use balance::{Finish, InFlight, KnownRateLimit, LoadMeter, RateWindow, Taken, pick_two};
pub use bandit::{LearnedOptions, LearnedPolicy, LearnedScores, Outcome};
pub use breaker::{
    Admittance, Breaker, BreakerOptions, Health, OpenReason, SharedHealth, SharedState, Transition,
};
pub use deployment::{Capabilities, DeploymentProfile, QualityPriors, Sensitivity};
pub use failure::{CallOutcome, DEADLINE_EXCEEDED, FailureClass, Remedy, classify, remedy};
pub use features::PromptShape;
pub use filter::{Availability, Facts, FilterReason, Unavailability, filter};
pub use hedge::{FirstTokenQuantile, HedgeBudget, HedgeOptions, hedge_delay};
pub use memory::{
    DecisionError, DecisionRecord, DecisionStore, FeedbackFault, FeedbackRecord, FeedbackResult,
    OutcomeRecord, QualitySource, StoredDecision,
};
pub use options::OptionsFault;
pub use patterns::{
    ComplexityBucket, LanguageBucket, PatternBook, PatternKey, PatternRow, PatternSums,
};
pub use plan::{LearnedChoice, NoCandidate, Plan, PlanOptions, Situation, Standing, plan};
pub use policy::{Offer, Policy, Weights, WeightsError, score};
pub use quality::{QualityBook, QualitySignal};
pub use request::{PromptFeatures, Requirements, RouteRequest, TaskClass};
pub use retry::{Extra, RetryBudget, RetryOptions, backoff};
pub use stickiness::Stickiness;

#[cfg(test)]
mod tests;

/// Milliseconds on a clock of the process. It should not go backwards; what happens if it does is
/// that nothing ages for that time.
pub type Millis = u64;
