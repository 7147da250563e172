//! Connections to providers: pooled, warmed, cancelled when nobody waits for the answer any more.

mod answer;
mod body;
mod client;
mod connect;
mod egress;
mod endpoint;
mod exclusive;
mod pool;

pub use answer::{Answer, AnswerBody};
pub use client::HttpClient;
pub use connect::{Http2, Origin, OriginError, OriginOptions};
pub use egress::{EgressProxy, EgressProxyError};
pub use endpoint::{Endpoint, EndpointError};

pub(crate) use body::Segments;
pub(crate) use client::{Outgoing, SendError};
