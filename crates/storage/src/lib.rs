//! What is kept and what is shared: SQLite and PostgreSQL for what is kept for good, Redis for what
//! replicas share, behind the traits of the crates that need them. The only crate that knows SQL or
//! Redis commands.
//!
//! One implementation serves both databases: the SQL keeps to what they share, and the few places
//! where they differ ask which engine it is.

mod database;
mod decisions;
mod directory;
mod ledger;
mod local;
mod migrations;
pub mod redis;
pub mod shared;
#[cfg(feature = "testing")]
pub mod testing_postgres;
#[cfg(feature = "testing")]
pub mod testing_redis;

pub use database::{Database, DatabaseOptions, StorageError};
pub use local::{LocalHub, LocalShared};
