use serde_json::{Value, json};

use super::*;

fn record(kind: RecordKind, revision: i64, body: Value) -> Record {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = text("id");
    let tenant = if kind == RecordKind::Tenant { id.clone() } else { text("tenant") };
    Record { kind, id, tenant, revision, body: Some(body.to_string()) }
}

fn key(id: &str, secret: &str) -> Value {
    json!({
        "id": id, "tenant": "ten_a", "name": "app", "digest": KeyDigest::of(secret).to_hex(),
        "hint": "abcd", "issued_ms": 0,
    })
}

fn deleted(kind: RecordKind, id: &str, revision: i64) -> Record {
    Record { kind, id: id.to_owned(), tenant: "ten_a".to_owned(), revision, body: None }
}

fn id_of(view: &DirectoryView, secret: &str) -> Option<String> {
    view.key_by_digest(&KeyDigest::of(secret)).map(|key| key.id().to_string())
}

#[test]
fn a_view_follows_changes_and_deletions_and_leaves_copies_alone() {
    let mut view = DirectoryView::default();
    assert!(view.is_empty());
    let tenant = json!({"id": "ten_a", "name": "A", "tier": "pro", "fail_closed": true});
    view.apply(&record(RecordKind::Tenant, 1, tenant)).unwrap();
    view.apply(&record(RecordKind::Key, 2, key("key_1", "first"))).unwrap();
    let before = view.clone();

    view.apply(&record(RecordKind::Key, 3, key("key_1", "second"))).unwrap();
    assert_eq!((id_of(&view, "first"), id_of(&view, "second")), (None, Some("key_1".to_owned())));
    view.apply(&deleted(RecordKind::Key, "key_1", 4)).unwrap();
    assert_eq!((id_of(&view, "second"), view.len(RecordKind::Key)), (None, 0));
    view.apply(&deleted(RecordKind::Tenant, "ten_a", 5)).unwrap();
    view.apply(&deleted(RecordKind::Tenant, "ten_a", 6)).unwrap();
    assert!(view.is_empty() && view.tenant("ten_a").is_none());
    assert_eq!(view.revision(), 6);

    assert_eq!(id_of(&before, "first").as_deref(), Some("key_1"));
    let tenant = before.tenant("ten_a").unwrap();
    assert_eq!((tenant.tier(), tenant.fail_closed()), (crate::Tier::Pro, true));
    assert_eq!((tenant.name(), tenant.time_zone()), ("A", "Europe/Moscow"));
    assert_eq!(before.revision(), 2);
}

#[test]
fn a_change_that_was_seen_is_passed_over() {
    let mut view = DirectoryView::default();
    view.apply(&record(RecordKind::Key, 5, key("key_1", "new"))).unwrap();
    for revision in [5, 4] {
        view.apply(&record(RecordKind::Key, revision, key("key_1", "old"))).unwrap();
        view.apply(&deleted(RecordKind::Key, "key_1", revision)).unwrap();
    }
    assert_eq!(id_of(&view, "new").as_deref(), Some("key_1"));
}

#[test]
fn rotation_keeps_both_secrets_until_the_old_one_is_dropped() {
    let mut view = DirectoryView::default();
    let mut rotated = key("key_1", "new");
    rotated["previous"] = json!({"digest": KeyDigest::of("old").to_hex(), "valid_until_ms": 10});
    view.apply(&record(RecordKind::Key, 1, rotated)).unwrap();
    assert_eq!((id_of(&view, "new"), id_of(&view, "old")).0, id_of(&view, "old"));
    assert!(id_of(&view, "old").is_some());
    view.apply(&record(RecordKind::Key, 2, key("key_1", "new"))).unwrap();
    assert!(id_of(&view, "old").is_none() && id_of(&view, "new").is_some());
}

#[test]
fn what_cannot_be_read_counts_as_deleted() {
    let good = key("key_1", "secret");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let mut foreign = record(RecordKind::Key, 2, good.clone());
    foreign.tenant = "ten_b".to_owned();
    let mut renamed = record(RecordKind::Key, 2, with("id", json!("key_2")));
    renamed.id = "key_1".to_owned();
    let mut broken = record(RecordKind::Key, 2, good.clone());
    broken.body = Some("{".to_owned());
    let bad_previous = json!({"digest": "zz", "valid_until_ms": 1});
    for bad in [
        foreign,
        renamed,
        broken,
        record(RecordKind::Key, 2, with("digest", json!("12"))),
        record(RecordKind::Key, 2, with("previous", bad_previous)),
        record(RecordKind::Key, 2, with("no_such_member", json!(1))),
    ] {
        let mut view = DirectoryView::default();
        view.apply(&record(RecordKind::Key, 1, good.clone())).unwrap();
        let error = view.apply(&bad).unwrap_err();
        assert_eq!((error.kind, error.id.as_str()), (RecordKind::Key, "key_1"));
        assert!(!error.to_string().contains("secret"));
        assert!(id_of(&view, "secret").is_none() && view.key("key_1").is_none(), "{bad:?}");
        assert_eq!(view.revision(), 2);
    }
}

#[test]
fn nobody_takes_over_the_secret_or_the_subject_of_another() {
    let mut view = DirectoryView::default();
    view.apply(&record(RecordKind::Key, 1, key("key_1", "secret"))).unwrap();
    view.apply(&record(RecordKind::Key, 2, key("key_2", "secret"))).unwrap_err();
    let mut previous = key("key_3", "other");
    previous["previous"] =
        json!({"digest": KeyDigest::of("secret").to_hex(), "valid_until_ms": 10});
    view.apply(&record(RecordKind::Key, 3, previous)).unwrap_err();
    assert_eq!(id_of(&view, "secret").as_deref(), Some("key_1"));
    assert!(id_of(&view, "other").is_none());

    let user = |id: &str, tenant: &str| json!({"id": id, "tenant": tenant, "name": "Ann", "subject": "s1", "team": "team_1"});
    view.apply(&record(RecordKind::User, 4, user("usr_1", "ten_a"))).unwrap();
    view.apply(&record(RecordKind::User, 5, user("usr_2", "ten_a"))).unwrap_err();
    view.apply(&record(RecordKind::User, 6, user("usr_3", "ten_b"))).unwrap();
    // Written again, it keeps its own.
    view.apply(&record(RecordKind::User, 7, user("usr_1", "ten_a"))).unwrap();
    let found = |view: &DirectoryView, tenant| {
        view.user_by_subject(tenant, "s1").map(|user| user.id().to_string())
    };
    assert_eq!(found(&view, "ten_a").as_deref(), Some("usr_1"));
    assert_eq!(found(&view, "ten_b").as_deref(), Some("usr_3"));
    view.apply(&deleted(RecordKind::User, "usr_1", 8)).unwrap();
    assert_eq!(found(&view, "ten_a"), None);
    assert_ne!(subject_key("a", "bc"), subject_key("ab", "c"));
}

#[test]
fn budgets_and_prices_are_kept_as_they_are() {
    let mut view = DirectoryView::default();
    let body = json!({"id": "bud_1", "tenant": "ten_a", "anything": [1]});
    view.apply(&record(RecordKind::Budget, 1, body.clone())).unwrap();
    view.apply(&record(RecordKind::Price, 2, json!({"id": "prc_1"}))).unwrap();
    let budget = view.budget("bud_1").unwrap();
    assert_eq!((&*budget.body, &*budget.tenant), (body.to_string().as_str(), "ten_a"));
    assert_eq!((view.budgets().count(), view.prices().count()), (1, 1));
    assert_eq!(view.price("prc_1").unwrap().revision, 2);
    view.apply(&deleted(RecordKind::Price, "prc_1", 3)).unwrap();
    assert!(view.price("prc_1").is_none());
    assert_eq!(view.ids(RecordKind::Budget, Some("ten_a")), ["bud_1".into()]);
    assert!(view.ids(RecordKind::Budget, Some("ten_b")).is_empty());
    assert_eq!(view.ids(RecordKind::Budget, None).len(), 1);
}

#[test]
fn publishing_a_change_to_many_keys_copies_few() {
    let mut view = DirectoryView::default();
    view.apply(&record(RecordKind::Tenant, 1, json!({"id": "ten_a", "name": "A"}))).unwrap();
    for number in 0..20_000 {
        let body = key(&format!("key_{number}"), &number.to_string());
        view.apply(&record(RecordKind::Key, number + 2, body)).unwrap();
    }
    let published = view.clone();
    view.apply(&record(RecordKind::Key, 30_000, key("key_7", "changed"))).unwrap();
    // The old and the new secret are in two parts of about 40 each.
    let shared = view.keys_shared_with(&published);
    assert!(shared > 19_800, "{shared}");
    // A change to the tenant touches no key, and yet all of them belong to the new one.
    let again = view.clone();
    let blocked = json!({"id": "ten_a", "name": "A", "blocked": true});
    view.apply(&record(RecordKind::Tenant, 30_001, blocked)).unwrap();
    assert_eq!(view.keys_shared_with(&again), 20_000);
}
