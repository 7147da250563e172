//! The load generator: one thread, N connections, requests prepared as bytes.

mod caller;
mod closed;
mod connection;
mod idle;
mod open;
mod pacer;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use idle::hold_streams;
pub(crate) use tally::Outcome;

/// A request ready to be written to a socket.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) address: SocketAddr,
    /// Request line, headers and body.
    pub(crate) bytes: Vec<u8>,
    /// Whether the answer must be a complete event stream.
    pub(crate) streamed: bool,
}

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Each connection sends its next request as soon as it has the last answer.
    Closed,
    /// Requests are due at fixed times, whatever the answers do; latency counts from the due time,
    /// so that a stalled server is charged for the requests it kept from being sent.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// One bounded run of load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    /// How long requests are sent.
    pub(crate) duration: Duration,
    /// How long answers are waited for after that.
    pub(crate) grace: Duration,
    /// Largest number of requests.
    pub(crate) max_requests: u64,
}

/// Drives the server as planned and returns what was seen.
pub(crate) fn run(request: Request, plan: &Plan) -> io::Result<Outcome> {
    match plan.pace {
        Pace::Closed => on_this_thread(closed::run(request, plan)),
        Pace::Open { rate } => on_this_thread(open::run(request, plan, rate))?,
    }
}

/// Runs a future that spawns local tasks; the tasks end with it.
fn on_this_thread<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}

#[cfg(test)]
mod tests;
