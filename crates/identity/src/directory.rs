use async_trait::async_trait;

/// What a record of the directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RecordKind {
    Tenant,
    Team,
    User,
    Key,
    Budget,
    Price,
}

impl RecordKind {
    /// All kinds, in the order in which one may refer to those before it.
    pub const ALL: [Self; 6] =
        [Self::Tenant, Self::Team, Self::User, Self::Key, Self::Budget, Self::Price];

    /// The name in the database and in paths.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Team => "team",
            Self::User => "user",
            Self::Key => "key",
            Self::Budget => "budget",
            Self::Price => "price",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One resource as the directory keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// Its id, unique within the kind.
    pub id: String,
    /// The tenant it belongs to; a tenant belongs to itself; empty: to the platform.
    pub tenant: String,
    /// Number of the change that wrote it; grows over the whole directory.
    pub revision: i64,
    /// The resource as JSON; `None`: it was deleted.
    pub body: Option<String>,
}

/// What must hold of a record for it to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It does not exist (or was deleted).
    Absent,
    /// It exists and has this revision.
    Revision(i64),
    /// It exists.
    Present,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it is.
    pub kind: RecordKind,
    /// Its id.
    pub id: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// What must hold.
    pub expected: Expected,
    /// The new content as JSON; `None` deletes.
    pub body: Option<String>,
}

/// The answer that a caller got for a change it named with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Who and which key: unique.
    pub key: String,
    /// Digest of the request, so that the same key with another request is told apart.
    pub request_digest: String,
    /// The answer as JSON; encrypted by the caller where it holds a secret.
    pub answer: String,
    /// When it was stored, milliseconds since 1970.
    pub at_ms: i64,
}

/// Something that somebody did in the admin API, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminEvent {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who: `key:key_...`, `user:usr_...`, `static:NAME`.
    pub actor: String,
    /// The tenant concerned; empty: the platform.
    pub tenant: String,
    /// What: `key.create`, `budget.update`.
    pub action: String,
    /// Upon what, by id.
    pub resource: String,
    /// What else is worth knowing, as JSON without secrets.
    pub details: String,
}

/// Why the directory could not do it.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Something expected does not hold; nothing was written.
    #[error("{kind:?} {id} is not as expected")]
    Conflict {
        /// Kind of the record at fault.
        kind: RecordKind,
        /// Its id.
        id: String,
        /// Its present revision; `None`: it does not exist.
        found: Option<i64>,
    },
    /// The database cannot be reached or is out of order; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
}

/// Where tenants, keys and the like are kept for good. Every change gets the next revision; who
/// has seen all up to a revision asks for what came since.
#[async_trait]
pub trait DirectoryStore: Send + Sync + std::fmt::Debug {
    /// Makes the changes, all or none, together with the event that tells of them and, if there is
    /// one, the replay. The revisions of the changes, in order.
    async fn write(
        &self,
        writes: &[Write],
        event: &AdminEvent,
        replay: Option<&Replay>,
    ) -> Result<Vec<i64>, DirectoryError>;

    /// Records with a revision above `revision`, in order of revision, at most `limit`. Deleted
    /// ones are among them. A revision that was skipped never comes later.
    async fn since(&self, revision: i64, limit: usize) -> Result<Vec<Record>, DirectoryError>;

    /// One record; `None` if it does not exist or was deleted.
    async fn get(&self, kind: RecordKind, id: &str) -> Result<Option<Record>, DirectoryError>;

    /// Records of a kind that exist, in order of id, after the id `after`, at most `limit`; only of
    /// `tenant` if one is given.
    async fn list(
        &self,
        kind: RecordKind,
        tenant: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Record>, DirectoryError>;

    /// The replay of an idempotency key.
    async fn replay(&self, key: &str) -> Result<Option<Replay>, DirectoryError>;

    /// Forgets replays older than this. How many.
    async fn forget_replays(&self, before_ms: i64) -> Result<u64, DirectoryError>;

    /// Events of a tenant (`None`: all) after the event of this number, in order, at most `limit`,
    /// each with its number.
    async fn events(
        &self,
        tenant: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, AdminEvent)>, DirectoryError>;

    /// Writes when keys were last used, id and milliseconds since 1970; an older time never
    /// replaces a newer one. No revision: it is not a change that others must see.
    async fn record_key_use(&self, uses: &[(String, i64)]) -> Result<(), DirectoryError>;

    /// When these keys were last used; those never used are left out.
    async fn key_use(&self, ids: &[String]) -> Result<Vec<(String, i64)>, DirectoryError>;
}
