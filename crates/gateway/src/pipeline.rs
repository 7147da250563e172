//! The path of one request, top to bottom.
//!
//! Each stage takes the exchange and either lets it go on or refuses it with an [`ApiError`]; one
//! place turns a refusal into the caller's dialect. The exchange settles itself when it is dropped,
//! so that it is counted and logged once whatever happened.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chat::{ApiError, ErrorKind};
use http::{HeaderMap, Response, header};
use hyper::body::Body;
use hyper::body::Incoming;
use identity::{Presented, Principal};
use telemetry::Stage;

use crate::exchange::Exchange;
use crate::receive::{Received, receive};
use crate::reply::ReplyBody;
use crate::requirements::Requirements;
use crate::snapshot::{Deployment, Route, Snapshot};
use crate::surface::Surface;
use crate::worker::Worker;
use crate::{codec, dispatch};

/// Serves one request of a surface that models answer.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    surface: Surface,
    headers: &HeaderMap,
    body: Incoming,
    request_id: String,
) -> Response<ReplyBody> {
    let gateway = Arc::clone(worker.gateway());
    let snapshot = gateway.snapshot();
    let mut exchange = Exchange::begin(gateway, snapshot, surface, request_id);

    if let Err(error) = identify(&mut exchange, headers) {
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
    let candidates = match plan(&mut exchange, &received) {
        Ok(candidates) => candidates,
        Err(error) => return refuse(exchange, &error),
    };
    exchange.stage(Stage::plan);

    match dispatch::dispatch(worker, exchange, headers, &received, &candidates).await {
        Ok(response) => response,
        Err((exchange, error)) => refuse(exchange, &error),
    }
}

/// Whom the key stands for.
pub(crate) fn identify(exchange: &mut Exchange, headers: &HeaderMap) -> Result<(), ApiError> {
    exchange.principal = Some(identified(&exchange.snapshot, headers)?);
    exchange.stage(Stage::identify);
    Ok(())
}

/// Whom the key in the headers stands for.
pub(crate) fn identified(snapshot: &Snapshot, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let presented = Presented {
        key: presented_key(headers)?,
        now_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        address: None,
    };
    snapshot.keys.identify(None, &presented).map_err(|refusal| {
        let kind = if refusal.is_authentication() {
            ErrorKind::Authentication
        } else {
            ErrorKind::PermissionDenied
        };
        ApiError::new(kind, refusal.to_string()).with_code(refusal.code())
    })
}

/// The key as OpenAI's, Anthropic's or Azure's SDK presents it.
pub(crate) fn presented_key(headers: &HeaderMap) -> Result<&str, ApiError> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let named = ["x-api-key", "api-key"]
        .into_iter()
        .find_map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
    bearer.or(named).filter(|key| !key.is_empty()).ok_or_else(|| {
        ApiError::new(
            ErrorKind::Authentication,
            "no API key; send `Authorization: Bearer KEY` or `x-api-key: KEY`",
        )
        .with_code("missing_api_key")
    })
}

/// The deployments that may serve the request, in the order in which they are tried.
fn plan(exchange: &mut Exchange, received: &Received) -> Result<Vec<Arc<Deployment>>, ApiError> {
    let route = find_route(exchange, received)?;
    exchange.route = Some(Arc::clone(&route));
    let capable: Vec<_> = route
        .deployments
        .iter()
        .filter(|deployment| codec::can_serve(exchange.surface, &deployment.provider))
        .collect();
    if capable.is_empty() {
        return Err(ApiError::invalid(
            "model",
            format!(
                "no deployment of `{}` offers {}; ask for another model",
                route.name,
                exchange.surface.name()
            ),
        )
        .with_code("unsupported_operation"));
    }
    let candidates: Vec<_> = capable
        .into_iter()
        .filter(|deployment| meets(deployment, &received.requirements))
        .cloned()
        .collect();
    if candidates.is_empty() {
        let wanted = received.requirements.residency.map_or("", |residency| residency.name());
        return Err(ApiError::invalid(
            "llm_proxy.residency",
            format!("no deployment of `{}` keeps data in `{wanted}`", route.name),
        )
        .with_code("residency_not_available"));
    }
    Ok(candidates)
}

fn meets(deployment: &Deployment, requirements: &Requirements) -> bool {
    requirements.residency.is_none_or(|wanted| deployment.residency >= wanted)
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
fn refuse(mut exchange: Box<Exchange>, error: &ApiError) -> Response<ReplyBody> {
    let mut response = codec::refusal(exchange.surface.vendor(), error, &exchange.request_id);
    exchange.fail(response.status().as_u16(), error);
    dispatch::describe(&mut response, &mut exchange);
    response
}

/// Reads what little of a refused request's body is on its way, so that the caller reads the
/// refusal instead of a reset connection. More than that is cut.
async fn drain(mut body: Incoming) {
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
