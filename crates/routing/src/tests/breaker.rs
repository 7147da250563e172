use crate::breaker::{Admittance, Breaker, BreakerOptions, Health, OpenReason, Transition};
use crate::failure::{CallOutcome, FailureClass};
use crate::{Millis, classify};

pub(super) const FAILED: CallOutcome = CallOutcome::Failed(FailureClass::ServerError);
const THROTTLED: CallOutcome = CallOutcome::Throttled { retry_after_ms: None };

pub(super) fn done(first_token_ms: Millis) -> CallOutcome {
    CallOutcome::Completed { first_token_ms, total_ms: first_token_ms, completion_tokens: 1 }
}

pub(super) fn retry_after(ms: u64) -> CallOutcome {
    CallOutcome::Throttled { retry_after_ms: Some(ms) }
}

pub(super) fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

pub(super) fn breaker() -> Breaker {
    Breaker::new(&BreakerOptions::default())
}

pub(super) fn record(breaker: &mut Breaker, now: Millis, outcome: CallOutcome, times: usize) {
    for _ in 0..times {
        breaker.record(now, &outcome, false);
    }
}

/// A breaker that opened at `now`.
pub(super) fn opened(now: Millis) -> Breaker {
    let mut breaker = breaker();
    record(&mut breaker, now, FAILED, 5);
    assert_eq!(breaker.peek(now), Health::Open { until: now + 60_000 });
    breaker
}

pub(super) fn probes(breaker: &mut Breaker, now: Millis, outcome: CallOutcome, times: usize) {
    for _ in 0..times {
        assert_eq!(breaker.admit(now, &mut rng()), Admittance::Probe);
        breaker.record(now, &outcome, true);
    }
}

#[test]
fn the_defaults_are_the_customers_and_within_range() {
    let options = BreakerOptions::default();
    options.check().expect("the defaults");
    assert_eq!(options.consecutive_failures, 5);
    assert_eq!(options.open_ms, 60_000);
    assert_eq!(options.half_open_probes, 3);
    assert_eq!(options.ramp_steps, [0.1, 0.5, 1.0]);
    for wrong in [
        BreakerOptions { failure_rate: f64::NAN, ..options.clone() },
        BreakerOptions { slow_rate: 1.1, ..options.clone() },
        BreakerOptions { half_open_probes: 0, ..options.clone() },
        BreakerOptions { open_ms: 700_000, ..options.clone() },
        BreakerOptions { ramp_steps: vec![0.5, 0.1], ..options.clone() },
        BreakerOptions { ramp_steps: vec![0.0], ..options },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

#[test]
fn five_failures_one_after_the_other_open_it() {
    let mut breaker = breaker();
    for _ in 0..3 {
        record(&mut breaker, 1_000, FAILED, 4);
        breaker.record(1_000, &done(10), false);
    }
    assert_eq!(breaker.peek(1_000), Health::Closed);
    record(&mut breaker, 2_000, FAILED, 4);
    let transition = breaker.record(2_000, &CallOutcome::Failed(FailureClass::Connect), false);
    let reason = OpenReason::Failures(FailureClass::Connect);
    assert_eq!(transition, Some(Transition::Opened { for_ms: 60_000, reason }));
    assert_eq!(breaker.admit(61_999, &mut rng()), Admittance::Refuse { until: 62_000 });
    assert_eq!(breaker.admit(62_000, &mut rng()), Admittance::Probe);
}

#[test]
fn an_error_in_a_body_with_status_200_counts() {
    let error = chat::ApiError {
        provider_status: Some(200),
        ..chat::ApiError::new(chat::ErrorKind::BadGateway, "")
    };
    let mut breaker = breaker();
    record(&mut breaker, 0, classify(&error), 5);
    assert_eq!(breaker.peek(0).name(), "open");
}

#[test]
fn half_of_the_calls_failed_open_it_once_there_are_enough() {
    let mut breaker = breaker();
    for _ in 0..9 {
        breaker.record(1_000, &done(1), false);
        breaker.record(1_000, &FAILED, false);
    }
    breaker.record(1_000, &done(1), false);
    assert_eq!(breaker.peek(1_000), Health::Closed);
    breaker.record(1_000, &FAILED, false);
    assert_eq!(breaker.peek(1_000).name(), "open");
}

#[test]
fn failures_leave_the_window() {
    let mut breaker = breaker();
    for index in 0..200 {
        let outcome = if index % 2 == 0 { done(1) } else { FAILED };
        breaker.record(index * 2_000, &outcome, false);
    }
    assert_eq!(breaker.peek(400_000), Health::Closed, "15 calls in 30 seconds are too few");
}

#[test]
fn slow_calls_open_it_where_there_is_a_limit() {
    let mut unlimited = breaker();
    record(&mut unlimited, 0, done(100_000), 100);
    assert_eq!(unlimited.peek(0), Health::Closed);
    let options = BreakerOptions { slow_call_ms: Some(1_000), ..BreakerOptions::default() };
    let mut breaker = Breaker::new(&options);
    record(&mut breaker, 0, done(1_000), 4);
    record(&mut breaker, 0, done(1_001), 15);
    assert_eq!(breaker.peek(0), Health::Closed);
    let transition = breaker.record(0, &done(1_001), false);
    assert_eq!(
        transition,
        Some(Transition::Opened { for_ms: 60_000, reason: OpenReason::SlowCalls })
    );
    probes(&mut breaker, 60_000, done(5_000), 3);
    assert_eq!(breaker.peek(60_000), Health::Open { until: 180_000 }, "it is still slow");
}

#[test]
fn stalls_in_the_middle_of_answers_count() {
    let mut breaker = breaker();
    record(&mut breaker, 0, CallOutcome::Failed(FailureClass::Stalled), 5);
    assert_eq!(breaker.peek(0).name(), "open");
}

#[test]
fn what_lasts_opens_it_at_once_and_for_longer() {
    for class in [FailureClass::Exhausted, FailureClass::Unauthorized] {
        let mut breaker = breaker();
        breaker.record(0, &CallOutcome::Failed(class), false);
        assert_eq!(breaker.peek(0), Health::Open { until: 300_000 });
    }
}

#[test]
fn mistakes_of_callers_do_nothing() {
    let mut breaker = breaker();
    record(&mut breaker, 0, FAILED, 4);
    record(&mut breaker, 0, CallOutcome::Neutral, 100);
    assert_eq!(breaker.peek(0), Health::Closed);
    breaker.record(0, &FAILED, false);
    assert_eq!(breaker.peek(0).name(), "open", "nor do they end a row of failures");
}

#[test]
fn three_probes_then_a_ramp_then_all_traffic() {
    let mut breaker = opened(0);
    let mut rng = rng();
    assert_eq!(breaker.peek(60_000), Health::HalfOpen { free_probes: 3 });
    for _ in 0..3 {
        assert_eq!(breaker.admit(60_000, &mut rng), Admittance::Probe);
    }
    assert_eq!(breaker.admit(60_000, &mut rng), Admittance::Refuse { until: 61_000 });
    assert!(!breaker.peek(60_000).is_available());
    assert_eq!(breaker.record(60_500, &done(1), true), Some(Transition::HalfOpened));
    assert_eq!(
        breaker.admit(60_500, &mut rng),
        Admittance::Refuse { until: 61_500 },
        "three probes in all, not three at a time"
    );
    breaker.record(60_500, &done(1), true);
    assert_eq!(breaker.record(61_000, &done(1), true), Some(Transition::Recovering));
    for (from, share) in [(61_000, 0.1), (71_000, 0.5), (81_000, 1.0)] {
        for at in [from, from + 9_999] {
            assert_eq!(breaker.peek(at), Health::Ramping { share });
            let admitted = (0..2_000)
                .filter(|_| breaker.admit(at, &mut rng) == Admittance::Admit)
                .count() as f64;
            assert!((admitted / 2_000.0 - share).abs() < 0.04, "{admitted} of 2000 at {share}");
        }
    }
    assert_eq!(breaker.peek(91_000), Health::Closed);
    assert_eq!(breaker.admit(91_000, &mut rng), Admittance::Admit);
    assert_eq!(breaker.take_transition(), Some(Transition::Closed));
    assert_eq!(breaker.take_transition(), None);
}

#[test]
fn without_steps_it_closes_at_once() {
    let options = BreakerOptions { ramp_steps: Vec::new(), ..BreakerOptions::default() };
    for options in [options, BreakerOptions { ramp_step_ms: 0, ..BreakerOptions::default() }] {
        let mut breaker = Breaker::new(&options);
        record(&mut breaker, 0, FAILED, 5);
        probes(&mut breaker, 60_000, done(1), 3);
        assert_eq!(breaker.peek(60_000), Health::Closed);
    }
}

#[test]
fn each_opening_is_twice_as_long_until_it_served_all_traffic() {
    let mut breaker = opened(0);
    let mut now = 60_000;
    for length in [120_000, 240_000, 480_000, 600_000, 600_000] {
        probes(&mut breaker, now, done(1), 2);
        probes(&mut breaker, now, FAILED, 1);
        assert_eq!(breaker.peek(now), Health::Open { until: now + length });
        now += length;
    }
    probes(&mut breaker, now, done(1), 3);
    record(&mut breaker, now, FAILED, 5);
    assert_eq!(breaker.peek(now), Health::Open { until: now + 600_000 }, "while ramping");
    now += 600_000;
    probes(&mut breaker, now, done(1), 3);
    now += 30_000;
    record(&mut breaker, now, FAILED, 5);
    assert_eq!(breaker.peek(now), Health::Open { until: now + 60_000 }, "a new beginning");
}

#[test]
fn calls_from_before_it_opened_neither_close_nor_prolong_it() {
    let mut breaker = opened(0);
    record(&mut breaker, 10_000, FAILED, 200);
    record(&mut breaker, 10_000, done(1), 200);
    assert_eq!(breaker.peek(10_000), Health::Open { until: 60_000 });
    record(&mut breaker, 60_000, FAILED, 200);
    record(&mut breaker, 60_000, done(1), 200);
    assert_eq!(breaker.peek(60_000), Health::HalfOpen { free_probes: 3 });
}

#[test]
fn places_of_probes_do_not_leak() {
    let mut breaker = opened(0);
    for now in 60_000..60_010 {
        probes(&mut breaker, now, CallOutcome::Neutral, 1);
        assert_eq!(breaker.admit(now, &mut rng()), Admittance::Probe);
        breaker.abandon_probe(now);
        probes(&mut breaker, now, retry_after(1), 1);
    }
    assert_eq!(breaker.peek(60_010), Health::HalfOpen { free_probes: 3 });
}

#[test]
fn probes_that_never_report_are_given_up() {
    let mut breaker = opened(0);
    for _ in 0..3 {
        assert_eq!(breaker.admit(60_000, &mut rng()), Admittance::Probe);
    }
    assert!(matches!(breaker.admit(659_999, &mut rng()), Admittance::Refuse { .. }));
    assert_eq!(breaker.peek(660_000), Health::HalfOpen { free_probes: 3 });
    assert_eq!(breaker.admit(660_000, &mut rng()), Admittance::Probe);
}

#[test]
fn probes_keep_their_places_when_it_opens_again() {
    let mut breaker = opened(0);
    for _ in 0..3 {
        assert_eq!(breaker.admit(60_000, &mut rng()), Admittance::Probe);
    }
    breaker.record(60_000, &FAILED, true);
    assert_eq!(breaker.peek(180_000), Health::HalfOpen { free_probes: 1 });
    breaker.record(180_000, &done(1), true);
    breaker.record(180_000, &done(1), true);
    assert_eq!(breaker.peek(180_000), Health::HalfOpen { free_probes: 1 });
}

#[test]
fn a_first_token_is_success_enough_for_a_probe() {
    let mut breaker = opened(0);
    for _ in 0..3 {
        assert_eq!(breaker.admit(60_000, &mut rng()), Admittance::Probe);
    }
    breaker.probe_answered(60_100, 100);
    breaker.probe_answered(60_100, 100);
    assert_eq!(breaker.probe_answered(60_100, 100), Some(Transition::Recovering));
}

#[test]
fn too_many_requests_is_a_pause_and_no_failure() {
    let mut breaker = breaker();
    assert_eq!(
        breaker.record(0, &retry_after(2_500), false),
        Some(Transition::Cooling { for_ms: 2_500 })
    );
    record(&mut breaker, 0, retry_after(2_500), 100);
    assert_eq!(breaker.peek(2_499), Health::Cooling { until: 2_500 });
    assert_eq!(breaker.admit(2_499, &mut rng()), Admittance::Refuse { until: 2_500 });
    assert_eq!(breaker.admit(2_500, &mut rng()), Admittance::Admit, "no probes, no ramp");
    record(&mut breaker, 2_500, retry_after(1_000), 1);
    record(&mut breaker, 2_500, retry_after(10), 1);
    assert_eq!(breaker.peek(2_500), Health::Cooling { until: 3_500 }, "the longer one holds");
}

#[test]
fn a_retry_after_of_a_year_is_cut() {
    for asked in [365 * 24 * 3_600_000, u64::MAX] {
        let mut breaker = breaker();
        breaker.record(5, &retry_after(asked), false);
        assert_eq!(breaker.peek(5), Health::Cooling { until: 600_005 });
        assert_eq!(breaker.admit(600_005, &mut rng()), Admittance::Admit);
    }
}

#[test]
fn pauses_without_retry_after_double_until_a_success() {
    let mut breaker = breaker();
    let mut now = 0;
    for wait in [1_000, 2_000, 4_000, 8_000, 16_000] {
        // As many as were under way: they are one pause.
        record(&mut breaker, now, THROTTLED, 50);
        assert_eq!(breaker.peek(now), Health::Cooling { until: now + wait });
        record(&mut breaker, now + wait - 1, retry_after(0), 1);
        assert_eq!(breaker.peek(now + wait - 1), Health::Cooling { until: now + wait });
        now += wait;
    }
    for _ in 0..20 {
        breaker.record(now, &THROTTLED, false);
        now += 600_000;
    }
    breaker.record(now, &THROTTLED, false);
    assert_eq!(breaker.peek(now), Health::Cooling { until: now + 600_000 }, "the cap");
    now += 600_000;
    breaker.record(now, &done(1), false);
    breaker.record(now, &THROTTLED, false);
    assert_eq!(breaker.peek(now), Health::Cooling { until: now + 1_000 });
}

#[test]
fn a_failed_active_probe_counts_and_a_successful_one_ends_the_time_out() {
    let mut breaker = breaker();
    for _ in 0..4 {
        breaker.probe_result(0, false);
        breaker.probe_result(0, true);
    }
    assert_eq!(breaker.peek(0), Health::Closed);
    breaker.probe_result(0, false);
    assert_eq!(breaker.peek(0).name(), "open", "a list of models is no answer to a prompt");
    breaker.probe_result(4_999, true);
    assert_eq!(breaker.peek(4_999).name(), "open");
    assert_eq!(breaker.probe_result(5_000, true), Some(Transition::HalfOpened));
    assert_eq!(breaker.peek(5_000), Health::HalfOpen { free_probes: 3 });
    breaker.probe_result(5_000, false);
    assert_eq!(breaker.peek(5_000), Health::Open { until: 125_000 });
    breaker.probe_result(14_999, true);
    assert_eq!(breaker.peek(14_999).name(), "open", "the least time doubles too");
    breaker.probe_result(15_000, true);
    assert_eq!(breaker.peek(15_000).name(), "half_open");
}

#[test]
fn an_exhausted_account_is_not_found_full_again_by_an_active_probe() {
    let mut breaker = breaker();
    breaker.record(0, &CallOutcome::Failed(FailureClass::Exhausted), false);
    breaker.probe_result(299_999, true);
    assert_eq!(breaker.peek(299_999).name(), "open");
}

#[test]
fn a_clock_set_back_does_not_keep_it_open() {
    let mut breaker = opened(10_000_000);
    assert_eq!(breaker.peek(0), Health::Open { until: 60_000 });
    assert_eq!(breaker.admit(0, &mut rng()), Admittance::Refuse { until: 60_000 });
    assert_eq!(breaker.admit(60_000, &mut rng()), Admittance::Probe);
}

#[test]
fn a_clock_set_back_does_not_keep_it_cooling() {
    let mut breaker = breaker();
    breaker.record(10_000_000, &retry_after(5_000), false);
    assert_eq!(breaker.admit(0, &mut rng()), Admittance::Refuse { until: 5_000 });
    assert_eq!(breaker.admit(5_000, &mut rng()), Admittance::Admit);
}

#[test]
fn other_options_keep_the_time_out() {
    let mut breaker = opened(0);
    breaker.reconfigure(&BreakerOptions { half_open_probes: 1, ..BreakerOptions::default() });
    assert_eq!(breaker.peek(59_999).name(), "open");
    assert_eq!(breaker.peek(60_000), Health::HalfOpen { free_probes: 1 });
}

#[test]
fn one_that_is_switched_off_lets_everything_through() {
    let mut breaker = Breaker::new(&BreakerOptions { enabled: false, ..BreakerOptions::default() });
    let mut rng = fastrand::Rng::with_seed(1);
    for now in 0..100 {
        let failed = CallOutcome::Failed(FailureClass::ServerError);
        assert_eq!(breaker.record(now, &failed, false), None);
        let throttled = CallOutcome::Throttled { retry_after_ms: Some(60_000) };
        assert_eq!(breaker.record(now, &throttled, false), None);
        assert_eq!(breaker.admit(now, &mut rng), Admittance::Admit);
        assert_eq!(breaker.peek(now), Health::Closed);
    }
}
