use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use identity::Permission;
use serde::Serialize;
use serde_json::Value;

use crate::actor::Actor;
use crate::admin::Admin;
use crate::error::AdminError;

/// How a deployment is.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DeploymentRow {
    /// The public model name.
    pub route: String,
    /// `provider/model`.
    pub deployment: String,
    /// `closed` (in service), `ramping`, `half_open`, `open` or `cooling`.
    pub health: String,
    /// Expected milliseconds to the first token.
    pub first_token_ms: f64,
    /// Expected time for each further token, milliseconds.
    pub token_ms: f64,
    /// Share of the recent calls that failed, 0 to 1.
    pub failure_share: f64,
    /// Requests of this process under way there.
    pub in_flight: u32,
    /// The pool of local engines that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What its engine said of itself last: requests that it serves, requests that wait in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<(u32, u32)>,
}

/// What the router decided, learned and sees.
#[async_trait]
pub trait Decisions: Send + Sync + 'static {
    /// The decision about a request, of one tenant only or of any (`None`), as JSON.
    ///
    /// # Errors
    /// When the decision memory cannot be asked; why.
    async fn decision(
        &self,
        tenant: Option<&str>,
        request_id: &str,
    ) -> Result<Option<Value>, String>;

    /// What outcomes have taught, by kind of request and deployment.
    fn patterns(&self) -> Vec<Value>;

    /// How the deployments are.
    fn deployments(&self) -> Vec<DeploymentRow>;
}

/// What outcomes have taught.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Patterns {
    pub(crate) data: Vec<Value>,
}

/// How the deployments are.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Deployments {
    pub(crate) data: Vec<DeploymentRow>,
}

pub(crate) async fn decision(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(request_id): Path<String>,
) -> Result<Json<Value>, AdminError> {
    Admin::need(&actor, Permission::ReadAudit)?;
    let found = admin.decisions.decision(actor.tenant.as_deref(), &request_id).await;
    match found {
        Ok(Some(decision)) => Ok(Json(decision)),
        Ok(None) => Err(AdminError::not_found()),
        Err(reason) => Err(AdminError::unavailable(&reason)),
    }
}

pub(crate) async fn patterns(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
) -> Result<Json<Patterns>, AdminError> {
    of_the_platform(&actor)?;
    Ok(Json(Patterns { data: admin.decisions.patterns() }))
}

pub(crate) async fn deployments(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
) -> Result<Json<Deployments>, AdminError> {
    of_the_platform(&actor)?;
    Ok(Json(Deployments { data: admin.decisions.deployments() }))
}

/// All tenants have a part in what these endpoints tell, so no tenant may see it.
fn of_the_platform(actor: &Actor) -> Result<(), AdminError> {
    Admin::need(actor, Permission::ReadAudit)?;
    if actor.tenant.is_some() {
        return Err(AdminError::forbidden("this is about all tenants; only the platform sees it"));
    }
    Ok(())
}
