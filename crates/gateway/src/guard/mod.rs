//! Finds personal data and attacks in what goes in and comes out, and acts on them.

mod contents;
mod input;
mod output;
mod restore;
mod setup;

pub(crate) use input::{Guarded, inspect_input};
pub(crate) use output::inspect_output;
pub(crate) use restore::RestoreFilter;
pub use setup::{GuardSetup, GuardSetupOptions};
