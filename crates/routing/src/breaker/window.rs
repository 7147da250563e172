use crate::Millis;

const BUCKETS: usize = 10;

/// Calls of the recent past, in a fixed number of buckets: adding costs the same however many
/// there were.
#[derive(Debug, Clone)]
pub(super) struct CallWindow {
    bucket_ms: Millis,
    buckets: [Bucket; BUCKETS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Which stretch of `bucket_ms` it holds.
    stretch: u64,
    counts: CallCounts,
}

/// How many calls there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CallCounts {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

impl CallCounts {
    pub(super) fn failure_share(&self) -> f64 {
        f64::from(self.failed) / f64::from(self.calls.max(1))
    }

    /// Of the calls that did not fail.
    pub(super) fn slow_share(&self) -> f64 {
        f64::from(self.slow) / f64::from(self.calls.saturating_sub(self.failed).max(1))
    }
}

impl CallWindow {
    pub(super) fn new(window_ms: Millis) -> Self {
        let bucket_ms = window_ms.div_ceil(BUCKETS as u64).max(1);
        Self { bucket_ms, buckets: [Bucket::default(); BUCKETS] }
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    /// Counts a call; `at` must not go backwards.
    pub(super) fn add(&mut self, at: Millis, failed: bool, slow: bool) {
        let stretch = at / self.bucket_ms;
        let index = (stretch % BUCKETS as u64) as usize;
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        if bucket.stretch != stretch {
            *bucket = Bucket { stretch, counts: CallCounts::default() };
        }
        let counts = &mut bucket.counts;
        counts.calls = counts.calls.saturating_add(1);
        counts.failed = counts.failed.saturating_add(u32::from(failed));
        counts.slow = counts.slow.saturating_add(u32::from(slow));
    }

    /// The calls that are not older than the window (and up to a tenth of it younger).
    pub(super) fn counts(&self, at: Millis) -> CallCounts {
        let current = at / self.bucket_ms;
        let mut sum = CallCounts::default();
        for bucket in &self.buckets {
            if current.saturating_sub(bucket.stretch) < BUCKETS as u64 {
                sum.calls = sum.calls.saturating_add(bucket.counts.calls);
                sum.failed = sum.failed.saturating_add(bucket.counts.failed);
                sum.slow = sum.slow.saturating_add(bucket.counts.slow);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_leave_the_window() {
        let mut window = CallWindow::new(1_000);
        window.add(50, true, false);
        window.add(950, false, true);
        assert_eq!(window.counts(999), CallCounts { calls: 2, failed: 1, slow: 1 });
        assert_eq!(window.counts(1_000), CallCounts { calls: 1, failed: 0, slow: 1 });
        window.add(1_050, true, false);
        assert_eq!(window.counts(1_050), CallCounts { calls: 2, failed: 1, slow: 1 });
        assert_eq!(window.counts(1_000_000), CallCounts::default());
    }
}
