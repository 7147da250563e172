//! Policies played on a table.

use super::{Bootstrap, Cell, ReplayOptions, ReplayPolicy, ReplayReport, Row, Run, Table};
use crate::bandit::{LearnedPolicy, Outcome};
use crate::deployment::QualityPriors;

/// What is known of the deployments of a table before it is played, but for `best`.
struct Known<'t> {
    table: &'t Table,
    /// Cost for a token of the prompt, on the whole: what a price list would say.
    prices: Vec<f64>,
    /// Deployments from the best on the whole to the worst.
    best: Vec<usize>,
}

impl<'t> Known<'t> {
    fn of(table: &'t Table) -> Self {
        let count = table.deployments.len();
        let mut sums = vec![(0.0, 0.0, 0.0, 0.0); count];
        for row in &table.rows {
            for (sums, cell) in sums.iter_mut().zip(&row.cells) {
                let Some(cell) = cell else { continue };
                *sums = (
                    sums.0 + cell.cost,
                    sums.1 + cell.prompt_tokens,
                    sums.2 + cell.quality,
                    sums.3 + 1.0,
                );
            }
        }
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let prices: Vec<f64> = sums.iter().map(|sums| ratio(sums.0, sums.1)).collect();
        let quality: Vec<f64> = sums.iter().map(|sums| ratio(sums.2, sums.3)).collect();
        let mut best: Vec<usize> = (0..count).collect();
        let of = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(0.0);
        best.sort_by(|a, b| {
            of(&quality, *b)
                .total_cmp(&of(&quality, *a))
                .then(of(&prices, *a).total_cmp(&of(&prices, *b)))
        });
        Self { table, prices, best }
    }

    fn expected_cost(&self, row: &Row, at: usize) -> f64 {
        let price = self.prices.get(at).copied().unwrap_or(0.0);
        cell(row, at).map_or(f64::INFINITY, |cell| price * cell.prompt_tokens)
    }

    /// The deployment that costs most or least of those that answered the row.
    fn by_cost(&self, row: &Row, dearest: bool) -> usize {
        let places = answered(row);
        let compare = |a: &usize, b: &usize| {
            self.expected_cost(row, *a).total_cmp(&self.expected_cost(row, *b))
        };
        let found = if dearest { places.max_by(compare) } else { places.min_by(compare) };
        found.unwrap_or(0)
    }

    fn best_single(&self, row: &Row) -> usize {
        self.best.iter().copied().find(|at| cell(row, *at).is_some()).unwrap_or(0)
    }
}

fn cell(row: &Row, at: usize) -> Option<Cell> {
    row.cells.get(at).copied().flatten()
}

fn answered(row: &Row) -> impl Iterator<Item = usize> + '_ {
    row.cells.iter().enumerate().filter(|(_, cell)| cell.is_some()).map(|(at, _)| at)
}

fn oracle(row: &Row) -> usize {
    let better = |a: &usize, b: &usize| {
        let of = |at: usize| cell(row, at).map_or((0.0, 0.0), |cell| (cell.quality, cell.cost));
        let ((a_quality, a_cost), (b_quality, b_cost)) = (of(*a), of(*b));
        a_quality.total_cmp(&b_quality).then(b_cost.total_cmp(&a_cost))
    };
    answered(row).max_by(better).unwrap_or(0)
}

pub(super) fn replay(table: &Table, options: &ReplayOptions) -> Option<ReplayReport> {
    let known = Known::of(table);
    let best = table.deployments.get(*known.best.first()?)?;
    if table.rows.is_empty() {
        return None;
    }
    let mut ignored = vec![0.0; table.deployments.len()];
    let baseline = simply(&known, |row| known.best_single(row), &mut ignored);
    let bound = simply(&known, oracle, &mut ignored);
    let bootstrap = Bootstrap {
        baseline: &baseline,
        oracle: Some(&bound),
        seed: options.seed,
        resamples: options.resamples,
    };
    let mut policies = Vec::new();
    for policy in &options.policies {
        let mut served = vec![0.0; table.deployments.len()];
        let runs = runs(&known, *policy, options, &mut served);
        let sum: f64 = served.iter().sum();
        let shares = served.iter().map(|count| count / sum).collect();
        policies.push(bootstrap.report(*policy, &runs, shares));
    }
    Some(ReplayReport {
        rows: table.rows.len(),
        deployments: table.deployments.clone(),
        best_single: best.clone(),
        method: "played",
        shuffles: options.shuffles.max(1),
        seed: options.seed,
        policies,
    })
}

fn runs(
    known: &Known<'_>,
    policy: ReplayPolicy,
    options: &ReplayOptions,
    served: &mut [f64],
) -> Vec<Run> {
    let once =
        |choose: &dyn Fn(&Row) -> usize, served: &mut [f64]| vec![simply(known, choose, served)];
    match policy {
        ReplayPolicy::BestSingle => once(&|row| known.best_single(row), served),
        ReplayPolicy::Oracle => once(&oracle, served),
        ReplayPolicy::Cost => once(&|row| known.by_cost(row, false), served),
        ReplayPolicy::Quality => once(&|row| known.by_cost(row, true), served),
        ReplayPolicy::Random | ReplayPolicy::Threshold | ReplayPolicy::Learned => {
            (0..options.shuffles.max(1))
                .map(|number| {
                    let seed = options.seed.wrapping_add(number as u64);
                    let mut rng = fastrand::Rng::with_seed(seed);
                    let mut order: Vec<usize> = (0..known.table.rows.len()).collect();
                    rng.shuffle(&mut order);
                    match policy {
                        ReplayPolicy::Random => random(known, &order, &mut rng, served),
                        ReplayPolicy::Threshold => threshold(known, &order, served),
                        _ => learned(known, &order, options, &mut rng, served),
                    }
                })
                .collect()
        }
    }
}

/// Enters what a choice brought.
fn enter(run: &mut Run, at: usize, row: &Row, chosen: usize, served: &mut [f64]) {
    let Some(cell) = cell(row, chosen) else { return };
    if let (Some(quality), Some(cost)) = (run.quality.get_mut(at), run.cost.get_mut(at)) {
        (*quality, *cost) = (cell.quality, cell.cost);
    }
    if let Some(served) = served.get_mut(chosen) {
        *served += 1.0;
    }
}

fn empty(known: &Known<'_>) -> Run {
    let rows = known.table.rows.len();
    Run { quality: vec![0.0; rows], cost: vec![0.0; rows] }
}

fn simply(known: &Known<'_>, choose: impl Fn(&Row) -> usize, served: &mut [f64]) -> Run {
    let mut run = empty(known);
    for (at, row) in known.table.rows.iter().enumerate() {
        enter(&mut run, at, row, choose(row), served);
    }
    run
}

fn random(known: &Known<'_>, order: &[usize], rng: &mut fastrand::Rng, served: &mut [f64]) -> Run {
    let mut run = empty(known);
    for at in order {
        let Some(row) = known.table.rows.get(*at) else { continue };
        let places: Vec<usize> = answered(row).collect();
        if let Some(chosen) = rng.choice(&places) {
            enter(&mut run, *at, row, *chosen, served);
        }
    }
    run
}

fn threshold(known: &Known<'_>, order: &[usize], served: &mut [f64]) -> Run {
    let mut run = empty(known);
    // Moves up for what is harder, down for what is not: it settles at the median.
    let mut median = 0.5f32;
    for (step, at) in order.iter().enumerate() {
        let Some(row) = known.table.rows.get(*at) else { continue };
        let harder = row.features.complexity > median;
        enter(&mut run, *at, row, known.by_cost(row, harder), served);
        let size = 0.5 / (step as f32 + 10.0).sqrt();
        median = (median + if harder { size } else { -size } * 0.2).clamp(0.0, 1.0);
    }
    run
}

fn learned(
    known: &Known<'_>,
    order: &[usize],
    options: &ReplayOptions,
    rng: &mut fastrand::Rng,
    served: &mut [f64],
) -> Run {
    let names = &known.table.deployments;
    let mut policy = LearnedPolicy::new(options.learned.clone());
    // Nothing is taken to be known of their quality.
    let prior = QualityPriors::uniform(0.7);
    let deployments = names.iter().map(|name| (name.as_str(), &prior));
    policy.reload(options.learned.clone(), deployments);
    let mut run = empty(known);
    let waits = vec![0.0; names.len()];
    for at in order {
        let Some(row) = known.table.rows.get(*at) else { continue };
        let costs: Vec<f64> = (0..names.len()).map(|at| known.expected_cost(row, at)).collect();
        let allowed: Vec<bool> = row.cells.iter().map(Option::is_some).collect();
        let made = policy.decide(&row.features, &costs, &waits, &allowed, true, rng);
        let Some(chosen) = made.chosen else { continue };
        enter(&mut run, *at, row, chosen, served);
        if let (Some(cell), Some(name)) = (cell(row, chosen), names.get(chosen)) {
            policy.learn(&Outcome {
                deployment: name,
                features: row.features,
                quality: Some(cell.quality),
                cost: cell.cost,
                first_token_ms: None,
                governed: true,
            });
        }
    }
    run
}
