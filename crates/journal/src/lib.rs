//! An append-only local journal of records that survive the death of the process.
