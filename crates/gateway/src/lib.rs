//! HTTP surfaces and the request pipeline. [`pipeline`] is the file to read first: it is the path
//! of one request, top to bottom.

pub mod accounting;
mod answer_headers;
mod batching;
mod codec;
mod counting;
mod dispatch;
mod embedding;
mod exchange;
mod failover;
mod feedback;
mod gateway;
mod guard;
mod headers;
mod heartbeat;
mod limits;
mod models;
pub mod oidc;
mod operations;
pub mod pipeline;
mod race;
mod rate_limits;
mod receive;
mod relay;
mod reply;
mod requirements;
mod routing;
pub mod server;
mod snapshot;
mod surface;
mod tap;
mod websocket;
mod worker;

pub use gateway::{Gateway, Readiness};
pub use guard::{GuardSetup, GuardSetupOptions};
pub use limits::BodyLimits;
pub use operations::serve_operations;
pub use routing::{
    DecisionMemory, DeploymentState, Pool, PoolOptions, Recorded, RouteState, router_now,
    tell_transition,
};

pub use snapshot::{
    AccessLog, Deployment, DeploymentOptions, Fallbacks, MissingPrice, Route, Settings, Snapshot,
};
