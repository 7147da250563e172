//! The path of one request, top to bottom.
//!
//! Each stage takes the exchange and either lets it go on or refuses it with an [`ApiError`]; one
//! place turns a refusal into the caller's dialect. The exchange settles itself when it is dropped,
//! so that it is counted and logged once whatever happened.

use std::net::IpAddr;
use std::sync::Arc;

use chat::{ApiError, ErrorKind};
use http::{HeaderMap, Response};
use hyper::body::Body;
use hyper::body::Incoming;
use identity::{Permission, Presented, Principal, Refusal};
use metering::ChargedUsage;
use telemetry::Stage;

use crate::accounting::{count_images, estimate_prompt, max_output};
use crate::exchange::{Exchange, now_ms};
use crate::gateway::Gateway;
use crate::receive::{Received, receive};
use crate::reply::ReplyBody;
use crate::snapshot::{Deployment, Route, Snapshot};
use crate::surface::{Surface, Vendor};
use crate::worker::Worker;
use crate::{answer_headers, codec, failover, guard, oidc, routing};

/// Serves one request of a surface that models answer.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    surface: Surface,
    headers: &HeaderMap,
    body: Incoming,
    request_id: String,
    peer: Option<IpAddr>,
) -> Response<ReplyBody> {
    let gateway = Arc::clone(worker.gateway());
    let snapshot = gateway.snapshot();
    let mut exchange = Exchange::begin(gateway, snapshot, surface, request_id);
    exchange.peer = peer;

    if let Err(error) = identify(&mut exchange, headers).await {
        Box::pin(drain(body)).await;
        return refuse(exchange, &error);
    }
    let limits = exchange.snapshot.settings.body.clone();
    let received = match receive(surface, headers, body, &limits).await {
        Ok(received) => received,
        Err(error) => return refuse(exchange, &error),
    };
    exchange.stage(Stage::receive);
    serve_received(worker, exchange, headers, received).await
}

/// The part of [`serve`] after the body has arrived; a WebSocket's messages begin here.
pub(crate) async fn serve_received(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    headers: &HeaderMap,
    received: Received,
) -> Response<ReplyBody> {
    let inspected = match find_route(&exchange, &received) {
        Ok(route) => guard::inspect_input(&mut exchange, received, &route)
            .await
            .map(|received| (received, route)),
        Err(error) => Err(error),
    };
    let (received, route) = match inspected {
        Ok(inspected) => inspected,
        Err(error) => return refuse(exchange, &error),
    };
    if exchange.guarded.is_some() {
        exchange.stage(Stage::guard);
    }
    let candidates = match plan(&mut exchange, &received, route) {
        Ok(candidates) => candidates,
        Err(error) => return refuse(exchange, &error),
    };
    if let Err(error) = admit(&mut exchange, &received, &candidates) {
        return refuse(exchange, &error);
    }
    exchange.stage(Stage::plan);

    let attempted = match routing::coalesce_key(&exchange, &received, &candidates) {
        Some(key) => {
            let sharing = failover::shared(worker, exchange, headers, &received, candidates, key);
            Box::pin(sharing).await
        }
        None => failover::dispatch(worker, exchange, headers, &received, candidates).await,
    };
    match attempted {
        Ok(response) => response,
        Err((exchange, error)) => refuse(exchange, &error),
    }
}

/// Whom the key or token stands for.
pub(crate) async fn identify(exchange: &mut Exchange, headers: &HeaderMap) -> Result<(), ApiError> {
    let (gateway, snapshot) = (&exchange.gateway, &exchange.snapshot);
    let principal = identified(gateway, snapshot, headers, exchange.vendor, exchange.peer).await?;
    let listing =
        matches!(exchange.surface, Surface::Models | Surface::Feedback | Surface::Unknown);
    if !listing && !principal.may(Permission::CallModels) {
        return Err(ApiError::new(
            ErrorKind::PermissionDenied,
            format!("the role `{}` may not call models", principal.role().name()),
        )
        .with_code("role_not_allowed"));
    }
    if !listing && !principal.may_use(exchange.surface.name()) {
        return Err(ApiError::new(
            ErrorKind::PermissionDenied,
            format!("this key may not use {}", exchange.surface.name()),
        )
        .with_code("surface_not_allowed"));
    }
    if let Some(key) = principal.key_id() {
        exchange.gateway.accounting().note_key_use(key, now_ms());
    }
    exchange.principal = Some(principal);
    exchange.stage(Stage::identify);
    Ok(())
}

/// Whom the key or token in the headers stands for. Waits for nothing but what the issuer of a
/// token must be asked: keys, and tokens whose keys are here, are looked at on the spot.
async fn identified(
    gateway: &Gateway,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    vendor: Vendor,
    peer: Option<IpAddr>,
) -> Result<Principal, ApiError> {
    let presented =
        Presented { key: presented_key(headers, vendor)?, now_ms: now_ms(), address: peer };
    let directory = gateway.accounting().directory();
    let refusal = match snapshot.keys.identify(Some(&directory), &presented) {
        Ok(principal) => return Ok(principal),
        Err(refusal) => refusal,
    };
    let token = presented.key;
    let issuers = match &snapshot.issuers {
        Some(issuers) if refusal == Refusal::Unknown && issuers.concerns(token) => issuers,
        _ => return Err(oidc::refused(refusal)),
    };
    if let Some(verdict) =
        issuers.identify_at_once(token, &directory, presented.now_ms, presented.address)
    {
        return Ok(verdict?);
    }
    let verified = Box::pin(issuers.ask(token, presented.now_ms)).await?;
    // It may have changed meanwhile.
    let directory = gateway.accounting().directory();
    Ok(oidc::principal_of(&verified, &directory, peer)?)
}

/// The key as OpenAI's, Anthropic's or Azure's SDK presents it. Where there are several, the one
/// counts that the SDKs of the vendor whose API is spoken send.
fn presented_key(headers: &HeaderMap, vendor: Vendor) -> Result<&str, ApiError> {
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = named("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let by_vendor = match vendor {
        Vendor::OpenAi => [bearer, named("x-api-key")],
        Vendor::Anthropic => [named("x-api-key"), bearer],
    };
    let mut presented = by_vendor.into_iter().chain([named("api-key")]).flatten();
    presented.find(|key| !key.is_empty()).ok_or_else(|| {
        ApiError::new(
            ErrorKind::Authentication,
            "no API key; send `Authorization: Bearer KEY` or `x-api-key: KEY`",
        )
        .with_code("missing_api_key")
    })
}

/// The deployments that may serve the request, in the order in which they are tried.
fn plan(
    exchange: &mut Exchange,
    received: &Received,
    route: Arc<Route>,
) -> Result<Vec<Arc<Deployment>>, ApiError> {
    exchange.route = Some(Arc::clone(&route));
    exchange.prompt_estimate = estimate_prompt(&received.body);
    exchange.deadline = received
        .requirements
        .deadline_ms
        .map(|ms| exchange.started + std::time::Duration::from_millis(ms));
    exchange.tags.clone_from(&received.requirements.tags);
    let decided = match routing::decide(exchange, received, &route) {
        Ok(decided) => decided,
        Err(error) => {
            let other = failover::Fallback::after(&error)
                .and_then(|fallback| fallback.decide(exchange, received));
            other.ok_or(error)?
        }
    };
    let deployments = &decided.route.deployments;
    let candidates =
        decided.plan.order.iter().filter_map(|place| deployments.get(*place).cloned()).collect();
    exchange.decided = Some(Box::new(decided));
    Ok(candidates)
}

/// Takes the request's place in its limits, and promises of money out of its budgets.
fn admit(
    exchange: &mut Exchange,
    received: &Received,
    candidates: &[Arc<Deployment>],
) -> Result<(), ApiError> {
    /// Tokens that an answer is taken to have where the caller sets no bound.
    const USUAL_OUTPUT: u64 = 1024;
    let gateway = Arc::clone(&exchange.gateway);
    let accounting = gateway.accounting();
    let (Some(principal), Some(route)) = (&exchange.principal, &exchange.route) else {
        return Ok(());
    };
    accounting.refuse_if_isolated(principal)?;
    let prompt = exchange.prompt_estimate;
    let output = match exchange.surface {
        Surface::Embeddings | Surface::Moderations | Surface::CountTokens => 0,
        _ => max_output(received).unwrap_or(USUAL_OUTPUT),
    };
    let everybody = &exchange.snapshot.settings.everybody_limits;
    let levels = accounting.levels(principal, &route.name, &route.limits, everybody);
    let meters = accounting.budgets_of(principal, &route.name, &exchange.tags);
    let now_ms = now_ms();
    let prices = candidates.iter().filter_map(|deployment| deployment.prices.as_ref()?.at(now_ms));
    if prices.into_iter().any(|price| price.charges_images()) {
        exchange.images = count_images(&received.body);
    }
    if !levels.is_empty() {
        let tokens = prompt.saturating_add(output);
        exchange.held.admission = Some(accounting.admit(levels, tokens)?);
    }
    if !meters.is_empty() {
        let usage = ChargedUsage {
            prompt_tokens: prompt,
            completion_tokens: output,
            images: exchange.images,
            ..ChargedUsage::default()
        };
        let price = |deployment: &Arc<Deployment>| {
            let prices = deployment.prices.as_ref()?;
            Some(prices.at(now_ms)?.cost(&usage).nanos)
        };
        let dearest = candidates.iter().filter_map(price).max().unwrap_or(0);
        exchange.held.reservations = accounting.reserve(&meters, now_ms, dearest)?;
    }
    Ok(())
}

fn find_route(exchange: &Exchange, received: &Received) -> Result<Arc<Route>, ApiError> {
    let may_call =
        |name: &str| exchange.principal.as_ref().is_some_and(|principal| principal.may_call(name));
    let routes = &exchange.snapshot.routes;
    if received.model.is_empty() {
        // OpenAI's moderations name no model: the first route over a model for them serves.
        let offering = routes.values().find(|route| {
            may_call(&route.name)
                && route.deployments.iter().any(|deployment| {
                    deployment.model.contains("moderation")
                        && codec::can_serve(exchange.surface, &deployment.provider)
                })
        });
        return offering.cloned().ok_or_else(|| {
            ApiError::invalid("model", "no model here offers moderations; name one in `model`")
                .with_code("model_not_found")
        });
    }
    match routes.get(&received.model) {
        Some(route) if may_call(&route.name) => Ok(Arc::clone(route)),
        _ => {
            let known: Vec<&str> =
                routes.keys().map(String::as_str).filter(|name| may_call(name)).take(50).collect();
            let asked: String = received.model.chars().take(100).collect();
            Err(ApiError::new(
                ErrorKind::NotFound,
                format!(
                    "the model `{asked}` does not exist for this key; it may use: {}",
                    known.join(", ")
                ),
            )
            .with_code("model_not_found")
            .with_param("model"))
        }
    }
}

/// Tells the caller, in the caller's dialect, why there is no answer.
pub(crate) fn refuse(mut exchange: Box<Exchange>, error: &ApiError) -> Response<ReplyBody> {
    let mut response = codec::refusal(exchange.vendor, error, &exchange.request_id);
    exchange.fail(response.status().as_u16(), error);
    answer_headers::describe(&mut response, &mut exchange);
    response
}

/// Reads what little of a refused request's body is on its way, so that the caller reads the
/// refusal instead of a reset connection. More than that is cut.
pub(crate) async fn drain(mut body: Incoming) {
    const MOST: u64 = 256 * 1024;
    if body.is_end_stream() || body.size_hint().lower() > MOST {
        return;
    }
    let reading = async {
        let mut left = MOST;
        while let Some(Ok(frame)) =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
        {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
    };
    _ = tokio::time::timeout(std::time::Duration::from_secs(1), reading).await;
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn presented(headers: &[(&'static str, &'static str)], vendor: Vendor) -> Option<String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect();
        presented_key(&headers, vendor).ok().map(str::to_owned)
    }

    #[test]
    fn of_several_keys_that_of_the_spoken_api_counts() {
        let all = [("authorization", "Bearer b"), ("x-api-key", "x"), ("api-key", "a")];
        assert_eq!(presented(&all, Vendor::OpenAi).as_deref(), Some("b"));
        assert_eq!(presented(&all, Vendor::Anthropic).as_deref(), Some("x"));
        for vendor in [Vendor::OpenAi, Vendor::Anthropic] {
            assert_eq!(presented(&all[..1], vendor).as_deref(), Some("b"));
            assert_eq!(presented(&all[1..], vendor).as_deref(), Some("x"));
            assert_eq!(presented(&all[2..], vendor).as_deref(), Some("a"));
            assert_eq!(presented(&[], vendor), None);
            let other = [("authorization", "Basic b"), ("x-api-key", ""), ("api-key", "a")];
            assert_eq!(presented(&other, vendor).as_deref(), Some("a"));
        }
    }
}
