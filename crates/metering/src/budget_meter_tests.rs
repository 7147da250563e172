use proptest::prelude::*;

use super::*;
use crate::budget::BudgetScope;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn meter(amount: i64, hard: bool, period: BudgetPeriod) -> Arc<BudgetMeter> {
    let budget = Budget {
        id: "bud_1".to_owned(),
        tenant: "ten_1".to_owned(),
        name: "ноябрь".to_owned(),
        scope: BudgetScope::Tenant,
        period,
        amount_nanos: amount,
        hard,
        alert_url: None,
    };
    Arc::new(BudgetMeter::new(Arc::new(budget), zone("Europe/Moscow"), 0, 0))
}

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

#[test]
fn windows_follow_the_time_zone() {
    let moscow = zone("Europe/Moscow");
    // Half past midnight on Monday in Moscow is still Sunday in London.
    let now = at("2026-11-22T21:30:00Z");
    let day = Window::of(BudgetPeriod::Day, &moscow, now);
    assert_eq!(day.start_ms, at("2026-11-22T21:00:00Z"));
    assert_eq!(day.end_ms, Some(at("2026-11-23T21:00:00Z")));
    let week = Window::of(BudgetPeriod::Week, &moscow, now);
    assert_eq!(week.start_ms, at("2026-11-22T21:00:00Z"));
    assert_eq!(week.end_ms, Some(at("2026-11-29T21:00:00Z")));
    let month = Window::of(BudgetPeriod::Month, &moscow, now);
    assert_eq!(month.start_ms, at("2026-10-31T21:00:00Z"));
    assert_eq!(month.end_ms, Some(at("2026-11-30T21:00:00Z")));
    assert_eq!(Window::of(BudgetPeriod::Total, &moscow, now).end_ms, None);
}

#[test]
fn days_with_a_change_of_clocks_have_23_and_25_hours() {
    let berlin = zone("Europe/Berlin");
    let hours = |now: &str| {
        let day = Window::of(BudgetPeriod::Day, &berlin, at(now));
        (day.end_ms.unwrap() - day.start_ms) / 3_600_000
    };
    assert_eq!(hours("2026-03-29T12:00:00Z"), 23);
    assert_eq!(hours("2026-10-25T12:00:00Z"), 25);
}

#[test]
fn a_hard_budget_promises_no_more_than_there_is() {
    let meter = meter(100, true, BudgetPeriod::Total);
    let first = meter.reserve(0, 70).unwrap();
    assert_eq!(meter.reserve(0, 31).unwrap_err().committed_nanos, 70);
    let second = meter.reserve(0, 30).unwrap();
    meter.settle(0, first, 20);
    assert_eq!((meter.spent(), meter.reserved()), (20, 30));
    drop(second);
    assert_eq!(meter.reserved(), 0);
    let rest = meter.reserve(0, 80).unwrap();
    meter.settle(0, rest, 85);
    assert!(meter.reserve(0, 0).is_err(), "an exhausted budget refuses everything");
}

#[test]
fn a_promise_on_a_view_that_is_over_is_taken_back() {
    let meter = meter(100, true, BudgetPeriod::Total);
    let first = meter.reserve(0, 30).unwrap();
    // Here a thread saw 30 promised and nothing spent, so that 60 would fit. Before it counts
    // its promise, the first is spent, and a second makes what is promised 30 again.
    meter.settle(0, first, 30);
    let second = meter.reserve(0, 30).unwrap();
    meter.reserved.fetch_add(60, Ordering::SeqCst);
    let late = BudgetReservation { meter: Arc::clone(&meter), nanos: 60 };
    assert!(!meter.confirms(&late));
    drop(late);
    assert_eq!(meter.reserved(), 30);
    assert!(meter.confirms(&second));
}

#[test]
fn what_is_too_much_to_count_or_negative_does_not_refill_a_budget() {
    let meter = meter(100, true, BudgetPeriod::Total);
    for nanos in [100, i64::MAX, i64::MAX, -1_000] {
        meter.spend(0, nanos);
        assert!(meter.reserve(0, 0).is_err(), "{nanos}");
    }
}

#[test]
fn a_crowd_stays_within_a_budget_that_is_nearly_spent() {
    // Many alike and some large, so that what is promised is often the same after a change.
    for _ in 0..400 {
        let meter = meter(1_000, true, BudgetPeriod::Total);
        std::thread::scope(|scope| {
            for nanos in [1, 1, 1, 2] {
                let meter = &meter;
                scope.spawn(move || {
                    for _ in 0..500 {
                        if let Ok(reservation) = meter.reserve(0, nanos) {
                            meter.settle(0, reservation, nanos);
                        }
                    }
                });
            }
        });
        assert!(meter.spent() <= 1_000, "{}", meter.spent());
        assert_eq!(meter.reserved(), 0);
    }
}

#[test]
fn a_soft_budget_only_tells() {
    let meter = meter(100, false, BudgetPeriod::Total);
    let reservation = meter.reserve(0, 500).unwrap();
    let alerts = meter.settle(0, reservation, 85);
    assert_eq!(alerts.iter().map(|alert| alert.percent).collect::<Vec<_>>(), [50, 80]);
    let reservation = meter.reserve(0, 1).unwrap();
    assert!(meter.settle(0, reservation, 1).is_empty());
    let reservation = meter.reserve(0, 1).unwrap();
    let alerts = meter.settle(0, reservation, 50);
    assert_eq!(alerts.iter().map(|alert| alert.percent).collect::<Vec<_>>(), [100]);
}

#[test]
fn the_next_window_begins_anew_and_the_clock_cannot_reopen_the_last() {
    let meter = meter(100, true, BudgetPeriod::Day);
    let day = 86_400_000;
    let reservation = meter.reserve(day, 100).unwrap();
    meter.settle(day, reservation, 100);
    assert!(meter.reserve(day, 1).is_err());
    assert!(meter.reserve(0, 1).is_err(), "yesterday does not come back");
    let late = meter.reserve(2 * day, 60).unwrap();
    assert_eq!(meter.spent(), 0);
    meter.settle(2 * day, late, 60);
    assert_eq!(meter.spent(), 60);
}

#[test]
fn replicas_share_what_is_left() {
    let meters: Vec<_> = (0..2).map(|_| meter(1000, true, BudgetPeriod::Total)).collect();
    let mut spent = 0;
    for _ in 0..50 {
        let told: Vec<_> = meters.iter().map(|meter| meter.begin_exchange()).collect();
        spent += told.iter().map(|(spent, _)| spent).sum::<i64>();
        for meter in &meters {
            meter.end_exchange(spent, 0, 2);
        }
        for meter in &meters {
            while let Ok(reservation) = meter.reserve(0, 7) {
                meter.settle(0, reservation, 7);
            }
        }
    }
    let told: i64 = meters.iter().map(|meter| meter.begin_exchange().0).sum();
    let total = spent + told;
    assert!(total <= 1000 + 7, "{total}");
    assert!(total >= 980, "{total}");
}

#[test]
fn errors_say_which_budget_and_until_when() {
    let meter = meter(1_000_000_000, true, BudgetPeriod::Day);
    let error = meter.reserve(at("2026-11-22T21:30:00Z"), 2_000_000_000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the budget `ноябрь` of 1.00 RUB is spent until 2026-11-23T21:00:00Z"
    );
}

proptest! {
    #[test]
    fn nothing_is_promised_twice(amounts in prop::collection::vec((0i64..50, 0i64..60), 1..100)) {
        let meter = meter(500, true, BudgetPeriod::Total);
        let total = std::sync::atomic::AtomicI64::new(0);
        std::thread::scope(|scope| {
            for part in amounts.chunks(amounts.len().div_ceil(4)) {
                let (meter, total) = (&meter, &total);
                scope.spawn(move || {
                    for (promised, actual) in part {
                        if let Ok(reservation) = meter.reserve(0, *promised) {
                            let actual = (*actual).min(*promised);
                            meter.settle(0, reservation, actual);
                            total.fetch_add(actual, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        prop_assert_eq!(meter.spent(), total.into_inner());
        prop_assert_eq!(meter.reserved(), 0);
        prop_assert!(meter.spent() <= 500);
    }
}
