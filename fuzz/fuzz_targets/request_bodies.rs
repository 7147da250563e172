//! Bodies of callers, read in each dialect.
#![no_main]

use dialects::{anthropic, openai_chat, openai_completions, openai_embeddings, openai_responses};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    _ = openai_chat::decode_request(body);
    _ = openai_responses::decode_request(body);
    _ = openai_completions::decode_request(body);
    _ = openai_embeddings::decode_request(body);
    _ = anthropic::decode_request(body);
    _ = anthropic::decode_count_tokens_request(body);
});
