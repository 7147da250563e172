use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;

use routing::local::{PrefixHashes, PrefixIndex, PrefixOptions};
use serde::Serialize;

use super::{Estimate, exponential, log_normal};

/// Bytes of a prompt for a token.
const BYTES_PER_TOKEN: f64 = 4.0;

/// Engines with caches, and conversations that many tenants hold with them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixScenario {
    /// Engines.
    pub engines: usize,
    /// Bytes of prompts that an engine keeps; those unused for longest go first.
    pub cache_bytes: usize,
    /// Tenants, each with a system prompt that all its conversations share.
    pub tenants: usize,
    /// Median bytes of a system prompt.
    pub system_bytes: f64,
    /// Median bytes that each turn adds (question and the answer before it).
    pub turn_bytes: f64,
    /// Turns of a conversation.
    pub turns: usize,
    /// Mean time between the turns of a conversation, milliseconds.
    pub turn_gap_ms: f64,
    /// Conversations that begin in a second.
    pub conversations_per_second: f64,
    /// How long conversations begin, milliseconds.
    pub arrivals_ms: f64,
    /// Milliseconds for each token of a prompt that is not in the cache.
    pub prompt_token_ms: f64,
    /// Mean time that an answer takes, milliseconds.
    pub answer_ms: f64,
}

impl Default for PrefixScenario {
    fn default() -> Self {
        Self {
            engines: 8,
            cache_bytes: 512 * 1024,
            tenants: 200,
            system_bytes: 4000.0,
            turn_bytes: 1500.0,
            turns: 10,
            turn_gap_ms: 20_000.0,
            conversations_per_second: 1.2,
            arrivals_ms: 400_000.0,
            prompt_token_ms: 0.2,
            answer_ms: 4000.0,
        }
    }
}

/// What one way of spreading prompts came to, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpreadResult {
    /// Its name.
    pub name: &'static str,
    /// Share of the prompts' bytes that were in the cache of the engine they came to.
    pub hit_share: Estimate,
    /// Requests of the engine with most, relative to the mean.
    pub max_requests: Estimate,
    /// Mean number of requests in the engine that had most of them, relative to the mean of all.
    pub max_load: Estimate,
    /// Mean time until the prompt was read, milliseconds.
    pub prompt_ms: Estimate,
}

/// Prompts sent to where their beginnings are, against prompts sent anywhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixReport {
    /// Runs of each.
    pub seeds: u64,
    /// What was simulated.
    pub scenario: PrefixScenario,
    /// To any engine.
    pub random: SpreadResult,
    /// To the less busy of two engines.
    pub two_choices: SpreadResult,
    /// By the prompts' beginnings, within bounded load.
    pub affinity: SpreadResult,
    /// Hit share of affinity relative to random, of equal seeds.
    pub ratio: Estimate,
    /// The same with smaller and larger caches.
    pub by_cache: Vec<CacheResult>,
}

/// Hit shares with another size of the engines' caches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheResult {
    /// Bytes of prompts that an engine keeps.
    pub cache_bytes: usize,
    /// Hit share of prompts sent anywhere.
    pub random: Estimate,
    /// Hit share of prompts sent to where their beginnings are.
    pub affinity: Estimate,
    /// The second relative to the first, of equal seeds.
    pub ratio: Estimate,
}

impl PrefixReport {
    /// The report as a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| engine chosen by | hit share, % | most requests / mean | most load / mean | prompt \
             read in, ms |\n| --- | --- | --- | --- | --- |\n",
        );
        for result in [&self.random, &self.two_choices, &self.affinity] {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                result.name,
                result.hit_share.text(0.01, 1),
                result.max_requests.text(1.0, 2),
                result.max_load.text(1.0, 2),
                result.prompt_ms.text(1.0, 0),
            );
        }
        let _ = writeln!(
            text,
            "\nHit share against random: {} times. {} seeds; in brackets 95 % confidence intervals.",
            self.ratio.text(1.0, 1),
            self.seeds
        );
        text.push_str(
            "\n| cache of an engine, KiB | hit share by chance, % | by the prompt's beginning, % | \
             times |\n| --- | --- | --- | --- |\n",
        );
        for result in &self.by_cache {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                result.cache_bytes / 1024,
                result.random.text(0.01, 1),
                result.affinity.text(0.01, 1),
                result.ratio.text(1.0, 1),
            );
        }
        text
    }
}

/// Runs the default scenario with seeds 1 to `seeds`.
#[must_use]
pub fn prefix_report(seeds: u64) -> PrefixReport {
    let scenario = PrefixScenario::default();
    let off = PrefixOptions { enabled: false, ..PrefixOptions::default() };
    let sizes = [256, 512, 1024].map(|kib| kib * 1024);
    let (mut random, mut two_choices, mut affinity) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_size = sizes.map(|_| (Vec::new(), Vec::new()));
    for seed in 1..=seeds {
        let prompts = prompts(&scenario, seed);
        random.push(run(&scenario, &prompts, None, seed));
        two_choices.push(run(&scenario, &prompts, Some(off.clone()), seed));
        affinity.push(run(&scenario, &prompts, Some(PrefixOptions::default()), seed));
        for (cache_bytes, (random, affinity)) in sizes.into_iter().zip(&mut by_size) {
            let other = PrefixScenario { cache_bytes, ..scenario.clone() };
            random.push(run(&other, &prompts, None, seed).hit_share);
            let options = Some(PrefixOptions::default());
            affinity.push(run(&other, &prompts, options, seed).hit_share);
        }
    }
    let shares = |runs: &[Run]| runs.iter().map(|run| run.hit_share).collect::<Vec<_>>();
    let by_cache =
        sizes.into_iter().zip(&by_size).map(|(cache_bytes, (random, affinity))| CacheResult {
            cache_bytes,
            random: Estimate::of(random),
            affinity: Estimate::of(affinity),
            ratio: ratio(affinity, random),
        });
    PrefixReport {
        seeds,
        scenario,
        random: summary("chance", &random),
        two_choices: summary("load (the less busy of two)", &two_choices),
        affinity: summary("the prompt's beginning", &affinity),
        ratio: ratio(&shares(&affinity), &shares(&random)),
        by_cache: by_cache.collect(),
    }
}

fn ratio(values: &[f64], of: &[f64]) -> Estimate {
    Estimate::of(&values.iter().zip(of).map(|(value, of)| value / of).collect::<Vec<_>>())
}

fn summary(name: &'static str, runs: &[Run]) -> SpreadResult {
    let of = |value: fn(&Run) -> f64| Estimate::of(&runs.iter().map(value).collect::<Vec<_>>());
    SpreadResult {
        name,
        hit_share: of(|run| run.hit_share),
        max_requests: of(|run| run.max_requests),
        max_load: of(|run| run.max_load),
        prompt_ms: of(|run| run.prompt_ms),
    }
}

struct Prompt {
    at: f64,
    tenant: usize,
    conversation: usize,
    system_bytes: usize,
    /// Bytes of the conversation behind the system prompt.
    turn_bytes: usize,
    answer_ms: f64,
    hashes: PrefixHashes,
}

fn prompts(scenario: &PrefixScenario, seed: u64) -> Vec<Prompt> {
    let mut random = fastrand::Rng::with_seed(seed);
    let systems: Vec<_> = (0..scenario.tenants)
        .map(|_| {
            let bytes = log_normal(&mut random, scenario.system_bytes, 0.5);
            text(&mut random, bytes)
        })
        .collect();
    let mut prompts = Vec::new();
    let gap = 1000.0 / scenario.conversations_per_second;
    let mut begins = exponential(&mut random, gap);
    let mut conversation = 0;
    while begins < scenario.arrivals_ms {
        // Some tenants talk more than others.
        let tenant = (random.f64().powi(2) * scenario.tenants as f64) as usize;
        let system = systems.get(tenant).cloned().unwrap_or_default();
        let system_bytes = system.len();
        let (mut rendered, mut at) = (system, begins);
        for _ in 0..scenario.turns {
            let bytes = log_normal(&mut random, scenario.turn_bytes, 0.5);
            rendered.extend(text(&mut random, bytes));
            prompts.push(Prompt {
                at,
                tenant,
                conversation,
                system_bytes,
                turn_bytes: rendered.len() - system_bytes,
                answer_ms: exponential(&mut random, scenario.answer_ms),
                hashes: PrefixHashes::of(&rendered, tenant as u64),
            });
            at += exponential(&mut random, scenario.turn_gap_ms);
        }
        begins += exponential(&mut random, gap);
        conversation += 1;
    }
    prompts.sort_by(|one, other| one.at.total_cmp(&other.at));
    prompts
}

fn text(random: &mut fastrand::Rng, bytes: f64) -> Vec<u8> {
    let mut text = vec![0; bytes as usize];
    random.fill(&mut text);
    text
}

/// What an engine keeps: beginnings of prompts, to the byte, apart from what the proxy guesses.
#[derive(Default)]
struct Cache {
    /// System prompts and conversations: bytes and last use.
    kept: BTreeMap<(bool, usize), (usize, u64)>,
    by_use: BTreeMap<u64, (bool, usize)>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    /// The engine reads a prompt; returns the bytes that it need not read again.
    fn read(&mut self, prompt: &Prompt, capacity: usize) -> usize {
        let system = (false, prompt.tenant);
        let turns = (true, prompt.conversation);
        let bytes_of = |key| self.kept.get(&key).map(|(bytes, _)| *bytes);
        let hit = match bytes_of(system) {
            Some(bytes) => bytes + bytes_of(turns).unwrap_or(0),
            None => 0,
        };
        // The conversation first: it is of no use without what stands before it.
        for (key, bytes) in [(turns, prompt.turn_bytes), (system, prompt.system_bytes)] {
            self.uses += 1;
            self.bytes += bytes;
            self.by_use.insert(self.uses, key);
            if let Some((before, used)) = self.kept.insert(key, (bytes, self.uses)) {
                self.bytes -= before;
                self.by_use.remove(&used);
            }
        }
        while self.bytes > capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |(bytes, _)| bytes);
        }
        hit
    }
}

struct Run {
    hit_share: f64,
    max_requests: f64,
    max_load: f64,
    prompt_ms: f64,
}

/// `options`: `None` sends prompts anywhere.
fn run(
    scenario: &PrefixScenario,
    prompts: &[Prompt],
    options: Option<PrefixOptions>,
    seed: u64,
) -> Run {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut index = options.map(PrefixIndex::new);
    let mut caches: Vec<_> = (0..scenario.engines).map(|_| Cache::default()).collect();
    let mut loads = vec![0.0_f32; scenario.engines];
    let (mut requests, mut busy_ms) = (vec![0.0; scenario.engines], vec![0.0; scenario.engines]);
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let (mut hit, mut all, mut prompt_ms) = (0, 0, 0.0);
    for prompt in prompts {
        let now = prompt.at as u64;
        while let Some(Reverse((end, engine))) = running.peek().copied()
            && end <= now
        {
            running.pop();
            if let Some(load) = loads.get_mut(engine) {
                *load -= 1.0;
            }
        }
        let chosen = index
            .as_ref()
            .and_then(|index| index.choose(&prompt.hashes, &loads, now, &mut random))
            .map_or_else(|| random.usize(0..scenario.engines), |choice| choice.engine);
        if let Some(index) = &mut index {
            index.note(chosen, &prompt.hashes, now);
        }
        let Some(cache) = caches.get_mut(chosen) else { continue };
        let cached = cache.read(prompt, scenario.cache_bytes);
        let bytes = prompt.system_bytes + prompt.turn_bytes;
        let new_tokens = (bytes - cached.min(bytes)) as f64 / BYTES_PER_TOKEN;
        let reading = new_tokens * scenario.prompt_token_ms;
        let took = reading + prompt.answer_ms;
        hit += cached.min(bytes);
        all += bytes;
        prompt_ms += reading;
        running.push(Reverse(((prompt.at + took) as u64, chosen)));
        for (sums, more) in [(&mut requests, 1.0), (&mut busy_ms, took)] {
            if let Some(sum) = sums.get_mut(chosen) {
                *sum += more;
            }
        }
        if let Some(load) = loads.get_mut(chosen) {
            *load += 1.0;
        }
    }
    let most = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        values.iter().copied().fold(0.0, f64::max) / mean.max(f64::MIN_POSITIVE)
    };
    Run {
        hit_share: hit as f64 / all.max(1) as f64,
        max_requests: most(&requests),
        max_load: most(&busy_ms),
        prompt_ms: prompt_ms / prompts.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_meets_its_goals() {
        let report = prefix_report(10);
        assert!(report.ratio.low > 3.2, "{:?}", report.ratio);
        assert!(report.affinity.hit_share.low > 0.7, "{:?}", report.affinity.hit_share);
        // At equal load: no engine has more than the bound allows, nor much more than by chance.
        assert!(report.affinity.max_load.high < 1.25, "{:?}", report.affinity.max_load);
        assert!(report.affinity.max_load.mean < report.random.max_load.mean + 0.15);
        // Larger caches keep more by chance as well, but never as much.
        assert!(report.by_cache.iter().all(|result| result.ratio.low > 2.0));
    }

    #[test]
    fn equal_seeds_give_equal_reports() {
        assert_eq!(prefix_report(2), prefix_report(2));
    }
}
