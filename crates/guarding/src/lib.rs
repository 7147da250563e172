//! Finds personal data, secrets and attacks in text, and says what to do about them.
//!
//! Pure: text and policies in, findings and verdicts out; no I/O, no clock. Engines are linear in the
//! length of the text by construction (automata, counters, sums); nothing here backtracks.

mod anchored;
pub mod attacks;
mod channel;
pub mod classifier;
pub mod finding;
mod fold;
pub mod identifiers;
mod inspect;
pub mod leaks;
pub mod names;
pub mod normalise;
pub mod patterns;
pub mod policy;
pub mod pseudonyms;
mod scan;
pub mod secrets;
pub mod spotlight;
pub mod template_tokens;

pub use channel::Channel;
pub use finding::{Category, Finding, Group};
pub use inspect::{Detection, Exceptions, GuardRefusal, Inspected, Inspection, Inspector, Verdict};
pub use scan::{ScanDetection, ScanReport};
