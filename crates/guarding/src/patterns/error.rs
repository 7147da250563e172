//! What can be wrong with a pack.

/// A fault of a pack, where it is, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}; {remedy}")]
pub struct PackError {
    /// Name of the file, as it was given to [`Pack::parse`](super::Pack::parse).
    pub file: String,
    /// From 1; 0 if the whole file is meant.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to change.
    pub remedy: String,
}

impl PackError {
    pub(super) fn new(
        file: &str,
        line: u64,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { file: file.to_owned(), line, message: message.into(), remedy: remedy.into() }
    }
}
