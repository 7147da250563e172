use crate::Millis;

/// How far back readings may lie without the clock having been set back, milliseconds: threads
/// read the clock before they get to the lock.
const TOLERANCE_MS: Millis = 1_000;

/// Time that never goes backwards, made of a clock that should not but might.
///
/// A reading up to [`TOLERANCE_MS`] before the latest counts as the latest. If the clock was set
/// back further, time goes on from where it was: nothing ages by the step itself, and nothing
/// waits for the clock to come back to where it was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SteadyClock {
    seen: Millis,
    /// Inner minus outer time.
    skew: Millis,
}

impl SteadyClock {
    /// The inner time at a reading, which is remembered.
    pub(crate) fn tick(&mut self, now: Millis) -> Millis {
        if now > self.seen {
            self.seen = now;
        } else if self.seen - now > TOLERANCE_MS {
            self.skew = self.skew.saturating_add(self.seen - now);
            self.seen = now;
        }
        self.seen.saturating_add(self.skew)
    }

    /// The inner time at a reading.
    pub(crate) fn at(&self, now: Millis) -> Millis {
        let mut copy = *self;
        copy.tick(now)
    }

    /// The outer time of an inner one, for readings after the last.
    pub(crate) fn outside(&self, inner: Millis) -> Millis {
        inner.saturating_sub(self.skew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_after_the_clock_was_set_back() {
        let mut clock = SteadyClock::default();
        assert_eq!(clock.tick(10_000_000), 10_000_000);
        assert_eq!(clock.tick(5_000_000), 10_000_000);
        assert_eq!(clock.at(5_000_007), 10_000_007);
        assert_eq!(clock.tick(5_000_007), 10_000_007);
        assert_eq!(clock.outside(10_000_100), 5_000_100);
    }

    #[test]
    fn readings_out_of_order_do_not_hurry_time() {
        let mut clock = SteadyClock::default();
        for _ in 0..1_000 {
            clock.tick(10_000);
            clock.tick(9_999);
        }
        assert_eq!(clock.tick(10_000), 10_000);
        assert_eq!(clock.tick(u64::MAX), u64::MAX);
        assert_eq!(clock.tick(0), u64::MAX);
        assert_eq!(clock.tick(1), u64::MAX);
    }
}
