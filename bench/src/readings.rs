//! Single figures by name, system and round, and what is derived from them.

use std::collections::BTreeMap;

use crate::compare::Sample;
use crate::scenario::OPEN_RATE;
use crate::stats::median;
use crate::systems::Kind;

/// Share of its due requests an open loop must have answered for its latencies to mean anything.
const KEPT_UP: f64 = 0.95;

/// All readings of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    values: BTreeMap<(String, Kind), BTreeMap<u32, f64>>,
}

impl Readings {
    pub(crate) fn insert(&mut self, metric: &str, system: Kind, round: u32, value: f64) {
        self.values.entry((metric.to_owned(), system)).or_default().insert(round, value);
    }

    /// Splits a sample into its readings.
    pub(crate) fn take(&mut self, sample: &Sample) {
        let outcome = &sample.outcome;
        let mut put = |measure: &str, value: f64| {
            let metric = format!("{}.{measure}", sample.scenario);
            self.insert(&metric, sample.system, sample.round, value);
        };
        let failed: u64 = outcome.failures.values().sum();
        put("failed", (failed + outcome.unfinished) as f64);
        if outcome.completed == 0 {
            return;
        }
        let of_system = match sample.system {
            Kind::Direct => sample.providers_cpu_s,
            _ => sample.system_cpu_s,
        };
        let requests = outcome.completed as f64;
        put("rate", outcome.rate);
        put("cpu_us", of_system * 1e6 / requests);
        put("providers_cpu_us", sample.providers_cpu_s * 1e6 / requests);
        put("generator_cpu_us", sample.generator_cpu_s * 1e6 / requests);
        let is_open = sample.scenario.ends_with("steady") || sample.scenario.ends_with("token");
        if !is_open || outcome.rate >= OPEN_RATE * KEPT_UP {
            put("p50_us", outcome.latency_us.p50);
            put("p95_us", outcome.latency_us.p95);
            put("p99_us", outcome.latency_us.p99);
            put("first_p50_us", outcome.first_event_us.p50);
            put("first_p99_us", outcome.first_event_us.p99);
        }
        if outcome.events > 0 {
            put("event_rate", outcome.event_rate);
            put("cpu_us_per_event", of_system * 1e6 / outcome.events as f64);
            put("gap_p99_us", outcome.event_gap_us.p99);
        }
    }

    /// Median over the rounds.
    pub(crate) fn median(&self, metric: &str, system: Kind) -> Option<f64> {
        median(self.rounds(metric, system).map(|(_, value)| value))
    }

    /// Median over the rounds of what the system has more than `direct` had in the same round.
    pub(crate) fn median_added(&self, metric: &str, system: Kind) -> Option<f64> {
        self.median_against(metric, system, Kind::Direct, |value, direct| value - direct)
    }

    /// Median over the rounds of how many times the control's the system's value is.
    pub(crate) fn median_ratio(&self, metric: &str, system: Kind) -> Option<f64> {
        self.median_against(metric, system, Kind::Nginx, |value, control| value / control)
    }

    fn median_against(
        &self,
        metric: &str,
        system: Kind,
        base: Kind,
        combine: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let base = self.values.get(&(metric.to_owned(), base))?;
        median(
            self.rounds(metric, system)
                .filter_map(|(round, value)| Some(combine(value, *base.get(&round)?))),
        )
    }

    fn rounds(&self, metric: &str, system: Kind) -> impl Iterator<Item = (u32, f64)> {
        let rounds = self.values.get(&(metric.to_owned(), system));
        rounds.into_iter().flatten().map(|(round, value)| (*round, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Outcome;

    fn sample(system: Kind, round: u32, completed: u64, cpu: f64) -> Sample {
        Sample {
            round,
            system,
            scenario: "steady",
            outcome: Outcome { completed, rate: completed as f64, ..Outcome::default() },
            system_cpu_s: cpu,
            providers_cpu_s: 2.0,
            generator_cpu_s: 1.0,
            foreign_share: 0.1,
        }
    }

    #[test]
    fn differences_and_ratios_are_taken_within_a_round() {
        let mut readings = Readings::default();
        for (round, (direct, nginx, gateway)) in
            [(100.0, 10.0, 130.0), (500.0, 50.0, 540.0), (100.0, 10.0, 150.0)]
                .into_iter()
                .enumerate()
        {
            let round = round as u32;
            readings.insert("m", Kind::Direct, round, direct);
            readings.insert("m", Kind::Nginx, round, nginx);
            readings.insert("m", Kind::Gateway, round, gateway);
        }
        assert_eq!(readings.median("m", Kind::Gateway), Some(150.0));
        assert_eq!(readings.median_added("m", Kind::Gateway), Some(40.0));
        assert_eq!(readings.median_ratio("m", Kind::Gateway), Some(13.0));
        assert_eq!(readings.median_added("other", Kind::Gateway), None);
    }

    #[test]
    fn cpu_is_divided_by_the_requests_answered() {
        let mut readings = Readings::default();
        readings.take(&sample(Kind::Gateway, 0, 1_000, 0.05));
        readings.take(&sample(Kind::Direct, 0, 1_000, 0.0));
        assert_eq!(readings.median("steady.cpu_us", Kind::Gateway), Some(50.0));
        assert_eq!(readings.median("steady.cpu_us", Kind::Direct), Some(2_000.0));
        assert_eq!(readings.median("steady.generator_cpu_us", Kind::Gateway), Some(1_000.0));
    }

    #[test]
    fn latencies_of_a_system_that_did_not_keep_up_are_left_out() {
        let mut readings = Readings::default();
        readings.take(&sample(Kind::Litellm, 0, 200, 1.0));
        assert_eq!(readings.median("steady.p50_us", Kind::Litellm), None);
        assert_eq!(readings.median("steady.rate", Kind::Litellm), Some(200.0));
        readings.take(&sample(Kind::Portkey, 0, 0, 1.0));
        assert_eq!(readings.median("steady.rate", Kind::Portkey), None);
    }
}
