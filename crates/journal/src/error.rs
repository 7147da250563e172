use std::io;
use std::path::PathBuf;

/// A journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option is out of its range.
    #[error("journal option {name}: {problem}")]
    Option {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another journal, of this or another process, has the directory open.
    #[error("journal {0} is in use by another process")]
    Locked(PathBuf),
    /// A file has a segment's name but was not written by a journal.
    #[error("{0} is not a journal segment; move it out of the directory")]
    Foreign(PathBuf),
    /// A segment was written by another version of the format.
    #[error("{path} has journal format {version}, this program knows format {known}")]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        version: u64,
        /// The format of this program.
        known: u64,
    },
    /// There is no room for the first segment.
    #[error("no room for a segment: {0}")]
    Full(FullCause),
    /// The file system refused.
    #[error("journal file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why no new segment can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FullCause {
    /// `max_total_bytes` is reached: what was written has not been acknowledged.
    #[error("max_total_bytes is reached")]
    Limit,
    /// The file system refused; mostly `StorageFull`.
    #[error("{0}")]
    Disk(io::ErrorKind),
    /// Too many open records hold a reserve.
    #[error("the reserves of open records are used up")]
    Reserves,
}

/// A record was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The payload does not fit a record.
    #[error("a record of {bytes} bytes is larger than {limit}")]
    TooLarge {
        /// Bytes of the payload, or of the reserve.
        bytes: usize,
        /// The largest.
        limit: usize,
    },
    /// No room, and none can be made.
    #[error("the journal is full: {0}")]
    Full(FullCause),
    /// The journal was dropped and its last segment is full.
    #[error("the journal is closed")]
    Closed,
}

/// What was acknowledged was never delivered.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    /// The sequence is after the last one that `next_batch` returned.
    #[error("sequence {0} was not delivered")]
    NotDelivered(u64),
    /// The position could not be written. What was acknowledged may be delivered again after a
    /// restart.
    #[error("journal position: {0}")]
    Io(#[from] io::Error),
}
