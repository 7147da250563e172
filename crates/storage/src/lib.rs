//! What is kept for good: SQLite and PostgreSQL behind the traits of the crates that need them. The
//! only crate that knows SQL.
//!
//! One implementation serves both databases: the SQL keeps to what they share, and the few places
//! where they differ ask [`Engine`](database::Engine).

mod database;
mod directory;
mod ledger;
mod migrations;

pub use database::{Database, DatabaseOptions, StorageError};
