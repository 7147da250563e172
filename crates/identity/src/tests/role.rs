use std::path::Path;

use super::*;

/// Every cell, written out. Columns: user, developer, finance, auditor, admin of a tenant, admin
/// of the platform.
const CELLS: [(Permission, [u8; 6]); 16] = [
    (Permission::CallModels, [1, 1, 0, 0, 1, 1]),
    (Permission::ReadOwn, [1, 1, 1, 1, 1, 1]),
    (Permission::ManageOwnKeys, [0, 1, 0, 0, 1, 1]),
    (Permission::ReadDirectory, [0, 0, 1, 1, 1, 1]),
    (Permission::ManageDirectory, [0, 0, 0, 0, 1, 1]),
    (Permission::ReadBudgets, [0, 0, 1, 1, 1, 1]),
    (Permission::WriteBudgets, [0, 0, 1, 0, 1, 1]),
    (Permission::ReadPrices, [0, 0, 1, 1, 1, 1]),
    (Permission::WritePrices, [0, 0, 1, 0, 1, 1]),
    (Permission::ReadSpend, [0, 0, 1, 1, 1, 1]),
    (Permission::ReadAudit, [0, 0, 0, 1, 1, 1]),
    (Permission::ReadCache, [0, 0, 0, 1, 1, 1]),
    (Permission::ManageCache, [0, 0, 0, 0, 1, 1]),
    (Permission::ReadGuards, [0, 0, 0, 1, 1, 1]),
    (Permission::ManageGuards, [0, 0, 0, 0, 1, 1]),
    (Permission::ManageTenants, [0, 0, 0, 0, 0, 1]),
];

fn actors() -> [Actor<'static>; 6] {
    let of_tenant = |role| Actor { tenant: Some("ten_1"), role };
    [
        of_tenant(Role::User),
        of_tenant(Role::Developer),
        of_tenant(Role::Finance),
        of_tenant(Role::Auditor),
        of_tenant(Role::Admin),
        Actor { tenant: None, role: Role::Admin },
    ]
}

#[test]
fn every_cell_of_the_permission_table() {
    for (permission, cells) in CELLS {
        for (actor, cell) in actors().iter().zip(cells) {
            assert_eq!(actor.may(permission), cell == 1, "{permission:?} {actor:?}");
        }
    }
}

#[test]
fn every_permission_has_one_row() {
    let mut rows: Vec<_> = TABLE.iter().map(|row| row.0).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), TABLE.len());
    assert_eq!(rows, CELLS.map(|cell| cell.0));
}

#[test]
fn roles_of_the_platform_other_than_admin_have_no_more_permissions_than_those_of_tenants() {
    for role in [Role::User, Role::Developer, Role::Finance, Role::Auditor] {
        for (permission, _) in CELLS {
            let of_tenant = Actor { tenant: Some("ten_1"), role };
            let platform = Actor { tenant: None, role };
            assert_eq!(platform.may(permission), of_tenant.may(permission), "{permission:?}");
        }
    }
}

#[test]
fn a_tenant_sees_itself_and_the_platform_sees_all() {
    for actor in actors().iter().filter(|actor| actor.tenant.is_some()) {
        assert!(visible(actor, "ten_1"));
        for foreign in ["ten_2", "ten_", "ten_11", "TEN_1", ""] {
            assert!(!visible(actor, foreign), "{foreign}");
        }
    }
    for role in Role::ALL {
        assert!(!visible(&Actor { tenant: Some(""), role }, ""));
        assert!(visible(&Actor { tenant: None, role }, "ten_1"));
        assert!(visible(&Actor { tenant: None, role }, ""));
    }
}

#[test]
fn names_of_roles_are_those_of_records() {
    for role in Role::ALL {
        assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        assert_eq!(Role::parse(role.name()), Some(role));
    }
    assert_eq!(Role::parse("root"), None);
}

#[test]
fn the_documents_hold_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/roles.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(&permission_table()), "docs/roles.md needs:\n{}", permission_table());
}
