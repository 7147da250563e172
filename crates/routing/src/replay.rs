//! Runs policies over past outcomes and says what they would have cost and been worth.
//!
//! Two kinds of past: tables in which each deployment answered each prompt ([`Table`]), where a
//! policy is simply played, shown only the outcome of what it chose; and logs of decisions
//! ([`Log`]), where only the chosen deployment answered and the rest is estimated from the logged
//! probabilities.

mod data;
mod logged;
mod play;
mod scan;

use serde::Serialize;

use crate::bandit::LearnedOptions;

pub use data::{Cell, LineFault, Log, Past, PastReader, Row, Table};

/// A policy to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayPolicy {
    /// Always the deployment that is best on the whole, known in hindsight.
    BestSingle,
    /// Any, with equal probability.
    Random,
    /// For each request the best answer, and the cheapest of those: a bound, not a policy.
    Oracle,
    /// The cheapest.
    Cost,
    /// The dearest.
    Quality,
    /// Prompts that look harder than the median so far to the dearest, others to the cheapest.
    Threshold,
    /// The learned policy, from nothing, in the order of the rows.
    Learned,
}

impl ReplayPolicy {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BestSingle,
        Self::Random,
        Self::Oracle,
        Self::Cost,
        Self::Quality,
        Self::Threshold,
        Self::Learned,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BestSingle => "best-single",
            Self::Random => "random",
            Self::Oracle => "oracle",
            Self::Cost => "cost",
            Self::Quality => "quality",
            Self::Threshold => "threshold",
            Self::Learned => "learned",
        }
    }

    /// The policy of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// How to replay.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayOptions {
    /// What to run.
    pub policies: Vec<ReplayPolicy>,
    /// Of shuffles, draws and resamples; the same seed gives the same report.
    pub seed: u64,
    /// Times that a table is shuffled and played from nothing, for policies that draw or learn.
    pub shuffles: usize,
    /// Resamples behind each interval.
    pub resamples: usize,
    /// Of the learned policy, which may explore here.
    pub learned: LearnedOptions,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            policies: ReplayPolicy::ALL.to_vec(),
            seed: 1,
            shuffles: 10,
            resamples: 1_000,
            learned: LearnedOptions::default(),
        }
    }
}

/// A mean and the bounds of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// 2.5 % of resamples are below.
    pub low: f64,
    /// 2.5 % of resamples are above.
    pub high: f64,
}

/// What a policy would have brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyReport {
    /// Which.
    pub policy: ReplayPolicy,
    /// Mean quality of an answer, 0 to 1.
    pub quality: Estimate,
    /// Mean cost of a request, in the unit of the file.
    pub cost: Estimate,
    /// Mean quality lost against the oracle; `None` where only one deployment answered each request.
    pub regret: Option<Estimate>,
    /// Quality relative to the best single deployment's.
    pub relative_quality: Estimate,
    /// Cost relative to the best single deployment's.
    pub relative_cost: Estimate,
    /// Share of requests for each deployment, in the order of [`ReplayReport::deployments`].
    pub shares: Vec<f64>,
    /// Logs only: quality by inverse propensities alone, self-normalised; `None` if the log never
    /// chose as the policy does.
    pub ips_quality: Option<f64>,
    /// Logs only: rows of equal weight that the inverse propensities are worth. Few of them: the
    /// estimate is the regression's more than the log's.
    pub effective_rows: Option<f64>,
}

/// A replay's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Requests replayed.
    pub rows: usize,
    /// Names of the deployments.
    pub deployments: Vec<String>,
    /// The deployment that is best on the whole.
    pub best_single: String,
    /// How the numbers came about: `played` (each deployment's answer is known) or
    /// `doubly_robust` (estimated from a log).
    pub method: &'static str,
    /// Times that the table was shuffled and played.
    pub shuffles: usize,
    /// The seed.
    pub seed: u64,
    /// One for each policy.
    pub policies: Vec<PolicyReport>,
}

/// What one run of a policy brought, by row.
#[derive(Debug, Clone, Default)]
struct Run {
    quality: Vec<f64>,
    cost: Vec<f64>,
}

/// Runs policies over the past. `None` if it has no rows.
#[must_use]
pub fn replay(past: &Past, options: &ReplayOptions) -> Option<ReplayReport> {
    match past {
        Past::Table(table) => play::replay(table, options),
        Past::Log(log) => logged::replay(log, options),
    }
}

/// Resamples rows with replacement, and with them one of the runs, so that an interval tells what
/// one run over other rows of the same kind would bring.
struct Bootstrap<'r> {
    baseline: &'r Run,
    oracle: Option<&'r Run>,
    seed: u64,
    resamples: usize,
}

/// Sums over a sample of rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: f64,
    quality: f64,
    cost: f64,
    base_quality: f64,
    base_cost: f64,
    oracle: f64,
}

impl Sums {
    /// Quality, cost, regret, relative quality, relative cost.
    fn figures(&self) -> [f64; 5] {
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 1.0 };
        [
            self.quality / self.rows,
            self.cost / self.rows,
            (self.oracle - self.quality) / self.rows,
            ratio(self.quality, self.base_quality),
            ratio(self.cost, self.base_cost),
        ]
    }
}

impl Bootstrap<'_> {
    fn add(&self, sums: &mut Sums, run: &Run, row: usize) {
        let at = |values: &[f64]| values.get(row).copied().unwrap_or(0.0);
        sums.rows += 1.0;
        sums.quality += at(&run.quality);
        sums.cost += at(&run.cost);
        sums.base_quality += at(&self.baseline.quality);
        sums.base_cost += at(&self.baseline.cost);
        sums.oracle += self.oracle.map_or(0.0, |oracle| at(&oracle.quality));
    }

    fn report(&self, policy: ReplayPolicy, runs: &[Run], shares: Vec<f64>) -> PolicyReport {
        let rows = self.baseline.quality.len();
        let mut whole = Sums::default();
        for run in runs {
            for row in 0..rows {
                self.add(&mut whole, run, row);
            }
        }
        let means = whole.figures();
        let mut samples: [Vec<f64>; 5] = Default::default();
        // The same seed for all policies: the same rows, so that they compare.
        let mut rng = fastrand::Rng::with_seed(self.seed);
        for _ in 0..self.resamples {
            let Some(run) = runs.get(rng.usize(..runs.len().max(1))) else { break };
            let mut sums = Sums::default();
            for _ in 0..rows {
                self.add(&mut sums, run, rng.usize(..rows));
            }
            for (samples, figure) in samples.iter_mut().zip(sums.figures()) {
                samples.push(figure);
            }
        }
        let [quality, cost, regret, relative_quality, relative_cost] = {
            let mut at = 0;
            samples.map(|mut samples| {
                samples.sort_by(f64::total_cmp);
                let mean = means.get(at).copied().unwrap_or(f64::NAN);
                at += 1;
                let quantile = |share: f64| {
                    let place = (share * samples.len() as f64) as usize;
                    samples.get(place.min(samples.len().saturating_sub(1))).copied().unwrap_or(mean)
                };
                Estimate { mean, low: quantile(0.025), high: quantile(0.975) }
            })
        };
        PolicyReport {
            policy,
            quality,
            cost,
            regret: self.oracle.map(|_| regret),
            relative_quality,
            relative_cost,
            shares,
            ips_quality: None,
            effective_rows: None,
        }
    }
}
