use std::collections::BTreeMap;

use metering::{
    ChargedUsage, Dimension, LedgerEntry, LedgerFilter, LedgerOutcome, LedgerStore, LedgerSum,
};

use crate::directory::HOSTILE;
use crate::fixture::Fixture;

type Setter<'a> = &'a dyn Fn(&mut LedgerFilter, Option<String>);

on_each_database! {
    an_empty_ledger_sums_to_nothing
    entries_are_read_back_as_they_were
    an_entry_is_stored_once_and_never_changed
    appenders_at_the_same_time_store_each_entry_once
    sums_by_each_dimension
    days_are_those_of_utc
    sums_outgrow_64_bits
    filters_are_exact
    tags_match_whole
    entries_go_page_by_page
    entry_texts_are_only_texts
}

const DAY_MS: i64 = 86_400_000;
/// 2026-11-23.
const START_MS: i64 = 20_780 * DAY_MS;

pub(crate) fn entry(number: u32) -> LedgerEntry {
    LedgerEntry {
        id: format!("req_{number:06}-1"),
        request_id: format!("req_{number:06}"),
        at_ms: START_MS + i64::from(number),
        tenant: "t1".to_owned(),
        team: Some("команда".to_owned()),
        user: Some("usr_1".to_owned()),
        key: "key_1".to_owned(),
        tags: vec!["prod".to_owned(), "проект x".to_owned()],
        surface: "chat".to_owned(),
        route: "gigachat".to_owned(),
        provider: "sber".to_owned(),
        model: "GigaChat-2-Max".to_owned(),
        usage: ChargedUsage {
            prompt_tokens: 100,
            cached_tokens: 40,
            completion_tokens: 20,
            reasoning_tokens: 5,
            images: 1,
        },
        cost_nanos: 1_500_000_000,
        avoided_nanos: 1_500_000_000,
        price: "sber/2026-02-01".to_owned(),
        estimated: false,
        outcome: LedgerOutcome::Completed,
    }
}

async fn all(fixture: &Fixture) -> Vec<LedgerEntry> {
    fixture.database.entries(&LedgerFilter::default(), None, usize::MAX).await.unwrap()
}

async fn append(fixture: &Fixture, entries: &[LedgerEntry]) {
    fixture.database.append(entries).await.unwrap();
}

async fn sums(fixture: &Fixture, filter: &LedgerFilter, by: &[Dimension]) -> Vec<LedgerSum> {
    fixture.database.sums(filter, by).await.unwrap()
}

async fn ids(fixture: &Fixture, filter: &LedgerFilter) -> Vec<String> {
    let entries = fixture.database.entries(filter, None, 1000).await.unwrap();
    let ids: Vec<String> = entries.into_iter().map(|entry| entry.id).collect();
    let summed = sums(fixture, filter, &[]).await;
    assert_eq!(summed.iter().map(|sum| sum.entries).sum::<u64>(), ids.len() as u64);
    ids
}

async fn an_empty_ledger_sums_to_nothing(fixture: &Fixture) {
    append(fixture, &[]).await;
    assert_eq!(all(fixture).await, []);
    let none = LedgerFilter { tenant: Some("none".to_owned()), ..LedgerFilter::default() };
    for filter in [LedgerFilter::default(), none] {
        assert_eq!(sums(fixture, &filter, &[]).await, [LedgerSum::default()]);
        assert_eq!(sums(fixture, &filter, &[Dimension::Tenant]).await, []);
        assert_eq!(sums(fixture, &filter, &[Dimension::Day]).await, []);
    }
}

async fn entries_are_read_back_as_they_were(fixture: &Fixture) {
    let mut entries = vec![entry(0)];
    for (number, outcome) in (1..).zip([
        LedgerOutcome::Cut,
        LedgerOutcome::Discarded,
        LedgerOutcome::Recovered,
        LedgerOutcome::Cached,
    ]) {
        let bare = LedgerEntry { team: None, user: None, tags: Vec::new(), ..entry(number) };
        entries.push(LedgerEntry { outcome, estimated: true, ..bare });
    }
    let most = ChargedUsage {
        prompt_tokens: i64::MAX as u64,
        cached_tokens: i64::MAX as u64,
        completion_tokens: i64::MAX as u64,
        reasoning_tokens: i64::MAX as u64,
        images: i64::MAX as u64,
    };
    let least = entry(5);
    entries.push(LedgerEntry {
        usage: most,
        cost_nanos: i64::MAX,
        avoided_nanos: i64::MIN,
        tenant: String::new(),
        ..least
    });
    append(fixture, &entries).await;
    assert_eq!(all(fixture).await, entries);
    assert_eq!(
        fixture.open().await.entries(&LedgerFilter::default(), None, 9).await.unwrap(),
        entries
    );
}

async fn an_entry_is_stored_once_and_never_changed(fixture: &Fixture) {
    // More than one statement's worth, and the same id twice in one of them.
    let mut entries: Vec<LedgerEntry> = (0..1203).map(entry).collect();
    append(fixture, &entries[..700]).await;
    let mut again = entries.clone();
    again.iter_mut().take(700).for_each(|entry| entry.cost_nanos = 7);
    again.push(LedgerEntry { cost_nanos: 8, ..entry(1202) });
    append(fixture, &again).await;
    append(fixture, &again).await;
    assert_eq!(all(fixture).await, entries);
    entries.truncate(1);
    append(fixture, &entries).await;
    assert_eq!(sums(fixture, &LedgerFilter::default(), &[]).await[0].entries, 1203);
}

async fn appenders_at_the_same_time_store_each_entry_once(fixture: &Fixture) {
    let databases = [fixture.database.clone(), fixture.open().await];
    let mut tasks = Vec::new();
    for writer in 0..8_u32 {
        let database = databases[writer as usize % 2].clone();
        tasks.push(tokio::spawn(async move {
            for batch in 0..10 {
                // Neighbours overlap.
                let from = (writer * 10 + batch) * 20;
                let mut entries: Vec<LedgerEntry> = (from..from + 40).map(entry).collect();
                if writer % 2 == 0 {
                    entries.reverse();
                }
                database.append(&entries).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(all(fixture).await, (0..1620).map(entry).collect::<Vec<_>>());
}

async fn sums_by_each_dimension(fixture: &Fixture) {
    let mut second = entry(1);
    second.at_ms += DAY_MS;
    second.outcome = LedgerOutcome::Cached;
    second.estimated = true;
    second.cost_nanos = 0;
    second.avoided_nanos = 2_000_000_001;
    let third = entry(2);
    let mut entries = [entry(0), second, third];
    for (place, field) in [0, 1, 0].into_iter().zip(&mut entries) {
        let name = |of: &str| format!("{of}-{place}");
        field.tenant = name("tenant");
        field.team = Some(name("team"));
        field.user = Some(name("user"));
        field.key = name("key");
        field.route = name("route");
        field.provider = name("provider");
        field.model = name("model");
    }
    append(fixture, &entries).await;
    let usage = |times: u64| ChargedUsage {
        prompt_tokens: 100 * times,
        cached_tokens: 40 * times,
        completion_tokens: 20 * times,
        reasoning_tokens: 5 * times,
        images: times,
    };
    let group = |by: &[(&str, &str)]| -> BTreeMap<String, String> {
        by.iter().map(|(by, value)| ((*by).to_owned(), (*value).to_owned())).collect()
    };
    let first = |by: &[(&str, &str)]| LedgerSum {
        group: group(by),
        entries: 2,
        cached_entries: 0,
        estimated_entries: 0,
        usage: usage(2),
        cost_nanos: 3_000_000_000,
        avoided_nanos: 3_000_000_000,
    };
    let second = |by: &[(&str, &str)]| LedgerSum {
        group: group(by),
        entries: 1,
        cached_entries: 1,
        estimated_entries: 1,
        usage: usage(1),
        cost_nanos: 0,
        avoided_nanos: 2_000_000_001,
    };
    let any = LedgerFilter::default();
    for (by, name) in [
        (Dimension::Tenant, "tenant"),
        (Dimension::Team, "team"),
        (Dimension::User, "user"),
        (Dimension::Key, "key"),
        (Dimension::Route, "route"),
        (Dimension::Provider, "provider"),
        (Dimension::Model, "model"),
    ] {
        let (of_first, of_second) = (format!("{name}-0"), format!("{name}-1"));
        let wanted = [first(&[(name, &of_first)]), second(&[(name, &of_second)])];
        assert_eq!(sums(fixture, &any, &[by]).await, wanted, "{name}");
    }
    let days = [("day", "2026-11-23"), ("day", "2026-11-24")];
    assert_eq!(
        sums(fixture, &any, &[Dimension::Day]).await,
        [first(&days[..1]), second(&days[1..])]
    );
    let by = [Dimension::Day, Dimension::Key, Dimension::Tenant];
    assert_eq!(
        sums(fixture, &any, &by).await,
        [
            first(&[days[0], ("key", "key-0"), ("tenant", "tenant-0")]),
            second(&[days[1], ("key", "key-1"), ("tenant", "tenant-1")]),
        ]
    );
    let total = sums(fixture, &any, &[]).await;
    assert_eq!(total.len(), 1);
    assert_eq!((total[0].entries, total[0].cost_nanos), (3, 3_000_000_000));
    assert_eq!((total[0].usage, total[0].avoided_nanos), (usage(3), 5_000_000_001));
    // Without a team it is a group too.
    append(fixture, &[LedgerEntry { team: None, ..entry(9) }]).await;
    let teams = sums(fixture, &any, &[Dimension::Team]).await;
    assert_eq!(teams[0].group, group(&[("team", "")]));
    // In the order of bytes: a dictionary has small letters first.
    append(fixture, &[LedgerEntry { team: Some("TEAM".to_owned()), ..entry(10) }]).await;
    let teams = sums(fixture, &any, &[Dimension::Team]).await;
    let teams: Vec<&str> = teams.iter().map(|sum| sum.group["team"].as_str()).collect();
    assert_eq!(teams, ["", "TEAM", "team-0", "team-1"]);
}

async fn days_are_those_of_utc(fixture: &Fixture) {
    let at = [START_MS - 1, START_MS, START_MS + DAY_MS - 1, START_MS + DAY_MS];
    let entries: Vec<LedgerEntry> =
        (0..).zip(at).map(|(number, at_ms)| LedgerEntry { at_ms, ..entry(number) }).collect();
    append(fixture, &entries).await;
    let days = sums(fixture, &LedgerFilter::default(), &[Dimension::Day]).await;
    let days: Vec<(&str, u64)> =
        days.iter().map(|sum| (sum.group["day"].as_str(), sum.entries)).collect();
    assert_eq!(days, [("2026-11-22", 1), ("2026-11-23", 2), ("2026-11-24", 1)]);
    let day = LedgerFilter {
        from_ms: Some(START_MS),
        to_ms: Some(START_MS + DAY_MS),
        ..LedgerFilter::default()
    };
    assert_eq!(ids(fixture, &day).await, [entry(1).id, entry(2).id]);
}

async fn sums_outgrow_64_bits(fixture: &Fixture) {
    let huge = |number: u32| LedgerEntry {
        cost_nanos: i64::MAX,
        avoided_nanos: i64::MIN,
        usage: ChargedUsage {
            prompt_tokens: u64::MAX,
            cached_tokens: i64::MAX as u64,
            completion_tokens: i64::MAX as u64,
            reasoning_tokens: 3,
            images: i64::MAX as u64,
        },
        ..entry(number)
    };
    append(fixture, &(0..3).map(huge).collect::<Vec<_>>()).await;
    for by in [&[][..], &[Dimension::Tenant]] {
        let sum = sums(fixture, &LedgerFilter::default(), by).await.remove(0);
        assert_eq!(sum.cost_nanos, 3 * i128::from(i64::MAX));
        assert_eq!(sum.avoided_nanos, 3 * i128::from(i64::MIN));
        // Counts of tokens stop at the greatest: no one has used as many.
        assert_eq!(sum.usage.completion_tokens, u64::MAX);
        assert_eq!(sum.usage.reasoning_tokens, 9);
    }
    append(fixture, &[LedgerEntry { tenant: "two".to_owned(), ..huge(3) }]).await;
    append(fixture, &[LedgerEntry { tenant: "two".to_owned(), ..huge(4) }]).await;
    let two = LedgerFilter { tenant: Some("two".to_owned()), ..LedgerFilter::default() };
    let sum = sums(fixture, &two, &[]).await.remove(0);
    assert_eq!(sum.usage.images, 2 * (i64::MAX as u64));
}

async fn filters_are_exact(fixture: &Fixture) {
    let one = LedgerEntry {
        tenant: "A".to_owned(),
        team: Some("A".to_owned()),
        user: Some("A".to_owned()),
        key: "A".to_owned(),
        route: "A".to_owned(),
        tags: vec!["A".to_owned()],
        ..entry(0)
    };
    append(fixture, &[one.clone(), entry(1)]).await;
    let with = |set: Setter<'_>, value: &str| {
        let mut filter = LedgerFilter::default();
        set(&mut filter, Some(value.to_owned()));
        filter
    };
    let setters: [Setter<'_>; 6] = [
        &|filter, value| filter.tenant = value,
        &|filter, value| filter.team = value,
        &|filter, value| filter.user = value,
        &|filter, value| filter.key = value,
        &|filter, value| filter.route = value,
        &|filter, value| filter.tag = value,
    ];
    for (place, set) in setters.into_iter().enumerate() {
        assert_eq!(ids(fixture, &with(set, "A")).await, [one.id.as_str()], "{place}");
        for other in ["a", "%", "_", "A ", "A' OR 'A'='A"] {
            assert_eq!(ids(fixture, &with(set, other)).await, [""; 0], "{place} {other}");
        }
    }
    // All at once, each in its place.
    let mut every = LedgerFilter { from_ms: Some(one.at_ms), ..LedgerFilter::default() };
    every.to_ms = Some(one.at_ms + 1);
    setters.into_iter().for_each(|set| set(&mut every, Some("A".to_owned())));
    assert_eq!(ids(fixture, &every).await, [one.id.as_str()]);
    let after = LedgerFilter { from_ms: Some(one.at_ms + 1), ..every.clone() };
    assert_eq!(ids(fixture, &after).await, [""; 0]);
    let before = LedgerFilter { to_ms: Some(one.at_ms), ..every };
    assert_eq!(ids(fixture, &before).await, [""; 0]);
    let never = LedgerFilter { from_ms: Some(i64::MAX), ..LedgerFilter::default() };
    assert_eq!(ids(fixture, &never).await, [""; 0]);
}

async fn tags_match_whole(fixture: &Fixture) {
    let tags = [
        &["prod"][..],
        &["production", "x"],
        &["x", "prod", "y"],
        &["a prod"],
        &["PROD"],
        &["pro", "d"],
        &[],
        &["two\nlines"],
    ];
    let entries: Vec<LedgerEntry> = (0..)
        .zip(tags)
        .map(|(number, tags)| LedgerEntry {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..entry(number)
        })
        .collect();
    append(fixture, &entries).await;
    for (tag, found) in [
        ("prod", &[0, 2][..]),
        ("x", &[1, 2]),
        ("PROD", &[4]),
        ("pro%", &[]),
        ("p_od", &[]),
        ("", &[]),
        ("pro\nd", &[]),
        ("two\nlines", &[7]),
        ("lines", &[]),
    ] {
        let filter = LedgerFilter { tag: Some(tag.to_owned()), ..LedgerFilter::default() };
        let wanted: Vec<String> = found.iter().map(|number| entry(*number).id).collect();
        assert_eq!(ids(fixture, &filter).await, wanted, "{tag}");
    }
}

async fn entries_go_page_by_page(fixture: &Fixture) {
    // Several at one time, ids that run against the time, and capitals.
    let mut entries: Vec<LedgerEntry> = Vec::new();
    for (id, time) in [
        ("z", 1),
        ("A", 2),
        ("_", 2),
        ("a", 2),
        ("a-b", 2),
        ("ab", 2),
        ("b", 2),
        ("B", 3),
        ("a0", 3),
    ] {
        entries.push(LedgerEntry { id: id.to_owned(), at_ms: START_MS + time, ..entry(0) });
    }
    let stored: Vec<LedgerEntry> = entries.iter().rev().cloned().collect();
    append(fixture, &stored).await;
    append(fixture, &[LedgerEntry { tenant: "t2".to_owned(), ..entry(2) }]).await;
    let filter = LedgerFilter { tenant: Some("t1".to_owned()), ..LedgerFilter::default() };
    for limit in [1, 2, 4, 9, usize::MAX] {
        let mut found: Vec<LedgerEntry> = Vec::new();
        loop {
            let after = found.last().map(|entry| entry.id.clone());
            let page = fixture.database.entries(&filter, after.as_deref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, entries, "{limit}");
    }
    assert_eq!(fixture.database.entries(&filter, None, 0).await.unwrap(), []);
    assert_eq!(fixture.database.entries(&filter, Some("none"), 9).await.unwrap(), []);
}

async fn entry_texts_are_only_texts(fixture: &Fixture) {
    for (number, text) in (0..).zip(HOSTILE) {
        let text = text.to_owned();
        let hostile = LedgerEntry {
            id: text.clone(),
            request_id: text.clone(),
            tenant: text.clone(),
            team: Some(text.clone()),
            user: Some(text.clone()),
            key: text.clone(),
            surface: text.clone(),
            route: text.clone(),
            provider: text.clone(),
            model: text.clone(),
            price: text.clone(),
            tags: vec![text.replace('\n', " ")],
            ..entry(number)
        };
        append(fixture, std::slice::from_ref(&hostile)).await;
        let filter = LedgerFilter {
            tenant: Some(text.clone()),
            team: Some(text.clone()),
            user: Some(text.clone()),
            key: Some(text.clone()),
            route: Some(text.clone()),
            tag: Some(text.clone()),
            ..LedgerFilter::default()
        };
        assert_eq!(fixture.database.entries(&filter, None, 9).await.unwrap(), [hostile]);
        let sum = sums(fixture, &filter, &[Dimension::Model]).await.remove(0);
        assert_eq!((sum.entries, &sum.group["model"]), (1, &text));
        let next = fixture.database.entries(&filter, Some(&text), 9).await.unwrap();
        assert_eq!(next, []);
    }
    // A caller's tag must not keep its entry, and those beside it, out of PostgreSQL.
    let nul = LedgerEntry { id: "nul".to_owned(), tags: vec!["a\0b".to_owned()], ..entry(99) };
    append(fixture, &[nul, entry(100)]).await;
    let filter = LedgerFilter { tag: Some("a\0b".to_owned()), ..LedgerFilter::default() };
    assert_eq!(ids(fixture, &filter).await, ["nul"]);
    let read = fixture.database.entries(&filter, None, 9).await.unwrap().remove(0);
    assert_eq!(read.tags, ["a\u{fffd}b"]);
}
