use std::sync::atomic::{AtomicU64, Ordering};

use crate::gcra::{Gcra, Refused};

/// No replicas share the rate.
const ALONE: u64 = u64::MAX;

/// A rate limit that replicas share without asking anybody on the way of a request.
///
/// Every replica has its own [`Gcra`], set to what all of them have used as of the last exchange,
/// and may take a share of what was left then: what was left, divided by the number of replicas, but
/// at least one take. So between two exchanges all of them together take what was left, and at most
/// one take a replica more: that is the bound on overshoot, `replicas x the largest take`. An
/// exchange sends what was used since the last one and gets the sum of all.
///
/// When exchanges fail, [`SharedRate::isolate`] makes each replica keep to its share of the rate.
#[derive(Debug)]
pub struct SharedRate {
    rate: Gcra,
    /// Units that may still be taken before the next exchange; [`ALONE`]: no bound.
    allowance: AtomicU64,
    /// Units used since the last exchange, less those given back.
    used: std::sync::atomic::AtomicI64,
    /// Replicas that share a rate while exchanges fail; 0: they do not fail.
    isolated: AtomicU64,
}

impl SharedRate {
    /// A rate that is nobody else's until the first exchange.
    #[must_use]
    pub fn new(limit: u64, period_ns: u64) -> Self {
        Self {
            rate: Gcra::new(limit, period_ns),
            allowance: AtomicU64::new(ALONE),
            used: 0.into(),
            isolated: AtomicU64::new(0),
        }
    }

    /// The rate as this replica knows it.
    #[must_use]
    pub fn rate(&self) -> &Gcra {
        &self.rate
    }

    /// Takes `units`.
    ///
    /// # Errors
    /// When they are not there, or not in this replica's share: how long until they may be.
    pub fn try_take(&self, now: u64, units: u64) -> Result<(), Refused> {
        let allowance = self.allowance.load(Ordering::Relaxed);
        if allowance != ALONE && self.claim(units).is_err() {
            // With the next exchange the share is measured anew.
            return Err(Refused::Wait(EXCHANGE_NS));
        }
        let factor = self.isolated.load(Ordering::Relaxed).max(1);
        let outcome = self.rate.try_take(now, units.saturating_mul(factor));
        match outcome {
            Ok(()) => self.count(units),
            Err(_) if allowance != ALONE => self.unclaim(units),
            Err(_) => {}
        }
        match outcome {
            // What the share cannot hold may still fit when exchanges work again.
            Err(Refused::Never) if units <= self.rate.limit() => {
                Err(Refused::Wait(self.rate.reset_after(now).max(EXCHANGE_NS)))
            }
            other => other,
        }
    }

    /// Claims from the allowance. A take larger than the whole share is let through once, if
    /// nothing was taken since the exchange: else it would never fit.
    fn claim(&self, units: u64) -> Result<(), ()> {
        let mut allowance = self.allowance.load(Ordering::Relaxed);
        loop {
            if allowance == ALONE {
                return Ok(());
            }
            let untouched = self.used.load(Ordering::Relaxed) <= 0;
            if allowance < units && !(untouched && allowance > 0) {
                return Err(());
            }
            match self.allowance.compare_exchange_weak(
                allowance,
                allowance.saturating_sub(units),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(found) => allowance = found,
            }
        }
    }

    fn unclaim(&self, units: u64) {
        _ = self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |allowance| {
            (allowance != ALONE).then(|| allowance.saturating_add(units).min(ALONE - 1))
        });
    }

    fn count(&self, units: u64) {
        self.used.fetch_add(signed(units), Ordering::Relaxed);
    }

    /// Gives units back that were taken and not used.
    pub fn refund(&self, units: u64) {
        let factor = self.isolated.load(Ordering::Relaxed).max(1);
        self.rate.refund(units.saturating_mul(factor));
        self.used.fetch_sub(signed(units), Ordering::Relaxed);
        self.unclaim(units);
    }

    /// Takes units that were used already, whether they are there or not.
    pub fn debit(&self, now: u64, units: u64) {
        self.rate.debit(now, units);
        self.count(units);
        _ = self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |allowance| {
            (allowance != ALONE).then(|| allowance.saturating_sub(units))
        });
    }

    /// What an exchange tells the others: units used since the last one; negative if more was given
    /// back. What is used from here on belongs to the next exchange.
    pub fn begin_exchange(&self) -> i64 {
        self.used.swap(0, Ordering::Relaxed)
    }

    /// The exchange failed: what it told counts for the next one.
    pub fn fail_exchange(&self, told: i64) {
        self.used.fetch_add(told, Ordering::Relaxed);
    }

    /// What an exchange brought: nanoseconds until all of the rate is back, as used by all
    /// `replicas`.
    pub fn end_exchange(&self, now: u64, reset_after: u64, replicas: u64) {
        self.isolated.store(0, Ordering::Relaxed);
        let since = u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0);
        let ahead = reset_after.saturating_add(since.saturating_mul(self.rate.interval()));
        self.rate.set_reset_after(now, ahead);
        let share = match replicas {
            0 | 1 => ALONE,
            replicas => self.rate.remaining(now).div_ceil(replicas),
        };
        self.allowance.store(share, Ordering::Relaxed);
    }

    /// Exchanges have failed for too long: this replica keeps to its part of the rate.
    pub fn isolate(&self, replicas: u64) {
        self.isolated.store(replicas.max(1), Ordering::Relaxed);
        self.allowance.store(ALONE, Ordering::Relaxed);
    }
}

/// How often replicas exchange, nanoseconds.
pub const EXCHANGE_NS: u64 = 100_000_000;

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    /// What the shared store does, in the same arithmetic as the script in Redis.
    #[derive(Default)]
    struct Central {
        arrival: u64,
    }

    impl Central {
        fn exchange(&mut self, now: u64, used: i64, interval: u64) -> u64 {
            let used = i128::from(used) * i128::from(interval);
            let arrival = i128::from(self.arrival.max(now)) + used;
            self.arrival = u64::try_from(arrival.max(i128::from(now))).unwrap_or(u64::MAX);
            self.arrival - now
        }
    }

    fn exchange_all(replicas: &[SharedRate], central: &mut Central, now: u64) {
        for rate in replicas {
            let told = rate.begin_exchange();
            let ahead = central.exchange(now, told, rate.rate().interval());
            rate.end_exchange(now, ahead, replicas.len() as u64);
        }
    }

    #[test]
    fn four_replicas_admit_what_one_would_and_at_most_a_take_each_more() {
        let limit = 1000;
        let replicas: Vec<_> = (0..4).map(|_| SharedRate::new(limit, MINUTE)).collect();
        let mut central = Central::default();
        let mut now = 1;
        exchange_all(&replicas, &mut central, now);
        let mut admitted = 0;
        let mut random = 42u64;
        for _ in 0..300 {
            for _ in 0..200 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let chosen = usize::try_from(random >> 33).unwrap() % 4;
                if replicas[chosen].try_take(now, 1).is_ok() {
                    admitted += 1;
                }
            }
            now += EXCHANGE_NS;
            exchange_all(&replicas, &mut central, now);
        }
        // Half a minute: the burst, and half of the limit again.
        let exact = limit + limit / 2;
        assert!(admitted <= exact + 4, "{admitted} of {exact}");
        assert!(admitted >= exact * 98 / 100, "{admitted} of {exact}");
    }

    #[test]
    fn one_busy_replica_gets_nearly_all() {
        let replicas: Vec<_> = (0..4).map(|_| SharedRate::new(1000, MINUTE)).collect();
        let mut central = Central::default();
        let mut now = 1;
        let mut admitted = 0;
        for _ in 0..30 {
            exchange_all(&replicas, &mut central, now);
            while replicas[0].try_take(now, 1).is_ok() {
                admitted += 1;
            }
            now += EXCHANGE_NS;
        }
        assert!((1000..=1060).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_take_larger_than_the_share_fits_once() {
        let rate = SharedRate::new(1000, MINUTE);
        rate.end_exchange(1, 0, 4);
        assert!(rate.try_take(1, 900).is_ok());
        assert_eq!(rate.try_take(1, 50), Err(Refused::Wait(EXCHANGE_NS)));
    }

    #[test]
    fn an_isolated_replica_keeps_to_its_share_and_recovers() {
        let rate = SharedRate::new(1000, MINUTE);
        rate.end_exchange(1, 0, 4);
        rate.isolate(4);
        let mut admitted = 0;
        while rate.try_take(1, 1).is_ok() {
            admitted += 1;
        }
        assert_eq!(admitted, 250);
        let told = rate.begin_exchange();
        assert_eq!(told, 250);
        rate.fail_exchange(told);
        assert_eq!(rate.begin_exchange(), 250);
        rate.end_exchange(1, 250 * rate.rate().interval(), 1);
        assert_eq!(rate.rate().remaining(1), 750);
    }
}
