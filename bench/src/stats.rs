//! Latency histograms and medians.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart from longer ones, in nanoseconds.
const MAX_NANOS: u64 = 120_000_000_000;

/// Latencies in nanoseconds with three significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is reported of a set of latencies; microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_NANOS, 3);
        Self(histogram.unwrap_or_else(|_| unreachable!("the bounds are constants")))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(MAX_NANOS);
        self.0.saturating_record(nanos);
    }

    pub(crate) fn record_many(&mut self, latency: Duration, times: u64) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(MAX_NANOS);
        self.0.saturating_record_n(nanos, times);
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let micros = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Quantiles {
            count: self.0.len(),
            mean: self.0.mean() / 1e3,
            p50: micros(0.50),
            p95: micros(0.95),
            p99: micros(0.99),
            max: self.0.max() as f64 / 1e3,
        }
    }
}

/// Median of the values; of two middle ones their mean. None of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median([]), None);
        assert_eq!(median([f64::NAN]), None);
        assert_eq!(median([5.0]), Some(5.0));
        assert_eq!(median([9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median([9.0, 1.0, 5.0, 100.0]), Some(7.0));
    }

    #[test]
    fn quantiles_are_microseconds_within_a_thousandth() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let quantiles = latencies.quantiles();
        assert_eq!(quantiles.count, 1000);
        for (found, expected) in
            [(quantiles.p50, 500.0), (quantiles.p95, 950.0), (quantiles.p99, 990.0)]
        {
            assert!((found - expected).abs() <= expected / 500.0, "{found} for {expected}");
        }
    }

    #[test]
    fn zero_and_the_absurd_are_kept_within_bounds() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(100_000));
        assert_eq!(latencies.quantiles().count, 2);
        latencies.record_many(Duration::from_micros(1), 98);
        assert_eq!(latencies.quantiles().count, 100);
        assert!(latencies.quantiles().p95 < 1.01);
    }
}
