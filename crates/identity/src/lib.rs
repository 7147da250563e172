//! Who calls: organisations, teams, users, virtual keys, roles, and the principals they amount to.
//! No I/O; the clock is an argument.

mod directory;
mod key;
mod permission;
mod resource;
mod secret;

pub use directory::{
    AdminEvent, DirectoryError, DirectoryStore, Expected, Record, RecordKind, Replay, Write,
};
pub use key::{KeyDigest, KeyRing, Principal};
pub use permission::Permission;
pub use resource::{Policy, PreviousSecret, Role, Team, Tenant, Tier, User, VirtualKey};
pub use secret::{KEY_PREFIX, NewKey, generate_id, generate_key};
