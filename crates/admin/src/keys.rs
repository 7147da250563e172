use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use identity::{Permission, PreviousSecret, VirtualKey, Write};
use serde::Deserialize;
use serde_json::json;

use crate::actor::Actor;
use crate::admin::{Admin, Change};
use crate::crud::{answer, expected, shown, text, value};
use crate::error::AdminError;
use crate::resource::{Resource, read};

/// Longest time that two secrets of a key are good at once: a week.
const MAX_OVERLAP_S: u64 = 7 * 86_400;

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rotation {
    /// Seconds for which the old secret stays good, 0 to 604800; a day if left out.
    pub(crate) overlap_s: Option<u64>,
}

/// Gives a key a new secret. The old one stays good for the overlap.
pub(crate) async fn rotate(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AdminError> {
    let replay =
        match admin.replayed(&actor, &headers, (&format!("key.rotate {id}"), &body)).await? {
            Ok(answer) => return Ok(answer),
            Err(replay) => replay,
        };
    let rotation: Rotation = if body.is_empty() {
        Rotation::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| AdminError::invalid("body", error.to_string()))?
    };
    let overlap_s = rotation.overlap_s.unwrap_or(86_400);
    if overlap_s > MAX_OVERLAP_S {
        return Err(AdminError::invalid("overlap_s", "`overlap_s` must be 0 to 604800"));
    }
    let (record, before) = admin.find::<VirtualKey>(&actor, &id).await?;
    let mut key: VirtualKey = read(before.as_object().cloned().unwrap_or_default())?;
    admin.may_write(&actor, &key)?;
    let made = identity::generate_key((admin.random)());
    let now = admin.now();
    let overlap_ms = i64::try_from(overlap_s * 1000).unwrap_or_default();
    key.previous = (overlap_s > 0).then(|| PreviousSecret {
        digest: std::mem::take(&mut key.digest),
        valid_until_ms: now.saturating_add(overlap_ms),
    });
    key.digest = made.digest.to_hex();
    key.hint = made.hint;
    key.issued_ms = now;
    let write = Write {
        kind: VirtualKey::KIND,
        id,
        tenant: key.tenant.clone(),
        expected: expected(&headers, &record)?,
        body: Some(text(&key)?),
    };
    let mut rotated = shown(value(&key)?);
    rotated["key"] = json!(made.secret);
    let change = Change {
        action: "key.rotate",
        writes: vec![write],
        details: json!({"overlap_s": overlap_s}),
    };
    let revision = admin.change(&actor, change, replay, &rotated).await?;
    Ok(answer(StatusCode::OK, revision, &rotated))
}

pub(crate) async fn block(
    state: State<Arc<Admin>>,
    actor: Actor,
    id: Path<String>,
    headers: HeaderMap,
) -> Result<Response, AdminError> {
    set_blocked(state, actor, id, headers, true).await
}

pub(crate) async fn unblock(
    state: State<Arc<Admin>>,
    actor: Actor,
    id: Path<String>,
    headers: HeaderMap,
) -> Result<Response, AdminError> {
    set_blocked(state, actor, id, headers, false).await
}

async fn set_blocked(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(id): Path<String>,
    headers: HeaderMap,
    blocked: bool,
) -> Result<Response, AdminError> {
    let (record, before) = admin.find::<VirtualKey>(&actor, &id).await?;
    let mut key: VirtualKey = read(before.as_object().cloned().unwrap_or_default())?;
    admin.may_write(&actor, &key)?;
    if key.blocked && !blocked {
        // Who may only manage own keys cannot lift a block that somebody else has put.
        Admin::need(&actor, Permission::ManageDirectory)?;
    }
    key.blocked = blocked;
    let write = Write {
        kind: VirtualKey::KIND,
        id,
        tenant: key.tenant.clone(),
        expected: expected(&headers, &record)?,
        body: Some(text(&key)?),
    };
    let shown = shown(value(&key)?);
    let action = if blocked { "key.block" } else { "key.unblock" };
    let change = Change { action, writes: vec![write], details: json!({}) };
    let revision = admin.change(&actor, change, None, &shown).await?;
    Ok(answer(StatusCode::OK, revision, &shown))
}
