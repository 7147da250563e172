//! Who calls: organisations, teams, users, virtual keys, roles, and the principals they amount to.
//! No I/O; the clock is an argument.

mod directory;
mod key;
mod level;
mod principal;
mod resource;
mod ring;
mod role;
mod rotation;
mod secret;
mod shards;
pub mod token;
mod view;

pub use directory::{
    AdminEvent, DirectoryError, DirectoryStore, Expected, Record, RecordKind, Replay, Write,
};
pub use key::KeyDigest;
pub use level::{KeyEntry, LevelKind, TeamEntry, TenantEntry, UserEntry};
pub use principal::{LevelLimits, Principal, Refusal, StaticKey, TokenCaller};
pub use resource::{Policy, PreviousSecret, Role, Team, Tenant, Tier, User, VirtualKey};
pub use ring::{KeyRing, Presented};
pub use role::{Actor, Permission, permission_table, visible};
pub use rotation::{Rotation, RotationPolicy};
pub use secret::{NewKey, generate_id, generate_key, generate_ordered_id, is_well_formed_key};
pub use view::{DirectoryView, Opaque, Unreadable};
