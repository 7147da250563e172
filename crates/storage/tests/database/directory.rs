use identity::{AdminEvent, DirectoryError, DirectoryStore, Expected, RecordKind, Replay, Write};
use storage::Database;

use crate::fixture::Fixture;

on_each_database! {
    an_empty_directory_has_nothing
    what_is_written_is_read_back
    each_expectation_is_met_or_nothing_is_written
    a_deleted_record_is_told_of_and_may_be_made_anew
    lists_go_page_by_page_in_order_of_bytes
    changes_come_in_order_with_a_limit
    events_go_page_by_page_and_by_tenant
    a_replay_is_kept_once_and_forgotten_when_old
    key_use_never_goes_back
    many_keys_are_used_at_once
    writers_at_the_same_time_leave_no_gap
    of_writers_who_expect_the_same_one_wins
    ids_and_texts_are_only_texts
}

/// Texts that break what is put together from them.
pub(crate) const HOSTILE: [&str; 9] = [
    "'; DROP TABLE ledger; --",
    "\" OR 1=1 --",
    "$1",
    "%",
    "_",
    "\\",
    "a\nb",
    "\u{fffd}",
    "Ёлка 🎄 \u{202e}",
];

fn write(kind: RecordKind, id: &str, expected: Expected, body: Option<&str>) -> Write {
    let body = body.map(str::to_owned);
    Write { kind, id: id.to_owned(), tenant: "t1".to_owned(), expected, body }
}

fn key(id: &str, expected: Expected, body: Option<&str>) -> Write {
    write(RecordKind::Key, id, expected, body)
}

fn event(resource: &str) -> AdminEvent {
    AdminEvent {
        at_ms: 1_795_392_000_123,
        actor: "user:usr_1".to_owned(),
        tenant: "t1".to_owned(),
        action: "key.create".to_owned(),
        resource: resource.to_owned(),
        details: r#"{"имя":"Ключ"}"#.to_owned(),
    }
}

async fn put(database: &Database, writes: &[Write]) -> Vec<i64> {
    database.write(writes, &event("r"), None).await.unwrap()
}

async fn an_empty_directory_has_nothing(fixture: &Fixture) {
    let database = &fixture.database;
    database.ping().await.unwrap();
    assert_eq!(database.since(0, 10).await.unwrap(), []);
    assert_eq!(database.get(RecordKind::Key, "k").await.unwrap(), None);
    assert_eq!(database.list(RecordKind::Key, None, "", 10).await.unwrap(), []);
    assert_eq!(database.list(RecordKind::Key, Some("t1"), "", 10).await.unwrap(), []);
    assert_eq!(database.replay("k").await.unwrap(), None);
    assert_eq!(database.forget_replays(i64::MAX).await.unwrap(), 0);
    assert_eq!(database.events(None, 0, 10).await.unwrap(), []);
    assert_eq!(database.key_use(&["k".to_owned()]).await.unwrap(), []);
    assert_eq!(database.key_use(&[]).await.unwrap(), []);
    database.record_key_use(&[]).await.unwrap();
    assert_eq!(database.key_use(&["k".to_owned()]).await.unwrap(), []);
}

async fn what_is_written_is_read_back(fixture: &Fixture) {
    let database = &fixture.database;
    let writes: Vec<Write> = RecordKind::ALL
        .into_iter()
        .map(|kind| write(kind, "same", Expected::Absent, Some(kind.name())))
        .collect();
    assert_eq!(put(database, &writes).await, [1, 2, 3, 4, 5, 6]);
    // Another opener, as after a restart.
    for database in [database, &fixture.open().await] {
        let changes = database.since(0, 100).await.unwrap();
        for (place, kind) in RecordKind::ALL.into_iter().enumerate() {
            let record = database.get(kind, "same").await.unwrap().unwrap();
            assert_eq!(record.kind, kind);
            assert_eq!(record.id, "same");
            assert_eq!(record.tenant, "t1");
            assert_eq!(record.revision, i64::try_from(place).unwrap() + 1);
            assert_eq!(record.body.as_deref(), Some(kind.name()));
            assert_eq!(changes[place], record);
            assert_eq!(database.list(kind, None, "", 10).await.unwrap(), [record]);
        }
        assert_eq!(changes.len(), RecordKind::ALL.len());
    }
}

async fn each_expectation_is_met_or_nothing_is_written(fixture: &Fixture) {
    let database = &fixture.database;
    let conflict = async |expected: Expected, id: &str| {
        // What comes before the conflict goes back too.
        let writes = [key("other", Expected::Absent, Some("x")), key(id, expected, Some("new"))];
        let replay = replay("conflict", 1);
        match database.write(&writes, &event("no"), Some(&replay)).await.unwrap_err() {
            DirectoryError::Conflict { kind: RecordKind::Key, id: at, found } => {
                assert_eq!(at, id);
                found
            }
            other => panic!("{other}"),
        }
    };
    assert_eq!(conflict(Expected::Present, "a").await, None);
    assert_eq!(conflict(Expected::Revision(0), "a").await, None);
    assert_eq!(put(database, &[key("a", Expected::Absent, Some("1"))]).await, [1]);
    assert_eq!(conflict(Expected::Absent, "a").await, Some(1));
    assert_eq!(conflict(Expected::Revision(2), "a").await, Some(1));
    assert_eq!(put(database, &[key("a", Expected::Present, Some("2"))]).await, [2]);
    assert_eq!(conflict(Expected::Revision(1), "a").await, Some(2));
    assert_eq!(put(database, &[key("a", Expected::Revision(2), Some("3"))]).await, [3]);

    // No conflict left anything behind, not even a number.
    let records = database.since(0, 10).await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].revision, records[0].body.as_deref()), (3, Some("3")));
    let events = database.events(None, 0, 10).await.unwrap();
    assert_eq!(events.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(database.replay("conflict").await.unwrap(), None);
    // The same id of another kind is another record.
    put(database, &[write(RecordKind::User, "a", Expected::Absent, Some("u"))]).await;
}

async fn a_deleted_record_is_told_of_and_may_be_made_anew(fixture: &Fixture) {
    let database = &fixture.database;
    put(database, &[key("a", Expected::Absent, Some("1"))]).await;
    assert_eq!(put(database, &[key("a", Expected::Revision(1), None)]).await, [2]);
    assert_eq!(database.get(RecordKind::Key, "a").await.unwrap(), None);
    assert_eq!(database.list(RecordKind::Key, None, "", 10).await.unwrap(), []);
    let gone = database.since(1, 10).await.unwrap();
    assert_eq!((gone[0].id.as_str(), gone[0].revision, &gone[0].body), ("a", 2, &None));
    for expected in [Expected::Present, Expected::Revision(2)] {
        let error =
            database.write(&[key("a", expected, None)], &event("a"), None).await.unwrap_err();
        assert!(matches!(error, DirectoryError::Conflict { found: None, .. }), "{error}");
    }
    assert_eq!(put(database, &[key("a", Expected::Absent, Some("2"))]).await, [3]);
    let record = database.get(RecordKind::Key, "a").await.unwrap().unwrap();
    assert_eq!((record.revision, record.body.as_deref()), (3, Some("2")));
    assert_eq!(database.since(0, 10).await.unwrap(), [record]);
}

async fn lists_go_page_by_page_in_order_of_bytes(fixture: &Fixture) {
    let database = &fixture.database;
    // The order of a dictionary would be another.
    let sorted = ["A", "B", "_", "a", "a-b", "aB", "ab", "b", "É", "Ё", "а"];
    let mut writes: Vec<Write> =
        sorted.iter().rev().map(|id| key(id, Expected::Absent, Some("{}"))).collect();
    for write in writes.iter_mut().filter(|write| write.id.len() > 1) {
        write.tenant = "t2".to_owned();
    }
    put(database, &writes).await;
    put(database, &[write(RecordKind::Team, "C", Expected::Absent, Some("{}"))]).await;
    let list = async |tenant: Option<&str>, limit: usize| {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().cloned().unwrap_or_default();
            let page = database.list(RecordKind::Key, tenant, &after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                return found;
            }
            found.extend(page.into_iter().map(|record| record.id));
        }
    };
    for limit in [1, 3, sorted.len(), usize::MAX] {
        assert_eq!(list(None, limit).await, sorted);
        let long: Vec<&str> = sorted.into_iter().filter(|id| id.len() > 1).collect();
        assert_eq!(list(Some("t2"), limit).await, long);
    }
    assert_eq!(list(Some("T2"), 5).await, [""; 0]);
    assert_eq!(database.list(RecordKind::Key, None, "", 0).await.unwrap(), []);
}

async fn changes_come_in_order_with_a_limit(fixture: &Fixture) {
    let database = &fixture.database;
    for id in ["c", "a", "b"] {
        put(database, &[key(id, Expected::Absent, Some("1"))]).await;
    }
    put(database, &[key("c", Expected::Present, Some("2"))]).await;
    let seen = async |revision: i64, limit: usize| {
        let records = database.since(revision, limit).await.unwrap();
        records.into_iter().map(|record| (record.id, record.revision)).collect::<Vec<_>>()
    };
    let all = [("a".to_owned(), 2), ("b".to_owned(), 3), ("c".to_owned(), 4)];
    assert_eq!(seen(0, 10).await, all);
    assert_eq!(seen(0, 2).await, all[..2]);
    assert_eq!(seen(2, 2).await, all[1..]);
    assert_eq!(seen(4, 10).await, []);
    assert_eq!(seen(i64::MAX, 10).await, []);
}

async fn events_go_page_by_page_and_by_tenant(fixture: &Fixture) {
    let database = &fixture.database;
    for (tenant, resource) in [("t1", "a"), ("", "b"), ("t1", "c"), ("t2", "d")] {
        let event = AdminEvent { tenant: tenant.to_owned(), ..event(resource) };
        // Also what writes nothing is an event.
        assert!(database.write(&[], &event, None).await.unwrap().is_empty());
    }
    let seen = async |tenant: Option<&str>, after: i64, limit: usize| {
        let events = database.events(tenant, after, limit).await.unwrap();
        events.into_iter().map(|(number, event)| (number, event.resource)).collect::<Vec<_>>()
    };
    let name = |number: i64, resource: &str| (number, resource.to_owned());
    let all = [name(1, "a"), name(2, "b"), name(3, "c"), name(4, "d")];
    assert_eq!(seen(None, 0, 10).await, all);
    assert_eq!(seen(None, 1, 2).await, all[1..3]);
    assert_eq!(seen(Some("t1"), 0, 10).await, [name(1, "a"), name(3, "c")]);
    assert_eq!(seen(Some("t1"), 1, 10).await, [name(3, "c")]);
    assert_eq!(seen(Some(""), 0, 10).await, [name(2, "b")]);
    assert_eq!(seen(Some("t3"), 0, 10).await, []);
    let (number, first) = database.events(None, 0, 1).await.unwrap().remove(0);
    assert_eq!((number, first), (1, event("a")));
}

fn replay(key: &str, at_ms: i64) -> Replay {
    Replay {
        key: key.to_owned(),
        request_digest: "d".to_owned(),
        answer: r#"{"ответ":1}"#.to_owned(),
        at_ms,
    }
}

async fn a_replay_is_kept_once_and_forgotten_when_old(fixture: &Fixture) {
    let database = &fixture.database;
    for (key, at_ms) in [("old", 10), ("new", 20)] {
        database.write(&[], &event("r"), Some(&replay(key, at_ms))).await.unwrap();
    }
    assert_eq!(database.replay("old").await.unwrap(), Some(replay("old", 10)));
    assert_eq!(database.replay("new").await.unwrap(), Some(replay("new", 20)));
    // The second of two with one key writes nothing; asked again, it finds the first's answer.
    let second = [key("a", Expected::Absent, Some("1"))];
    let error = database.write(&second, &event("r"), Some(&replay("old", 30))).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Unavailable(_)), "{error}");
    assert_eq!(database.get(RecordKind::Key, "a").await.unwrap(), None);
    assert_eq!(database.replay("old").await.unwrap(), Some(replay("old", 10)));
    assert_eq!(database.events(None, 0, 10).await.unwrap().len(), 2);

    assert_eq!(database.forget_replays(10).await.unwrap(), 0);
    assert_eq!(database.forget_replays(20).await.unwrap(), 1);
    assert_eq!(database.replay("old").await.unwrap(), None);
    assert_eq!(database.replay("new").await.unwrap(), Some(replay("new", 20)));
}

async fn key_use_never_goes_back(fixture: &Fixture) {
    let database = &fixture.database;
    let uses = |uses: &[(&str, i64)]| -> Vec<(String, i64)> {
        uses.iter().map(|(id, at_ms)| ((*id).to_owned(), *at_ms)).collect()
    };
    // The same key twice in one call, too.
    database.record_key_use(&uses(&[("a", 5), ("b", 7), ("a", 6), ("a", 4)])).await.unwrap();
    let ids = ["b", "none", "a"].map(str::to_owned);
    assert_eq!(database.key_use(&ids).await.unwrap(), uses(&[("b", 7), ("a", 6)]));
    database.record_key_use(&uses(&[("a", 5), ("b", 8)])).await.unwrap();
    assert_eq!(database.key_use(&ids).await.unwrap(), uses(&[("b", 8), ("a", 6)]));
    // It is no change of the directory.
    assert_eq!(database.since(0, 10).await.unwrap(), []);
}

/// Replicas write the same keys at the same time, each in an order of its own.
async fn many_keys_are_used_at_once(fixture: &Fixture) {
    let ids: Vec<String> = (0..1200).map(|number| format!("key_{number}")).collect();
    let mut tasks = Vec::new();
    for writer in 0..4_i64 {
        let database = fixture.database.clone();
        let mut uses: Vec<(String, i64)> = ids.iter().map(|id| (id.clone(), writer)).collect();
        if writer % 2 == 0 {
            uses.reverse();
        }
        tasks.push(tokio::spawn(async move { database.record_key_use(&uses).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let uses = fixture.database.key_use(&ids).await.unwrap();
    assert_eq!(uses, ids.into_iter().map(|id| (id, 3)).collect::<Vec<_>>());
}

async fn writers_at_the_same_time_leave_no_gap(fixture: &Fixture) {
    const WRITERS: usize = 8;
    const WRITES: usize = 15;
    // As two replicas.
    let databases = [fixture.database.clone(), fixture.open().await];
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let database = databases[writer % 2].clone();
        tasks.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..WRITES {
                let pair = ["x", "y"].map(|part| {
                    key(&format!("{writer}-{number}-{part}"), Expected::Absent, Some("{}"))
                });
                revisions.extend(database.write(&pair, &event("r"), None).await.unwrap());
                // Conflicts in between use no number up.
                let conflict = [key("none", Expected::Present, None)];
                database.write(&conflict, &event("r"), None).await.unwrap_err();
            }
            revisions
        }));
    }
    // Who follows the changes meanwhile misses none: what it sees has no gap.
    let follower = databases[0].clone();
    let total = i64::try_from(WRITERS * WRITES * 2).unwrap();
    let following = tokio::spawn(async move {
        let mut last = 0;
        while last < total {
            for record in follower.since(last, 7).await.unwrap() {
                assert_eq!(record.revision, last + 1);
                last = record.revision;
            }
        }
    });
    let mut revisions = Vec::new();
    for task in tasks {
        let of_writer = task.await.unwrap();
        assert!(of_writer.is_sorted());
        revisions.extend(of_writer);
    }
    following.await.unwrap();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=total).collect::<Vec<_>>());
    assert_eq!(databases[0].events(None, 0, 1000).await.unwrap().len(), WRITERS * WRITES);
}

async fn of_writers_who_expect_the_same_one_wins(fixture: &Fixture) {
    put(&fixture.database, &[key("a", Expected::Absent, Some("0"))]).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let database = fixture.database.clone();
        tasks.push(tokio::spawn(async move {
            let write = [key("a", Expected::Revision(1), Some("1"))];
            database.write(&write, &event("r"), None).await
        }));
    }
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(revisions) => {
                assert_eq!(revisions, [2]);
                won += 1;
            }
            Err(DirectoryError::Conflict { found, .. }) => assert_eq!(found, Some(2)),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
}

async fn ids_and_texts_are_only_texts(fixture: &Fixture) {
    let database = &fixture.database;
    for text in HOSTILE {
        let mut write = key(text, Expected::Absent, Some(text));
        write.tenant = text.to_owned();
        let event = AdminEvent {
            at_ms: 1,
            actor: text.to_owned(),
            tenant: text.to_owned(),
            action: text.to_owned(),
            resource: text.to_owned(),
            details: text.to_owned(),
        };
        let replay = Replay { answer: text.to_owned(), ..replay(text, 1) };
        database.write(&[write], &event, Some(&replay)).await.unwrap();
        database.record_key_use(&[(text.to_owned(), 1)]).await.unwrap();
        let record = database.get(RecordKind::Key, text).await.unwrap().unwrap();
        assert_eq!((record.id.as_str(), record.body.as_deref()), (text, Some(text)));
        assert_eq!(database.list(RecordKind::Key, Some(text), "", 9).await.unwrap(), [record]);
        let events = database.events(Some(text), 0, 9).await.unwrap();
        assert_eq!(events.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [event]);
        assert_eq!(database.replay(text).await.unwrap(), Some(replay));
        assert_eq!(database.key_use(&[text.to_owned()]).await.unwrap(), [(text.to_owned(), 1)]);
    }
    // PostgreSQL has no NUL in texts; nothing fails because of one.
    put(database, &[key("nul\0", Expected::Absent, Some("a\0b"))]).await;
    let record = database.get(RecordKind::Key, "nul\0").await.unwrap().unwrap();
    assert_eq!((record.id.as_str(), record.body.as_deref()), ("nul\u{fffd}", Some("a\u{fffd}b")));
    assert_eq!(database.replay("nul\0").await.unwrap(), None);
}
