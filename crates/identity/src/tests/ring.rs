use serde_json::{Value, json};

use super::*;
use crate::{LevelKind, Policy, Record, RecordKind, Role};

const DAY_MS: i64 = 86_400_000;

/// A tenant with a team, a user in it and a key of that user, `secret`, each changed by `edit`.
fn directory(edit: impl Fn(RecordKind, &mut Value)) -> DirectoryView {
    let mut view = DirectoryView::default();
    let bodies = [
        (RecordKind::Tenant, json!({"id": "ten_a", "name": "A"})),
        (RecordKind::Team, json!({"id": "team_1", "tenant": "ten_a", "name": "T"})),
        (
            RecordKind::User,
            json!({"id": "usr_1", "tenant": "ten_a", "team": "team_1", "name": "Ann"}),
        ),
        (
            RecordKind::Key,
            json!({
                "id": "key_1", "tenant": "ten_a", "user": "usr_1", "name": "app",
                "digest": KeyDigest::of("secret").to_hex(), "hint": "cret", "issued_ms": 0,
            }),
        ),
    ];
    for (revision, (kind, mut body)) in bodies.into_iter().enumerate() {
        edit(kind, &mut body);
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let tenant = if kind == RecordKind::Tenant { text("id") } else { text("tenant") };
        let record = Record {
            kind,
            id: text("id"),
            tenant,
            revision: revision as i64 + 1,
            body: Some(body.to_string()),
        };
        view.apply(&record).unwrap();
    }
    view
}

fn shown(key: &str, now_ms: i64) -> Presented<'_> {
    Presented { key, now_ms, address: Some("10.1.2.3".parse().unwrap()) }
}

fn refusal(view: &DirectoryView, key: &str, now_ms: i64) -> Option<Refusal> {
    KeyRing::default().identify(Some(view), &shown(key, now_ms)).err()
}

#[test]
fn a_key_of_the_configuration_is_known_by_its_digest_alone() {
    let mut ring = KeyRing::default();
    let policy = Policy { models: Some(vec!["чат".to_owned()]), ..Policy::default() };
    let key = StaticKey { name: "dev".to_owned(), role: Role::User, policy };
    assert!(ring.add(KeyDigest::of("secret"), key.clone()));
    let found = ring.identify(None, &shown("secret", 0)).unwrap();
    assert!(found.may_call("чат") && !found.may_call("other"));
    assert_eq!((found.name(), found.tenant_id(), found.tier()), ("dev", None, None));
    assert_eq!(found.actor_name(), "static:dev");
    assert_eq!(found.levels().map(|level| level.id).collect::<Vec<_>>(), ["dev"]);
    assert_eq!(ring.identify(None, &shown("secreT", 0)).unwrap_err(), Refusal::Unknown);
    assert!(!format!("{ring:?}").contains("537b1da3"));
    assert!(!format!("{:?}", shown("secret", 0)).contains("secret"));
    assert!(!ring.add(KeyDigest::of("secret"), key));
}

#[test]
fn a_virtual_key_stands_for_all_that_it_belongs_to() {
    let view = directory(|kind, body| {
        if kind == RecordKind::Key {
            body["tags"] = json!(["blue"]);
            body["role"] = json!("developer");
        }
        if kind == RecordKind::Tenant {
            body["tier"] = json!("pro");
        }
    });
    let found = KeyRing::default().identify(Some(&view), &shown("secret", 0)).unwrap();
    let id = |id: Option<&std::sync::Arc<str>>| id.unwrap().to_string();
    assert_eq!(id(found.tenant_id()), "ten_a");
    assert_eq!(id(found.team_id()), "team_1");
    assert_eq!(id(found.user_id()), "usr_1");
    assert_eq!(id(found.key_id()), "key_1");
    assert_eq!((found.tags().len(), found.role()), (1, Role::Developer));
    assert_eq!(found.tier(), Some(crate::Tier::Pro));
    assert_eq!((found.rotation(), found.is_superseded()), (Rotation::Fresh, false));
    let levels: Vec<_> = found.levels().map(|level| (level.kind, level.id)).collect();
    assert_eq!(
        levels,
        [
            (LevelKind::Tenant, "ten_a"),
            (LevelKind::Team, "team_1"),
            (LevelKind::User, "usr_1"),
            (LevelKind::Key, "key_1")
        ]
    );
    assert_eq!(refusal(&view, "other", 0), Some(Refusal::Unknown));
}

#[test]
fn a_block_at_any_level_refuses_and_is_named() {
    let levels = [
        (RecordKind::Tenant, LevelKind::Tenant),
        (RecordKind::Team, LevelKind::Team),
        (RecordKind::User, LevelKind::User),
        (RecordKind::Key, LevelKind::Key),
    ];
    for (blocked, level) in levels {
        let view = directory(|kind, body| {
            if kind == blocked {
                body["blocked"] = json!(true);
            }
        });
        assert_eq!(refusal(&view, "secret", 0), Some(Refusal::Blocked(level)));
    }
}

#[test]
fn a_key_expires_at_its_moment() {
    let view = directory(|kind, body| {
        if kind == RecordKind::Key {
            body["expires_ms"] = json!(1_000);
        }
    });
    assert_eq!(refusal(&view, "secret", 999), None);
    assert_eq!(refusal(&view, "secret", 1_000), Some(Refusal::Expired));
}

#[test]
fn a_rotated_secret_is_unknown_once_its_overlap_has_ended() {
    let view = directory(|kind, body| {
        if kind == RecordKind::Key {
            body["previous"] =
                json!({"digest": KeyDigest::of("old").to_hex(), "valid_until_ms": 1_000});
        }
    });
    let ring = KeyRing::default();
    assert!(ring.identify(Some(&view), &shown("old", 999)).unwrap().is_superseded());
    assert_eq!(refusal(&view, "old", 1_000), Some(Refusal::Unknown));
    assert_eq!(refusal(&view, "secret", 1_000), None);
}

#[test]
fn an_old_secret_is_warned_about_and_refused_where_that_is_demanded() {
    let view = directory(|_, _| {});
    let mut ring = KeyRing::default();
    let at = |ring: &KeyRing, day: i64| {
        ring.identify(Some(&view), &shown("secret", day * DAY_MS)).map(|found| found.rotation())
    };
    assert_eq!(at(&ring, 1_000), Ok(Rotation::Fresh));
    ring.set_rotation(Some(RotationPolicy::default()));
    assert_eq!(at(&ring, 1), Ok(Rotation::Fresh));
    assert_eq!(at(&ring, 80), Ok(Rotation::Due { days_left: 10 }));
    assert_eq!(at(&ring, 91), Ok(Rotation::Due { days_left: -1 }));
    ring.set_rotation(Some(RotationPolicy { enforce: true, ..RotationPolicy::default() }));
    assert_eq!(at(&ring, 80), Ok(Rotation::Due { days_left: 10 }));
    assert_eq!(at(&ring, 91), Err(Refusal::RotationDue));
}

#[test]
fn only_listed_addresses_call() {
    for narrowed in [RecordKind::Tenant, RecordKind::Team, RecordKind::User, RecordKind::Key] {
        let view = directory(|kind, body| {
            if kind == narrowed {
                body["policy"] = json!({"addresses": ["10.0.0.0/8", "2001:db8::/32"]});
            }
        });
        let from = |address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            let presented = Presented { key: "secret", now_ms: 0, address };
            KeyRing::default().identify(Some(&view), &presented).err()
        };
        for good in ["10.255.0.1", "::ffff:10.0.0.1", "2001:db8::7"] {
            assert_eq!(from(Some(good)), None, "{good}");
        }
        for bad in [Some("11.0.0.1"), Some("::ffff:11.0.0.1"), Some("2001:db9::1"), None] {
            assert_eq!(from(bad), Some(Refusal::Address), "{bad:?}");
        }
    }
}

#[test]
fn nothing_outlives_or_leaves_what_it_belongs_to() {
    for gone in ["ten_a", "team_1", "usr_1"] {
        let mut view = directory(|_, _| {});
        let kinds = [RecordKind::Tenant, RecordKind::Team, RecordKind::User];
        let kind = kinds.into_iter().find(|kind| view.ids(*kind, None).contains(&gone.into()));
        let deletion = Record {
            kind: kind.unwrap(),
            id: gone.to_owned(),
            tenant: "ten_a".to_owned(),
            revision: 100,
            body: None,
        };
        assert_eq!(refusal(&view, "secret", 0), None);
        view.apply(&deletion).unwrap();
        assert_eq!(refusal(&view, "secret", 0), Some(Refusal::Unknown), "{gone}");
    }
    for foreign in [RecordKind::Team, RecordKind::User] {
        let view = directory(|kind, body| {
            if kind == foreign {
                body["tenant"] = json!("ten_b");
            }
        });
        assert_eq!(refusal(&view, "secret", 0), Some(Refusal::Unknown), "{foreign:?}");
    }
}

#[test]
fn refusals_have_documented_codes_and_say_no_secret() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let documented = std::fs::read_to_string(path).unwrap();
    for refusal in Refusal::ALL {
        assert!(documented.contains(&format!("`{}`", refusal.code())), "{refusal:?}");
        let known = matches!(refusal, Refusal::Blocked(_) | Refusal::Address);
        assert_eq!(refusal.is_authentication(), !known);
    }
    assert!(Refusal::Blocked(LevelKind::Team).to_string().contains("the team of"));
}
