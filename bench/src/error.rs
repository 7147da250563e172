//! What stops a benchmark.

use std::io;

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something the system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        source: io::Error,
    },
    /// A server under test did not come up or is not installed.
    #[error("{0}")]
    Setup(String),
    /// Results could not be written as JSON.
    #[error("writing results: {0}")]
    Json(#[from] serde_json::Error),
    /// SIGINT or SIGTERM came.
    #[error("interrupted")]
    Interrupted,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Names what was being done when an I/O error came.
pub(crate) trait Doing<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: doing(), source })
    }
}
