//! Engines on the customer's own machines: what they report, which of them has a prompt's beginning
//! in its cache, who waits in front of a full pool and for how long, and which requests share a call.

mod admission;
mod batch;
mod coalesce;
mod engine;
mod fair_queue;
mod job;
mod predictor;
mod prefix;

pub use admission::AdmissionQueue;
pub use batch::{Batch, BatchOptions, MicroBatcher, Part, Pushed, WrongCount, apportion};
pub use coalesce::{
    CallParameters, CoalesceKey, CoalesceOptions, InFlight, Joined, Left, SharedCall, coalesce_key,
};
pub use engine::{EngineKind, EngineLoad, EngineMetricsError, EngineOptions, EngineState};
pub use job::{AdmissionOptions, Enqueued, Job, Next, PriorityClass, RefusalReason, Ticket};
pub use predictor::{OutputFeatures, OutputPredictor, PredictorOptions};
pub use prefix::{
    MAX_ENGINES, PrefixChoice, PrefixHashes, PrefixIndex, PrefixOptions, PrefixReason,
};
