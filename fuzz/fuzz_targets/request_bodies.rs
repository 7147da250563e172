//! Bodies of callers, read in each dialect.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| bodies::request_bodies(body));
