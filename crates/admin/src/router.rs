//! Every endpoint once: what serves it and what the OpenAPI document says of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use axum::{Json, Router};
use guarding::ScanReport;
use identity::{Team, Tenant, User, VirtualKey};
use ipnet::IpNet;
use metering::Budget;
use serde_json::Value;

use crate::actor::Actor;
use crate::admin::Admin;
use crate::crud::{self, ListQuery, Page};
use crate::error::AdminError;
use crate::openapi::{Endpoint, Verb, document};
use crate::reports::{
    BudgetStatus, Events, EventsQuery, Prices, UsageEntries, UsageQuery, UsageSums,
};
use crate::resource::Resource;
use crate::{decisions, guard, keys, reports};

/// Most bytes of a request's body.
const MAX_BODY: usize = 1 << 20;

type Admins = Arc<Admin>;

fn endpoints() -> Vec<(Endpoint, MethodRouter<Admins>)> {
    let mut all = Vec::new();
    resource::<Tenant>(&mut all);
    resource::<Team>(&mut all);
    resource::<User>(&mut all);
    resource::<VirtualKey>(&mut all);
    resource::<Budget>(&mut all);
    let post = |path, summary| Endpoint::new(Verb::Post, path, summary);
    let get = |path, summary| Endpoint::new(Verb::Get, path, summary);
    all.extend([
        (
            post(
                "/keys/{id}/rotate",
                "Give a key a new secret; the old one stays good for a while",
            )
            .optional_body::<keys::Rotation>()
            .answer::<VirtualKey>(),
            routing::post(keys::rotate),
        ),
        (
            post("/keys/{id}/block", "Refuse a key from now on").answer::<VirtualKey>(),
            routing::post(keys::block),
        ),
        (
            post("/keys/{id}/unblock", "Take a blocked key again").answer::<VirtualKey>(),
            routing::post(keys::unblock),
        ),
        (
            get("/budgets/{id}/status", "How a budget stands").answer::<BudgetStatus>(),
            routing::get(reports::budget_status),
        ),
        (get("/prices", "What deployments cost").answer::<Prices>(), routing::get(reports::prices)),
        (
            get("/usage", "Sums of tokens and cost").query::<UsageQuery>().answer::<UsageSums>(),
            routing::get(reports::sums),
        ),
        (
            get("/usage/entries", "Entries of the ledger, oldest first")
                .query::<UsageQuery>()
                .answer::<UsageEntries>(),
            routing::get(reports::entries),
        ),
        (
            get("/events", "What was done in the admin API, oldest first")
                .query::<EventsQuery>()
                .answer::<Events>(),
            routing::get(reports::events),
        ),
        (
            get("/decisions/{request_id}", "How the deployment of a request was chosen, and why")
                .answer::<Value>(),
            routing::get(decisions::decision),
        ),
        (
            get("/patterns", "What outcomes have taught, by kind of request and deployment")
                .answer::<decisions::Patterns>(),
            routing::get(decisions::patterns),
        ),
        (
            get("/deployments", "How the deployments are").answer::<decisions::Deployments>(),
            routing::get(decisions::deployments),
        ),
        (
            post("/guard/test", "What the guard makes of a text, and why")
                .body::<guard::TestedText>()
                .answer::<ScanReport>(),
            routing::post(guard::test),
        ),
        (get("/whoami", "Who calls").answer::<Whoami>(), routing::get(whoami)),
    ]);
    all
}

fn resource<R: Resource>(all: &mut Vec<(Endpoint, MethodRouter<Admins>)>) {
    let kind = R::KIND.name();
    let base = format!("/{}", R::PATH);
    let one = format!("/{}/{{id}}", R::PATH);
    let endpoint = |verb, path: &String, summary| Endpoint::new(verb, path.clone(), summary);
    all.push((
        endpoint(Verb::Get, &base, format!("List every {kind}"))
            .query::<ListQuery>()
            .answer::<Page>(),
        routing::get(crud::list::<R>),
    ));
    all.push((
        endpoint(Verb::Post, &base, format!("Create a {kind}")).input::<R>().creates::<R>(),
        routing::post(crud::create::<R>),
    ));
    all.push((
        endpoint(Verb::Get, &one, format!("Read a {kind}")).answer::<R>(),
        routing::get(crud::get::<R>),
    ));
    all.push((
        endpoint(Verb::Patch, &one, format!("Change a {kind} (JSON Merge Patch)"))
            .patch::<R>()
            .answer::<R>(),
        routing::patch(crud::update::<R>),
    ));
    all.push((
        endpoint(Verb::Delete, &one, format!("Delete a {kind}")),
        routing::delete(crud::delete::<R>),
    ));
}

/// The admin API as a service. Only `addresses` may call; empty: all.
pub fn router(admin: Admins, addresses: Vec<IpNet>) -> Router {
    let mut api = Router::new();
    for (endpoint, handler) in endpoints() {
        api = api.route(endpoint.path(), handler);
    }
    let document: Arc<Value> = Arc::new(openapi());
    let api = api
        .route(
            "/openapi.json",
            routing::get(move || {
                let document = Arc::clone(&document);
                async move { Json((*document).clone()) }
            }),
        )
        .fallback(async || AdminError::not_found())
        .method_not_allowed_fallback(async || AdminError::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin);
    Router::new()
        .nest("/admin/v1", api)
        .fallback(async || AdminError::not_found())
        .layer(axum::middleware::from_fn_with_state(Arc::new(addresses), allow_listed))
}

/// The OpenAPI 3.1 document of the admin API.
#[must_use]
pub fn openapi() -> Value {
    document(endpoints().iter().map(|(endpoint, _)| endpoint))
}

async fn allow_listed(
    State(addresses): State<Arc<Vec<IpNet>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let address = peer.ip().to_canonical();
    if addresses.is_empty() || addresses.iter().any(|allowed| allowed.contains(&address)) {
        return next.run(request).await;
    }
    tracing::warn!(%address, event = "admin_address_refused", "an address may not call the admin API");
    AdminError::forbidden("this address may not call the admin API").into_response()
}

/// Who calls.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
struct Whoami {
    /// Name in the events.
    name: String,
    /// The tenant it is bound to; absent: the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// What it may do.
    role: identity::Role,
}

async fn whoami(actor: Actor) -> Json<Whoami> {
    Json(Whoami { name: actor.name, tenant: actor.tenant, role: actor.role })
}

impl FromRequestParts<Admins> for Actor {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, admin: &Admins) -> Result<Self, AdminError> {
        let secret = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, secret)| secret.trim())
            .ok_or_else(|| {
                AdminError::unauthenticated(
                    "missing_api_key",
                    "no key; send `Authorization: Bearer KEY`",
                )
            })?;
        let address = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip().to_canonical());
        admin.authenticate.authenticate(secret, address).await
    }
}

impl AdminError {
    fn method_not_allowed() -> Self {
        Self::with_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not take this method; see /admin/v1/openapi.json",
        )
    }
}
