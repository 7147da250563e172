//! Anthropic's Messages API, for callers and for providers that speak it.
//!
//! Both sides hold the format of the `anthropic` SDK's types: content blocks, thinking with
//! signatures, tools with `input` objects, structured output in `output_config`. A conversation
//! has two sides there: system texts are lifted out, tool results stand in the user's turns.

mod error;
mod messages_encode;
mod models;
mod request_checks;
mod request_decode;
mod request_encode;
mod request_wire;
mod response;
mod stream_decode;
mod stream_encode;
mod structured;
mod thinking;
mod usage;

/// Stands before the names of members of `output_config` among those that nobody here interprets.
const OUTPUT_CONFIG: &str = "output_config.";

#[cfg(test)]
pub(crate) mod tests;

pub use error::{decode_error, encode_error};
pub use request_decode::{decode_count_tokens_request, decode_request};
pub use request_encode::{encode_count_tokens_request, encode_request};
pub use response::{decode_count_tokens, decode_response, encode_count_tokens, encode_response};
pub use stream_decode::StreamDecoder;
pub use stream_encode::StreamEncoder;
