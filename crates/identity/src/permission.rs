use crate::resource::Role;

/// Something that somebody may do in the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See the own key, the own user and their spend.
    ReadOwn,
    /// Create, rotate, block and delete keys of one's own.
    ManageOwnKeys,
    /// See tenants, teams, users and keys.
    ReadDirectory,
    /// Create, change and delete teams, users and keys.
    ManageDirectory,
    /// Create, change and delete tenants.
    ManageTenants,
    /// See budgets and how they stand.
    ReadBudgets,
    /// Create, change and delete budgets.
    WriteBudgets,
    /// See prices.
    ReadPrices,
    /// Change prices.
    WritePrices,
    /// See everybody's spend.
    ReadSpend,
    /// See what was done in the admin API.
    ReadEvents,
}

impl Permission {
    /// All of them, in the order of the table in the docs.
    pub const ALL: [Self; 11] = [
        Self::ReadOwn,
        Self::ManageOwnKeys,
        Self::ReadDirectory,
        Self::ManageDirectory,
        Self::ManageTenants,
        Self::ReadBudgets,
        Self::WriteBudgets,
        Self::ReadPrices,
        Self::WritePrices,
        Self::ReadSpend,
        Self::ReadEvents,
    ];

    /// As a phrase: "may not ...".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::ReadOwn => "see its own key and spend",
            Self::ManageOwnKeys => "manage its own keys",
            Self::ReadDirectory => "see tenants, teams, users and keys",
            Self::ManageDirectory => "manage teams, users and keys",
            Self::ManageTenants => "manage tenants",
            Self::ReadBudgets => "see budgets",
            Self::WriteBudgets => "manage budgets",
            Self::ReadPrices => "see prices",
            Self::WritePrices => "manage prices",
            Self::ReadSpend => "see everybody's spend",
            Self::ReadEvents => "see admin events",
        }
    }

    /// Whether only the platform's own administrators have it: it crosses tenants.
    #[must_use]
    pub fn is_of_platform(self) -> bool {
        matches!(self, Self::ManageTenants | Self::WritePrices)
    }
}

impl Role {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Developer, Self::Finance, Self::Auditor, Self::Admin];

    /// The name in the configuration, in tokens and in the admin API.
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

    /// Whether the role may do it. `platform`: the caller is bound to no tenant.
    #[must_use]
    pub fn may(self, permission: Permission, platform: bool) -> bool {
        if permission.is_of_platform() && !platform {
            return false;
        }
        use Permission as P;
        match self {
            Self::Admin => true,
            Self::User => permission == P::ReadOwn,
            Self::Developer => matches!(permission, P::ReadOwn | P::ManageOwnKeys),
            Self::Finance => matches!(
                permission,
                P::ReadOwn
                    | P::ReadDirectory
                    | P::ReadBudgets
                    | P::WriteBudgets
                    | P::ReadPrices
                    | P::WritePrices
                    | P::ReadSpend
            ),
            Self::Auditor => matches!(
                permission,
                P::ReadOwn
                    | P::ReadDirectory
                    | P::ReadBudgets
                    | P::ReadPrices
                    | P::ReadSpend
                    | P::ReadEvents
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell: roles of a tenant in the order of `Role::ALL`, then the same for the platform.
    const TABLE: [(Permission, &str, &str); 11] = [
        (Permission::ReadOwn, "xxxxx", "xxxxx"),
        (Permission::ManageOwnKeys, ".x..x", ".x..x"),
        (Permission::ReadDirectory, "..xxx", "..xxx"),
        (Permission::ManageDirectory, "....x", "....x"),
        (Permission::ManageTenants, ".....", "....x"),
        (Permission::ReadBudgets, "..xxx", "..xxx"),
        (Permission::WriteBudgets, "..x.x", "..x.x"),
        (Permission::ReadPrices, "..xxx", "..xxx"),
        (Permission::WritePrices, ".....", "..x.x"),
        (Permission::ReadSpend, "..xxx", "..xxx"),
        (Permission::ReadEvents, "...xx", "...xx"),
    ];

    fn cells(permission: Permission, platform: bool) -> String {
        let cell = |role: Role| if role.may(permission, platform) { 'x' } else { '.' };
        Role::ALL.into_iter().map(cell).collect()
    }

    #[test]
    fn every_cell_of_the_table_holds() {
        for (number, (permission, of_tenant, of_platform)) in TABLE.into_iter().enumerate() {
            assert_eq!(Permission::ALL[number], permission);
            assert_eq!(cells(permission, false), of_tenant, "{permission:?} in a tenant");
            assert_eq!(cells(permission, true), of_platform, "{permission:?} of the platform");
        }
    }

    #[test]
    fn the_table_in_the_docs_is_this_one() {
        let documented = include_str!("../../../docs/roles.md");
        for permission in Permission::ALL {
            let mark = |role: Role| match (role.may(permission, false), role.may(permission, true))
            {
                (true, _) => "yes",
                (false, true) => "platform",
                (false, false) => "no",
            };
            let cells: Vec<&str> = Role::ALL.into_iter().map(mark).collect();
            let line = format!("| {} | {} |", permission.describe(), cells.join(" | "));
            assert!(documented.contains(&line), "docs/roles.md lacks: {line}");
        }
    }
}
