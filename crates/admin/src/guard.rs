use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use guarding::{Channel, ScanReport};
use identity::Permission;
use serde::Deserialize;

use crate::actor::Actor;
use crate::admin::Admin;
use crate::error::AdminError;

/// Tells what the guard makes of a text.
pub trait GuardTest: Send + Sync + 'static {
    /// By a policy, the general one if none is named.
    ///
    /// # Errors
    /// When there is no such policy: the remedy.
    fn test(
        &self,
        policy: Option<&str>,
        channel: Channel,
        text: &str,
    ) -> Result<ScanReport, String>;
}

/// A text to test the guard with.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestedText {
    /// The text.
    text: String,
    /// Where it comes from; `user` if left out.
    #[serde(default)]
    channel: Channel,
    /// The policy; the general one if left out.
    policy: Option<String>,
}

pub(crate) async fn test(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    body: Bytes,
) -> Result<Json<ScanReport>, AdminError> {
    Admin::need(&actor, Permission::ReadAudit)?;
    let given: TestedText = serde_json::from_slice(&body)
        .map_err(|error| AdminError::invalid("body", error.to_string()))?;
    let TestedText { text, channel, policy } = given;
    let guard = Arc::clone(&admin);
    let looking =
        tokio::task::spawn_blocking(move || guard.guard.test(policy.as_deref(), channel, &text));
    match looking.await {
        Ok(Ok(report)) => Ok(Json(report)),
        Ok(Err(remedy)) => Err(AdminError::invalid("policy", remedy)),
        Err(_) => Err(AdminError::unavailable(&"the guard failed")),
    }
}
