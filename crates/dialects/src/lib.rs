//! Wire formats to and from the canonical exchange, in both directions, whole and streamed.
//!
//! One module a dialect. Where it has a caller's side it offers `decode_request`,
//! `encode_response`, `StreamEncoder` and `encode_error`; where it has a provider's side,
//! `encode_request`, `decode_response`, `StreamDecoder` and `decode_error`. Nothing here does I/O
//! or reads a clock: times and the seeds of ids are arguments.

mod allowed_tools;
pub mod anthropic;
mod conversion;
mod foreign_members;
pub mod gigachat;
pub mod json;
mod object_progress;
mod open_object;
pub mod openai_chat;
pub mod openai_completions;
pub mod openai_embeddings;
pub mod openai_responses;
mod schema_inline;
pub mod sse;
mod stop_cutter;
pub mod structured;
mod tool_history;
pub mod yandexgpt;

pub use conversion::{
    Adaptation, AnswerContext, EncodedError, EncodedRequest, StreamDecode, StreamEncode, Target,
    Unsupported, decode_json, retry_after,
};
pub use stop_cutter::StopCutter;
