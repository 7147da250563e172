//! A seeded world of discrete events in which the policies of `routing` are compared: the code that
//! serves requests, run on a clock of its own.

pub mod outage;
pub mod pool;
