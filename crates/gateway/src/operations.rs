//! The operations port: liveness, readiness, metrics. Apart from the callers' port, so that it can
//! be closed to them.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use routing::Health;
use tokio::net::TcpListener;

use crate::gateway::Gateway;
use crate::routing::router_now;

/// Serves the operations port for as long as it is polled.
pub async fn serve_operations(listener: TcpListener, gateway: Arc<Gateway>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the operations port could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&gateway, request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(response) }
            });
            _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(gateway: &Gateway, method: &Method, path: &str) -> Response<Full<Bytes>> {
    const JSON: &str = "application/json";
    if method != Method::GET && method != Method::HEAD {
        return respond(StatusCode::METHOD_NOT_ALLOWED, JSON, r#"{"error":"only GET"}"#.to_owned());
    }
    match path {
        "/health/live" => respond(StatusCode::OK, JSON, r#"{"live":true}"#.to_owned()),
        "/health/ready" => {
            let readiness = gateway.readiness();
            let status =
                if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            respond(status, JSON, serde_json::to_string(&readiness).unwrap_or_default())
        }
        "/metrics" => {
            respond(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", {
                measure_routing(gateway);
                gateway.metrics().encode()
            })
        }
        _ => respond(
            StatusCode::NOT_FOUND,
            JSON,
            r#"{"error":"there are /health/live, /health/ready and /metrics"}"#.to_owned(),
        ),
    }
}

/// Brings what is only known when asked up to date.
fn measure_routing(gateway: &Gateway) {
    let metrics = &gateway.metrics().routing;
    metrics.forget_all();
    let now = router_now();
    let snapshot = gateway.snapshot();
    for deployment in snapshot.routes.values().flat_map(|route| &route.deployments) {
        let health = match deployment.state().health(now) {
            Health::Closed => 0,
            Health::Ramping { .. } => 1,
            Health::HalfOpen { .. } => 2,
            Health::Cooling { .. } => 3,
            Health::Open { .. } => 4,
        };
        metrics.set_health(deployment.provider_name(), deployment.model_name(), health);
        if let Some(pool) = &deployment.pool {
            let (running, waiting) = pool.occupancy();
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            metrics.set_pool(pool.name(), i64::from(running), waiting);
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
