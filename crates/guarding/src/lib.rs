//! Finds personal data, secrets and attacks in text, and says what to do about them.
//!
//! Pure: text and policies in, findings and verdicts out; no I/O, no clock. Engines are linear in the
//! length of the text by construction (automata, counters, sums); nothing here backtracks.

pub mod classifier;
pub mod finding;
pub mod identifiers;
pub mod names;
pub mod normalise;
pub mod patterns;
pub mod secrets;

pub use finding::{Category, Finding, Group};
