//! OpenAI's chat completions, for callers and for the many providers that speak it.
//!
//! Strict with callers, tolerant with providers: vLLM, DashScope, Azure, Ollama, Gemini and others
//! each leave something out or add something.

mod error;
mod request_decode;
mod request_encode;
mod request_wire;
mod response;
mod stream_decode;
mod stream_encode;
mod stream_tap;
mod tokens;
mod usage;

pub use error::{decode_error, encode_error};
pub use request_decode::decode_request;
pub use request_encode::encode_request;
pub use response::{ResponseTap, decode_response, encode_response};
pub use stream_decode::StreamDecoder;
pub use stream_encode::StreamEncoder;
pub use stream_tap::StreamTap;
pub use tokens::{decode_token_count, encode_token_count};

pub(crate) use error::write_error;
pub(crate) use usage::write_usage;
