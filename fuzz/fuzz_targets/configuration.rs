//! The configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    _ = config::load_text("llm-proxy.yaml", text, &|_| None);
});
