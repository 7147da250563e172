//! Answers, streams and errors of providers.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Vec<u8>)| bodies::provider_answers(input.0, &input.1));
