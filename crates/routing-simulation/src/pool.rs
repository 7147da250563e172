//! One pool of engines on the customer's own machines: the queue in front of it against first come,
//! first served, and prompts sent to where their beginnings are against prompts sent anywhere.

mod affinity;
mod fair_share;
mod queue;

use serde::Serialize;

pub use affinity::{CacheResult, PrefixReport, PrefixScenario, SpreadResult, prefix_report};
pub use queue::{AdmissionReport, AdmissionScenario, LoadResult, OrderResult, admission_report};

/// A mean over seeds and where it lies with a confidence of 95 % (Student's distribution).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// Of one value for each seed. With fewer than two the interval is all numbers.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        if values.len() < 2 {
            return Self { mean, low: f64::NEG_INFINITY, high: f64::INFINITY };
        }
        let freedom = count - 1.0;
        let variance =
            values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / freedom;
        let half = student_975(freedom) * (variance / count).sqrt();
        Self { mean, low: mean - half, high: mean + half }
    }

    /// `mean (low to high)`, in units of `unit`, with so many decimals.
    fn text(&self, unit: f64, decimals: usize) -> String {
        let (mean, low, high) = (self.mean / unit, self.low / unit, self.high / unit);
        format!("{mean:.decimals$} ({low:.decimals$} to {high:.decimals$})")
    }
}

/// The 97.5 % quantile of Student's distribution, by its expansion around the normal one; within
/// 1 % from 4 degrees of freedom.
fn student_975(freedom: f64) -> f64 {
    const Z: f64 = 1.959_964;
    let z3 = Z.powi(3);
    let z5 = Z.powi(5);
    Z + (z3 + Z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * freedom * freedom)
        + (3.0 * Z.powi(7) + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * freedom.powi(3))
}

fn exponential(random: &mut fastrand::Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.f64()).ln()
}

/// Log-normal with this median; `spread` is the standard deviation of the logarithm.
fn log_normal(random: &mut fastrand::Rng, median: f64, spread: f64) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    median * (spread * radius * (std::f64::consts::TAU * random.f64()).cos()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        for (freedom, expected) in [(4.0, 2.776), (9.0, 2.262), (19.0, 2.093), (1000.0, 1.962)] {
            let ratio = student_975(freedom) / expected;
            assert!((0.99..1.01).contains(&ratio), "{freedom}: {ratio}");
        }
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((estimate.mean - 3.0).abs() < 1e-9);
        assert!((estimate.high - 4.963).abs() < 0.02, "{estimate:?}");
    }
}
