//! HTTP surfaces and the request pipeline. [`pipeline`] is the file to read first: it is the path
//! of one request, top to bottom.

pub mod accounting;
mod answer_headers;
mod codec;
mod counting;
mod dispatch;
mod embedding;
mod exchange;
mod gateway;
mod headers;
mod heartbeat;
mod limits;
mod models;
pub mod oidc;
mod operations;
pub mod pipeline;
mod rate_limits;
mod receive;
mod relay;
mod reply;
mod requirements;
pub mod server;
mod snapshot;
mod surface;
mod tap;
mod websocket;
mod worker;

pub use gateway::{Gateway, Readiness};
pub use limits::BodyLimits;
pub use operations::serve_operations;

pub use snapshot::{
    AccessLog, Deployment, DeploymentOptions, MissingPrice, Route, Settings, Snapshot,
};
