use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::{KeyDigest, KeyRing, Presented, Record, RecordKind};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.1.0.1", "192.168.0.1", "2001:db8::1"];
const NETS: [&str; 5] = ["10.0.0.0/8", "10.0.0.0/16", "192.168.0.0/16", "2001:db8::/32", "::/0"];

fn names() -> impl Strategy<Value = Option<Vec<String>>> {
    let some = subsequence(NAMES.to_vec(), 0..=NAMES.len());
    proptest::option::of(some.prop_map(|names| names.into_iter().map(str::to_owned).collect()))
}

fn policy() -> impl Strategy<Value = Policy> {
    let nets = subsequence(NETS.to_vec(), 0..=NETS.len())
        .prop_map(|nets| nets.into_iter().map(|net| net.parse().unwrap()).collect());
    let residency = select(vec![
        None,
        Some(Residency::Global),
        Some(Residency::Russia),
        Some(Residency::OnPremise),
    ]);
    let guard = proptest::option::of(select(NAMES.to_vec()).prop_map(str::to_owned));
    (names(), names(), names(), proptest::option::weighted(0.3, nets), residency, guard).prop_map(
        |(models, providers, surfaces, addresses, residency, guard_policy)| Policy {
            models,
            providers,
            surfaces,
            addresses,
            residency,
            guard_policy,
            limits: Limits::default(),
            ..Policy::default()
        },
    )
}

#[derive(Debug, Clone)]
struct World {
    /// Of the tenant, the user's team, the key's team, the user, the key.
    policies: [Policy; 5],
    /// Whether there are the user's team, the key's team, the user.
    present: [bool; 3],
    roles: [Role; 2],
}

fn world() -> impl Strategy<Value = World> {
    let policies = [policy(), policy(), policy(), policy(), policy()];
    let role = || select(Role::ALL.to_vec());
    (policies, any::<[bool; 3]>(), [role(), role()]).prop_map(|(policies, present, roles)| World {
        policies,
        present,
        roles,
    })
}

impl World {
    fn policies(&self) -> Vec<&Policy> {
        let [home, team, user] = self.present;
        let there = [true, home && user, team, user, true];
        self.policies
            .iter()
            .zip(there)
            .filter_map(|(policy, there)| there.then_some(policy))
            .collect()
    }

    fn view(&self) -> DirectoryView {
        use serde_json::json;
        let [tenant, home, team, user, key] =
            self.policies.each_ref().map(|policy| serde_json::to_value(policy).unwrap());
        let [with_home, with_team, with_user] = self.present;
        let bodies = [
            (RecordKind::Tenant, json!({"id": "t", "tenant": "t", "name": "", "policy": tenant})),
            (RecordKind::Team, json!({"id": "team", "tenant": "t", "name": "", "policy": team})),
            (RecordKind::Team, json!({"id": "home", "tenant": "t", "name": "", "policy": home})),
            (
                RecordKind::User,
                json!({
                    "id": "u", "tenant": "t", "name": "", "policy": user, "role": self.roles[0],
                    "subject": "sub", "team": with_home.then_some("home"),
                }),
            ),
            (
                RecordKind::Key,
                json!({
                    "id": "k", "tenant": "t", "name": "", "policy": key, "role": self.roles[1],
                    "digest": KeyDigest::of("secret").to_hex(), "hint": "", "issued_ms": 0,
                    "team": with_team.then_some("team"), "user": with_user.then_some("u"),
                }),
            ),
        ];
        let mut view = DirectoryView::default();
        for (revision, (kind, mut body)) in bodies.into_iter().enumerate() {
            let id = body["id"].as_str().unwrap().to_owned();
            if kind == RecordKind::Tenant {
                body.as_object_mut().unwrap().remove("tenant");
            }
            let record = Record {
                kind,
                id,
                tenant: "t".to_owned(),
                revision: revision as i64 + 1,
                body: Some(body.to_string()),
            };
            view.apply(&record).unwrap();
        }
        view
    }

    fn identify(&self, address: Option<IpAddr>) -> Result<Principal, Refusal> {
        let presented = Presented { key: "secret", now_ms: 0, address };
        KeyRing::default().identify(Some(&self.view()), &presented)
    }
}

proptest! {
    /// What a key may is what every level above it may, and no more; what all may, it may.
    #[test]
    fn a_child_does_exactly_what_all_above_it_may(world in world()) {
        let levels = world.policies();
        let allowed: BTreeSet<_> = ADDRESSES
            .iter()
            .filter(|address| {
                let address = Some(address.parse().unwrap());
                levels.iter().all(|policy| policy.allows_address(address))
            })
            .collect();
        for address in &ADDRESSES {
            let found = world.identify(Some(address.parse().unwrap()));
            prop_assert_eq!(found.is_ok(), allowed.contains(address));
            let Ok(found) = found else { continue };
            for name in NAMES {
                prop_assert_eq!(found.may_call(name), levels.iter().all(|p| p.allows_model(name)));
                prop_assert_eq!(found.may_use(name), levels.iter().all(|p| p.allows_surface(name)));
                prop_assert_eq!(
                    found.allows_provider(name),
                    levels.iter().all(|p| p.allows_provider(name))
                );
            }
            for policy in &levels {
                prop_assert!(found.residency() >= policy.residency);
            }
            prop_assert_eq!(found.residency(), levels.iter().filter_map(|p| p.residency).max());
            let named: Vec<&str> = levels.iter().filter_map(|p| p.guard_policy.as_deref()).collect();
            prop_assert_eq!(found.guard_policies().collect::<Vec<_>>(), named);
            prop_assert_eq!(found.levels().count(), levels.len());
            for permission in PERMISSIONS {
                let may = |role| Actor { tenant: Some("t"), role }.may(permission);
                let owner = !world.present[2] || may(world.roles[0]);
                prop_assert_eq!(found.may(permission), owner && may(world.roles[1]));
            }
        }
    }

    /// Narrowing one level never gives a key anything.
    #[test]
    fn narrowing_a_level_gives_nothing(
        world in world(),
        number in 0..5_usize,
        narrower in policy(),
    ) {
        let mut narrowed = world.clone();
        let target = &mut narrowed.policies[number];
        target.models = match (&target.models, narrower.models) {
            (Some(old), Some(new)) => Some(new.into_iter().filter(|n| old.contains(n)).collect()),
            (old, new) => new.or_else(|| old.clone()),
        };
        target.residency = target.residency.max(narrower.residency);
        let address = Some(ADDRESSES[0].parse().unwrap());
        if let (Ok(before), Ok(after)) = (world.identify(address), narrowed.identify(address)) {
            for name in NAMES {
                prop_assert!(before.may_call(name) || !after.may_call(name));
            }
            prop_assert!(after.residency() >= before.residency());
        }
    }
}

const PERMISSIONS: [Permission; 5] = [
    Permission::CallModels,
    Permission::ManageOwnKeys,
    Permission::WriteBudgets,
    Permission::ReadAudit,
    Permission::ManageTenants,
];

fn open_world() -> World {
    World {
        policies: std::array::from_fn(|_| Policy::default()),
        present: [true; 3],
        roles: [Role::Finance, Role::Admin],
    }
}

#[test]
fn a_key_of_another_team_than_its_user_s_counts_to_both() {
    let found = open_world().identify(None).unwrap();
    assert_eq!(found.team_id().map(|id| &**id), Some("team"));
    let ids: Vec<_> = found.levels().map(|level| level.id).collect();
    assert_eq!(ids, ["t", "home", "team", "u", "k"]);
}

#[test]
fn a_token_stands_for_the_user_of_its_subject() {
    let view = open_world().view();
    let mut caller =
        TokenCaller { tenant: "t".to_owned(), team: None, subject: "sub".to_owned(), role: None };
    let found = Principal::of_token(&caller, &view, None).unwrap();
    assert_eq!((found.role(), found.actor_name().as_str()), (Role::Finance, "user:u"));
    assert_eq!(found.team_id().map(|id| &**id), Some("home"));
    assert_eq!((found.name(), found.key_id()), ("sub", None));
    caller.role = Some(Role::Auditor);
    assert_eq!(Principal::of_token(&caller, &view, None).unwrap().role(), Role::Auditor);

    let stranger = TokenCaller { subject: "x".to_owned(), role: None, ..caller.clone() };
    let found = Principal::of_token(&stranger, &view, None).unwrap();
    assert_eq!((found.role(), found.user_id()), (Role::User, None));
    assert_eq!(found.actor_name(), "subject:x");

    for (tenant, team) in [("other", None), ("t", Some("no such team"))] {
        let lost = TokenCaller {
            tenant: tenant.to_owned(),
            team: team.map(str::to_owned),
            ..caller.clone()
        };
        assert_eq!(Principal::of_token(&lost, &view, None).unwrap_err(), Refusal::Unknown);
    }
}
