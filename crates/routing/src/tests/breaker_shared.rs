use super::breaker::{FAILED, breaker, done, opened, probes, record, retry_after, rng};
use crate::Millis;
use crate::breaker::{
    Admittance, Breaker, Health, OpenReason, SharedHealth, SharedState, Transition,
};
use crate::failure::{CallOutcome, FailureClass};

fn tell(from: &Breaker, to: &mut Breaker, now: Millis) {
    if let Some(health) = from.shared(now) {
        let text = serde_json::to_string(&health).expect("JSON");
        to.merge(now, &serde_json::from_str(&text).expect("the same"));
    }
}

#[test]
fn nothing_is_told_while_nothing_happened() {
    let mut breaker = breaker();
    record(&mut breaker, 0, done(1), 10);
    record(&mut breaker, 0, FAILED, 4);
    assert_eq!(breaker.shared(0), None);
}

#[test]
fn an_open_breaker_is_taken_over_for_the_time_it_has_left() {
    let first = opened(0);
    let mut second = breaker();
    // The clocks of replicas have nothing to do with each other.
    let told = first.shared(20_000).expect("open");
    assert_eq!(
        second.merge(5_000_000, &told),
        Some(Transition::Opened { for_ms: 40_000, reason: OpenReason::Told })
    );
    assert_eq!(second.peek(5_000_000), Health::Open { until: 5_040_000 });
    assert_eq!(second.admit(5_040_000, &mut rng()), Admittance::Probe);
}

#[test]
fn a_message_repeated_or_late_prolongs_nothing() {
    let first = opened(0);
    let mut second = breaker();
    let told = first.shared(0).expect("open");
    for now in (0..600_000).step_by(2_000) {
        second.merge(now, &told);
    }
    assert_eq!(second.peek(600_000), Health::HalfOpen { free_probes: 3 });
    assert_eq!(second.peek(60_000).name(), "half_open");
}

#[test]
fn what_was_taken_over_is_not_told_again() {
    let mut first = opened(0);
    let mut second = breaker();
    for now in (0..60_000).step_by(500) {
        tell(&first, &mut second, now);
        tell(&second, &mut first, now);
    }
    assert_eq!(first.peek(60_000).name(), "half_open");
    assert_eq!(second.peek(60_000).name(), "half_open");
    let told = second.shared(30_000).expect("a number");
    assert_eq!((told.state, told.open_remaining_ms), (SharedState::Quiet, 0));
}

#[test]
fn time_out_of_a_malicious_length_is_cut() {
    let mut second = breaker();
    second.merge(
        0,
        &SharedHealth {
            version: 1,
            state: SharedState::Open,
            open_remaining_ms: u64::MAX,
            cooldown_version: 1,
            cooldown_remaining_ms: u64::MAX,
        },
    );
    assert_eq!(second.peek(0), Health::Open { until: 600_000 });
    assert_eq!(second.peek(600_000), Health::HalfOpen { free_probes: 3 });
}

#[test]
fn its_recovery_ends_what_was_taken_over_but_into_probes_only() {
    let mut first = opened(0);
    let mut second = breaker();
    tell(&first, &mut second, 0);
    first.probe_result(5_000, true);
    tell(&first, &mut second, 5_000);
    assert_eq!(second.peek(5_000).name(), "open", "being tried out is not recovered");
    probes(&mut first, 5_000, done(1), 3);
    tell(&first, &mut second, 6_000);
    assert_eq!(second.peek(6_000), Health::HalfOpen { free_probes: 3 });
}

#[test]
fn what_was_seen_here_is_never_shortened() {
    let mut first = opened(0);
    let mut second = opened(1_000);
    tell(&first, &mut second, 1_000);
    assert_eq!(second.peek(1_000), Health::Open { until: 61_000 });
    first.probe_result(5_000, true);
    probes(&mut first, 5_000, done(1), 3);
    tell(&first, &mut second, 5_000);
    assert_eq!(second.peek(5_000), Health::Open { until: 61_000 });
    // And the others hear that it is not over for all.
    let mut third = breaker();
    tell(&first, &mut third, 5_000);
    assert_eq!(third.peek(5_000), Health::Closed);
    tell(&second, &mut third, 5_000);
    assert_eq!(third.peek(5_000), Health::Open { until: 61_000 });
}

#[test]
fn the_longer_of_two_openings_at_once_is_told_to_all() {
    let mut short = opened(0);
    let mut long = breaker();
    long.record(0, &CallOutcome::Failed(FailureClass::Exhausted), false);
    let mut third = breaker();
    for now in [0, 2_000] {
        tell(&short, &mut third, now);
        tell(&short, &mut long, now);
        tell(&long, &mut short, now);
        tell(&long, &mut third, now);
    }
    for breaker in [&short, &long, &third] {
        assert_eq!(breaker.peek(2_000), Health::Open { until: 300_000 });
    }
}

#[test]
fn a_replica_that_was_restarted_is_heard() {
    let mut first = breaker();
    let mut second = breaker();
    for now in [0, 1_000_000, 2_000_000] {
        record(&mut first, now, FAILED, 5);
        tell(&first, &mut second, now);
        probes(&mut first, now + 60_000, done(1), 3);
        first.admit(now + 100_000, &mut rng());
        tell(&first, &mut second, now + 100_000);
    }
    probes(&mut second, 2_200_000, done(1), 3);
    second.admit(2_300_000, &mut rng());
    let mut restarted = opened(2_300_000);
    tell(&restarted, &mut second, 2_300_000);
    tell(&second, &mut restarted, 2_300_000);
    restarted.probe_result(2_305_000, true);
    restarted.record(2_305_000, &FAILED, false);
    probes(&mut restarted, 2_305_000, FAILED, 1);
    tell(&restarted, &mut second, 2_306_000);
    assert_eq!(second.peek(2_306_000).name(), "open");
}

#[test]
fn a_replica_with_a_broken_network_does_not_take_it_from_all() {
    let mut broken = opened(0);
    let mut sound = breaker();
    tell(&broken, &mut sound, 0);
    probes(&mut sound, 60_000, done(1), 3);
    probes(&mut broken, 60_000, FAILED, 1);
    tell(&broken, &mut sound, 60_000);
    assert_eq!(sound.peek(60_000), Health::Ramping { share: 0.1 }, "it knows better");
    record(&mut sound, 61_000, FAILED, 5);
    assert_eq!(sound.peek(61_000).name(), "open", "until it fails here too");
}

#[test]
fn after_its_recovery_a_replica_is_believed_again() {
    let mut first = opened(0);
    let mut second = breaker();
    tell(&first, &mut second, 0);
    probes(&mut second, 60_000, done(1), 3);
    probes(&mut first, 60_100, done(1), 3);
    tell(&first, &mut second, 61_000);
    record(&mut first, 70_000, FAILED, 5);
    tell(&first, &mut second, 70_000);
    assert_eq!(second.peek(70_000).name(), "open");
}

#[test]
fn own_failures_count_while_another_keeps_it_open() {
    let first = opened(0);
    let mut second = breaker();
    tell(&first, &mut second, 59_000);
    record(&mut second, 59_000, FAILED, 5);
    assert_eq!(second.peek(59_000), Health::Open { until: 119_000 });
}

#[test]
fn a_cooldown_is_shared_and_leaves_the_breaker_alone() {
    let mut first = breaker();
    first.record(0, &retry_after(30_000), false);
    let mut second = opened(0);
    let mut third = breaker();
    for now in [10_000, 12_000, 14_000] {
        tell(&first, &mut second, now);
        tell(&first, &mut third, now);
        tell(&third, &mut first, now);
    }
    assert_eq!(second.peek(14_000), Health::Open { until: 60_000 });
    assert_eq!(third.peek(14_000), Health::Cooling { until: 30_000 });
    assert_eq!(third.admit(30_000, &mut rng()), Admittance::Admit);
}

#[test]
fn the_longer_of_two_cooldowns_at_once_is_told_to_all() {
    let mut short = breaker();
    short.record(0, &retry_after(10_000), false);
    let mut long = breaker();
    long.record(0, &retry_after(90_000), false);
    let mut third = breaker();
    for now in [0, 2_000] {
        tell(&short, &mut third, now);
        tell(&short, &mut long, now);
        tell(&long, &mut third, now);
        tell(&long, &mut short, now);
    }
    for breaker in [&short, &long, &third] {
        assert_eq!(breaker.peek(2_000), Health::Cooling { until: 90_000 });
    }
}
