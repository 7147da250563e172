use crate::Role;

/// Something that not everybody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Call models.
    CallModels,
    /// See the key it calls with, and what that key has spent.
    ReadOwn,
    /// Make, rotate, block and delete its own keys.
    ManageOwnKeys,
    /// See keys, teams and users of the tenant.
    ReadDirectory,
    /// Make, change and delete keys, teams and users of the tenant.
    ManageDirectory,
    /// See budgets.
    ReadBudgets,
    /// Make, change and delete budgets.
    WriteBudgets,
    /// See prices.
    ReadPrices,
    /// Make, change and delete prices.
    WritePrices,
    /// See what the whole tenant has spent.
    ReadSpend,
    /// See what was done in the admin API.
    ReadAudit,
    /// See the state of caches.
    ReadCache,
    /// Empty and change caches.
    ManageCache,
    /// See guard policies.
    ReadGuards,
    /// Change guard policies.
    ManageGuards,
    /// Make, change and delete tenants.
    ManageTenants,
}

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    No,
    Yes,
    /// Only who belongs to no tenant.
    Platform,
}

/// A row of the table: permission, what it says in the documents, a grant for each of
/// [`Role::ALL`].
type Row = (Permission, &'static str, [Grant; 5]);

const TABLE: [Row; 16] = {
    use Grant::{No, Platform, Yes};
    use Permission as P;
    [
        (P::CallModels, "call models", [Yes, Yes, No, No, Yes]),
        (P::ReadOwn, "see the own key and its spend", [Yes, Yes, Yes, Yes, Yes]),
        (P::ManageOwnKeys, "manage own keys", [No, Yes, No, No, Yes]),
        (P::ReadDirectory, "see keys, teams and users", [No, No, Yes, Yes, Yes]),
        (P::ManageDirectory, "manage keys, teams and users", [No, No, No, No, Yes]),
        (P::ReadBudgets, "see budgets", [No, No, Yes, Yes, Yes]),
        (P::WriteBudgets, "manage budgets", [No, No, Yes, No, Yes]),
        (P::ReadPrices, "see prices", [No, No, Yes, Yes, Yes]),
        (P::WritePrices, "manage prices", [No, No, Yes, No, Yes]),
        (P::ReadSpend, "see the spend of the tenant", [No, No, Yes, Yes, Yes]),
        (P::ReadAudit, "see admin events and the audit log", [No, No, No, Yes, Yes]),
        (P::ReadCache, "see caches", [No, No, No, Yes, Yes]),
        (P::ManageCache, "manage caches", [No, No, No, No, Yes]),
        (P::ReadGuards, "see guard policies", [No, No, No, Yes, Yes]),
        (P::ManageGuards, "manage guard policies", [No, No, No, No, Yes]),
        (P::ManageTenants, "manage tenants", [No, No, No, No, Platform]),
    ]
};

impl Permission {
    /// What it is, as it stands in the documents: "may not ...".
    #[must_use]
    pub fn describe(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("do that", |row| row.1)
    }
}

impl Role {
    /// All roles, in the order of the table in the documents.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Developer, Self::Finance, Self::Auditor, Self::Admin];

    /// The name in records and claims.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Developer => "developer",
            Self::Finance => "finance",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Who acts in the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor<'a> {
    /// Id of the tenant it belongs to; `None`: it is the platform's.
    pub tenant: Option<&'a str>,
    /// Its role.
    pub role: Role,
}

impl Actor<'_> {
    /// Whether it may, within what is [`visible`] to it.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        let row = TABLE.iter().find(|row| row.0 == permission);
        let grant = row.zip(Role::ALL.iter().position(|role| *role == self.role));
        match grant.and_then(|(row, column)| row.2.get(column)) {
            Some(Grant::Yes) => true,
            Some(Grant::Platform) => self.tenant.is_none(),
            Some(Grant::No) | None => false,
        }
    }
}

/// Whether resources of the tenant exist for the actor at all. What is not visible is answered as
/// what does not exist. Resources of the platform have the empty tenant; no tenant sees them.
#[must_use]
pub fn visible(actor: &Actor<'_>, tenant: &str) -> bool {
    actor.tenant.is_none_or(|own| !own.is_empty() && own == tenant)
}

/// The table as Markdown, as it stands in `docs/roles.md`.
#[must_use]
pub fn permission_table() -> String {
    let mut text = String::from("| may |");
    for role in Role::ALL {
        text.push_str(&format!(" {} |", role.name()));
    }
    text.push_str(" platform admin |\n| --- |");
    text.push_str(&" --- |".repeat(Role::ALL.len() + 1));
    text.push('\n');
    for (permission, words, _) in TABLE {
        text.push_str(&format!("| {words} |"));
        let of_tenant = Role::ALL.map(|role| Actor { tenant: Some("ten_1"), role });
        let platform = Actor { tenant: None, role: Role::Admin };
        for actor in of_tenant.iter().chain([&platform]) {
            text.push_str(if actor.may(permission) { " yes |" } else { " - |" });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[path = "tests/role.rs"]
mod tests;
