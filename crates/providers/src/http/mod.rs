//! Connections to providers: pooled, warmed, cancelled when nobody waits for the answer any more.

mod answer;
mod body;
mod connect;
mod pool;

pub use answer::{Answer, AnswerBody};
pub use connect::{Http2, Origin, OriginError, OriginOptions};
pub use pool::HttpClient;

pub(crate) use body::Segments;
pub(crate) use pool::Outgoing;
