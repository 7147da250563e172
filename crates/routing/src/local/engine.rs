use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;

/// Which server runs a model.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// The server of llama.cpp.
    LlamaCpp,
}

impl EngineKind {
    /// What the metric `name` tells, if it is one of those that count.
    ///
    /// SGLang writes `sglang_` instead of `sglang:` since version 0.5.4; the cache gauge of vLLM was
    /// renamed, and current builds of llama.cpp have none.
    fn gauge(self, name: &str) -> Option<Gauge> {
        let prefix = match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::LlamaCpp => "llamacpp",
        };
        let gauge = name.strip_prefix(prefix)?.strip_prefix([':', '_'])?;
        match (self, gauge) {
            (Self::Vllm, "num_requests_running")
            | (Self::Sglang, "num_running_reqs")
            | (Self::LlamaCpp, "requests_processing") => Some(Gauge::Running),
            (Self::Vllm, "num_requests_waiting")
            | (Self::Sglang, "num_queue_reqs")
            | (Self::LlamaCpp, "requests_deferred") => Some(Gauge::Waiting),
            (Self::Vllm, "kv_cache_usage_perc" | "gpu_cache_usage_perc")
            | (Self::Sglang, "token_usage")
            | (Self::LlamaCpp, "kv_cache_usage_ratio") => Some(Gauge::Cache),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gauge {
    Running,
    Waiting,
    Cache,
}

/// What an engine said of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngineLoad {
    /// Requests that it works on.
    pub running: u32,
    /// Requests that it has accepted and that wait inside it.
    pub waiting: u32,
    /// How full its cache of keys and values is, 0 to 1; `None`: it does not say.
    pub cache_use: Option<f32>,
    /// When it said so.
    pub scraped_at: Millis,
}

/// The text does not tell an engine's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineMetricsError {
    /// No gauge of running requests, under any name known.
    #[error("no metric says how many requests run; are the engine's metrics switched on?")]
    NoRunning,
    /// No gauge of waiting requests, under any name known.
    #[error("no metric says how many requests wait")]
    NoWaiting,
}

impl EngineLoad {
    /// Reads what an engine answers at `/metrics` (text format of Prometheus).
    ///
    /// Replicas within the engine (data parallel) are added up; ranks that work on the same requests
    /// (tensor and pipeline parallel) and series by priority beside their total are counted once.
    /// A metric that is declared but has no value yet counts 0, lines that cannot be read are passed
    /// over.
    ///
    /// # Errors
    ///
    /// [`EngineMetricsError`] if the text does not tell what runs or what waits.
    pub fn parse(kind: EngineKind, text: &str, now: Millis) -> Result<Self, EngineMetricsError> {
        let mut declared_gauges = [false; 2];
        let mut series: BTreeMap<(Gauge, String), f64> = BTreeMap::new();
        for line in text.lines() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                let gauge = declared(comment).and_then(|name| kind.gauge(name));
                if let Some(seen) = gauge.and_then(|gauge| declared_gauges.get_mut(gauge as usize))
                {
                    *seen = true;
                }
                continue;
            }
            let end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
            let Some((name, rest)) = line.split_at_checked(end) else { continue };
            let Some(gauge) = kind.gauge(name) else { continue };
            let Some((Some(group), value)) = sample(rest) else { continue };
            if value.is_finite() && value >= 0.0 {
                let most = series.entry((gauge, group)).or_insert(value);
                *most = most.max(value);
            }
        }
        let values =
            |gauge| series.iter().filter(move |((of, _), _)| *of == gauge).map(|(_, value)| *value);
        let sum = |gauge: Gauge| {
            let known = declared_gauges.get(gauge as usize).copied().unwrap_or(false);
            (known || values(gauge).next().is_some())
                .then(|| values(gauge).sum::<f64>().round() as u32)
        };
        Ok(Self {
            running: sum(Gauge::Running).ok_or(EngineMetricsError::NoRunning)?,
            waiting: sum(Gauge::Waiting).ok_or(EngineMetricsError::NoWaiting)?,
            cache_use: values(Gauge::Cache).reduce(f64::max).map(|most| most.min(1.0) as f32),
            scraped_at: now,
        })
    }
}

/// The name in a comment that declares a metric's type.
fn declared(comment: &str) -> Option<&str> {
    let mut words = comment.split_ascii_whitespace();
    (words.next()? == "TYPE").then(|| words.next()).flatten()
}

/// What stands behind a metric's name: the labels without those of ranks that work on the same
/// requests (`None`: not to be counted), and the value.
fn sample(rest: &str) -> Option<(Option<String>, f64)> {
    let mut group = Some(String::new());
    let mut rest = rest.trim_start();
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (name, after) = rest.split_once('=')?;
            let value = after.trim_start().strip_prefix('"')?;
            let end = end_of_quoted(value)?;
            let (value, after) = value.split_at_checked(end)?;
            match name.trim() {
                "tp_rank" | "pp_rank" | "moe_ep_rank" => {}
                "priority" if value.is_empty() => {}
                "priority" => group = None,
                name => {
                    if let Some(group) = &mut group {
                        group.extend([name, "=", value, ","]);
                    }
                }
            }
            rest = after.strip_prefix('"')?;
        }
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((group, value))
}

/// Where the next quote stands that no backslash escapes.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// How engines of a pool are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineOptions {
    /// Milliseconds for which what an engine said counts fully. Default 5,000.
    pub fresh_ms: u64,
    /// Milliseconds after which what an engine said counts no longer; between the two it counts less
    /// and less. Default 15,000.
    pub forget_ms: u64,
    /// How much more a request counts that waits inside an engine than one that runs: it shows that
    /// the engine is full. Default 2.
    #[schemars(range(min = 1))]
    pub waiting_weight: f32,
    /// Share of the cache in use, 0 to 1, from which an engine counts as busier than its requests
    /// tell, up to twice as busy when it is full. Default 0.85.
    #[schemars(range(min = 0, max = 1))]
    pub cache_from: f32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { fresh_ms: 5000, forget_ms: 15_000, waiting_weight: 2.0, cache_from: 0.85 }
    }
}

/// What this replica knows of an engine: what it said, and what was sent to it since.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EngineState {
    load: Option<EngineLoad>,
    in_flight: u32,
    in_flight_then: u32,
}

impl EngineState {
    /// A request was sent to the engine.
    pub fn began(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A request that was sent has ended, however.
    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The engine told its load.
    pub fn scraped(&mut self, load: EngineLoad) {
        self.load = Some(load);
        self.in_flight_then = self.in_flight;
    }

    /// Requests of this replica in the engine.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// What the engine said last.
    #[must_use]
    pub fn load(&self) -> Option<EngineLoad> {
        self.load
    }

    /// How busy the engine is, in requests, 0 or more: what this replica has in it, and what others
    /// had by its last word, as far as that is still believed.
    #[must_use]
    pub fn score(&self, now: Millis, options: &EngineOptions) -> f32 {
        let own = self.in_flight as f32;
        let Some(load) = self.load else { return own };
        let age = now.saturating_sub(load.scraped_at);
        let fading = options.forget_ms.saturating_sub(options.fresh_ms);
        let believed = if age <= options.fresh_ms {
            1.0
        } else if age >= options.forget_ms {
            return own;
        } else {
            options.forget_ms.saturating_sub(age) as f32 / fading.max(1) as f32
        };
        let there = load.running.saturating_add(load.waiting);
        let others = there.saturating_sub(self.in_flight_then) as f32;
        let queued = load.waiting as f32 * (options.waiting_weight.max(1.0) - 1.0);
        let above = (load.cache_use.unwrap_or(0.0) - options.cache_from).max(0.0);
        let pressure = above / (1.0 - options.cache_from).max(0.01);
        (own + believed * (others + queued)) * (1.0 + believed * pressure.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(kind: EngineKind, text: &str) -> Result<(u32, u32, Option<f32>), EngineMetricsError> {
        EngineLoad::parse(kind, text, 7).map(|load| (load.running, load.waiting, load.cache_use))
    }

    #[test]
    fn vllm_is_read_with_the_old_and_the_new_name_of_the_cache() {
        for cache in ["gpu_cache_usage_perc", "kv_cache_usage_perc"] {
            let text = format!(
                "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
                 # TYPE vllm:num_requests_running gauge\n\
                 vllm:num_requests_running{{engine=\"0\",model_name=\"a/b {{\\\"x\\\"}}\"}} 2.0\n\
                 vllm:num_requests_running{{engine=\"1\",model_name=\"a/b\"}} 3.0\n\
                 vllm:num_requests_waiting{{engine=\"0\",model_name=\"a/b\"}} 1.2e+01\r\n\
                 vllm:num_requests_waiting_by_reason{{engine=\"0\",reason=\"capacity\"}} 12.0\n\
                 vllm:{cache}{{engine=\"0\"}} 0.25\n\
                 vllm:{cache}{{engine=\"1\"}} 0.75 1732000000000\n\
                 vllm:e2e_request_latency_seconds_bucket{{le=\"+Inf\"}} 9\n"
            );
            assert_eq!(parse(EngineKind::Vllm, &text), Ok((5, 12, Some(0.75))));
        }
    }

    #[test]
    fn sglang_is_counted_once_for_ranks_and_priorities() {
        let text = "sglang:num_running_reqs{model_name=\"m\",tp_rank=\"0\",dp_rank=\"0\"} 4.0\n\
                    sglang:num_running_reqs{model_name=\"m\",tp_rank=\"1\",dp_rank=\"0\"} 4.0\n\
                    sglang:num_running_reqs{model_name=\"m\",tp_rank=\"0\",dp_rank=\"1\"} 2.0\n\
                    sglang:num_running_reqs{model_name=\"m\",tp_rank=\"2\",dp_rank=\"2\"} 1.0\n\
                    sglang:num_queue_reqs{model_name=\"m\",priority=\"\"} 3.0\n\
                    sglang:num_queue_reqs{model_name=\"m\",priority=\"5\"} 3.0\n\
                    sglang:token_usage{model_name=\"m\"} 0.74\n";
        assert_eq!(parse(EngineKind::Sglang, text), Ok((7, 3, Some(0.74))));
        let renamed = text.replace("sglang:", "sglang_");
        assert_eq!(parse(EngineKind::Sglang, &renamed), Ok((7, 3, Some(0.74))));
    }

    #[test]
    fn llama_cpp_need_not_tell_its_cache() {
        let text = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n";
        assert_eq!(parse(EngineKind::LlamaCpp, text), Ok((2, 1, None)));
        let with = format!("{text}llamacpp:kv_cache_usage_ratio 0.5\n");
        assert_eq!(parse(EngineKind::LlamaCpp, &with), Ok((2, 1, Some(0.5))));
    }

    #[test]
    fn nonsense_is_passed_over_and_silence_is_an_error() {
        let text = "vllm:num_requests_running NaN\nvllm:num_requests_running -3\n\
                    vllm:num_requests_running{a=\"b 7\nvllm:num_requests_running{} 1e0\n\
                    vllm:num_requests_running\nvllm:num_requests_waiting +Inf\n\
                    vllm:num_requests_waiting 1e300\nvllm:kv_cache_usage_perc NaN\n\
                    vllm:kv_cache_usage_perc 17\n";
        assert_eq!(parse(EngineKind::Vllm, text), Ok((1, u32::MAX, Some(1.0))));
        assert_eq!(parse(EngineKind::Sglang, text), Err(EngineMetricsError::NoRunning));
        let half = "vllm:num_requests_running 1\n";
        assert_eq!(parse(EngineKind::Vllm, half), Err(EngineMetricsError::NoWaiting));
        // An engine that has served nothing yet declares its gauges and gives no values.
        let fresh = "# TYPE sglang:num_running_reqs gauge\n# TYPE sglang:num_queue_reqs gauge\n";
        assert_eq!(parse(EngineKind::Sglang, fresh), Ok((0, 0, None)));
    }

    proptest! {
        #[test]
        fn no_text_is_fatal(text in "(vllm:num_requests_(running|waiting)|[{}\",=\\\\ #ё0-9e.\n-])*") {
            let _ = EngineLoad::parse(EngineKind::Vllm, &text, 0);
        }
    }

    fn state(running: u32, waiting: u32, cache_use: Option<f32>) -> EngineState {
        let mut state = EngineState::default();
        state.scraped(EngineLoad { running, waiting, cache_use, scraped_at: 10_000 });
        state
    }

    #[test]
    fn what_was_sent_since_the_last_word_counts_and_what_was_counted_is_not_counted_twice() {
        let mut engine = EngineState::default();
        engine.began();
        engine.began();
        engine.scraped(EngineLoad { running: 5, waiting: 0, cache_use: None, scraped_at: 10_000 });
        let score = |engine: &EngineState| engine.score(10_100, &EngineOptions::default());
        assert_eq!(score(&engine), 5.0);
        engine.began();
        assert_eq!(score(&engine), 6.0);
        for _ in 0..5 {
            engine.ended();
        }
        assert_eq!((score(&engine), engine.in_flight()), (3.0, 0));
    }

    #[test]
    fn an_old_word_counts_less_and_then_not_at_all() {
        let mut engine = state(10, 0, None);
        engine.began();
        let at = |now| engine.score(now, &EngineOptions::default());
        assert_eq!(at(15_000), 11.0);
        assert_eq!(at(20_000), 6.0);
        assert_eq!(at(25_000), 1.0);
        // A clock that went back makes nothing older.
        assert_eq!(at(0), 11.0);
        let never = EngineOptions { fresh_ms: 9000, forget_ms: 0, ..EngineOptions::default() };
        assert_eq!((engine.score(15_000, &never), engine.score(19_001, &never)), (11.0, 1.0));
    }

    #[test]
    fn waiting_requests_and_a_full_cache_make_an_engine_busier() {
        let score = |state: EngineState| state.score(10_000, &EngineOptions::default());
        assert!(score(state(6, 2, None)) > score(state(8, 0, None)));
        assert_eq!(score(state(8, 0, Some(0.8))), 8.0);
        assert!((score(state(8, 0, Some(1.0))) - 16.0).abs() < 0.01);
        assert_eq!(score(EngineState::default()), 0.0);
    }
}
