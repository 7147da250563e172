//! Open loop: requests are due at fixed times and their latency counts from then.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::caller::Caller;
use super::pacer::Pacer;
use super::tally::{Outcome, Tally};
use super::{Plan, Request};

/// Number and due time of each request of a run.
struct Schedule {
    start: Instant,
    interval: Duration,
    total: u64,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(self.interval.as_secs_f64() * number as f64)
    }

    /// How many requests are due by `now`.
    fn due_by(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        let due = (elapsed.as_secs_f64() / self.interval.as_secs_f64()) as u64 + 1;
        due.min(self.total)
    }
}

pub(super) async fn run(request: Request, plan: &Plan, rate: f64) -> io::Result<Outcome> {
    if !(rate.is_finite() && rate > 0.0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "rate must be above zero"));
    }
    let request = Rc::new(request);
    let tally = Rc::new(RefCell::new(Tally::new()));
    let mut callers = Vec::new();
    for _ in 0..plan.connections {
        let mut caller = Caller::new(Rc::clone(&request), Rc::clone(&tally));
        caller.connect().await;
        callers.push(caller);
    }
    let total = ((plan.duration.as_secs_f64() * rate) as u64).clamp(1, plan.max_requests);
    let interval = Duration::from_secs_f64(1.0 / rate);
    let schedule = Rc::new(Schedule { start: Instant::now() + interval, interval, total });
    let due = Rc::new(Semaphore::new(0));
    let next = Rc::new(Cell::new(0_u64));
    let answered = Rc::new(RefCell::new(vec![false; usize::try_from(total).unwrap_or(0)]));
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let (schedule, due) = (Rc::clone(&schedule), Rc::clone(&due));
        let (next, answered) = (Rc::clone(&next), Rc::clone(&answered));
        tasks.spawn_local(async move {
            while let Ok(permit) = due.acquire().await {
                permit.forget();
                let number = next.get();
                next.set(number + 1);
                caller.call(schedule.due(number)).await;
                if let Some(answered) = answered.borrow_mut().get_mut(number as usize) {
                    *answered = true;
                }
            }
        });
    }
    let pacer = Pacer::start(interval)?;
    let mut released = 0;
    while released < total {
        pacer.tick().await?;
        let now_due = schedule.due_by(Instant::now());
        due.add_permits((now_due - released) as usize);
        released = now_due;
    }
    let all = async {
        while answered.borrow().iter().any(|answered| !answered) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Whether answers are missing is read off `answered` below.
    let _ = timeout(plan.grace, all).await;
    let now = Instant::now();
    tasks.abort_all();
    let mut tally = tally.borrow_mut();
    for (number, _) in answered.borrow().iter().enumerate().filter(|(_, answered)| !**answered) {
        tally.unfinished += 1;
        tally.latency.record(now - schedule.due(number as u64));
    }
    Ok(tally.outcome(now - schedule.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_times_and_never_more_than_planned() {
        let start = Instant::now();
        let schedule = Schedule { start, interval: Duration::from_millis(2), total: 500 };
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(250), start + Duration::from_millis(500));
        assert_eq!(schedule.due_by(start), 1);
        assert_eq!(schedule.due_by(start + Duration::from_millis(5)), 3);
        assert_eq!(schedule.due_by(start + Duration::from_secs(9)), 500);
    }
}
