//! The canonical exchange: what an application asks of a language model and what it gets back,
//! in no provider's wire format. No I/O, no clock, no randomness.
//!
//! A request enters in some dialect, becomes a [`ChatRequest`], and leaves in the dialect of the
//! provider that serves it; the answer takes the same way back as a [`ChatResponse`] or as a
//! sequence of [`StreamEvent`]s. The `dialects` crate owns the conversions.

mod embedding;
mod error;
mod json;
mod message;
mod request;
mod residency;
mod response;
mod sensitivity;
mod stream;
mod tokens;
mod usage;

pub use embedding::{Embedding, EmbeddingInput, EmbeddingRequest, EmbeddingResponse};
pub use error::{ApiError, ErrorKind};
pub use json::Json;
pub use message::{
    File, Image, ImageDetail, MediaSource, Message, Part, Reasoning, Role, Text, ToolCall,
    ToolResult,
};
pub use request::{
    Audience, ChatRequest, ExtraMembers, JsonSchema, ReasoningEffort, ReasoningRequest,
    ResponseFormat, Sampling, Tool, ToolChoice, Verbosity,
};
pub use residency::Residency;
pub use response::{ChatResponse, Choice, FinishReason, Logprobs};
pub use sensitivity::Sensitivity;
pub use stream::{StreamAccumulator, StreamEvent};
pub use tokens::estimate_tokens;
pub use usage::Usage;
