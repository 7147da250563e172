//! Tries the deployments of a plan, one after the other, until one answers: within what breakers,
//! limits, queues, budgets and the caller's deadline allow.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::routing::local::CoalesceKey;
use ::routing::{DEADLINE_EXCEEDED, Extra, Millis, Remedy, RetryBudget, backoff, classify, remedy};
use chat::{ApiError, ErrorKind};
use http::{HeaderMap, HeaderValue};

use crate::dispatch::{Attempted, Dispatch, whole};
use crate::exchange::Exchange;
use crate::race::race;
use crate::receive::Received;
use crate::routing::{self, Decided, Lead, Part, SharedAnswer, Watch, router_now};
use crate::snapshot::{Deployment, Route};
use crate::surface::Surface;
use crate::worker::Worker;

/// Tries the candidates in order. A failure that another candidate may not share goes on to the
/// next; the last failure is the caller's.
pub(crate) async fn dispatch(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    headers: &HeaderMap,
    received: &Received,
    candidates: Vec<Arc<Deployment>>,
) -> Attempted {
    let dispatch = Dispatch::new(worker, headers, received);
    let Some(route) = exchange.route.clone() else {
        return Err((exchange, nobody()));
    };
    let mut tries = Tries::new(Arc::clone(&route), candidates);
    route.state.deposit(router_now());
    loop {
        let Some(deployment) = tries.next(&mut exchange, received) else {
            let error = tries.last.unwrap_or_else(nobody);
            return Err((exchange, error));
        };
        if exchange.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err((exchange, deadline_exceeded()));
        }
        match Box::pin(watch(&exchange, received, &route, &deployment)).await {
            Ok(watch) => exchange.watch = watch,
            Err(error) => {
                tries.last.get_or_insert(error);
                continue;
            }
        }
        exchange.attempts += 1;
        exchange.deployment = Some(Arc::clone(&deployment));
        let attempted = match tries.hedge(&exchange, received, &deployment) {
            Some((other, delay)) => {
                let racing =
                    hedged(&dispatch, exchange, received, &route, &deployment, &other, delay);
                Box::pin(racing).await
            }
            None => dispatch.attempt(exchange, &deployment).await,
        };
        let (returned, error) = match attempted {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        exchange = returned;
        let error = exchange.told(error);
        if let Some(watch) = exchange.watch.take() {
            watch.failed(&error);
        }
        if error.provider_status.is_some() || error.kind.is_transient() {
            exchange.attempt_failed(&deployment, &error);
        }
        match tries.after(&mut exchange, received, &deployment, &error) {
            Next::GiveUp => return Err((exchange, error)),
            Next::Elsewhere => {}
            Next::Again { pause_ms } => {
                let pause = Duration::from_millis(pause_ms);
                if exchange.deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
                    return Err((exchange, error));
                }
                tokio::time::sleep(pause).await;
                tries.queue.push_front(deployment);
            }
        }
        exchange.forget_attempt();
        tries.last = Some(error);
    }
}

/// As [`dispatch`], but for a request that may have the answer of an identical one in flight.
pub(crate) async fn shared(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    headers: &HeaderMap,
    received: &Received,
    candidates: Vec<Arc<Deployment>>,
    key: CoalesceKey,
) -> Attempted {
    let Some(coalescer) = exchange.route.as_ref().map(|route| Arc::clone(&route.state.coalescer))
    else {
        return dispatch(worker, exchange, headers, received, candidates).await;
    };
    loop {
        let lead = match coalescer.join(key) {
            Part::Leader(lead) => Some(lead),
            Part::Alone => None,
            Part::Follower(told) => match routing::follow(told).await {
                // Its leader went away: another one takes its place.
                None => continue,
                Some(Err(error)) => return Err((exchange, error)),
                Some(Ok(answer)) => {
                    exchange.gateway.metrics().routing.coalesced.inc();
                    exchange.deployment.clone_from(&answer.deployment);
                    let mut response = whole(exchange, &answer.headers, answer.body.clone());
                    let shared = HeaderValue::from_static("true");
                    response.headers_mut().insert("x-llm-proxy-coalesced", shared);
                    return Ok(response);
                }
            },
        };
        let Some(lead) = lead else {
            return dispatch(worker, exchange, headers, received, candidates).await;
        };
        return lead_call(worker, exchange, headers, received, candidates, lead).await;
    }
}

/// Makes the call, and tells those who wait for it what came of it.
async fn lead_call(
    worker: &Arc<Worker>,
    exchange: Box<Exchange>,
    headers: &HeaderMap,
    received: &Received,
    candidates: Vec<Arc<Deployment>>,
    lead: Lead,
) -> Attempted {
    let offered = candidates.clone();
    match dispatch(worker, exchange, headers, received, candidates).await {
        Ok(response) => {
            let served = |name: &str| response.headers().get(name).cloned();
            let (provider, model) = (served("x-llm-proxy-provider"), served("x-llm-proxy-model"));
            let deployment = offered.into_iter().find(|deployment| {
                Some(&deployment.provider_header) == provider.as_ref()
                    && Some(&deployment.model_header) == model.as_ref()
            });
            if let Some(body) = response.body().whole_bytes() {
                let answer = SharedAnswer { deployment, headers: HeaderMap::new(), body };
                lead.tell(Ok(Arc::new(answer)));
            }
            Ok(response)
        }
        Err((exchange, error)) => {
            lead.tell(Err(error.clone()));
            Err((exchange, error))
        }
    }
}

/// Begins to watch a call: a place in its pool, leave of its breaker and of its known limits.
async fn watch(
    exchange: &Exchange,
    received: &Received,
    route: &Arc<Route>,
    deployment: &Arc<Deployment>,
) -> Result<Option<Watch>, ApiError> {
    let Some(decided) = &exchange.decided else { return Ok(None) };
    if exchange.surface == Surface::CountTokens {
        return Ok(None);
    }
    let place = match &deployment.pool {
        None => None,
        Some(pool) => {
            let job = routing::job(exchange, &decided.request, Some(received));
            Some(pool.enter(job).await.map_err(|refusal| refusal.error(&route.name))?)
        }
    };
    let expected = routing::expected(&decided.request, received.stream);
    Watch::begin(deployment, route, &expected, place).map(Some).map_err(|until| {
        let mut error = ApiError::new(
            ErrorKind::Overloaded,
            format!("no deployment of `{}` can be asked at the moment", route.name),
        )
        .with_code("no_deployment_available");
        if until != Millis::MAX {
            let wait = until.saturating_sub(router_now()).max(1);
            error.retry_after = Some(Duration::from_millis(wait));
        }
        error
    })
}

/// Asks `other` besides if the first token does not come in time; whoever answers first serves.
async fn hedged(
    dispatch: &Dispatch<'_>,
    mut exchange: Box<Exchange>,
    received: &Received,
    route: &Arc<Route>,
    deployment: &Arc<Deployment>,
    other: &Arc<Deployment>,
    delay: Duration,
) -> Attempted {
    let expected = exchange
        .decided
        .as_ref()
        .map(|decided| routing::expected(&decided.request, received.stream));
    exchange.open_race();
    let mut further = exchange.further_call();
    let ask_other = async move || {
        if !route.state.permits_hedge(router_now()) {
            return None;
        }
        // A pool's queue is no place to hurry to.
        let watch = Watch::begin(other, route, &expected?, None).ok();
        if watch.is_none() {
            route.state.give_hedge_back();
            return None;
        }
        further.watch = watch;
        further.attempts += 1;
        further.deployment = Some(Arc::clone(other));
        further.gateway.metrics().routing.hedges.inc();
        let attempted = dispatch.attempt(further, other).await;
        Some(attempted.map_err(|(mut exchange, error)| {
            let error = exchange.told(error);
            if let Some(watch) = exchange.watch.take() {
                watch.failed(&error);
            }
            exchange.attempt_failed(other, &error);
            exchange.forget_attempt();
            (exchange, error)
        }))
    };
    let racing = race(dispatch.attempt(exchange, deployment), delay, ask_other);
    let attempted = Box::pin(racing).await;
    attempted.map_err(|(mut exchange, error)| {
        exchange.win();
        (exchange, error)
    })
}

fn nobody() -> ApiError {
    ApiError::new(ErrorKind::Overloaded, "no deployment could be tried")
        .with_code("no_deployment_available")
}

/// The caller's own deadline is over.
pub(crate) fn deadline_exceeded() -> ApiError {
    ApiError::new(
        ErrorKind::Timeout,
        "there was no answer before the request's own deadline; allow more time, or ask for less",
    )
    .with_code(DEADLINE_EXCEEDED)
    .with_param("llm_proxy.deadline_ms")
}

/// What follows a failure.
enum Next {
    GiveUp,
    Elsewhere,
    Again { pause_ms: Millis },
}

/// Where else to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fallback {
    Unavailable,
    ContextWindow,
    ContentPolicy,
}

impl Fallback {
    /// The fallback that an error asks for.
    pub(crate) fn after(error: &ApiError) -> Option<Self> {
        match error.kind {
            ErrorKind::ContextLengthExceeded => Some(Self::ContextWindow),
            ErrorKind::ContentPolicy => Some(Self::ContentPolicy),
            _ if error.code.as_deref() == Some("no_deployment_available") => {
                Some(Self::Unavailable)
            }
            _ => None,
        }
    }

    fn of(self, route: &Route) -> &[String] {
        match self {
            Self::Unavailable => &route.fallbacks.unavailable,
            Self::ContextWindow => &route.fallbacks.context_window,
            Self::ContentPolicy => &route.fallbacks.content_policy,
        }
    }

    /// The first of the fallback routes, and of theirs, that can serve the request and that the
    /// caller may use.
    pub(crate) fn decide(self, exchange: &Exchange, received: &Received) -> Option<Decided> {
        let route = exchange.route.as_ref()?;
        let principal = exchange.principal.as_ref()?;
        let mut names: VecDeque<&String> = self.of(route).iter().collect();
        let mut seen = BTreeSet::from([&route.name]);
        while let Some(name) = names.pop_front() {
            if !seen.insert(name) || !principal.may_call(name) {
                continue;
            }
            let Some(other) = exchange.snapshot.routes.get(name) else { continue };
            if let Ok(decided) = routing::decide(exchange, received, other) {
                return Some(decided);
            }
            names.extend(self.of(other));
        }
        None
    }
}

/// The candidates that are left, and what was tried.
struct Tries {
    route: Arc<Route>,
    queue: VecDeque<Arc<Deployment>>,
    /// Times that the request went to another deployment after one that may have worked on it.
    failovers: u32,
    /// Calls that a provider may have worked on.
    worked: u32,
    /// Retries at one deployment.
    again: u32,
    fallbacks: BTreeSet<Fallback>,
    last: Option<ApiError>,
}

impl Tries {
    fn new(route: Arc<Route>, candidates: Vec<Arc<Deployment>>) -> Self {
        Self {
            route,
            queue: candidates.into(),
            failovers: 0,
            worked: 0,
            again: 0,
            fallbacks: BTreeSet::new(),
            last: None,
        }
    }

    fn next(&mut self, exchange: &mut Exchange, received: &Received) -> Option<Arc<Deployment>> {
        let transient = |error: &ApiError| error.kind.is_transient();
        if self.queue.is_empty() && self.last.as_ref().is_none_or(transient) {
            self.fall_back(Fallback::Unavailable, exchange, received);
        }
        self.queue.pop_front()
    }

    /// Adds the candidates of a fallback, once.
    fn fall_back(&mut self, fallback: Fallback, exchange: &mut Exchange, received: &Received) {
        if !self.fallbacks.insert(fallback) {
            return;
        }
        let Some(decided) = fallback.decide(exchange, received) else { return };
        let deployments = &decided.route.deployments;
        let more = decided.plan.order.iter().filter_map(|place| deployments.get(*place).cloned());
        self.queue.extend(more);
        exchange.decided = Some(Box::new(decided));
    }

    fn after(
        &mut self,
        exchange: &mut Exchange,
        received: &Received,
        failed: &Arc<Deployment>,
        error: &ApiError,
    ) -> Next {
        let outcome = classify(error);
        let remedy = remedy(error);
        match remedy {
            Remedy::GiveUp => return Next::GiveUp,
            Remedy::LongerContext => {
                let window = failed.profile.context_tokens.unwrap_or(0);
                let longer = |other: &Arc<Deployment>| {
                    other.profile.context_tokens.is_some_and(|tokens| tokens > window)
                };
                self.queue.retain(longer);
                self.fall_back(Fallback::ContextWindow, exchange, received);
                return if self.queue.is_empty() { Next::GiveUp } else { Next::Elsewhere };
            }
            Remedy::OtherPolicy => {
                self.queue.clear();
                self.fall_back(Fallback::ContentPolicy, exchange, received);
                return if self.queue.is_empty() { Next::GiveUp } else { Next::Elsewhere };
            }
            Remedy::Elsewhere | Remedy::RetrySame => {}
        }
        self.worked += u32::from(outcome.worked());
        let retries = &self.route.retries;
        if self.worked >= retries.max_attempts {
            return Next::GiveUp;
        }
        let permits = |extra| {
            let state = &self.route.state;
            state.with_retries(|budget: &mut RetryBudget| budget.permits(router_now(), extra))
        };
        let has_other = !self.queue.is_empty() || !Fallback::Unavailable.of(&self.route).is_empty();
        if has_other {
            if !permits(Extra::of(&outcome, true, self.failovers)) {
                return Next::GiveUp;
            }
            self.failovers += u32::from(outcome.worked());
            return Next::Elsewhere;
        }
        if remedy == Remedy::RetrySame && self.again < retries.same_deployment {
            self.again += 1;
            if permits(Extra::Addition) {
                let pause_ms = backoff(retries, self.again, &mut fastrand::Rng::new());
                return Next::Again { pause_ms };
            }
        }
        Next::Elsewhere
    }

    /// The deployment to ask besides, and when, if this request may be hedged: a stream, which has a
    /// first token to wait for, with another candidate that is not in a pool.
    fn hedge(
        &self,
        exchange: &Exchange,
        received: &Received,
        deployment: &Arc<Deployment>,
    ) -> Option<(Arc<Deployment>, Duration)> {
        if !self.route.hedging.enabled || !received.stream || exchange.attempts > 1 {
            return None;
        }
        let other = self.queue.iter().find(|other| other.pool.is_none())?;
        let delay = deployment.state.hedge_delay(&self.route.hedging)?;
        Some((Arc::clone(other), Duration::from_millis(delay)))
    }
}
