use routing::{
    DecisionRecord, DecisionStore, FeedbackRecord, FeedbackResult, OutcomeRecord, PromptFeatures,
    TaskClass,
};
use serde_json::json;

use crate::directory::HOSTILE;
use crate::fixture::Fixture;

on_each_database! {
    decisions_are_found_by_request_and_tenant
    a_decision_is_stored_once_for_each_tenant
    decisions_come_in_order_and_once
    feedback_brings_a_decision_again
    feedback_of_others_is_unknown
    old_decisions_are_forgotten_and_numbers_go_on
    appenders_at_the_same_time_store_all_in_order
    decision_texts_are_only_texts
}

fn record(number: u32, tenant: &str) -> DecisionRecord {
    DecisionRecord {
        request_id: format!("req_{number:06}"),
        at_ms: 1_000 + i64::from(number),
        tenant: tenant.to_owned(),
        route: "chat".to_owned(),
        class: TaskClass::Code,
        features: PromptFeatures::default(),
        decision: json!({"policy": "cost", "candidates": [{"name": "гига/чат"}]}),
        chosen: "sber/GigaChat-2".to_owned(),
        propensity: 0.5,
        explored: false,
        governed: true,
        shadow_choice: None,
        outcome: Some(OutcomeRecord { status: 200, cost_nanos: 7, ..OutcomeRecord::default() }),
        feedback: None,
    }
}

fn said(number: u32, score: f64) -> FeedbackRecord {
    FeedbackRecord {
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
    assert_eq!(store.get(None, "req_000001").await.unwrap(), Some(record(1, "a")));
    assert!(store.get(Some("a"), "req_000001").await.unwrap().is_some());
    assert!(store.get(Some("b"), "req_000001").await.unwrap().is_none());
    assert!(store.get(None, "req_000003").await.unwrap().is_none());
}

async fn a_decision_is_stored_once_for_each_tenant(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a")]).await.unwrap();
    let other = DecisionRecord { route: "other".to_owned(), ..record(1, "a") };
    store.append(&[other, record(1, "b"), record(2, "a")]).await.unwrap();
    assert_eq!(store.get(Some("a"), "req_000001").await.unwrap().unwrap().route, "chat");
    assert_eq!(store.since(0, 100).await.unwrap().len(), 3);
}

async fn decisions_come_in_order_and_once(fixture: &Fixture) {
    let store = &fixture.database;
    let records: Vec<_> = (0..450).map(|number| record(number, "a")).collect();
    store.append(&records).await.unwrap();
    let mut reached = 0;
    let mut read = Vec::new();
    loop {
        let some = store.since(reached, 100).await.unwrap();
        let Some(last) = some.last() else { break };
        reached = last.sequence;
        read.extend(some.into_iter().map(|stored| stored.record));
    }
    assert_eq!(read, records);
    let last: Vec<_> = store.last(3).await.unwrap().into_iter().map(|s| s.record).collect();
    assert_eq!(last, records[447..]);
}

async fn feedback_brings_a_decision_again(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a"), record(2, "a")]).await.unwrap();
    let reached = store.since(0, 100).await.unwrap().last().unwrap().sequence;
    assert_eq!(store.set_feedback(Some("a"), &said(1, 0.1)).await.unwrap(), FeedbackResult::Kept);
    assert_eq!(store.set_feedback(None, &said(1, 0.9)).await.unwrap(), FeedbackResult::Kept);
    let again = store.since(reached, 100).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].record.feedback, Some(said(1, 0.9)));
    assert!(again[0].first_sequence <= reached && again[0].sequence > reached);
    let found = store.get(Some("a"), "req_000001").await.unwrap().unwrap();
    assert_eq!(found.feedback, Some(said(1, 0.9)));
}

async fn feedback_of_others_is_unknown(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a")]).await.unwrap();
    for (tenant, number) in [(Some("b"), 1), (Some("a"), 2), (None, 2)] {
        let told = store.set_feedback(tenant, &said(number, 0.0)).await.unwrap();
        assert_eq!(told, FeedbackResult::Unknown, "{tenant:?} {number}");
    }
    assert_eq!(store.get(None, "req_000001").await.unwrap().unwrap().feedback, None);
}

async fn old_decisions_are_forgotten_and_numbers_go_on(fixture: &Fixture) {
    let store = &fixture.database;
    store.append(&[record(1, "a"), record(2, "a")]).await.unwrap();
    let reached = store.last(1).await.unwrap()[0].sequence;
    assert_eq!(store.forget(1_002).await.unwrap(), 1);
    assert!(store.get(None, "req_000001").await.unwrap().is_none());
    assert_eq!(store.forget(i64::MAX).await.unwrap(), 1);
    store.append(&[record(3, "a")]).await.unwrap();
    assert_eq!(store.since(reached, 10).await.unwrap().len(), 1);
}

async fn appenders_at_the_same_time_store_all_in_order(fixture: &Fixture) {
    let store = &fixture.database;
    let append = async |from: u32| {
        for number in from..from + 20 {
            store.append(&[record(number, "a")]).await.unwrap();
        }
    };
    let follow = async {
        let mut reached = 0;
        let mut seen = 0;
        while seen < 60 {
            for stored in store.since(reached, 7).await.unwrap() {
                assert!(stored.sequence > reached);
                reached = stored.sequence;
                seen += 1;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(append(0), append(100), append(200), follow);
}

async fn decision_texts_are_only_texts(fixture: &Fixture) {
    let store = &fixture.database;
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let mut record = record(u32::try_from(number).unwrap(), "a");
        record.request_id = (*hostile).to_owned();
        record.decision = json!({ "x": hostile });
        store.append(&[record]).await.unwrap();
        assert!(store.get(None, hostile).await.unwrap().is_some(), "{hostile:?}");
    }
}
