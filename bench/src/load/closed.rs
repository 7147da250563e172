//! Closed loop: as many requests under way as there are connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::caller::Caller;
use super::tally::{Outcome, Tally};
use super::{Plan, Request};

/// Failures after which a run is given up.
const MAX_FAILURES: u64 = 1_000;

pub(super) async fn run(request: Request, plan: &Plan) -> Outcome {
    let request = Rc::new(request);
    let tally = Rc::new(RefCell::new(Tally::new()));
    let left = Rc::new(Cell::new(plan.max_requests));
    let under_way = Rc::new(Cell::new(0_u64));
    let started = Instant::now();
    let stop_at = started + plan.duration;
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        let mut caller = Caller::new(Rc::clone(&request), Rc::clone(&tally));
        let (left, tally, under_way) = (Rc::clone(&left), Rc::clone(&tally), Rc::clone(&under_way));
        tasks.spawn_local(async move {
            loop {
                let now = Instant::now();
                if now >= stop_at || left.get() == 0 || tally.borrow().failed() > MAX_FAILURES {
                    break;
                }
                left.set(left.get() - 1);
                under_way.set(under_way.get() + 1);
                caller.call(now).await;
                under_way.set(under_way.get() - 1);
            }
        });
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    let cut_off = timeout(plan.duration + plan.grace, all).await.is_err();
    let elapsed = started.elapsed();
    let mut tally = tally.borrow_mut();
    if cut_off {
        tally.unfinished = under_way.get();
    }
    tally.outcome(elapsed)
}
