use proptest::prelude::*;

use crate::Millis;
use crate::balance::{Finish, KnownRateLimit, LoadMeter, RateWindow, pick_two};

fn meter() -> LoadMeter {
    LoadMeter::new(1_000.0, 20.0, 1.0)
}

/// A request whose first token takes `took` from `now` on, and that ends with it.
fn call(meter: &mut LoadMeter, now: Millis, took: Millis) {
    let mut request = meter.begin(now, 0, 0, true);
    meter.first_token(now + took, &mut request, took);
    let how = Finish::Done { completion_tokens: 1, total_ms: took, first_token_ms: Some(took) };
    meter.finish(now + took, request, how);
}

mod load {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6 * right.abs().max(1.0), "{left} is not {right}");
    }

    #[test]
    fn before_anything_was_measured_the_configuration_counts() {
        let meter = meter();
        close(meter.score(0, 100), 3_000.0);
        close(meter.score(1_000_000, 100), 3_000.0);
    }

    #[test]
    fn it_jumps_up_with_a_slow_answer_and_comes_down_over_ten_seconds() {
        let mut meter = meter();
        call(&mut meter, 0, 100);
        close(meter.first_token_ms(100), 100.0);
        call(&mut meter, 100, 900);
        close(meter.first_token_ms(1_000), 900.0);
        call(&mut meter, 10_900, 100);
        let weight = (-1.0_f64).exp();
        close(meter.first_token_ms(11_000), 900.0 * weight + 100.0 * (1.0 - weight));
    }

    #[test]
    fn one_that_was_slow_is_tried_again() {
        let mut slow = meter();
        call(&mut slow, 0, 60_000);
        assert!(slow.score(60_000, 0) >= 60_000.0);
        assert!(slow.score(120_000, 0) < 1_100.0, "about what the configuration says");
        assert!(slow.score(300_000, 0) < 50.0, "better than any that is in use");
        let request = slow.begin(300_000, 0, 0, true);
        assert!(slow.score(300_000, 0) > 10_000.0, "one at a time");
        slow.finish(300_100, request, Finish::Abandoned);
    }

    #[test]
    fn a_first_token_that_does_not_come_counts_before_it_comes() {
        let mut meter = meter();
        call(&mut meter, 0, 100);
        let mut first = meter.begin(1_000, 0, 0, true);
        let second = meter.begin(1_500, 0, 0, true);
        close(meter.first_token_ms(2_000), 1_000.0);
        meter.first_token(2_000, &mut first, 1_000);
        meter.first_token(2_000, &mut first, 8_000);
        close(meter.first_token_ms(2_500), 1_000.0);
        close(meter.first_token_ms(4_000), 2_000.0);
        // It gave up: what it waited stays known.
        meter.finish(6_500, second, Finish::Failed);
        close(meter.first_token_ms(6_500), 5_000.0);
        meter.finish(7_000, first, Finish::Abandoned);
        assert_eq!((meter.requests_in_flight(), meter.tokens_in_flight()), (0, 0));
    }

    #[test]
    fn answers_that_come_whole_tell_of_both() {
        let mut meter = meter();
        let mut streamed = meter.begin(0, 0, 101, true);
        meter.first_token(500, &mut streamed, 500);
        let how =
            Finish::Done { completion_tokens: 101, total_ms: 1_500, first_token_ms: Some(500) };
        meter.finish(1_500, streamed, how);
        close(meter.token_ms(1_500), 10.0);
        let whole = meter.begin(1_500, 0, 101, false);
        close(meter.first_token_ms(101_500), 500.0);
        let how = Finish::Done { completion_tokens: 101, total_ms: 2_000, first_token_ms: None };
        meter.finish(3_500, whole, how);
        close(meter.first_token_ms(3_500), 500.0 * 4.0 / 3.0);
    }

    #[test]
    fn who_only_ever_answers_whole_is_compared_by_what_it_takes() {
        let mut meter = LoadMeter::new(1_000.0, 20.0, 1.0);
        let whole = meter.begin(0, 0, 101, false);
        let how = Finish::Done { completion_tokens: 101, total_ms: 30, first_token_ms: None };
        meter.finish(30, whole, how);
        close(meter.score(30, 100), 30.0);
    }

    #[test]
    fn what_is_under_way_counts_by_requests_and_tokens_and_weight() {
        let mut small = LoadMeter::new(100.0, 0.0, 1.0);
        let mut large = small.clone();
        let mut strong = LoadMeter::new(100.0, 0.0, 4.0);
        let begun = [
            small.begin(0, 10, 10, false),
            large.begin(0, 20_000, 3_000, false),
            strong.begin(0, 20_000, 3_000, false),
        ];
        assert_eq!(large.tokens_in_flight(), 5_000);
        close(large.score(0, 0), 100.0 * (1.0 + (1.0 + 10.0) / 2.0));
        assert!(small.score(0, 0) < strong.score(0, 0));
        assert!(strong.score(0, 0) < large.score(0, 0));
        for (meter, request) in [&mut small, &mut large, &mut strong].into_iter().zip(begun) {
            meter.finish(0, request, Finish::Abandoned);
            close(meter.score(0, 0), 100.0);
        }
    }

    #[test]
    fn failures_make_it_worse_for_a_while() {
        let mut meter = LoadMeter::new(100.0, 0.0, 1.0);
        for _ in 0..200 {
            let request = meter.begin(0, 0, 0, true);
            meter.finish(0, request, Finish::Failed);
        }
        assert!(meter.failure_share(0) > 0.999);
        assert!(meter.score(0, 0) > 1_000.0, "fast failures do not look fast");
        assert!(meter.score(60_000, 0) < 110.0);
    }

    #[test]
    fn a_clock_set_back_does_no_harm() {
        let mut meter = meter();
        call(&mut meter, 1 << 40, 30_000);
        let request = meter.begin(0, 0, 0, true);
        assert!(meter.first_token_ms(1_000) < 31_000.0);
        meter.finish(1_000, request, Finish::Abandoned);
        assert!(meter.first_token_ms(120_000) < 1_100.0);
    }

    proptest! {
        #[test]
        fn scores_are_positive_numbers_and_nothing_stays_under_way(
            steps in prop::collection::vec(
                (any::<u32>(), any::<u64>(), any::<u64>(), any::<bool>(), 0_u8..4), 1..60
            ),
            priors in (-1.0_f64..1e9, any::<f64>(), any::<f64>()),
        ) {
            let mut meter = LoadMeter::new(priors.0, priors.1, priors.2);
            let mut under_way = Vec::new();
            for (now, prompt, output, streamed, what) in steps {
                let now = u64::from(now);
                match (what, under_way.pop()) {
                    (1, Some(mut request)) => {
                        meter.first_token(now, &mut request, prompt);
                        under_way.push(request);
                    }
                    (2, Some(request)) => {
                        let how = Finish::Done {
                            completion_tokens: prompt,
                            total_ms: output,
                            first_token_ms: streamed.then_some(prompt),
                        };
                        meter.finish(now, request, how);
                    }
                    (3, Some(request)) => meter.finish(now, request, Finish::Failed),
                    (_, request) => {
                        under_way.extend(request);
                        under_way.push(meter.begin(now, prompt, output, streamed));
                    }
                }
                let score = meter.score(now, output);
                prop_assert!(score > 0.0 && score.is_finite(), "{score}");
                prop_assert_eq!(meter.requests_in_flight() as usize, under_way.len());
            }
            for request in under_way {
                meter.finish(0, request, Finish::Abandoned);
            }
            prop_assert_eq!(meter.requests_in_flight(), 0);
        }
    }
}

mod two {
    use super::*;

    fn counts(scores: &[f64], weights: &[f64]) -> Vec<usize> {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut counts = vec![0; scores.len()];
        for _ in 0..10_000 {
            counts[pick_two(scores, weights, &mut rng).expect("a candidate")] += 1;
        }
        counts
    }

    #[test]
    fn the_worst_is_never_taken_and_the_best_when_drawn() {
        let counts = counts(&[3.0, 1.0, 2.0, 4.0], &[1.0; 4]);
        assert_eq!(counts[3], 0);
        assert!(counts[1].abs_diff(5_000) < 300, "{counts:?}");
        assert!(counts[2].abs_diff(3_333) < 300, "{counts:?}");
    }

    #[test]
    fn weights_say_how_often() {
        let counts = counts(&[1.0; 3], &[4.0, 1.0, 0.0]);
        assert!(counts[0].abs_diff(8_000) < 300, "{counts:?}");
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn the_only_one_with_weight_is_taken() {
        assert_eq!(counts(&[9.0, 1.0, 1.0], &[1.0, 0.0, -3.0]), [10_000, 0, 0]);
    }

    #[test]
    fn without_any_weight_all_are_alike() {
        for weights in [&[][..], &[0.0; 3][..], &[f64::NAN; 3][..]] {
            for count in counts(&[1.0; 3], weights) {
                assert!(count.abs_diff(3_333) < 300);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_the_worst() {
        assert_eq!(counts(&[f64::NAN, 5.0], &[1.0; 2]), [0, 10_000]);
        let counts = counts(&[f64::NAN, f64::INFINITY], &[1.0; 2]);
        assert!(counts[0] > 4_000 && counts[1] > 4_000);
    }

    proptest! {
        #[test]
        fn there_is_one_unless_there_are_none(
            scores in prop::collection::vec(any::<f64>(), 0..8),
            weights in prop::collection::vec(any::<f64>(), 0..8),
            seed in any::<u64>(),
        ) {
            let mut rng = fastrand::Rng::with_seed(seed);
            match pick_two(&scores, &weights, &mut rng) {
                Some(index) => {
                    prop_assert!(index < scores.len());
                    let positive = |weight: &f64| weight.is_finite() && *weight > 0.0;
                    if weights.iter().take(scores.len()).any(positive) {
                        prop_assert!(positive(&weights[index]));
                    }
                }
                None => prop_assert!(scores.is_empty()),
            }
        }
    }
}

mod rate {
    use super::*;

    fn limited(requests: Option<u64>, tokens: Option<u64>) -> RateWindow {
        RateWindow::new(KnownRateLimit { requests_per_minute: requests, tokens_per_minute: tokens })
    }

    #[test]
    fn requests_beyond_the_limit_wait_a_minute() {
        let mut window = limited(Some(2), None);
        let _ = window.take(500, u64::MAX);
        assert!(window.would_fit(1_500, u64::MAX));
        let _ = window.take(1_500, 0);
        assert!(!window.would_fit(1_500, 0));
        assert_eq!(window.fits_in(1_500, 0), Some(59_500));
        assert!(!window.would_fit(60_999, 0));
        assert!(window.would_fit(61_000, 0));
        let _ = window.take(61_000, 0);
        assert_eq!(window.fits_in(61_500, 0), Some(500));
    }

    #[test]
    fn tokens_are_settled_by_what_was_used() {
        let mut window = limited(None, Some(1_000));
        assert_eq!(window.fits_in(0, 1_001), None, "more than a minute's");
        let taken = window.take(0, 1_000);
        assert!(!window.would_fit(5_000, 1));
        window.settle(5_000, taken, 400);
        assert!(window.would_fit(5_000, 600) && !window.would_fit(5_000, 601));
        let taken = window.take(5_000, 100);
        window.settle(6_000, taken, 600);
        assert!(!window.would_fit(6_000, 1));
        assert_eq!(window.fits_in(6_000, 401), Some(60_000), "the second one's estimate too");
        assert_eq!(window.fits_in(6_000, 400), Some(55_000));
        let taken = window.take(200_000, 1_000);
        window.give_back(200_000, taken);
        assert!(window.would_fit(200_000, 1_000));
    }

    #[test]
    fn what_is_given_back_late_does_not_count_twice() {
        let mut window = limited(Some(1), Some(100));
        let old = window.take(0, 100);
        let _new = window.take(61_000, 100);
        window.give_back(61_000, old);
        assert!(!window.would_fit(61_000, 0));
    }

    #[test]
    fn without_limits_all_fits() {
        let mut window = limited(None, None);
        for _ in 0..100 {
            let _ = window.take(0, u64::MAX);
        }
        assert!(window.would_fit(0, u64::MAX));
    }

    #[test]
    fn replicas_share_a_limit() {
        let limit = KnownRateLimit { requests_per_minute: Some(10), tokens_per_minute: Some(2) };
        let part = limit.among(4);
        assert_eq!((part.requests_per_minute, part.tokens_per_minute), (Some(2), Some(1)));
        assert_eq!(limit.among(0), limit);
        limit.check().expect("within range");
        assert!(KnownRateLimit { requests_per_minute: Some(0), ..limit }.check().is_err());
    }

    #[test]
    fn a_clock_set_back_does_not_close_it() {
        let mut window = limited(Some(1), None);
        let _ = window.take(1 << 40, 0);
        assert_eq!(window.fits_in(0, 0), window.fits_in(1 << 40, 0));
        assert!(!window.would_fit(59_000, 0));
        let _ = window.take(0, 0);
        assert!(window.would_fit(62_000, 0));
    }

    proptest! {
        /// In no 60 seconds is more sent than the limit, and `fits_in` tells the truth.
        #[test]
        fn never_more_than_the_limit_in_any_minute(
            steps in prop::collection::vec((0_u64..9_000, 0_u64..60, 0_u64..120), 1..200),
        ) {
            let mut window = limited(Some(10), Some(200));
            let mut sent: Vec<(Millis, u64)> = Vec::new();
            let mut now = 0;
            for (wait, estimate, used) in steps {
                now += wait;
                let used = used.min(estimate);
                match window.fits_in(now, estimate) {
                    Some(0) => {
                        let taken = window.take(now, estimate);
                        window.settle(now, taken, used);
                        sent.push((now, used));
                    }
                    Some(later) => {
                        prop_assert!(later <= 61_000);
                        prop_assert!(!window.would_fit(now + later - 1, estimate));
                        prop_assert!(window.would_fit(now + later, estimate));
                    }
                    None => prop_assert!(estimate > 200),
                }
            }
            for &(from, _) in &sent {
                let minute = sent.iter().filter(|(at, _)| (from..from + 60_000).contains(at));
                prop_assert!(minute.clone().count() <= 10);
                prop_assert!(minute.map(|(_, tokens)| tokens).sum::<u64>() <= 200);
            }
        }
    }
}

#[test]
fn it_is_untried_until_something_was_sent_there() {
    let mut meter = LoadMeter::new(1_000.0, 20.0, 1.0);
    assert!(meter.is_untried());
    let request = meter.begin(1, 10, 10, true);
    assert!(!meter.is_untried());
    meter.finish(2, request, Finish::Failed);
    assert!(!meter.is_untried(), "who only fails is not tried for ever");
}

#[test]
fn what_was_measured_before_an_outage_does_not_count_after_it() {
    let mut meter = LoadMeter::new(1_000.0, 20.0, 1.0);
    let mut request = meter.begin(1, 10, 10, true);
    meter.first_token(9_001, &mut request, 9_000);
    meter.finish(9_001, request, Finish::Failed);
    let mut request = meter.begin(10_000, 10, 10, true);
    meter.answers_again();
    meter.first_token(10_005, &mut request, 5);
    assert!((meter.first_token_ms(10_005) - 5.0).abs() < 1e-9);
    assert!(meter.failure_share(10_005) == 0.0);
    meter.finish(10_005, request, Finish::Abandoned);
}
