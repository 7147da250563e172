//! Events are the same wherever the stream is cut, and taps forward what came.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Vec<u8>)| bodies::sse(input.0, &input.1));
