//! The admission queue of a pool: what holds for every sequence of calls, and how it chooses.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use routing::local::{
    AdmissionOptions, AdmissionQueue, Enqueued, Job, Next, PriorityClass, RefusalReason, Ticket,
};

const JOB: Job = Job {
    tenant: 1,
    class: PriorityClass::Normal,
    weight: 1.0,
    prompt_tokens: 0,
    predicted_tokens: 100,
    reserved_tokens: 100,
    deadline: None,
};

fn one_at_a_time() -> AdmissionOptions {
    AdmissionOptions { max_requests: 1, ..AdmissionOptions::default() }
}

fn start(enqueued: Enqueued) -> Ticket {
    match enqueued {
        Enqueued::StartNow(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn wait(enqueued: Enqueued) -> Ticket {
    match enqueued {
        Enqueued::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Runs what waits, one after the other, each for `ms`, and returns the order.
fn drain(queue: &mut AdmissionQueue, mut running: Ticket, ms: u64) -> Vec<Ticket> {
    let mut order = Vec::new();
    let mut now = 0;
    loop {
        now += ms;
        assert!(queue.finish(now, running, 100));
        match queue.next(now) {
            Some(Next::Start(ticket)) => running = ticket,
            Some(other) => panic!("{other:?}"),
            None => return order,
        }
        order.push(running);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue { job: Job },
    Finish { which: usize, tokens: u64 },
    Cancel { which: usize },
    Next,
    Expire,
    Resize { max_requests: u32 },
    Pass { ms: u64 },
    GoBack,
}

fn jobs() -> impl Strategy<Value = Job> {
    (0_u64..4, 0_usize..3, 0.0_f64..3.0, 0_u64..400, 0_u64..400, 0_u64..800, any::<Option<u16>>())
        .prop_map(|(tenant, class, weight, prompt, predicted, reserved, deadline)| Job {
            tenant,
            class: PriorityClass::ALL[class],
            weight,
            prompt_tokens: prompt,
            predicted_tokens: predicted,
            reserved_tokens: reserved,
            deadline: deadline.map(u64::from),
        })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => jobs().prop_map(|job| Step::Enqueue { job }),
        4 => (any::<usize>(), 0_u64..900)
            .prop_map(|(which, tokens)| Step::Finish { which, tokens }),
        2 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        4 => Just(Step::Next),
        1 => Just(Step::Expire),
        1 => (0_u32..5).prop_map(|max_requests| Step::Resize { max_requests }),
        3 => (0_u64..9000).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::GoBack),
    ]
}

#[derive(Default)]
struct Model {
    known: BTreeMap<Ticket, Job>,
    waiting: BTreeSet<Ticket>,
    running: BTreeSet<Ticket>,
    ended: BTreeSet<Ticket>,
}

impl Model {
    fn starts(&mut self, ticket: Ticket) {
        assert!(self.waiting.remove(&ticket), "started twice or never asked: {ticket:?}");
        self.running.insert(ticket);
    }

    fn expires(&mut self, ticket: Ticket) {
        assert!(self.waiting.remove(&ticket), "expired while not waiting: {ticket:?}");
        self.ended.insert(ticket);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_ticket_is_lost_or_started_twice_and_capacity_is_never_passed(
        steps in proptest::collection::vec(steps(), 1..250)
    ) {
        let mut options = AdmissionOptions {
            max_requests: 3,
            max_tokens: Some(1000),
            max_waiting: 20,
            max_waiting_per_tenant: 8,
            max_wait_ms: 20_000,
            ..AdmissionOptions::default()
        };
        let mut queue = AdmissionQueue::new(options.clone());
        let mut model = Model::default();
        let mut now = 0_u64;
        for step in steps {
            let before = (queue.running(), queue.held_tokens());
            let mut may_start = false;
            match step {
                Step::Enqueue { job } => {
                    may_start = true;
                    let room = queue.has_room(&job);
                    let expected = queue.expected_wait(now, &job);
                    match queue.enqueue(now, job) {
                        Enqueued::StartNow(ticket) => {
                            prop_assert!(room && model.waiting.is_empty());
                            prop_assert!(model.known.insert(ticket, job).is_none());
                            model.running.insert(ticket);
                        }
                        Enqueued::Wait(ticket) => {
                            prop_assert!(!room);
                            prop_assert!(model.known.insert(ticket, job).is_none());
                            model.waiting.insert(ticket);
                        }
                        Enqueued::Refused { expected_wait_ms, .. } => {
                            let late = job.deadline.is_some_and(|at| at < now);
                            prop_assert!(!room || late);
                            prop_assert_eq!(expected, expected_wait_ms);
                        }
                    }
                }
                Step::Finish { which, tokens } => {
                    let ticket = model.running.iter().nth(which % model.running.len().max(1));
                    if let Some(ticket) = ticket.copied() {
                        prop_assert!(queue.finish(now, ticket, tokens));
                        prop_assert!(!queue.finish(now, ticket, tokens));
                        model.running.remove(&ticket);
                        model.ended.insert(ticket);
                    }
                }
                Step::Cancel { which } => {
                    let ticket = model.known.keys().nth(which % model.known.len().max(1));
                    if let Some(ticket) = ticket.copied() {
                        let there = !model.ended.contains(&ticket);
                        prop_assert_eq!(queue.cancel(now, ticket), there);
                        model.waiting.remove(&ticket);
                        model.running.remove(&ticket);
                        model.ended.insert(ticket);
                    }
                }
                Step::Next => match queue.next(now) {
                    Some(Next::Start(ticket)) => {
                        may_start = true;
                        let late = model.known[&ticket].deadline.is_some_and(|at| at < now);
                        prop_assert!(!late);
                        model.starts(ticket);
                    }
                    Some(Next::Expired(ticket)) => model.expires(ticket),
                    None => {
                        // Nothing that runs and something that waits: it always fits.
                        prop_assert!(!model.running.is_empty() || model.waiting.is_empty());
                    }
                },
                Step::Expire => {
                    for ticket in queue.expire(now) {
                        model.expires(ticket);
                    }
                    prop_assert!(queue.next_expiry().is_none_or(|at| at > now));
                }
                Step::Resize { max_requests } => {
                    options.max_requests = max_requests;
                    queue.set_options(options.clone());
                }
                Step::Pass { ms } => now += ms,
                Step::GoBack => {
                    // All further calls show an early time until enough has passed.
                    let _ = queue.next(0).map(|next| match next {
                        Next::Start(ticket) => model.starts(ticket),
                        Next::Expired(ticket) => model.expires(ticket),
                    });
                    may_start = true;
                }
            }
            let waiting: usize = PriorityClass::ALL.iter().map(|class| queue.waiting(*class)).sum();
            prop_assert_eq!(waiting, model.waiting.len());
            prop_assert_eq!(queue.running() as usize, model.running.len());
            for class in PriorityClass::ALL {
                prop_assert!(queue.waiting(class) <= 20);
            }
            let grew = queue.running() > before.0;
            prop_assert!(may_start || !grew);
            if grew {
                prop_assert!(queue.running() <= options.max_requests.max(1));
                prop_assert!(queue.held_tokens() <= 1000);
            }
            if model.running.is_empty() {
                prop_assert_eq!(queue.held_tokens(), 0);
            }
        }
        // Whatever happened, all that waits is served or expires once what runs has ended.
        for ticket in std::mem::take(&mut model.running) {
            prop_assert!(queue.finish(now, ticket, 10));
        }
        while let Some(next) = queue.next(now) {
            match next {
                Next::Start(ticket) => {
                    model.starts(ticket);
                    prop_assert!(queue.finish(now, ticket, 10));
                    model.running.remove(&ticket);
                }
                Next::Expired(ticket) => model.expires(ticket),
            }
        }
        prop_assert!(model.waiting.is_empty());
    }
}

#[test]
fn short_answers_go_first_and_age_decides_in_the_end() {
    let mut queue = AdmissionQueue::new(one_at_a_time());
    let running = start(queue.enqueue(0, JOB));
    let long = wait(queue.enqueue(0, Job { predicted_tokens: 500, ..JOB }));
    let short = wait(queue.enqueue(100, Job { predicted_tokens: 10, ..JOB }));
    // 100 ms for each of 490 tokens: from then on the long one is older.
    let late = wait(queue.enqueue(49_001, Job { predicted_tokens: 10, ..JOB }));
    assert_eq!(drain(&mut queue, running, 100), [short, long, late]);
}

#[test]
fn nobody_is_put_back_further_than_the_limit() {
    let mut queue = AdmissionQueue::new(AdmissionOptions {
        ageing_limit_ms: 1000,
        max_wait_ms: 10_000_000,
        ..one_at_a_time()
    });
    let running = start(queue.enqueue(0, JOB));
    let endless = wait(queue.enqueue(0, Job { predicted_tokens: 100_000, ..JOB }));
    let shorts: Vec<_> = (0..20)
        .map(|number| wait(queue.enqueue(number * 100, Job { predicted_tokens: 1, ..JOB })))
        .collect();
    let order = drain(&mut queue, running, 100);
    let place = order.iter().position(|ticket| *ticket == endless);
    // Those of the first 900 ms, as a short one is put back by 100 ms itself.
    assert_eq!(place, Some(9), "{order:?} {shorts:?}");
}

#[test]
fn urgent_classes_go_first_but_the_others_get_their_least_share() {
    let mut queue = AdmissionQueue::new(AdmissionOptions {
        max_wait_ms: 10_000_000,
        max_waiting_per_tenant: 1000,
        ..one_at_a_time()
    });
    let running = start(queue.enqueue(0, JOB));
    let mut class_of = BTreeMap::new();
    for class in [PriorityClass::Batch, PriorityClass::Normal, PriorityClass::Interactive] {
        for _ in 0..300 {
            class_of.insert(wait(queue.enqueue(0, Job { class, ..JOB })), class);
        }
    }
    let order = drain(&mut queue, running, 10);
    assert_eq!(class_of[&order[0]], PriorityClass::Interactive);
    let count = |class| order[..200].iter().filter(|ticket| class_of[ticket] == class).count();
    let counts = PriorityClass::ALL.map(count);
    assert!((148..=152).contains(&counts[0]), "{counts:?}");
    assert!((38..=42).contains(&counts[1]), "{counts:?}");
    assert!((8..=12).contains(&counts[2]), "{counts:?}");
    // Once nobody urgent waits, the next class has all but the share of the last.
    let last_urgent = order
        .iter()
        .rposition(|ticket| class_of[ticket] == PriorityClass::Interactive)
        .expect("all were served");
    let after = &order[last_urgent + 1..last_urgent + 101];
    let normal = after.iter().filter(|ticket| class_of[ticket] == PriorityClass::Normal).count();
    assert!((93..=97).contains(&normal), "{normal}");
}

#[test]
fn a_tenant_that_floods_the_queue_does_not_keep_others_waiting() {
    let mut queue =
        AdmissionQueue::new(AdmissionOptions { max_wait_ms: 10_000_000, ..one_at_a_time() });
    let running = start(queue.enqueue(0, JOB));
    for _ in 0..100 {
        let _ = wait(queue.enqueue(0, JOB));
    }
    let other = wait(queue.enqueue(0, Job { tenant: 2, ..JOB }));
    let order = drain(&mut queue, running, 10);
    assert!(order.iter().position(|ticket| *ticket == other) <= Some(1));
}

#[test]
fn tenants_are_charged_what_they_used_not_what_was_predicted() {
    for ends_by_cancel in [false, true] {
        let mut queue =
            AdmissionQueue::new(AdmissionOptions { max_wait_ms: 10_000_000, ..one_at_a_time() });
        let mut running = start(queue.enqueue(0, JOB));
        let mut tenant_of = BTreeMap::from([(running, 3)]);
        for tenant in [1, 2] {
            for _ in 0..200 {
                tenant_of.insert(wait(queue.enqueue(0, Job { tenant, ..JOB })), tenant);
            }
        }
        let (mut now, mut of_first) = (0, 0);
        for _ in 0..110 {
            // The answers of the first tenant are five times as long as predicted.
            let tokens = if tenant_of[&running] == 1 { 500 } else { 100 };
            now += tokens * 20;
            if ends_by_cancel {
                assert!(queue.cancel(now, running));
            } else {
                assert!(queue.finish(now, running, tokens));
            }
            let Some(Next::Start(next)) = queue.next(now) else { panic!("jobs wait") };
            running = next;
            of_first += u64::from(tenant_of[&running] == 1);
        }
        assert!((17..=21).contains(&of_first), "{of_first}");
    }
}

#[test]
fn who_would_wait_past_the_deadline_is_refused_with_the_expected_wait() {
    let mut queue = AdmissionQueue::new(one_at_a_time());
    let running = start(queue.enqueue(0, JOB));
    for _ in 0..9 {
        let _ = wait(queue.enqueue(0, JOB));
    }
    // Ten jobs of 100 tokens at 20 ms each.
    assert_eq!(queue.expected_wait(0, &JOB), 20_000);
    let refused = queue.enqueue(5, Job { deadline: Some(20_004), ..JOB });
    let expected = Enqueued::Refused { reason: RefusalReason::Deadline, expected_wait_ms: 20_000 };
    assert_eq!(refused, expected);
    let _ = wait(queue.enqueue(5, Job { deadline: Some(20_005), ..JOB }));
    // A short job passes them, of another tenant one at most goes before it.
    assert!(queue.expected_wait(5, &Job { predicted_tokens: 1, ..JOB }) < 3000);
    assert!(queue.expected_wait(5, &Job { tenant: 2, ..JOB }) <= 4000);
    // The measured speed is believed: these take a tenth of what was assumed.
    let order = drain(&mut queue, running, 200);
    assert_eq!(order.len(), 10);
    let _running = start(queue.enqueue(3000, JOB));
    let wait = queue.expected_wait(3000, &JOB);
    assert!(wait < 1000, "{wait}");
}

#[test]
fn full_queues_refuse() {
    let mut queue = AdmissionQueue::new(AdmissionOptions {
        max_waiting: 3,
        max_waiting_per_tenant: 2,
        ..one_at_a_time()
    });
    let _running = start(queue.enqueue(0, JOB));
    let _ = (wait(queue.enqueue(0, JOB)), wait(queue.enqueue(0, JOB)));
    let reason = |enqueued| match enqueued {
        Enqueued::Refused { reason, .. } => Some(reason),
        _ => None,
    };
    assert_eq!(reason(queue.enqueue(0, JOB)), Some(RefusalReason::TenantQueueFull));
    let other = Job { tenant: 2, ..JOB };
    let _ = wait(queue.enqueue(0, other));
    assert_eq!(reason(queue.enqueue(0, other)), Some(RefusalReason::QueueFull));
    // Others' queues are their own.
    let _ = wait(queue.enqueue(0, Job { class: PriorityClass::Batch, ..JOB }));
}

#[test]
fn who_waited_past_the_deadline_is_not_started() {
    let mut queue = AdmissionQueue::new(one_at_a_time());
    let running = start(queue.enqueue(0, JOB));
    let ticket = wait(queue.enqueue(0, Job { deadline: Some(5000), ..JOB }));
    let patient = wait(queue.enqueue(0, JOB));
    assert_eq!(queue.next_expiry(), Some(5001));
    assert_eq!(queue.next(5000), None);
    assert!(queue.finish(5001, running, 100));
    assert_eq!(queue.next(5001), Some(Next::Expired(ticket)));
    assert_eq!(queue.next(5001), Some(Next::Start(patient)));
    assert!(!queue.cancel(5001, ticket));
}

#[test]
fn tokens_bound_what_runs_and_a_huge_request_runs_alone() {
    let options = AdmissionOptions { max_tokens: Some(1000), ..AdmissionOptions::default() };
    let mut queue = AdmissionQueue::new(options);
    let job = Job { prompt_tokens: 300, reserved_tokens: 200, ..JOB };
    let first = start(queue.enqueue(0, job));
    let second = start(queue.enqueue(0, job));
    let huge = wait(queue.enqueue(0, Job { prompt_tokens: 5000, ..JOB }));
    assert!(queue.finish(1, first, 100));
    // The head is not overtaken by what would fit.
    let small = wait(queue.enqueue(1, Job { tenant: 2, predicted_tokens: 900, ..JOB }));
    assert_eq!(queue.next(1), None);
    assert!(queue.finish(2, second, 100));
    assert_eq!(queue.next(2), Some(Next::Start(huge)));
    assert_eq!((queue.next(2), queue.held_tokens()), (None, 1000));
    assert!(queue.finish(3, huge, 100));
    assert_eq!(queue.next(3), Some(Next::Start(small)));
}

#[test]
fn numbers_without_sense_do_no_harm() {
    let mut queue = AdmissionQueue::new(AdmissionOptions {
        max_requests: 0,
        token_ms: f64::NAN,
        normal_share: f64::NAN,
        batch_share: 7.0,
        ageing_ms_per_token: f64::INFINITY,
        prompt_token_cost: -1.0,
        ..AdmissionOptions::default()
    });
    let odd = Job {
        weight: f64::NAN,
        prompt_tokens: u64::MAX,
        predicted_tokens: u64::MAX,
        reserved_tokens: u64::MAX,
        ..JOB
    };
    let running = start(queue.enqueue(u64::MAX, odd));
    let _ = queue.enqueue(0, JOB);
    let _ = queue.enqueue(0, Job { weight: 0.0, class: PriorityClass::Batch, ..odd });
    assert!(queue.finish(0, running, u64::MAX));
    while let Some(next) = queue.next(0) {
        if let Next::Start(ticket) = next {
            assert!(queue.cancel(0, ticket));
        }
    }
    assert_eq!((queue.running(), queue.held_tokens()), (0, 0));
}
