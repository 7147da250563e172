//! SQLite, PostgreSQL and Redis behind the traits of the crates that need them.
