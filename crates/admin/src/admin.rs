use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use identity::{
    AdminEvent, DirectoryStore, Expected, Permission, Record, RecordKind, Replay, Write,
};
use metering::LedgerStore;
use serde_json::{Map, Value, json};

use crate::actor::{Actor, Authenticate};
use crate::crud::{answer, parsed};
use crate::decisions::Decisions;
use crate::error::AdminError;
use crate::guard::GuardTest;
use crate::replay::{opened, sealed};
use crate::resource::Resource;

/// How a budget stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetStanding {
    /// Spent in the present period, nano-roubles.
    pub spent_nanos: i64,
    /// Promised to requests in flight, nano-roubles.
    pub reserved_nanos: i64,
    /// When the period ends, milliseconds since 1970; `None`: never.
    pub resets_at_ms: Option<i64>,
}

/// What a deployment costs now, nano-roubles, value-added tax included.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct PriceRow {
    /// The public model name.
    pub route: String,
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// A million prompt tokens; absent: the price is not known.
    pub prompt_nanos: Option<i64>,
    /// A million cached prompt tokens.
    pub cached_nanos: Option<i64>,
    /// A million completion tokens.
    pub completion_nanos: Option<i64>,
    /// Where the price comes from.
    pub source: String,
}

/// Tells how budgets stand right now.
pub trait Standings: Send + Sync + 'static {
    /// The standing of a budget; `None`: it is not known here yet.
    fn standing(&self, budget: &str) -> Option<BudgetStanding>;
}

/// What the admin API works with.
pub struct Admin {
    /// Where resources are kept.
    pub directory: Arc<dyn DirectoryStore>,
    /// Where usage is kept.
    pub ledger: Arc<dyn LedgerStore>,
    /// Finds out who calls.
    pub authenticate: Arc<dyn Authenticate>,
    /// How budgets stand.
    pub standings: Arc<dyn Standings>,
    /// What deployments cost.
    pub prices: Box<dyn Fn() -> Vec<PriceRow> + Send + Sync>,
    /// What the router decided, learned and sees.
    pub decisions: Arc<dyn Decisions>,
    /// What the guard makes of texts.
    pub guard: Arc<dyn GuardTest>,
    /// Milliseconds since 1970.
    pub clock: fn() -> i64,
    /// 256 random bits from a cryptographic source.
    pub random: fn() -> [u8; 32],
    /// Called after every change, so that this process sees it at once.
    pub changed: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// A change and the event that tells of it.
pub(crate) struct Change<'a> {
    pub(crate) action: &'a str,
    pub(crate) writes: Vec<Write>,
    pub(crate) details: Value,
}

/// An idempotency key that has not been used yet.
pub(crate) struct Fresh {
    key: String,
    request_digest: String,
}

/// How far somebody may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All of the tenant.
    Tenant,
    /// What is one's own.
    Own,
}

impl Reach {
    /// Whether it covers the resource.
    pub(crate) fn covers(self, actor: &Actor, id: &str, body: &Value) -> bool {
        self == Self::Tenant || is_own(actor, id, body)
    }
}

fn is_own(actor: &Actor, id: &str, body: &Value) -> bool {
    let user = actor.user.as_deref();
    actor.key.as_deref() == Some(id)
        || (user.is_some() && (user == Some(id) || body["user"].as_str() == user))
}

impl Admin {
    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    pub(crate) fn new_id(&self, prefix: &str) -> String {
        let mut random = [0; 16];
        random.copy_from_slice((self.random)().split_at(16).0);
        identity::generate_id(prefix, random)
    }

    pub(crate) fn may(actor: &Actor, permission: Permission) -> bool {
        identity::Actor { tenant: actor.tenant.as_deref(), role: actor.role }.may(permission)
    }

    pub(crate) fn need(actor: &Actor, permission: Permission) -> Result<(), AdminError> {
        if Self::may(actor, permission) {
            return Ok(());
        }
        Err(AdminError::forbidden(format!(
            "the role `{}` may not {}",
            actor.role.name(),
            permission.describe()
        )))
    }

    /// How far the actor may look at resources of a kind.
    pub(crate) fn may_read<R: Resource>(&self, actor: &Actor) -> Result<Reach, AdminError> {
        let all = match R::KIND {
            RecordKind::Budget => Permission::ReadBudgets,
            RecordKind::Price => Permission::ReadPrices,
            _ => Permission::ReadDirectory,
        };
        if Self::may(actor, all) {
            return Ok(Reach::Tenant);
        }
        if R::KIND == RecordKind::Key || R::KIND == RecordKind::User {
            Self::need(actor, Permission::ReadOwn)?;
            return Ok(Reach::Own);
        }
        Self::need(actor, all)?;
        Ok(Reach::Tenant)
    }

    /// Whether the actor may create, change or delete `resource`.
    pub(crate) fn may_write<R: Resource>(
        &self,
        actor: &Actor,
        resource: &R,
    ) -> Result<(), AdminError> {
        if !actor.sees(resource.tenant()) {
            // A foreign tenant named in a request must not be confirmed to exist.
            return Err(AdminError::invalid("tenant", "there is no such tenant here"));
        }
        let permission = match R::KIND {
            RecordKind::Tenant => Permission::ManageTenants,
            RecordKind::Budget => Permission::WriteBudgets,
            RecordKind::Price => Permission::WritePrices,
            _ => Permission::ManageDirectory,
        };
        if Self::may(actor, permission) {
            return Ok(());
        }
        if R::KIND == RecordKind::Key && Self::may(actor, Permission::ManageOwnKeys) {
            let body = serde_json::to_value(resource).unwrap_or_default();
            // Nobody gives a key more than they have: an own key has the role of a user.
            if is_own(actor, resource.id(), &body) && body["role"] == json!("user") {
                return Ok(());
            }
        }
        Self::need(actor, permission)
    }

    /// The resource of this id, if it exists for the actor.
    pub(crate) async fn find<R: Resource>(
        &self,
        actor: &Actor,
        id: &str,
    ) -> Result<(Record, Value), AdminError> {
        let record = self.directory.get(R::KIND, id).await?.ok_or_else(AdminError::not_found)?;
        if !actor.sees(&record.tenant) {
            return Err(AdminError::not_found());
        }
        let body = parsed(&record)?.ok_or_else(AdminError::not_found)?;
        Ok((record, body))
    }

    /// Fills in what the server sets. The secret of a new key, to be shown once.
    pub(crate) fn prepare_new<R: Resource>(
        &self,
        actor: &Actor,
        members: &mut Map<String, Value>,
    ) -> Result<Option<String>, AdminError> {
        if R::KIND != RecordKind::Key {
            return Ok(None);
        }
        let own_only = !Self::may(actor, Permission::ManageDirectory);
        if let (true, Some(user)) = (own_only, &actor.user) {
            members.entry("user").or_insert_with(|| json!(user));
        }
        let made = identity::generate_key((self.random)());
        members.insert("digest".to_owned(), json!(made.digest.to_hex()));
        members.insert("hint".to_owned(), json!(made.hint));
        members.insert("issued_ms".to_owned(), json!(self.now()));
        Ok(Some(made.secret))
    }

    /// Every resource that `resource` names must exist, in the same tenant.
    pub(crate) async fn check_references<R: Resource>(
        &self,
        resource: &R,
    ) -> Result<(), AdminError> {
        let body = serde_json::to_value(resource).map_err(|error| AdminError::internal(&error))?;
        for (member, kind) in R::REFERENCES {
            let Some(id) = body[*member].as_str() else { continue };
            let found = self.directory.get(*kind, id).await?;
            if found.is_none_or(|record| record.tenant != resource.tenant()) {
                let message = format!("there is no {} `{id}` in this tenant", kind.name());
                return Err(AdminError::invalid(*member, message));
            }
        }
        Ok(())
    }

    /// A tenant, team or user that others belong to stays until they are gone.
    pub(crate) async fn refuse_if_needed<R: Resource>(
        &self,
        resource: &R,
    ) -> Result<(), AdminError> {
        let (member, kinds): (&str, &[RecordKind]) = match R::KIND {
            RecordKind::Tenant => (
                "tenant",
                &[RecordKind::Team, RecordKind::User, RecordKind::Key, RecordKind::Budget],
            ),
            RecordKind::Team => ("team", &[RecordKind::User, RecordKind::Key]),
            RecordKind::User => ("user", &[RecordKind::Key]),
            _ => return Ok(()),
        };
        for kind in kinds {
            let mut after = String::new();
            loop {
                let records =
                    self.directory.list(*kind, Some(resource.tenant()), &after, 1000).await?;
                for record in &records {
                    let body = parsed(record)?.unwrap_or_default();
                    if body[member].as_str() == Some(resource.id()) {
                        return Err(AdminError::conflict(
                            "still_in_use",
                            format!(
                                "the {} `{}` belongs to it; delete that first",
                                kind.name(),
                                record.id
                            ),
                        ));
                    }
                }
                match records.last() {
                    Some(last) if records.len() == 1000 => after.clone_from(&last.id),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// The answer that was given before to the same `Idempotency-Key`, else what is needed to keep
    /// the answer to come.
    pub(crate) async fn replayed(
        &self,
        actor: &Actor,
        headers: &HeaderMap,
        (action, body): (&str, &[u8]),
    ) -> Result<Result<Response, Option<Fresh>>, AdminError> {
        let Some(name) = headers.get("idempotency-key") else { return Ok(Err(None)) };
        let name = name.to_str().ok().filter(|name| (1..=200).contains(&name.len()));
        let name = name.ok_or_else(|| {
            let message = "`Idempotency-Key` must have 1 to 200 ASCII characters";
            AdminError::invalid("Idempotency-Key", message)
        })?;
        let key = format!("{}/{name}", actor.name);
        let digest =
            identity::KeyDigest::of(&format!("{action}\n{}", String::from_utf8_lossy(body)))
                .to_hex();
        let Some(before) = self.directory.replay(&key).await? else {
            return Ok(Err(Some(Fresh { key, request_digest: digest })));
        };
        if before.request_digest != digest {
            return Err(AdminError::conflict(
                "idempotency_key_reused",
                "this `Idempotency-Key` was used for another request; take a new one",
            ));
        }
        let kept = opened(actor, &key, &before.answer)?;
        let revision = kept["revision"].as_i64().unwrap_or_default();
        let mut response = answer(StatusCode::CREATED, revision, &kept["answer"]);
        response
            .headers_mut()
            .insert("idempotent-replayed", axum::http::HeaderValue::from_static("true"));
        Ok(Ok(response))
    }

    /// Makes a change, with its event and its replay. The revision of the last write.
    pub(crate) async fn change(
        &self,
        actor: &Actor,
        change: Change<'_>,
        fresh: Option<Fresh>,
        shown: &Value,
    ) -> Result<i64, AdminError> {
        let now = self.now();
        let concerned = change.writes.first();
        let event = AdminEvent {
            at_ms: now,
            actor: actor.name.clone(),
            tenant: concerned.map(|write| write.tenant.clone()).unwrap_or_default(),
            action: change.action.to_owned(),
            resource: concerned.map(|write| write.id.clone()).unwrap_or_default(),
            details: change.details.to_string(),
        };
        let created = concerned.is_some_and(|write| write.expected == Expected::Absent);
        let replay = match fresh {
            None => None,
            Some(fresh) => Some(Replay {
                answer: sealed(actor, &fresh.key, &json!({"revision": 0, "answer": shown}))?,
                key: fresh.key,
                request_digest: fresh.request_digest,
                at_ms: now,
            }),
        };
        let revisions =
            self.directory.write(&change.writes, &event, replay.as_ref()).await.map_err(
                |error| match error {
                    identity::DirectoryError::Conflict { .. } if created => {
                        AdminError::conflict("already_exists", "it exists already")
                    }
                    other => other.into(),
                },
            )?;
        tracing::info!(
            actor = event.actor,
            action = event.action,
            tenant = event.tenant,
            resource = event.resource,
            event = "admin_change",
            "changed by the admin API"
        );
        (self.changed)();
        Ok(revisions.last().copied().unwrap_or_default())
    }
}
