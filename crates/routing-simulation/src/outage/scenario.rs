use std::fmt::Write as _;

use routing::Millis;
use serde::Serialize;

use super::ours::Router;
use super::strategy::{LeastLoaded, LiteLlmShuffle, RoundRobin, Strategy};
use super::world::{Fault, Run, Simulated, World, run};

/// When the deployment that dies does, and when it is back, milliseconds.
const DIES: Millis = 60_000;
const BACK: Millis = 180_000;
const DEAD: usize = 4;

/// A mean over seeds with the half width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half of the interval.
    pub half: f64,
}

impl Estimate {
    fn of(samples: &[f64]) -> Self {
        let count = samples.len().max(1) as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
        let deviation = (variance / (count - 1.0).max(1.0)).sqrt();
        // Student's t is some 2.1 for twenty seeds and 2.3 for ten.
        Self { mean, half: 2.2 * deviation / count.sqrt() }
    }

    fn shown(&self, digits: usize) -> String {
        format!("{:.digits$} ± {:.digits$}", self.mean, self.half)
    }
}

/// How one strategy did.
#[derive(Debug, Clone, Serialize)]
pub struct StrategyRow {
    /// Its name.
    pub strategy: &'static str,
    /// Median time to the first token, milliseconds.
    pub p50_ms: Estimate,
    /// 99th percentile of it.
    pub p99_ms: Estimate,
    /// Share of requests that failed before their first token, per cent.
    pub lost: Estimate,
    /// Share of requests whose answer broke off, per cent.
    pub broken: Estimate,
    /// Calls beyond one for each request, per cent of the requests.
    pub extra: Estimate,
    /// Calls to the dead deployment from one second after its death to its return, per cent of all
    /// calls of that time.
    pub to_the_dead: Estimate,
}

/// How strategies did in the same worlds.
#[derive(Debug, Clone, Serialize)]
pub struct OutageReport {
    /// Seeds.
    pub seeds: u64,
    /// One row for each.
    pub rows: Vec<StrategyRow>,
}

impl OutageReport {
    /// The row of a strategy.
    #[must_use]
    pub fn row(&self, strategy: &str) -> Option<&StrategyRow> {
        self.rows.iter().find(|row| row.strategy == strategy)
    }

    /// As a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| strategy | first token p50, ms | p99, ms | lost before the first token, % | broken \
             off after it, % | extra calls, % | calls to the dead one after 1 s, % |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            // Writing to a string does not fail.
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.strategy,
                row.p50_ms.shown(0),
                row.p99_ms.shown(0),
                row.lost.shown(3),
                row.broken.shown(3),
                row.extra.shown(2),
                row.to_the_dead.shown(3),
            );
        }
        text
    }
}

fn strategies(count: usize, seed: u64) -> [(&'static str, Box<dyn Strategy>); 4] {
    [
        ("round robin", Box::new(RoundRobin::new(count))),
        ("least loaded", Box::new(LeastLoaded::new(count))),
        ("LiteLLM's shuffle with cooldown", Box::new(LiteLlmShuffle::new(count))),
        ("llm-proxy", Box::new(Router::new(count, seed))),
    ]
}

/// Five equal deployments: one is eight times as slow, one fails 5 % of the calls, one takes 300
/// requests a minute, one dies after a minute and is back after three; 20 requests a second.
#[must_use]
pub fn mixed_faults_report(seeds: u64) -> OutageReport {
    report(seeds, |seed| {
        let mut deployments = vec![Simulated::default(); 5];
        deployments[1].fault = Fault::Slow(8.0);
        deployments[2].fault = Fault::Errors(0.05);
        deployments[3].fault = Fault::RateLimit(300);
        deployments[DEAD].outages = vec![(DIES, BACK)];
        World { deployments, rate: 20.0, duration_ms: 240_000, seed }
    })
}

/// Three equal deployments, each down 1 % of the time independently of the others, for a minute on
/// average; 5 requests a second for two hours.
#[must_use]
pub fn availability_report(seeds: u64) -> OutageReport {
    const HOURS: Millis = 2 * 3_600_000;
    report(seeds, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let mut wait = |mean_ms: f64| (-rng.f64().max(1e-12).ln() * mean_ms) as Millis + 1;
        let mut outages = || {
            let mut all = Vec::new();
            let mut at = wait(60_000.0 * 99.0);
            while at < HOURS {
                let end = at + wait(60_000.0);
                all.push((at, end));
                at = end + wait(60_000.0 * 99.0);
            }
            all
        };
        let deployments =
            (0..3).map(|_| Simulated { outages: outages(), ..Simulated::default() }).collect();
        World { deployments, rate: 5.0, duration_ms: HOURS, seed }
    })
}

fn report(seeds: u64, world: impl Fn(u64) -> World) -> OutageReport {
    let mut runs: Vec<(&'static str, Vec<Run>)> = Vec::new();
    for seed in 1..=seeds {
        let world = world(seed);
        for (name, mut strategy) in strategies(world.deployments.len(), seed) {
            let run = run(&world, strategy.as_mut());
            match runs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, of)) => of.push(run),
                None => runs.push((name, vec![run])),
            }
        }
    }
    let rows = runs.iter().map(|(name, runs)| row(name, runs)).collect();
    OutageReport { seeds, rows }
}

fn row(strategy: &'static str, runs: &[Run]) -> StrategyRow {
    let over = |of: &dyn Fn(&Run) -> f64| Estimate::of(&runs.iter().map(of).collect::<Vec<_>>());
    let share = |part: u32, run: &Run| f64::from(part) / f64::from(run.requests.max(1)) * 100.0;
    StrategyRow {
        strategy,
        p50_ms: over(&|run| quantile(run, 0.5)),
        p99_ms: over(&|run| quantile(run, 0.99)),
        lost: over(&|run| share(run.lost, run)),
        broken: over(&|run| share(run.broken, run)),
        extra: over(&|run| share(run.calls.saturating_sub(run.requests), run)),
        to_the_dead: over(&to_the_dead),
    }
}

fn quantile(run: &Run, quantile: f64) -> f64 {
    let mut sorted = run.first_tokens.clone();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * quantile) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).map_or(0.0, |ms| *ms as f64)
}

fn to_the_dead(run: &Run) -> f64 {
    let seconds =
        usize::try_from(DIES / 1_000).unwrap_or(0) + 1..usize::try_from(BACK / 1_000).unwrap_or(0);
    let of =
        |calls: &Vec<u32>| -> u32 { calls.get(seconds.clone()).unwrap_or_default().iter().sum() };
    let all: u32 = run.by_second.iter().map(of).sum();
    let dead = run.by_second.get(DEAD).map_or(0, of);
    f64::from(dead) / f64::from(all.max(1)) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_not_seen_by_callers() {
        let report = mixed_faults_report(3);
        let ours = report.row("llm-proxy").expect("a row");
        assert_eq!(ours.lost.mean, 0.0, "no request is lost before its first byte");
        assert!(ours.to_the_dead.mean < 1.0, "{}", ours.to_the_dead.mean);
        assert!(ours.extra.mean < 10.0, "{}", ours.extra.mean);
        for row in report.rows.iter().filter(|row| row.strategy != "llm-proxy") {
            assert!(row.p99_ms.mean > ours.p99_ms.mean, "{} {ours:?}", row.strategy);
        }
    }

    #[test]
    fn three_providers_that_are_away_now_and_then_are_always_there() {
        let report = availability_report(2);
        let ours = report.row("llm-proxy").expect("a row");
        assert!(100.0 - ours.lost.mean >= 99.95, "{}", ours.lost.mean);
    }

    #[test]
    fn the_same_seed_gives_the_same_world() {
        assert_eq!(mixed_faults_report(1).table(), mixed_faults_report(1).table());
    }
}
