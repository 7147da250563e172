use routing::{
    DecisionOutcome, DecisionRecord, DecisionStore, Feedback, Lesson, LessonPosition,
    PromptFeatures,
};
use serde_json::json;

use crate::directory::HOSTILE;
use crate::fixture::Fixture;

on_each_database! {
    decisions_are_found_by_request_and_tenant
    a_decision_is_stored_once
    lessons_come_in_order_and_once
    the_newest_lessons_can_be_begun_with
    old_decisions_are_forgotten_with_what_was_said
    decision_texts_are_only_texts
}

fn record(number: u32, tenant: &str) -> DecisionRecord {
    DecisionRecord {
        id: format!("dec_{number:06}"),
        request_id: format!("req_{number:06}"),
        at_ms: 1_000 + i64::from(number),
        tenant: tenant.to_owned(),
        caller: "key_1".to_owned(),
        route: "chat".to_owned(),
        decision: json!({"policy": "cost", "candidates": [{"name": "гига/чат"}]}),
        deployment: "sber/GigaChat-2".to_owned(),
        propensity: 0.5,
        features: PromptFeatures::default(),
        outcome: DecisionOutcome { status: 200, cost_nanos: 7, ..DecisionOutcome::default() },
    }
}

fn said(number: u32, score: f64) -> Feedback {
    Feedback {
        request_id: format!("req_{number:06}"),
        at_ms: 5_000,
        score,
        source: "user".to_owned(),
        comment: Some("хорошо".to_owned()),
    }
}

async fn decisions_are_found_by_request_and_tenant(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a"), record(2, "b")]).await.unwrap();
    store.say("dec_000001", &said(1, 1.0)).await.unwrap();
    let found = store.find(None, "req_000001").await.unwrap().unwrap();
    assert_eq!(found.record, record(1, "a"));
    assert_eq!(found.feedback, [said(1, 1.0)]);
    assert!(store.find(Some("a"), "req_000001").await.unwrap().is_some());
    assert!(store.find(Some("b"), "req_000001").await.unwrap().is_none());
    assert!(store.find(None, "req_000003").await.unwrap().is_none());
}

async fn a_decision_is_stored_once(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a")]).await.unwrap();
    let other = DecisionRecord { route: "other".to_owned(), ..record(1, "a") };
    store.append(&[other, record(2, "a")]).await.unwrap();
    let found = store.find(None, "req_000001").await.unwrap().unwrap();
    assert_eq!(found.record.route, "chat");
    let (lessons, _) = store.lessons(LessonPosition::default(), 100).await.unwrap();
    assert_eq!(lessons.len(), 2);
}

async fn lessons_come_in_order_and_once(fixture: &Fixture) {
    let store = &fixture.database;
    let records: Vec<_> = (0..450).map(|number| record(number, "a")).collect();
    store.append(&records).await.unwrap();
    store.say("dec_000007", &said(7, 0.0)).await.unwrap();
    let mut position = LessonPosition::default();
    let mut decided = Vec::new();
    let mut spoken = Vec::new();
    loop {
        let (lessons, reached) = store.lessons(position, 100).await.unwrap();
        if lessons.is_empty() {
            break;
        }
        position = reached;
        for lesson in lessons {
            match lesson {
                Lesson::Decided(record) => decided.push(*record),
                Lesson::Said { record, feedback } => spoken.push((record.id, feedback)),
            }
        }
    }
    assert_eq!(decided, records);
    assert_eq!(spoken, [("dec_000007".to_owned(), said(7, 0.0))]);
}

async fn the_newest_lessons_can_be_begun_with(fixture: &Fixture) {
    let store = &fixture.database;
    assert_eq!(store.position_before(10).await.unwrap(), LessonPosition::default());
    let records: Vec<_> = (0..30).map(|number| record(number, "a")).collect();
    store.append(&records).await.unwrap();
    store.say("dec_000003", &said(3, 0.1)).await.unwrap();
    store.say("dec_000028", &said(28, 0.9)).await.unwrap();
    let position = store.position_before(10).await.unwrap();
    let (lessons, _) = store.lessons(position, 100).await.unwrap();
    let expected = lessons.iter().filter(|lesson| matches!(lesson, Lesson::Decided(_))).count();
    assert_eq!(expected, 10);
    let spoken: Vec<_> = lessons
        .iter()
        .filter_map(|lesson| match lesson {
            Lesson::Said { feedback, .. } => Some(feedback.score),
            Lesson::Decided(_) => None,
        })
        .collect();
    assert_eq!(spoken, [0.9]);
}

async fn old_decisions_are_forgotten_with_what_was_said(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a"), record(2, "a")]).await.unwrap();
    store.say("dec_000001", &said(1, 1.0)).await.unwrap();
    assert_eq!(store.forget_before(1_002).await.unwrap(), 1);
    assert!(store.find(None, "req_000001").await.unwrap().is_none());
    assert!(store.find(None, "req_000002").await.unwrap().is_some());
    let (lessons, _) = store.lessons(LessonPosition::default(), 100).await.unwrap();
    assert_eq!(lessons.len(), 1);
}

async fn decision_texts_are_only_texts(fixture: &Fixture) {
    let store = &fixture.database;
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let mut record = record(u32::try_from(number).unwrap(), "a");
        record.request_id = (*hostile).to_owned();
        record.decision = json!({ "x": hostile });
        store.append(&[record]).await.unwrap();
        assert!(store.find(None, hostile).await.unwrap().is_some(), "{hostile:?}");
    }
}
