use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use identity::Permission;
use metering::{Budget, Dimension, LedgerEntry, LedgerFilter, LedgerSum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::actor::Actor;
use crate::admin::{Admin, BudgetStanding, PriceRow};
use crate::error::AdminError;

/// Which usage is meant.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UsageQuery {
    /// Dimensions to group by, separated by commas: tenant, team, user, key, route, provider,
    /// model, day. Only for sums.
    pub(crate) by: Option<String>,
    /// Only of this tenant.
    pub(crate) tenant: Option<String>,
    /// Only of this team.
    pub(crate) team: Option<String>,
    /// Only of this user.
    pub(crate) user: Option<String>,
    /// Only of this key.
    pub(crate) key: Option<String>,
    /// Only of this route.
    pub(crate) route: Option<String>,
    /// Only with this tag.
    pub(crate) tag: Option<String>,
    /// From this time on, milliseconds since 1970.
    pub(crate) from_ms: Option<i64>,
    /// Before this time, milliseconds since 1970.
    pub(crate) to_ms: Option<i64>,
    /// Id of the last entry of the page before. Only for entries.
    pub(crate) after: Option<String>,
    /// Entries in a page, 1 to 1000; 100 if left out. Only for entries.
    pub(crate) limit: Option<usize>,
}

/// Sums of usage.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct UsageSums {
    pub(crate) data: Vec<LedgerSum>,
}

/// Entries of the ledger.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct UsageEntries {
    pub(crate) data: Vec<LedgerEntry>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// How a budget stands.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct BudgetStatus {
    /// The budget's id.
    pub(crate) id: String,
    /// Its amount, nano-roubles.
    pub(crate) amount_nanos: i64,
    /// Spent in the present period, nano-roubles.
    pub(crate) spent_nanos: i64,
    /// Promised to requests in flight, nano-roubles.
    pub(crate) reserved_nanos: i64,
    /// When the period ends, milliseconds since 1970; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resets_at_ms: Option<i64>,
}

fn filter(actor: &Actor, query: &UsageQuery) -> Result<LedgerFilter, AdminError> {
    let mut filter = LedgerFilter {
        tenant: query.tenant.clone(),
        team: query.team.clone(),
        user: query.user.clone(),
        key: query.key.clone(),
        route: query.route.clone(),
        tag: query.tag.clone(),
        from_ms: query.from_ms,
        to_ms: query.to_ms,
    };
    if let Some(own) = &actor.tenant {
        if filter.tenant.as_ref().is_some_and(|asked| asked != own) {
            // Looks like a tenant without usage.
            filter.from_ms = Some(i64::MAX);
        }
        filter.tenant = Some(own.clone());
    }
    if !Admin::may(actor, Permission::ReadSpend) {
        Admin::need(actor, Permission::ReadOwn)?;
        match (&actor.user, &actor.key) {
            (Some(user), _) => filter.user = Some(user.clone()),
            (None, Some(key)) => filter.key = Some(key.clone()),
            (None, None) => return Err(AdminError::forbidden("there is no spend of your own")),
        }
    }
    Ok(filter)
}

fn dimensions(by: &str) -> Result<Vec<Dimension>, AdminError> {
    by.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| {
            serde_json::from_value(Value::String(name.trim().to_owned())).map_err(|_| {
                AdminError::invalid(
                    "by",
                    format!(
                        "`{name}` is not a dimension; there are tenant, team, user, key, route, \
                         provider, model, day"
                    ),
                )
            })
        })
        .collect()
}

pub(crate) async fn sums(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Result<Json<UsageSums>, AdminError> {
    let Query(query) = query.map_err(|error| AdminError::invalid("query", error.body_text()))?;
    let by = dimensions(query.by.as_deref().unwrap_or("tenant"))?;
    let filter = filter(&actor, &query)?;
    Ok(Json(UsageSums { data: admin.ledger.sums(&filter, &by).await? }))
}

pub(crate) async fn entries(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Result<Json<UsageEntries>, AdminError> {
    let Query(query) = query.map_err(|error| AdminError::invalid("query", error.body_text()))?;
    let limit = match query.limit {
        None => 100,
        Some(limit @ 1..=1000) => limit,
        Some(_) => return Err(AdminError::invalid("limit", "`limit` must be 1 to 1000")),
    };
    let filter = filter(&actor, &query)?;
    let data = admin.ledger.entries(&filter, query.after.as_deref(), limit).await?;
    let next = (data.len() == limit).then(|| data.last().map(|last| last.id.clone())).flatten();
    Ok(Json(UsageEntries { data, next }))
}

pub(crate) async fn budget_status(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<BudgetStatus>, AdminError> {
    Admin::need(&actor, Permission::ReadBudgets)?;
    let (_, body) = admin.find::<Budget>(&actor, &id).await?;
    let BudgetStanding { spent_nanos, reserved_nanos, resets_at_ms } =
        admin.standings.standing(&id).unwrap_or_default();
    Ok(Json(BudgetStatus {
        id,
        amount_nanos: body["amount_nanos"].as_i64().unwrap_or_default(),
        spent_nanos,
        reserved_nanos,
        resets_at_ms,
    }))
}

/// What deployments cost.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Prices {
    pub(crate) data: Vec<PriceRow>,
}

pub(crate) async fn prices(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
) -> Result<Json<Prices>, AdminError> {
    Admin::need(&actor, Permission::ReadPrices)?;
    Ok(Json(Prices { data: (admin.prices)() }))
}

/// Which events are wanted.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventsQuery {
    /// Number of the last event of the page before.
    pub(crate) after: Option<i64>,
    /// Events in a page, 1 to 1000; 100 if left out.
    pub(crate) limit: Option<usize>,
}

/// Something that was done in the admin API.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Event {
    pub(crate) number: i64,
    /// Milliseconds since 1970.
    pub(crate) at_ms: i64,
    pub(crate) actor: String,
    pub(crate) tenant: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) details: Value,
}

/// A page of events.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Events {
    pub(crate) data: Vec<Event>,
}

pub(crate) async fn events(
    State(admin): State<Arc<Admin>>,
    actor: Actor,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Events>, AdminError> {
    Admin::need(&actor, Permission::ReadAudit)?;
    let Query(query) = query.map_err(|error| AdminError::invalid("query", error.body_text()))?;
    let limit = query.limit.unwrap_or(100).clamp(1, 1000);
    let events = admin
        .directory
        .events(actor.tenant.as_deref(), query.after.unwrap_or_default(), limit)
        .await?;
    let data = events
        .into_iter()
        .map(|(number, event)| Event {
            number,
            at_ms: event.at_ms,
            actor: event.actor,
            tenant: event.tenant,
            action: event.action,
            resource: event.resource,
            details: serde_json::from_str(&event.details).unwrap_or_default(),
        })
        .collect();
    Ok(Json(Events { data }))
}
