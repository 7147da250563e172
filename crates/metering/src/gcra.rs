use std::sync::atomic::{AtomicU64, Ordering};

/// Why a take was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It fits after so many nanoseconds, if nobody else takes before.
    Wait(u64),
    /// It never fits: more than the limit at once.
    Never,
}

/// A rate limit: so many units in a period, which may be taken at once and come back evenly over
/// the period. The generic cell rate algorithm (ITU-T I.371), on one atomic: the theoretical arrival
/// time up to which the rate is used up. Time is nanoseconds of any monotonic clock; one that goes
/// backwards admits less, never more.
#[derive(Debug)]
pub struct Gcra {
    limit: u64,
    /// Nanoseconds after which one unit is back, rounded up: the rate is never passed.
    interval: u64,
    arrival: AtomicU64,
}

impl Gcra {
    /// `limit` units in `period_ns`. A limit of 0 admits nothing.
    #[must_use]
    pub fn new(limit: u64, period_ns: u64) -> Self {
        let interval = period_ns.div_ceil(limit.max(1)).max(1);
        Self { limit, interval, arrival: AtomicU64::new(0) }
    }

    /// Units in a period.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Nanoseconds after which one unit is back.
    #[must_use]
    pub fn interval(&self) -> u64 {
        self.interval
    }

    fn cost(&self, units: u64) -> u64 {
        units.saturating_mul(self.interval)
    }

    /// How far the arrival time may be ahead.
    fn tolerance(&self) -> u64 {
        self.cost(self.limit)
    }

    /// Takes `units`.
    ///
    /// # Errors
    /// When they are not there: how long until they are.
    pub fn try_take(&self, now: u64, units: u64) -> Result<(), Refused> {
        if units > self.limit {
            return Err(Refused::Never);
        }
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let next = arrival.max(now).saturating_add(self.cost(units));
            let latest = now.saturating_add(self.tolerance());
            if next > latest {
                return Err(Refused::Wait(next - latest));
            }
            match self.arrival.compare_exchange_weak(
                arrival,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(found) => arrival = found,
            }
        }
    }

    /// Gives units back that were taken and not used.
    pub fn refund(&self, units: u64) {
        let cost = self.cost(units);
        self.update(|arrival| arrival.saturating_sub(cost));
    }

    /// Takes units that were used already, whether they are there or not.
    pub fn debit(&self, now: u64, units: u64) {
        let cost = self.cost(units);
        self.update(|arrival| arrival.max(now).saturating_add(cost));
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        while let Err(found) = self.arrival.compare_exchange_weak(
            arrival,
            change(arrival),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            arrival = found;
        }
    }

    /// Units that can be taken now.
    #[must_use]
    pub fn remaining(&self, now: u64) -> u64 {
        let ahead = self.reset_after(now);
        self.tolerance().saturating_sub(ahead) / self.interval
    }

    /// Nanoseconds until all of the limit is back.
    #[must_use]
    pub fn reset_after(&self, now: u64) -> u64 {
        self.arrival.load(Ordering::Relaxed).saturating_sub(now)
    }

    /// Sets how far the rate is used up: nanoseconds until all is back.
    pub fn set_reset_after(&self, now: u64, ahead: u64) {
        self.arrival.store(now.saturating_add(ahead), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn the_limit_may_be_taken_at_once_and_comes_back_evenly() {
        let rate = Gcra::new(60, MINUTE);
        for _ in 0..60 {
            rate.try_take(5, 1).unwrap();
        }
        assert_eq!(rate.try_take(5, 1), Err(Refused::Wait(MINUTE / 60)));
        assert_eq!(rate.remaining(5), 0);
        assert_eq!(rate.remaining(5 + MINUTE / 2), 30);
        rate.try_take(5 + MINUTE / 60, 1).unwrap();
        assert_eq!(rate.try_take(5, 61), Err(Refused::Never));
    }

    #[test]
    fn what_was_not_used_comes_back() {
        let rate = Gcra::new(100, MINUTE);
        rate.try_take(0, 100).unwrap();
        rate.refund(40);
        assert_eq!(rate.remaining(0), 40);
        rate.debit(0, 50);
        assert_eq!(rate.try_take(0, 1), Err(Refused::Wait(11 * (MINUTE / 100))));
    }

    #[test]
    fn nothing_is_admitted_by_a_limit_of_zero() {
        assert_eq!(Gcra::new(0, MINUTE).try_take(0, 1), Err(Refused::Never));
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let rate = Gcra::new(1000, MINUTE);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        if rate.try_take(7, 1).is_ok() {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1000);
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_the_limit_and_what_came_back(
            limit in 1u64..500,
            takes in prop::collection::vec((0u64..MINUTE / 4, 1u64..20), 1..200),
        ) {
            let rate = Gcra::new(limit, MINUTE);
            let mut now = 0;
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            for (step, units) in takes {
                now += step;
                if rate.try_take(now, units).is_ok() {
                    admitted.push((now, units));
                }
            }
            for (start, (from, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (at, units) in &admitted[start..] {
                    sum += units;
                    let back = (at - from) / rate.interval();
                    prop_assert!(sum <= limit + back + 1, "{sum} > {limit} + {back}");
                }
            }
        }

        #[test]
        fn a_wait_that_was_told_is_exact(limit in 1u64..100, used in 0u64..100, units in 1u64..100) {
            let rate = Gcra::new(limit, MINUTE);
            rate.debit(0, used);
            if let Err(Refused::Wait(wait)) = rate.try_take(0, units) {
                prop_assert!(rate.try_take(wait - 1, units).is_err());
                prop_assert!(rate.try_take(wait, units).is_ok());
            }
        }
    }
}
