//! GigaChat, API v1, the provider's side.
//!
//! What sets it apart: one system message, which must be first; one function call an answer, its
//! arguments an object; results of functions by name, as JSON; no ids of calls, but a
//! `functions_state_id` that must come back, which travels in the id that the caller sees.

mod embeddings;
mod error;
mod function_schema;
mod request;
mod response;
mod state_id;
mod stream;
mod tokens;

pub use embeddings::{decode_embeddings, encode_embeddings};
pub use error::decode_error;
pub use request::encode_request;
pub use response::decode_response;
pub use stream::StreamDecoder;
pub use tokens::{decode_token_count, encode_token_count};
