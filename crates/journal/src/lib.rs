//! An append-only local journal of records that survive the death of the process.
//!
//! [`Journal::append`] copies a record into a file mapped into memory: 150 to 200 ns for 500 bytes,
//! from any thread, without a lock and without a system call; the first write to a page, and the
//! first after it went to the disk, costs a fault of some microseconds. What it returned for is read back after
//! the process was killed in any way, for the page cache belongs to the kernel. Against a power failure
//! a background thread writes changed pages to the disk every [`Options::sync_interval`];
//! [`Journal::sync`] waits for that.
//!
//! An *open* record ([`Journal::open_record`]) is an intent: it is updated in place while the work
//! goes on ([`OpenRecord::progress`]) and closed with a final payload. One that was never closed,
//! because the process died, is found at the next start ([`Recovery::unfinished`]).
//!
//! One consumer takes finished records in order ([`Journal::next_batch`]) and says how far it came
//! ([`Journal::acknowledge`]). Delivery is at least once: what was delivered and not acknowledged
//! is delivered again, so consumers tell records apart by an id in the payload.
//!
//! # Files
//!
//! Segments (`0000000001.seg`, ...) of a fixed size whose whole length is written with zeros before
//! they are used, so that a full disk is an error when one is made and never a fault when one is
//! written. Only the pages in use are in the memory of the process: about 1 MiB of each segment at
//! most, for what was written and read is left to the page cache; `position`, how far the consumer came; `lock`, which keeps a second process out. The
//! next segment is prepared in the background. A segment goes when all in it is acknowledged and
//! none of its records is open. File systems that copy on write or compress (btrfs, ZFS) do not
//! keep the promise of written zeros; a full disk can be a fault of the process there.
//!
//! # Damage
//!
//! A record has a CRC and names its own place. Behind one that is torn or damaged the reader looks
//! word by word for the next that is whole, so damage costs the records it touches and no others
//! ([`Recovery::damaged`] counts). A segment that was cut off is read as far as it goes
//! ([`Recovery::truncated_segments`]). The header of a segment is there twice; if both are
//! damaged, or it never was one, opening is refused rather than records thrown away. Progress has
//! no CRC. If the position is damaged, all records still there are delivered again.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod background;
mod error;
mod journal;
mod map;
mod options;
mod position;
mod reader;
mod record;
mod recovery;
mod segment;

pub use error::{AcknowledgeError, AppendError, FullCause, OpenError};
pub use journal::{CloseError, Journal, OpenRecord};
pub use options::Options;
pub use reader::{Entry, Sequence};
pub use recovery::{Recovery, Unfinished};
