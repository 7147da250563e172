//! Identical requests that are in flight share one call to a provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chat::ApiError;
use http::HeaderMap;
use parking_lot::Mutex;
use routing::local::{
    CallParameters, CoalesceKey, CoalesceOptions, InFlight, Joined, SharedCall, coalesce_key,
};
use tokio::sync::watch;

use crate::exchange::Exchange;
use crate::receive::Received;
use crate::snapshot::Deployment;
use crate::surface::Surface;

/// What came of a call, for all who share it.
#[derive(Debug, Clone)]
pub(crate) struct SharedAnswer {
    pub(crate) deployment: Option<Arc<Deployment>>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Told = Option<Result<Arc<SharedAnswer>, ApiError>>;

/// The calls of a route that requests share.
#[derive(Debug)]
pub(crate) struct Coalescer {
    calls: Mutex<Calls>,
}

#[derive(Debug)]
struct Calls {
    in_flight: InFlight,
    answers: BTreeMap<SharedCall, watch::Sender<Told>>,
}

/// A request's part in a call.
pub(crate) enum Part {
    /// It makes the call, and tells the others.
    Leader(Lead),
    /// It waits for what another request gets.
    Follower(watch::Receiver<Told>),
    /// It makes a call of its own.
    Alone,
}

/// The duty to tell the others. Dropping it lets them make calls of their own.
pub(crate) struct Lead {
    coalescer: Arc<Coalescer>,
    call: SharedCall,
}

impl Default for Coalescer {
    fn default() -> Self {
        let in_flight = InFlight::new(CoalesceOptions::default());
        Self { calls: Mutex::new(Calls { in_flight, answers: BTreeMap::new() }) }
    }
}

impl Coalescer {
    pub(crate) fn join(self: &Arc<Self>, key: CoalesceKey) -> Part {
        let mut calls = self.calls.lock();
        match calls.in_flight.join(key) {
            Joined::Leader(call) => {
                calls.answers.insert(call, watch::Sender::new(None));
                Part::Leader(Lead { coalescer: Arc::clone(self), call })
            }
            Joined::Follower(call) => match calls.answers.get(&call) {
                Some(answers) => Part::Follower(answers.subscribe()),
                None => Part::Alone,
            },
            Joined::Alone => Part::Alone,
        }
    }
}

impl Lead {
    /// Tells the others what came of the call.
    pub(crate) fn tell(self, told: Result<Arc<SharedAnswer>, ApiError>) {
        let calls = self.coalescer.calls.lock();
        if let Some(answers) = calls.answers.get(&self.call) {
            answers.send_replace(Some(told));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut calls = self.coalescer.calls.lock();
        calls.in_flight.finish(self.call);
        calls.answers.remove(&self.call);
    }
}

/// What came of another's call; `None`: its leader went away without a word.
pub(crate) async fn follow(
    mut told: watch::Receiver<Told>,
) -> Option<Result<Arc<SharedAnswer>, ApiError>> {
    let answer = told.wait_for(Option::is_some).await.ok()?;
    answer.clone()
}

/// The key under which the request may share a call; `None`: it needs one of its own. Streams do.
pub(crate) fn key(
    exchange: &Exchange,
    received: &Received,
    candidates: &[Arc<Deployment>],
) -> Option<CoalesceKey> {
    let asked = received.requirements.coalesce;
    let local = || {
        let pools = candidates.iter().filter_map(|deployment| deployment.pool.as_ref());
        pools.into_iter().any(|pool| pool.options().coalesce)
    };
    if received.stream || !(asked == Some(true) || local()) {
        return None;
    }
    let is = |name: &str, value: &str| received.member(name) == Some(value);
    let given = |name: &str| !matches!(received.member(name), None | Some("null"));
    let stores = match exchange.surface {
        // OpenAI keeps responses unless told not to.
        Surface::Responses => !is("store", "false") || given("previous_response_id"),
        _ => is("store", "true"),
    };
    let temperature = match exchange.surface {
        // Embeddings have no chance in them.
        Surface::Embeddings => Some(0.0),
        _ => received.member("temperature").and_then(|text| text.parse().ok()),
    };
    let principal = exchange.principal.as_ref();
    let tenant = principal.and_then(|caller| caller.tenant_id());
    coalesce_key(
        &CoalesceOptions::default(),
        &CallParameters { temperature, seed: given("seed"), stores, asked },
        tenant.map_or("", |tenant| tenant),
        &received.model,
        exchange.surface.name(),
        &received.body,
    )
}
