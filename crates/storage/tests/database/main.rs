//! What holds of every database: the same checks, on SQLite and on PostgreSQL.

#[macro_use]
mod fixture;
mod decisions;
mod directory;
mod ledger;
mod opening;
mod outage;
