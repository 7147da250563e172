//! OpenAI's Responses API for callers, without stored state; a provider that speaks it gets the
//! caller's bytes, and [`StreamTap`] watches what comes back.
//!
//! The format is that of the `openai` SDK's types. The same events serve HTTP and WebSocket:
//! [`StreamEncoder::events`] yields them bare, [`StreamEncode`](crate::StreamEncode) framed.

mod echo;
mod error;
mod input_decode;
mod item;
mod open_item;
mod request_decode;
mod request_wire;
mod response;
mod stream_encode;
mod stream_tap;

#[cfg(test)]
mod tests;

pub use echo::Echo;
pub use error::encode_error;
pub use request_decode::{DecodedRequest, decode_request};
pub use response::encode_response;
pub use stream_encode::StreamEncoder;
pub use stream_tap::{Outcome, StreamTap, observe_response};
