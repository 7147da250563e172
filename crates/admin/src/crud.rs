use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use identity::{Expected, Record, RecordKind, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::actor::Actor;
use crate::admin::{Admin, Change};
use crate::error::AdminError;
use crate::resource::{Resource, read};

/// Most resources in a page.
const MAX_PAGE: usize = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListQuery {
    /// Only of this tenant.
    pub(crate) tenant: Option<String>,
    /// Only of this team.
    pub(crate) team: Option<String>,
    /// Only of this user.
    pub(crate) user: Option<String>,
    /// Only of this name.
    pub(crate) name: Option<String>,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// Resources in a page, 1 to 1000; 100 if left out.
    pub(crate) limit: Option<usize>,
}

/// One page of a list.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Page {
    /// The resources, ordered by id.
    pub(crate) data: Vec<Value>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

pub(crate) async fn list<R: Resource>(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Page>, AdminError> {
    let own = admin.may_read::<R>(&actor)?;
    let Query(query) = query.map_err(|error| AdminError::invalid("query", error.body_text()))?;
    let limit = match query.limit {
        None => 100,
        Some(limit @ 1..=MAX_PAGE) => limit,
        Some(_) => return Err(AdminError::invalid("limit", "`limit` must be 1 to 1000")),
    };
    let tenant = match (&actor.tenant, &query.tenant) {
        (Some(own), Some(asked)) if own != asked => {
            return Ok(Json(Page { data: Vec::new(), next: None }));
        }
        (Some(own), _) => Some(own.clone()),
        (None, asked) => asked.clone(),
    };
    let mut page = Page { data: Vec::new(), next: None };
    let mut after = query.after.clone().unwrap_or_default();
    loop {
        let records = admin.directory.list(R::KIND, tenant.as_deref(), &after, MAX_PAGE).await?;
        let exhausted = records.len() < MAX_PAGE;
        for record in records {
            let Some(body) = parsed(&record)? else { continue };
            let wanted = [("team", &query.team), ("user", &query.user), ("name", &query.name)]
                .iter()
                .all(|(member, wanted)| {
                    wanted.as_ref().is_none_or(|wanted| body.get(*member) == Some(&json!(wanted)))
                });
            after.clone_from(&record.id);
            if !wanted || !own.covers(&actor, &record.id, &body) {
                continue;
            }
            if page.data.len() == limit {
                page.next =
                    page.data.last().and_then(|last| last["id"].as_str()).map(str::to_owned);
                return Ok(Json(page));
            }
            page.data.push(shown(body));
        }
        if exhausted {
            return Ok(Json(page));
        }
    }
}

pub(crate) async fn get<R: Resource>(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Response, AdminError> {
    let own = admin.may_read::<R>(&actor)?;
    let (record, body) = admin.find::<R>(&actor, &id).await?;
    if !own.covers(&actor, &id, &body) {
        return Err(AdminError::not_found());
    }
    Ok(answer(StatusCode::OK, record.revision, &shown(body)))
}

pub(crate) async fn create<R: Resource>(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AdminError> {
    let mut members = object(&body)?;
    let action = format!("{}.create", R::KIND.name());
    let request = (action.as_str(), &body[..]);
    let replay = match admin.replayed(&actor, &headers, request).await? {
        Ok(answer) => return Ok(answer),
        Err(replay) => replay,
    };
    refuse_server_set::<R>(&members)?;
    let id = admin.new_id(R::PREFIX);
    members.insert("id".to_owned(), json!(id));
    if let (Some(tenant), false) = (&actor.tenant, R::KIND == RecordKind::Tenant) {
        members.entry("tenant").or_insert_with(|| json!(tenant));
    }
    let secret = admin.prepare_new::<R>(&actor, &mut members)?;
    let resource: R = read(members)?;
    admin.may_write::<R>(&actor, &resource)?;
    admin.check_references(&resource).await?;
    let write = Write {
        kind: R::KIND,
        id,
        tenant: resource.tenant().to_owned(),
        expected: Expected::Absent,
        body: Some(text(&resource)?),
    };
    let mut created = shown(value(&resource)?);
    if let Some(secret) = &secret {
        created["key"] = json!(secret);
    }
    let change = Change { action: &action, writes: vec![write], details: json!({}) };
    let revision = admin.change(&actor, change, replay, &created).await?;
    Ok(answer(StatusCode::CREATED, revision, &created))
}

pub(crate) async fn update<R: Resource>(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AdminError> {
    let patch = object(&body)?;
    let (record, before) = admin.find::<R>(&actor, &id).await?;
    let current: R = read(before.clone().as_object().cloned().unwrap_or_default())?;
    admin.may_write::<R>(&actor, &current)?;
    refuse_server_set::<R>(&patch)?;
    if patch.get("tenant").is_some_and(|tenant| *tenant != json!(current.tenant())) {
        return Err(AdminError::invalid("tenant", "nothing moves from one tenant to another"));
    }
    let changed: Vec<String> = patch.keys().cloned().collect();
    let mut merged = before;
    merge(&mut merged, Value::Object(patch));
    let resource: R = read(merged.as_object().cloned().unwrap_or_default())?;
    admin.may_write::<R>(&actor, &resource)?;
    admin.check_references(&resource).await?;
    let write = Write {
        kind: R::KIND,
        id,
        tenant: resource.tenant().to_owned(),
        expected: expected(&headers, &record)?,
        body: Some(text(&resource)?),
    };
    let shown = shown(value(&resource)?);
    let action = format!("{}.update", R::KIND.name());
    let change =
        Change { action: &action, writes: vec![write], details: json!({"members": changed}) };
    let revision = admin.change(&actor, change, None, &shown).await?;
    Ok(answer(StatusCode::OK, revision, &shown))
}

pub(crate) async fn delete<R: Resource>(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, AdminError> {
    let (record, body) = admin.find::<R>(&actor, &id).await?;
    let current: R = read(body.as_object().cloned().unwrap_or_default())?;
    admin.may_write::<R>(&actor, &current)?;
    admin.refuse_if_needed::<R>(&current).await?;
    let write = Write {
        kind: R::KIND,
        id,
        tenant: current.tenant().to_owned(),
        expected: expected(&headers, &record)?,
        body: None,
    };
    let action = format!("{}.delete", R::KIND.name());
    let change = Change { action: &action, writes: vec![write], details: json!({}) };
    admin.change(&actor, change, None, &Value::Null).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What `If-Match` demands; without it, the version that was just read.
pub(crate) fn expected(headers: &HeaderMap, record: &Record) -> Result<Expected, AdminError> {
    let Some(tag) = headers.get(header::IF_MATCH) else {
        return Ok(Expected::Revision(record.revision));
    };
    let wanted = tag.to_str().unwrap_or_default().trim();
    if wanted == "*" {
        return Ok(Expected::Revision(record.revision));
    }
    if wanted != etag(record.revision) {
        return Err(AdminError::changed_meanwhile());
    }
    Ok(Expected::Revision(record.revision))
}

fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

pub(crate) fn answer(status: StatusCode, revision: i64, body: &Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::try_from(etag(revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn object(body: &[u8]) -> Result<Map<String, Value>, AdminError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(AdminError::invalid("body", "the body must be a JSON object")),
        Err(error) => Err(AdminError::invalid("body", format!("the body is not JSON: {error}"))),
    }
}

fn refuse_server_set<R: Resource>(members: &Map<String, Value>) -> Result<(), AdminError> {
    match R::SERVER_SET.iter().find(|member| members.contains_key(**member)) {
        None => Ok(()),
        Some(member) => {
            let message = format!("`{member}` is set by the server; leave it out");
            Err(AdminError::invalid(*member, message))
        }
    }
}

/// JSON Merge Patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

pub(crate) fn parsed(record: &Record) -> Result<Option<Value>, AdminError> {
    let Some(body) = &record.body else { return Ok(None) };
    serde_json::from_str(body).map(Some).map_err(|error| AdminError::internal(&error))
}

pub(crate) fn value<R: Resource>(resource: &R) -> Result<Value, AdminError> {
    serde_json::to_value(resource).map_err(|error| AdminError::internal(&error))
}

pub(crate) fn text<R: Resource>(resource: &R) -> Result<String, AdminError> {
    serde_json::to_string(resource).map_err(|error| AdminError::internal(&error))
}

/// The resource as callers see it: without digests of secrets.
pub(crate) fn shown(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.remove("digest");
        if let Some(previous) = members.get_mut("previous").and_then(Value::as_object_mut) {
            previous.remove("digest");
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_removes_by_null_and_goes_deep() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut target, json!({"a": {"b": null, "e": {"f": null}}, "d": [3]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {}}, "d": [3]}));
    }

    #[test]
    fn digests_are_not_shown() {
        let key = json!({"id": "key_1", "digest": "aa", "previous": {"digest": "bb", "valid_until_ms": 1}});
        assert!(!shown(key).to_string().contains("digest"));
    }
}
