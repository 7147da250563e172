use std::collections::VecDeque;

use proptest::prelude::*;

use crate::Millis;
use crate::breaker::{Admittance, Breaker, BreakerOptions, Health, SharedHealth};
use crate::failure::{CallOutcome, FailureClass};

#[derive(Debug, Clone)]
enum Step {
    Wait(Millis),
    ClockBack(Millis),
    Admit,
    /// The oldest call under way ends.
    End(CallOutcome),
    Abandon,
    Answered,
    ActiveProbe(bool),
    Exchange,
}

fn outcome() -> impl Strategy<Value = CallOutcome> {
    prop_oneof![
        3 => (0_u64..5_000).prop_map(|first_token_ms| CallOutcome::Completed {
            first_token_ms,
            total_ms: first_token_ms,
            completion_tokens: 10,
        }),
        5 => prop::sample::select(
            [
                FailureClass::Connect,
                FailureClass::ServerError,
                FailureClass::Stalled,
                FailureClass::Exhausted,
            ]
            .as_slice()
        )
        .prop_map(CallOutcome::Failed),
        1 => prop::option::of(any::<u64>())
            .prop_map(|retry_after_ms| CallOutcome::Throttled { retry_after_ms }),
        1 => Just(CallOutcome::Neutral),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..90_000).prop_map(Step::Wait),
        1 => any::<u32>().prop_map(|back| Step::ClockBack(u64::from(back))),
        8 => Just(Step::Admit),
        8 => outcome().prop_map(Step::End),
        1 => Just(Step::Abandon),
        1 => Just(Step::Answered),
        1 => any::<bool>().prop_map(Step::ActiveProbe),
        2 => Just(Step::Exchange),
    ]
}

fn options() -> impl Strategy<Value = BreakerOptions> {
    (0_u32..8, 0_u32..5, 0_u64..40_000, prop::option::of(0_u64..3_000), 0_u64..200_000, 0_usize..4)
        .prop_map(|(failures, probes, window_ms, slow_call_ms, open_ms, steps)| BreakerOptions {
            consecutive_failures: failures,
            half_open_probes: probes,
            window_ms,
            slow_call_ms,
            open_ms,
            ramp_steps: [0.1, 0.5, 1.0].into_iter().take(steps).collect(),
            ..BreakerOptions::default()
        })
}

/// A deployment as one replica sees it: its breaker and the calls under way.
struct Replica {
    breaker: Breaker,
    calls: VecDeque<bool>,
}

impl Replica {
    fn new(options: &BreakerOptions) -> Self {
        Self { breaker: Breaker::new(options), calls: VecDeque::new() }
    }

    fn probes(&self) -> usize {
        self.calls.iter().filter(|was_probe| **was_probe).count()
    }

    fn step(&mut self, now: Millis, step: &Step, rng: &mut fastrand::Rng) {
        match step {
            Step::Admit => match self.breaker.admit(now, rng) {
                Admittance::Admit | Admittance::Deflect => self.calls.push_back(false),
                Admittance::Probe => self.calls.push_back(true),
                Admittance::Refuse { .. } => {}
            },
            Step::End(outcome) => {
                if let Some(was_probe) = self.calls.pop_front() {
                    self.breaker.record(now, outcome, was_probe);
                }
            }
            Step::Abandon | Step::Answered => {
                if let Some(index) = self.calls.iter().position(|was_probe| *was_probe) {
                    self.calls.remove(index);
                    if matches!(step, Step::Abandon) {
                        self.breaker.abandon_probe(now);
                    } else {
                        self.breaker.probe_answered(now, 5);
                    }
                }
            }
            Step::ActiveProbe(ok) => {
                self.breaker.probe_result(now, *ok);
            }
            Step::Wait(_) | Step::ClockBack(_) | Step::Exchange => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Never more probes than allowed, no protection longer than the longest, and once calls
    /// succeed all traffic comes back, whatever happened before and whatever the clock does.
    #[test]
    fn it_protects_within_bounds_and_always_comes_back(
        options in options(),
        steps in prop::collection::vec(step(), 1..200),
        seed in any::<u64>(),
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut replica = Replica::new(&options);
        let mut now: Millis = 1 << 40;
        // What the breaker may take for the age of its latest probe.
        let mut unheard = 0;
        for step in &steps {
            match step {
                Step::Wait(wait) => {
                    now += wait;
                    unheard += wait;
                }
                Step::ClockBack(back) => now -= back.min(&(now / 2)),
                _ => {}
            }
            let before = replica.probes();
            replica.step(now, step, &mut rng);
            if replica.probes() > before {
                unheard = 0;
            }
            if unheard >= options.max_open_ms {
                // They are taken for lost.
                replica.calls.retain(|was_probe| !was_probe);
                unheard = 0;
            }
            let limit = options.half_open_probes.max(1) as usize;
            prop_assert!(replica.probes() <= limit, "{} probes", replica.probes());
            if let Health::Open { until } | Health::Cooling { until } = replica.breaker.peek(now) {
                prop_assert!(until.saturating_sub(now) <= 600_000);
            }
            let seen = replica.breaker.peek(now);
            prop_assert_eq!(seen, replica.breaker.peek(now));
            let admitted = replica.breaker.clone().admit(now, &mut rng);
            prop_assert_eq!(
                seen.is_available(),
                !matches!(admitted, Admittance::Refuse { .. }),
                "{:?} but {:?}", seen, admitted
            );
        }
        let success = CallOutcome::Completed {
            first_token_ms: 0,
            total_ms: 1,
            completion_tokens: 1,
        };
        while let Some(was_probe) = replica.calls.pop_front() {
            replica.breaker.record(now, &success, was_probe);
        }
        for _ in 0..40 {
            now += 60_000;
            match replica.breaker.admit(now, &mut rng) {
                Admittance::Probe => { replica.breaker.record(now, &success, true); }
                Admittance::Admit => { replica.breaker.record(now, &success, false); }
                Admittance::Deflect | Admittance::Refuse { .. } => {}
            }
        }
        prop_assert_eq!(replica.breaker.peek(now), Health::Closed);
    }

    /// Replicas that tell each other, with messages late and out of order, protect no less than
    /// alone, keep their probes within bounds, and all come back.
    #[test]
    fn replicas_do_not_keep_each_other_closed(
        options in options(),
        steps in prop::collection::vec((0_usize..3, step()), 1..200),
        seed in any::<u64>(),
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut replicas = [0; 3].map(|_| Replica::new(&options));
        let mut messages: Vec<SharedHealth> = Vec::new();
        let mut now: Millis = 0;
        for (index, step) in &steps {
            if let Step::Wait(wait) = step {
                now += wait;
            }
            let told = messages.get(rng.usize(..=messages.len())).copied();
            let replica = &mut replicas[*index];
            if matches!(step, Step::Exchange) {
                messages.extend(replica.breaker.shared(now));
                if let Some(told) = told {
                    let own = replica.breaker.shared(now).map_or(0, |own| own.open_remaining_ms);
                    replica.breaker.merge(now, &told);
                    let after = replica.breaker.shared(now).map_or(0, |own| own.open_remaining_ms);
                    prop_assert_eq!(own, after, "what was seen here is as it was");
                    if own > 0 {
                        let open = matches!(replica.breaker.peek(now), Health::Open { .. });
                        prop_assert!(open);
                    }
                }
            }
            replica.step(now, step, &mut rng);
        }
        let success = CallOutcome::Completed {
            first_token_ms: 0,
            total_ms: 1,
            completion_tokens: 1,
        };
        for replica in &mut replicas {
            while let Some(was_probe) = replica.calls.pop_front() {
                replica.breaker.record(now, &success, was_probe);
            }
        }
        // All keep telling all, old messages are repeated without end, and calls succeed.
        for _ in 0..60 {
            now += 60_000;
            for Replica { breaker, .. } in &mut replicas {
                messages.extend(breaker.shared(now));
                for told in &messages {
                    breaker.merge(now, told);
                }
                match breaker.admit(now, &mut rng) {
                    Admittance::Probe => { breaker.record(now, &success, true); }
                    Admittance::Admit => { breaker.record(now, &success, false); }
                    Admittance::Deflect | Admittance::Refuse { .. } => {}
                }
            }
        }
        for replica in &replicas {
            prop_assert_eq!(replica.breaker.peek(now), Health::Closed);
        }
    }
}
