//! Who calls: organisations, teams, users, virtual keys, roles, and the principals they amount to.
//! No I/O; the clock is an argument.

mod directory;
mod key;
mod resource;

pub use directory::{
    AdminEvent, DirectoryError, DirectoryStore, Expected, Record, RecordKind, Replay, Write,
};
pub use key::{KeyDigest, KeyRing, Principal};
pub use resource::{Policy, PreviousSecret, Role, Team, Tenant, Tier, User, VirtualKey};
