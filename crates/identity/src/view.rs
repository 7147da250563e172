use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::level::{KeyEntry, Level, LevelKind, TeamEntry, TenantEntry, UserEntry};
use crate::shards::ShardMap;
use crate::{KeyDigest, Policy, Record, RecordKind, Team, Tenant, User, VirtualKey};

/// A record that this version cannot read. It counts as deleted, and with it goes all that
/// belongs to it: what cannot be read allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {} {id} cannot be read: {fault}", .kind.name())]
pub struct Unreadable {
    /// What it is.
    pub kind: RecordKind,
    /// Its id.
    pub id: String,
    /// What is wrong, without the record's content.
    pub fault: &'static str,
}

/// A resource that others interpret: a budget, a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// The tenant it belongs to; empty: the platform.
    pub tenant: Arc<str>,
    /// Number of the change that wrote it.
    pub revision: i64,
    /// The resource as JSON.
    pub body: Arc<str>,
}

/// All of the directory that requests need, in memory. A clone costs a few counted references
/// whatever the size, is not affected by later changes, and can be shared between threads: apply
/// changes to one, publish clones of it.
#[derive(Clone, Default)]
pub struct DirectoryView {
    tenants: ShardMap<Arc<str>, Arc<TenantEntry>>,
    teams: ShardMap<Arc<str>, Arc<TeamEntry>>,
    users: ShardMap<Arc<str>, Arc<UserEntry>>,
    /// Ids of users by tenant and `sub`.
    subjects: ShardMap<Box<str>, Arc<str>>,
    keys: ShardMap<Arc<str>, Arc<KeyEntry>>,
    digests: ShardMap<KeyDigest, Arc<KeyEntry>>,
    budgets: ShardMap<Arc<str>, Opaque>,
    prices: ShardMap<Arc<str>, Opaque>,
    /// The policy that says nothing, kept once.
    unrestricted: Arc<Policy>,
    revision: i64,
}

impl fmt::Debug for DirectoryView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DirectoryView")
            .field("revision", &self.revision)
            .field("tenants", &self.tenants.len())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl DirectoryView {
    /// Takes one change. Changes come in the order of their revisions; one that was seen already
    /// is passed over.
    ///
    /// # Errors
    ///
    /// The record cannot be read. It counts as deleted, the view is whole, and later changes can
    /// be applied.
    pub fn apply(&mut self, record: &Record) -> Result<(), Unreadable> {
        if record.revision <= self.revision {
            return Ok(());
        }
        self.revision = record.revision;
        let fault = match (record.kind, record.body.as_deref()) {
            (kind, None) => {
                self.remove(kind, &record.id);
                return Ok(());
            }
            (RecordKind::Tenant, Some(body)) => self.put_tenant(record, body),
            (RecordKind::Team, Some(body)) => self.put_team(record, body),
            (RecordKind::User, Some(body)) => self.put_user(record, body),
            (RecordKind::Key, Some(body)) => self.put_key(record, body),
            (RecordKind::Budget | RecordKind::Price, Some(body)) => {
                self.put_opaque(record, body);
                Ok(())
            }
        };
        fault.map_err(|fault| {
            self.remove(record.kind, &record.id);
            Unreadable { kind: record.kind, id: record.id.clone(), fault }
        })
    }

    /// Number of the last change taken; ask the store for those after it.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How many records of the kind there are.
    #[must_use]
    pub fn len(&self, kind: RecordKind) -> usize {
        match kind {
            RecordKind::Tenant => self.tenants.len(),
            RecordKind::Team => self.teams.len(),
            RecordKind::User => self.users.len(),
            RecordKind::Key => self.keys.len(),
            RecordKind::Budget => self.budgets.len(),
            RecordKind::Price => self.prices.len(),
        }
    }

    /// Whether there is nothing of any kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        RecordKind::ALL.into_iter().all(|kind| self.len(kind) == 0)
    }

    /// A tenant by id.
    #[must_use]
    pub fn tenant(&self, id: &str) -> Option<&Arc<TenantEntry>> {
        self.tenants.get(id)
    }

    /// A team by id.
    #[must_use]
    pub fn team(&self, id: &str) -> Option<&Arc<TeamEntry>> {
        self.teams.get(id)
    }

    /// A user by id.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<&Arc<UserEntry>> {
        self.users.get(id)
    }

    /// A user of a tenant by `sub` of its tokens.
    #[must_use]
    pub fn user_by_subject(&self, tenant: &str, subject: &str) -> Option<&Arc<UserEntry>> {
        self.user(self.subjects.get(subject_key(tenant, subject).as_ref())?)
    }

    /// A key by id.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<&Arc<KeyEntry>> {
        self.keys.get(id)
    }

    /// A budget by id.
    #[must_use]
    pub fn budget(&self, id: &str) -> Option<&Opaque> {
        self.budgets.get(id)
    }

    /// All budgets by id, in no order.
    pub fn budgets(&self) -> impl Iterator<Item = (&Arc<str>, &Opaque)> {
        self.budgets.iter()
    }

    /// A price record by id.
    #[must_use]
    pub fn price(&self, id: &str) -> Option<&Opaque> {
        self.prices.get(id)
    }

    /// All price records by id, in no order.
    pub fn prices(&self) -> impl Iterator<Item = (&Arc<str>, &Opaque)> {
        self.prices.iter()
    }

    /// Ids of a kind in alphabetical order, of one tenant or (`None`) of all. Looks at every record
    /// of the kind: for the admin API, not for requests.
    #[must_use]
    pub fn ids(&self, kind: RecordKind, tenant: Option<&str>) -> Vec<Arc<str>> {
        fn pick<'a>(
            entries: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
            tenant: Option<&str>,
        ) -> Vec<Arc<str>> {
            let wanted =
                entries.filter(|(_, owner)| tenant.is_none_or(|tenant| tenant == &***owner));
            let mut ids: Vec<_> = wanted.map(|(id, _)| Arc::clone(id)).collect();
            ids.sort_unstable();
            ids
        }
        match kind {
            RecordKind::Tenant => pick(self.tenants.iter().map(|(id, _)| (id, id)), tenant),
            RecordKind::Team => pick(self.teams.iter().map(|(id, e)| (id, &e.tenant)), tenant),
            RecordKind::User => pick(self.users.iter().map(|(id, e)| (id, &e.tenant)), tenant),
            RecordKind::Key => pick(self.keys.iter().map(|(id, e)| (id, &e.tenant)), tenant),
            RecordKind::Budget => pick(self.budgets.iter().map(|(id, e)| (id, &e.tenant)), tenant),
            RecordKind::Price => pick(self.prices.iter().map(|(id, e)| (id, &e.tenant)), tenant),
        }
    }

    /// The key of which `digest` is the present or the previous secret. The match is confirmed in
    /// constant time.
    pub(crate) fn key_by_digest(&self, digest: &KeyDigest) -> Option<&Arc<KeyEntry>> {
        let (known, entry) = self.digests.get_key_value(digest)?;
        known.matches(digest).then_some(entry)
    }

    fn remove(&mut self, kind: RecordKind, id: &str) {
        match kind {
            RecordKind::Tenant => drop(self.tenants.remove(id)),
            RecordKind::Team => drop(self.teams.remove(id)),
            RecordKind::User => {
                if let Some(user) = self.users.remove(id) {
                    self.forget_subject(&user);
                }
            }
            RecordKind::Key => {
                if let Some(key) = self.keys.remove(id) {
                    self.forget_digests(&key);
                }
            }
            RecordKind::Budget => drop(self.budgets.remove(id)),
            RecordKind::Price => drop(self.prices.remove(id)),
        }
    }

    fn put_tenant(&mut self, record: &Record, body: &str) -> Result<(), &'static str> {
        let tenant: Tenant = parse(body)?;
        same(&tenant.id, &record.id)?;
        // A tenant belongs to itself.
        same(&tenant.id, &record.tenant)?;
        let (id, level) =
            self.level(LevelKind::Tenant, tenant.id, tenant.name, tenant.blocked, tenant.policy);
        let entry = TenantEntry {
            level,
            tier: tenant.tier,
            time_zone: tenant.time_zone.into(),
            fail_closed: tenant.fail_closed,
        };
        self.tenants.insert(id, Arc::new(entry));
        Ok(())
    }

    fn put_team(&mut self, record: &Record, body: &str) -> Result<(), &'static str> {
        let team: Team = parse(body)?;
        same(&team.id, &record.id)?;
        same(&team.tenant, &record.tenant)?;
        let (id, level) =
            self.level(LevelKind::Team, team.id, team.name, team.blocked, team.policy);
        let entry = TeamEntry { level, tenant: self.tenant_id(team.tenant) };
        self.teams.insert(id, Arc::new(entry));
        Ok(())
    }

    fn put_user(&mut self, record: &Record, body: &str) -> Result<(), &'static str> {
        let user: User = parse(body)?;
        same(&user.id, &record.id)?;
        same(&user.tenant, &record.tenant)?;
        let (id, level) =
            self.level(LevelKind::User, user.id, user.name, user.blocked, user.policy);
        let entry = Arc::new(UserEntry {
            level,
            tenant: self.tenant_id(user.tenant),
            team: user.team.map(|team| self.team_id(team)),
            subject: user.subject.map(Into::into),
            role: user.role,
            service_account: user.service_account,
        });
        if let Some(before) = self.users.insert(Arc::clone(&id), Arc::clone(&entry)) {
            self.forget_subject(&before);
        }
        if let Some(subject) = entry.subject.as_deref() {
            let key = subject_key(&entry.tenant, subject);
            // Whoever has the subject keeps it: a second user cannot take it over.
            if self.subjects.get(key.as_ref()).is_some() {
                return Err("its subject is another user's");
            }
            self.subjects.insert(key, id);
        }
        Ok(())
    }

    fn put_key(&mut self, record: &Record, body: &str) -> Result<(), &'static str> {
        let key: VirtualKey = parse(body)?;
        same(&key.id, &record.id)?;
        same(&key.tenant, &record.tenant)?;
        let broken = "a digest is not 64 hexadecimal digits";
        let digest = KeyDigest::from_hex(&key.digest).ok_or(broken)?;
        let previous = match key.previous {
            Some(previous) => {
                let digest = KeyDigest::from_hex(&previous.digest).ok_or(broken)?;
                Some(Box::new((digest, previous.valid_until_ms)))
            }
            None => None,
        };
        let (id, level) = self.level(LevelKind::Key, key.id, key.name, key.blocked, key.policy);
        let entry = Arc::new(KeyEntry {
            level,
            tenant: self.tenant_id(key.tenant),
            team: key.team.map(|team| self.team_id(team)),
            user: key.user.map(|user| shared(&self.users, user)),
            digest,
            previous,
            role: key.role,
            issued_ms: key.issued_ms,
            expires_ms: key.expires_ms,
            tags: key.tags.into_iter().map(Into::into).collect(),
        });
        if let Some(before) = self.keys.insert(id, Arc::clone(&entry)) {
            self.forget_digests(&before);
        }
        for digest in entry.digests() {
            // Whoever has the secret keeps it: a second key cannot take it over.
            if self.digests.get(&digest).is_some_and(|other| !Arc::ptr_eq(other, &entry)) {
                return Err("its digest is another key's");
            }
            self.digests.insert(digest, Arc::clone(&entry));
        }
        Ok(())
    }

    fn put_opaque(&mut self, record: &Record, body: &str) {
        let entry = Opaque {
            tenant: self.tenant_id(record.tenant.clone()),
            revision: record.revision,
            body: body.into(),
        };
        let map = match record.kind {
            RecordKind::Budget => &mut self.budgets,
            _ => &mut self.prices,
        };
        map.insert(record.id.as_str().into(), entry);
    }

    fn level(
        &self,
        kind: LevelKind,
        id: String,
        name: String,
        blocked: bool,
        policy: Policy,
    ) -> (Arc<str>, Level) {
        let id: Arc<str> = id.into();
        let policy = if policy == *self.unrestricted {
            Arc::clone(&self.unrestricted)
        } else {
            Arc::new(policy)
        };
        (Arc::clone(&id), Level { kind, id, name: name.into(), blocked, policy })
    }

    fn tenant_id(&self, id: String) -> Arc<str> {
        shared(&self.tenants, id)
    }

    fn team_id(&self, id: String) -> Arc<str> {
        shared(&self.teams, id)
    }

    fn forget_subject(&mut self, user: &UserEntry) {
        if let Some(subject) = user.subject.as_deref() {
            let key = subject_key(&user.tenant, subject);
            if self.subjects.get(key.as_ref()).is_some_and(|id| *id == user.level.id) {
                self.subjects.remove(key.as_ref());
            }
        }
    }

    fn forget_digests(&mut self, key: &Arc<KeyEntry>) {
        for digest in key.digests() {
            if self.digests.get(&digest).is_some_and(|entry| Arc::ptr_eq(entry, key)) {
                self.digests.remove(&digest);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn keys_shared_with(&self, other: &Self) -> usize {
        self.keys.shared_with(&other.keys).min(self.digests.shared_with(&other.digests))
    }
}

impl KeyEntry {
    fn digests(&self) -> impl Iterator<Item = KeyDigest> + use<> {
        let previous = self.previous.as_ref().map(|previous| previous.0);
        [Some(self.digest), previous].into_iter().flatten()
    }
}

/// The id as it is kept already, so that 100,000 keys of a tenant share one.
fn shared<V: Clone>(map: &ShardMap<Arc<str>, V>, id: String) -> Arc<str> {
    match map.get_key_value(id.as_str()) {
        Some((known, _)) => Arc::clone(known),
        None => id.into(),
    }
}

fn subject_key(tenant: &str, subject: &str) -> Box<str> {
    // The length keeps apart what a separator could not.
    format!("{}:{tenant}{subject}", tenant.len()).into()
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, &'static str> {
    serde_json::from_str(body).map_err(|_| "it is not of the form that this version knows")
}

fn same(inside: &str, outside: &str) -> Result<(), &'static str> {
    if inside == outside { Ok(()) } else { Err("its id or tenant is not that of its record") }
}

#[cfg(test)]
#[path = "tests/view.rs"]
mod tests;
