//! YandexGPT's own REST API (`TextGeneration/completion`), the provider's side.
//!
//! What sets it apart: a stream is lines of JSON that each repeat the whole text so far; numbers of
//! tokens are strings; calls have no ids, and their results come back all together, by name and
//! order.

mod embeddings;
mod error;
mod request;
mod response;
mod stream;
mod tokens;

pub use embeddings::{decode_embedding, encode_embedding};
pub use error::decode_error;
pub use request::encode_request;
pub use response::decode_response;
pub use stream::StreamDecoder;
pub use tokens::decode_token_count;
