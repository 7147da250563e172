//! Engines on the customer's own machines: what they report, which of them has a prompt's beginning
//! in its cache, who waits in front of a full pool and for how long, and which requests share a call.

mod admission;
mod fair_queue;
mod job;

pub use admission::AdmissionQueue;
pub use job::{AdmissionOptions, Enqueued, Job, Next, PriorityClass, RefusalReason, Ticket};
