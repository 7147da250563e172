//! What the headers of an answer say of how it came about.

use http::{HeaderValue, Response};
use identity::Rotation;
use metering::format_nanos;

use crate::exchange::Exchange;
use crate::rate_limits;

/// Adds the headers that say who served the request and at what cost of time.
pub(crate) fn describe<B>(response: &mut Response<B>, exchange: &mut Exchange) {
    let overhead = exchange.overhead();
    exchange.gateway.metrics().observe_overhead(overhead);
    let headers = response.headers_mut();
    if let Some(route) = &exchange.route {
        headers.insert("x-llm-proxy-route", route.header.clone());
    }
    if let Some(deployment) = &exchange.deployment {
        headers.insert("x-llm-proxy-provider", deployment.provider_header.clone());
        headers.insert("x-llm-proxy-model", deployment.model_header.clone());
        headers.insert("x-llm-proxy-attempts", HeaderValue::from(exchange.attempts));
    }
    if let Some(guarded) = &exchange.guarded {
        headers.insert("x-llm-proxy-guard", HeaderValue::from_static(guarded.verdict.name()));
    }
    if let Some(principal) = &exchange.principal
        && let Rotation::Due { days_left } = principal.rotation()
        && let Ok(value) = HeaderValue::try_from(format!("due in {days_left} days"))
    {
        headers.insert("x-llm-proxy-key-rotation", value);
    }
    if let Some(nanos) = exchange.cost_so_far()
        && let Ok(value) = HeaderValue::try_from(format_nanos(nanos.into()))
    {
        headers.insert("x-llm-proxy-cost", value);
    }
    if let Some(admission) = &exchange.held.admission {
        rate_limits::describe(
            headers,
            exchange.surface.vendor(),
            &admission.standing(exchange.gateway.accounting().now_ns()),
        );
    }
    let micros = u64::try_from(overhead.as_micros()).unwrap_or(u64::MAX);
    headers.insert("x-llm-proxy-overhead-us", HeaderValue::from(micros));
    if !exchange.adaptations.is_empty() {
        let list: Vec<String> = exchange.adaptations.iter().map(ToString::to_string).collect();
        if let Ok(value) = HeaderValue::try_from(list.join("; ")) {
            headers.insert("x-llm-proxy-adapted", value);
        }
    }
    if exchange.snapshot.settings.expose_server_timing
        && let Ok(value) = HeaderValue::try_from(exchange.server_timing())
    {
        headers.insert("server-timing", value);
    }
}
