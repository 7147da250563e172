//! The outline of a body takes what serde takes, and a patch of it is JSON again.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| bodies::json_outline(body));
