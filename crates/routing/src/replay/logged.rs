//! Policies estimated from a log.
//!
//! The doubly robust estimate of a row is what a regression expects of the policy's choice, plus,
//! where the log chose so too, what the regression missed, over the probability of that choice. It
//! is right if the regression or the probabilities are. The regression of a row is learned from
//! the rows of the other half, so that it does not know the answer.

use super::{Bootstrap, Log, ReplayOptions, ReplayPolicy, ReplayReport, Run};
use crate::bandit::LearnedPolicy;
use crate::deployment::QualityPriors;
use crate::memory::DecisionRecord;
use crate::ridge::{Ridge, context};

/// Largest weight of a row. Without a bound, one row drawn by a chance of 1 in 10,000 decides.
const MOST_WEIGHT: f64 = 100.0;

/// What a deployment is expected to bring of each row, learned from the other half of the rows.
struct Expected {
    quality: Vec<Vec<f64>>,
    cost: Vec<Vec<f64>>,
}

/// Which half a row belongs to. Mixed, because logs have rhythms: every other request may be alike.
fn half_of(row: usize) -> u64 {
    let mut mixed = (row as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) >> 63
}

fn tokens(record: &DecisionRecord) -> f64 {
    f64::from(record.features.log_tokens.clamp(0.0, 16.0)).exp()
}

fn quality(record: &DecisionRecord) -> f64 {
    record.quality().unwrap_or(0.0)
}

fn cost(record: &DecisionRecord) -> f64 {
    record.outcome.as_ref().map_or(0.0, |outcome| outcome.cost_nanos as f64)
}

impl Expected {
    fn of(log: &Log) -> Self {
        let rows = log.records.len();
        let mut expected = Self { quality: Vec::new(), cost: Vec::new() };
        for name in &log.deployments {
            let mut of_quality = vec![0.0; rows];
            let mut of_cost = vec![0.0; rows];
            for half in 0..2 {
                let (mut model, mut count, mut sum) = (Ridge::new(1.0), 0.0, 0.0);
                let (mut all_tokens, mut all_cost) = (0.0, 0.0);
                let learned = || {
                    let rows = log.records.iter().enumerate();
                    rows.filter(|(at, record)| half_of(*at) != half && &record.chosen == name)
                        .map(|(_, record)| record)
                };
                for record in learned() {
                    count += 1.0;
                    sum += quality(record);
                    all_tokens += tokens(record);
                    all_cost += cost(record);
                }
                let mean = if count > 0.0 { sum / count } else { 0.5 };
                for record in learned() {
                    model.learn(&context(&record.features), quality(record) - mean, 1.0);
                }
                let per_token = if all_tokens > 0.0 { all_cost / all_tokens } else { 0.0 };
                let rows = log.records.iter().zip(of_quality.iter_mut().zip(&mut of_cost));
                for (_, (record, (q, c))) in rows.enumerate().filter(|(at, _)| half_of(*at) == half)
                {
                    let found = mean + f64::from(model.predict(&context(&record.features)));
                    *q = found.clamp(0.0, 1.0);
                    *c = per_token * tokens(record);
                }
            }
            expected.quality.push(of_quality);
            expected.cost.push(of_cost);
        }
        expected
    }

    fn at(table: &[Vec<f64>], deployment: usize, row: usize) -> f64 {
        table.get(deployment).and_then(|rows| rows.get(row)).copied().unwrap_or(0.0)
    }
}

/// A policy's run, the sum of its weights, of their squares, and of the weighted qualities.
#[derive(Default)]
struct Estimated {
    run: Run,
    weights: f64,
    squares: f64,
    weighted: f64,
    shares: Vec<f64>,
}

/// Estimates a policy that chooses with these probabilities.
fn estimate(log: &Log, expected: &Expected, probabilities: &[Vec<f64>]) -> Estimated {
    let mut made = Estimated { shares: vec![0.0; log.deployments.len()], ..Estimated::default() };
    let rows = log.records.len().max(1) as f64;
    for (at, (record, probabilities)) in log.records.iter().zip(probabilities).enumerate() {
        let (mut q, mut c) = (0.0, 0.0);
        let slots = probabilities.iter().zip(&log.deployments).zip(&mut made.shares);
        for (deployment, ((probability, name), share)) in slots.enumerate() {
            let of_quality = Expected::at(&expected.quality, deployment, at);
            let of_cost = Expected::at(&expected.cost, deployment, at);
            q += probability * of_quality;
            c += probability * of_cost;
            *share += probability / rows;
            if name == &record.chosen {
                let weight = (probability / record.propensity).min(MOST_WEIGHT);
                q += weight * (quality(record) - of_quality);
                c += weight * (cost(record) - of_cost);
                made.weights += weight;
                made.squares += weight * weight;
                made.weighted += weight * quality(record);
            }
        }
        made.run.quality.push(q);
        made.run.cost.push(c / 1e9);
    }
    made
}

/// The learned policy as it would have followed the log: it decides each row from the rows before.
fn learned(log: &Log, expected: &Expected, options: &ReplayOptions) -> Vec<Vec<f64>> {
    let mut policy = LearnedPolicy::new(options.learned.clone());
    let prior = QualityPriors::uniform(0.7);
    let deployments = log.deployments.iter().map(|name| (name.as_str(), &prior));
    policy.reload(options.learned.clone(), deployments);
    let count = log.deployments.len();
    let (allowed, waits) = (vec![true; count], vec![0.0; count]);
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut all = Vec::with_capacity(log.records.len());
    for (at, record) in log.records.iter().enumerate() {
        let costs: Vec<f64> = (0..count).map(|arm| Expected::at(&expected.cost, arm, at)).collect();
        let made = policy.decide(&record.features, &costs, &waits, &allowed, true, &mut rng);
        all.push(made.propensities.iter().map(|p| f64::from(*p)).collect());
        if let Some(lesson) = record.lesson() {
            policy.learn(&lesson);
        }
    }
    all
}

pub(super) fn replay(log: &Log, options: &ReplayOptions) -> Option<ReplayReport> {
    let rows = log.records.len();
    let count = log.deployments.len();
    if rows == 0 {
        return None;
    }
    let expected = Expected::of(log);
    let always = |deployment: usize| {
        let one = (0..count).map(|at| f64::from(u8::from(at == deployment))).collect();
        vec![one; rows]
    };
    let singles: Vec<Estimated> =
        (0..count).map(|at| estimate(log, &expected, &always(at))).collect();
    let sum = |run: &[f64]| run.iter().sum::<f64>();
    let top = |of: &dyn Fn(&Estimated) -> f64| {
        let best = singles.iter().enumerate().max_by(|a, b| of(a.1).total_cmp(&of(b.1)));
        best.map_or(0, |(at, _)| at)
    };
    let best = top(&|single| sum(&single.run.quality));
    let baseline = singles.get(best)?;
    let bootstrap = Bootstrap {
        baseline: &baseline.run,
        oracle: None,
        seed: options.seed,
        resamples: options.resamples,
    };
    let mut policies = Vec::new();
    for policy in &options.policies {
        let probabilities = match policy {
            // No log tells what the others would have answered.
            ReplayPolicy::Oracle => continue,
            ReplayPolicy::BestSingle => always(best),
            ReplayPolicy::Cost => always(top(&|single| -sum(&single.run.cost))),
            ReplayPolicy::Quality => always(top(&|single| sum(&single.run.cost))),
            ReplayPolicy::Random => vec![vec![1.0 / count as f64; count]; rows],
            ReplayPolicy::Threshold => {
                let dear = top(&|single| sum(&single.run.cost));
                let cheap = top(&|single| -sum(&single.run.cost));
                halves(log, dear, cheap)
            }
            ReplayPolicy::Learned => learned(log, &expected, options),
        };
        let made = estimate(log, &expected, &probabilities);
        let mut report = bootstrap.report(*policy, &[made.run], made.shares);
        report.ips_quality = (made.weights > 0.0).then(|| made.weighted / made.weights);
        report.effective_rows =
            Some(if made.squares > 0.0 { made.weights * made.weights / made.squares } else { 0.0 });
        policies.push(report);
    }
    Some(ReplayReport {
        rows,
        deployments: log.deployments.clone(),
        best_single: log.deployments.get(best)?.clone(),
        method: "doubly_robust",
        shuffles: 1,
        seed: options.seed,
        policies,
    })
}

/// The harder half to one deployment, the rest to another.
fn halves(log: &Log, dear: usize, cheap: usize) -> Vec<Vec<f64>> {
    let mut all: Vec<f32> = log.records.iter().map(|record| record.features.complexity).collect();
    all.sort_by(f32::total_cmp);
    let median = all.get(all.len() / 2).copied().unwrap_or(0.5);
    let count = log.deployments.len();
    let choose = |record: &DecisionRecord| {
        let chosen = if record.features.complexity > median { dear } else { cheap };
        (0..count).map(|at| f64::from(u8::from(at == chosen))).collect()
    };
    log.records.iter().map(choose).collect()
}
