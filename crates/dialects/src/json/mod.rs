//! JSON as bytes: writing it without intermediate values, and finding the members of an object
//! without building one.

mod outline;
mod patch;
mod writer;

pub use outline::{Outline, OutlineError};
pub use patch::Patch;
pub use writer::{JsonWriter, push_string};
