use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt::Write as _;

use routing::TaskClass;
use routing::local::{
    AdmissionOptions, AdmissionQueue, Enqueued, Job, Next, OutputFeatures, OutputPredictor,
    PredictorOptions, PriorityClass, Ticket,
};
use serde::Serialize;

use super::fair_share::max_min;
use super::{Estimate, exponential, log_normal};

/// A tenant of the simulated pool.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tenant {
    /// Its share relative to the others'.
    pub weight: f64,
    /// Work that it brings while requests arrive, relative to what the pool can do.
    pub load: f64,
    /// Share of its requests with long answers.
    pub long_share: f64,
}

/// The pool and who uses it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdmissionScenario {
    /// Requests that the engines serve at a time.
    pub slots: u32,
    /// Milliseconds for each token of an answer.
    pub token_ms: f64,
    /// How long requests arrive, milliseconds. Afterwards what waits is served.
    pub arrivals_ms: f64,
    /// Median of short answers, tokens.
    pub short_tokens: f64,
    /// Median of long answers, tokens.
    pub long_tokens: f64,
    /// Standard deviation of the logarithm of both.
    pub spread: f64,
    /// Share of requests whose class tells the wrong kind.
    pub mistaken: f64,
    /// Who sends requests.
    pub tenants: Vec<Tenant>,
}

impl Default for AdmissionScenario {
    fn default() -> Self {
        let mixed = Tenant { weight: 1.0, load: 0.2, long_share: 0.25 };
        Self {
            slots: 16,
            token_ms: 20.0,
            arrivals_ms: 600_000.0,
            short_tokens: 80.0,
            long_tokens: 1000.0,
            spread: 0.6,
            mistaken: 0.1,
            tenants: vec![
                // Wants more than twice its share.
                Tenant { load: 0.5, ..mixed },
                mixed,
                mixed,
                Tenant { long_share: 0.05, ..mixed },
            ],
        }
    }
}

/// What one way of ordering came to, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderResult {
    /// Its name.
    pub name: &'static str,
    /// Mean time from asking to the end of the answer, milliseconds, of requests served.
    pub completion_ms: Estimate,
    /// The median of those times.
    pub median_ms: Estimate,
    /// Longest time from asking to the beginning, milliseconds.
    pub longest_wait_ms: Estimate,
    /// Least that a tenant got of its max-min fair share of the work while requests arrived.
    pub least_share: Estimate,
    /// Share of the requests that were refused or expired.
    pub refused: Estimate,
    /// Sum of the waits foretold relative to the sum of the waits that came; 0 where none are
    /// foretold.
    pub forecast: Estimate,
}

/// The admission queue against first come, first served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdmissionReport {
    /// Runs of each.
    pub seeds: u64,
    /// What was simulated.
    pub scenario: AdmissionScenario,
    /// In the order of arrival.
    pub first_come: OrderResult,
    /// The admission queue, which refuses nobody here.
    pub queue: OrderResult,
    /// The admission queue with its default longest wait.
    pub queue_with_refusals: OrderResult,
    /// Mean completion time of the queue relative to first come, first served, of equal seeds.
    pub completion_ratio: Estimate,
    /// The queue, which refuses nobody, with less and more work.
    pub by_load: Vec<LoadResult>,
}

/// The queue against first come, first served, at another load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadResult {
    /// Work that all tenants bring while requests arrive, relative to what the pool can do.
    pub load: f64,
    /// Mean completion time in the order of arrival, milliseconds.
    pub first_come_ms: Estimate,
    /// That of the queue relative to it, of equal seeds.
    pub completion_ratio: Estimate,
    /// Longest wait in the queue, milliseconds.
    pub longest_wait_ms: Estimate,
    /// Least that a tenant got of its fair share.
    pub least_share: Estimate,
}

impl AdmissionReport {
    /// The report as a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| order | mean completion, s | median, s | longest wait, s | least of a fair share | \
             refused, % | wait foretold / wait |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for result in [&self.first_come, &self.queue, &self.queue_with_refusals] {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                result.name,
                result.completion_ms.text(1000.0, 1),
                result.median_ms.text(1000.0, 1),
                result.longest_wait_ms.text(1000.0, 0),
                result.least_share.text(1.0, 2),
                result.refused.text(0.01, 1),
                result.forecast.text(1.0, 2),
            );
        }
        let _ = writeln!(
            text,
            "\nMean completion time against first come, first served: {}. {} seeds; in brackets 95 % \
             confidence intervals.",
            self.completion_ratio.text(1.0, 2),
            self.seeds
        );
        text.push_str(
            "\n| load | first come, first served, s | queue relative to it | longest wait, s | \
             least of a fair share |\n| --- | --- | --- | --- | --- |\n",
        );
        for result in &self.by_load {
            let _ = writeln!(
                text,
                "| {:.2} | {} | {} | {} | {} |",
                result.load,
                result.first_come_ms.text(1000.0, 1),
                result.completion_ratio.text(1.0, 2),
                result.longest_wait_ms.text(1000.0, 0),
                result.least_share.text(1.0, 2),
            );
        }
        text
    }
}

/// Runs the default scenario with seeds 1 to `seeds`.
#[must_use]
pub fn admission_report(seeds: u64) -> AdmissionReport {
    let scenario = AdmissionScenario::default();
    let open = AdmissionOptions {
        max_requests: scenario.slots,
        max_waiting: u32::MAX,
        max_waiting_per_tenant: u32::MAX,
        max_wait_ms: u64::MAX,
        ..AdmissionOptions::default()
    };
    let refusing = AdmissionOptions { max_requests: scenario.slots, ..AdmissionOptions::default() };
    let (mut first_come, mut queue, mut with_refusals) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let requests = requests(&scenario, seed);
        first_come.push(run(&scenario, &requests, None));
        queue.push(run(&scenario, &requests, Some(open.clone())));
        with_refusals.push(run(&scenario, &requests, Some(refusing.clone())));
    }
    let by_load = [0.9, 1.0, 1.2].map(|load| at_load(&scenario, load, seeds, &open));
    AdmissionReport {
        seeds,
        scenario,
        completion_ratio: completion_ratio(&queue, &first_come),
        first_come: summary("first come, first served", &first_come),
        queue: summary("admission queue", &queue),
        queue_with_refusals: summary("admission queue, longest wait 120 s", &with_refusals),
        by_load: by_load.into(),
    }
}

fn at_load(
    scenario: &AdmissionScenario,
    load: f64,
    seeds: u64,
    options: &AdmissionOptions,
) -> LoadResult {
    let mut scenario = scenario.clone();
    let present: f64 = scenario.tenants.iter().map(|tenant| tenant.load).sum();
    for tenant in &mut scenario.tenants {
        tenant.load *= load / present;
    }
    let (first_come, queue): (Vec<_>, Vec<_>) = (1..=seeds)
        .map(|seed| {
            let requests = requests(&scenario, seed);
            let queue = run(&scenario, &requests, Some(options.clone()));
            (run(&scenario, &requests, None), queue)
        })
        .unzip();
    let of_queue = summary("", &queue);
    LoadResult {
        load,
        first_come_ms: summary("", &first_come).completion_ms,
        completion_ratio: completion_ratio(&queue, &first_come),
        longest_wait_ms: of_queue.longest_wait_ms,
        least_share: of_queue.least_share,
    }
}

fn completion_ratio(queue: &[Run], first_come: &[Run]) -> Estimate {
    let ratio = |(queue, first): (&Run, &Run)| queue.completion_ms / first.completion_ms;
    Estimate::of(&queue.iter().zip(first_come).map(ratio).collect::<Vec<_>>())
}

fn summary(name: &'static str, runs: &[Run]) -> OrderResult {
    let of = |value: fn(&Run) -> f64| Estimate::of(&runs.iter().map(value).collect::<Vec<_>>());
    OrderResult {
        name,
        completion_ms: of(|run| run.completion_ms),
        median_ms: of(|run| run.median_ms),
        longest_wait_ms: of(|run| run.longest_wait_ms),
        least_share: of(|run| run.least_share),
        refused: of(|run| run.refused),
        forecast: of(|run| run.forecast),
    }
}

#[derive(Debug, Clone, Copy)]
struct Request {
    at: f64,
    tenant: usize,
    class: TaskClass,
    prompt_tokens: u64,
    tokens: u64,
}

fn requests(scenario: &AdmissionScenario, seed: u64) -> Vec<Request> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut requests = Vec::new();
    let tail = (scenario.spread * scenario.spread / 2.0).exp();
    for (number, tenant) in scenario.tenants.iter().enumerate() {
        let mean_tokens = tail
            * (scenario.long_tokens * tenant.long_share
                + scenario.short_tokens * (1.0 - tenant.long_share));
        let capacity = f64::from(scenario.slots) / scenario.token_ms;
        let mean_gap = mean_tokens / (capacity * tenant.load);
        let mut at = exponential(&mut random, mean_gap);
        while at < scenario.arrivals_ms {
            let long = random.f64() < tenant.long_share;
            let median = if long { scenario.long_tokens } else { scenario.short_tokens };
            let looks_long = long != (random.f64() < scenario.mistaken);
            requests.push(Request {
                at,
                tenant: number,
                class: if looks_long { TaskClass::Writing } else { TaskClass::Conversation },
                prompt_tokens: log_normal(&mut random, 300.0, 0.8) as u64,
                tokens: log_normal(&mut random, median, scenario.spread).max(1.0) as u64,
            });
            at += exponential(&mut random, mean_gap);
        }
    }
    requests.sort_by(|one, other| one.at.total_cmp(&other.at));
    requests
}

struct Run {
    completion_ms: f64,
    median_ms: f64,
    longest_wait_ms: f64,
    least_share: f64,
    refused: f64,
    forecast: f64,
}

/// A pool under one order; times in whole milliseconds.
struct Pool<'a> {
    scenario: &'a AdmissionScenario,
    requests: &'a [Request],
    queue: Option<AdmissionQueue>,
    first_come: VecDeque<usize>,
    tickets: BTreeMap<Ticket, usize>,
    predictor: OutputPredictor,
    /// By the time at which they end.
    running: BinaryHeap<Reverse<(u64, usize, Option<Ticket>)>>,
    /// Waits and times to the end of the requests that were served.
    served: Vec<(u64, u64)>,
    /// Waits that were foretold to requests that wait.
    foretold: BTreeMap<usize, u64>,
    /// Sums of what was foretold and of what came, of the requests that began.
    forecasts: (f64, f64),
    /// Work done for each tenant while requests arrived, milliseconds of a slot.
    work: Vec<f64>,
}

impl Pool<'_> {
    fn features(request: &Request) -> OutputFeatures {
        OutputFeatures {
            route: request.tenant as u64,
            class: request.class,
            complexity: 0.5,
            prompt_tokens: request.prompt_tokens,
        }
    }

    fn arrive(&mut self, number: usize) {
        let Some(request) = self.requests.get(number) else { return };
        let now = request.at as u64;
        let Some(queue) = &mut self.queue else {
            self.first_come.push_back(number);
            return self.fill(now);
        };
        let features = Self::features(request);
        let weight = self.scenario.tenants.get(request.tenant).map_or(1.0, |tenant| tenant.weight);
        let job = Job {
            tenant: request.tenant as u64,
            class: PriorityClass::Normal,
            weight,
            // The simulated engines take no time for prompts.
            prompt_tokens: 0,
            predicted_tokens: self.predictor.expected(&features),
            reserved_tokens: self.predictor.predict(&features, 0.9),
            deadline: None,
        };
        self.foretold.insert(number, queue.expected_wait(now, &job));
        match queue.enqueue(now, job) {
            Enqueued::StartNow(ticket) => self.start(now, number, Some(ticket)),
            Enqueued::Wait(ticket) => {
                self.tickets.insert(ticket, number);
            }
            Enqueued::Refused { .. } => {}
        }
    }

    /// Starts what can.
    fn fill(&mut self, now: u64) {
        if self.queue.is_none() {
            while self.running.len() < self.scenario.slots as usize {
                let Some(number) = self.first_come.pop_front() else { return };
                self.start(now, number, None);
            }
        }
        while let Some(next) = self.queue.as_mut().and_then(|queue| queue.next(now)) {
            match next {
                Next::Start(ticket) => {
                    if let Some(number) = self.tickets.remove(&ticket) {
                        self.start(now, number, Some(ticket));
                    }
                }
                Next::Expired(ticket) => {
                    self.tickets.remove(&ticket);
                }
            }
        }
    }

    fn start(&mut self, now: u64, number: usize, ticket: Option<Ticket>) {
        let Some(request) = self.requests.get(number) else { return };
        let asked = request.at as u64;
        let end = now + (request.tokens as f64 * self.scenario.token_ms) as u64;
        self.running.push(Reverse((end, number, ticket)));
        self.served.push((now - asked, end - asked));
        if let Some(foretold) = self.foretold.remove(&number) {
            self.forecasts.0 += foretold as f64;
            self.forecasts.1 += (now - asked) as f64;
        }
        let arrivals_end = self.scenario.arrivals_ms as u64;
        if let Some(work) = self.work.get_mut(request.tenant) {
            *work += end.min(arrivals_end).saturating_sub(now) as f64;
        }
    }

    fn end(&mut self, now: u64, number: usize, ticket: Option<Ticket>) {
        let Some(request) = self.requests.get(number) else { return };
        if let (Some(queue), Some(ticket)) = (&mut self.queue, ticket) {
            queue.finish(now, ticket, request.tokens);
            self.predictor.observe(&Self::features(request), request.tokens);
        }
        self.fill(now);
    }
}

fn run(
    scenario: &AdmissionScenario,
    requests: &[Request],
    options: Option<AdmissionOptions>,
) -> Run {
    let mut pool = Pool {
        scenario,
        requests,
        queue: options.map(AdmissionQueue::new),
        first_come: VecDeque::new(),
        tickets: BTreeMap::new(),
        predictor: OutputPredictor::new(&PredictorOptions::default()),
        running: BinaryHeap::new(),
        served: Vec::new(),
        foretold: BTreeMap::new(),
        forecasts: (0.0, 0.0),
        work: vec![0.0; scenario.tenants.len()],
    };
    let mut arrivals = requests.iter().map(|request| request.at as u64).enumerate().peekable();
    loop {
        let ends = pool.running.peek().map(|Reverse((end, ..))| *end);
        match (arrivals.peek().copied(), ends) {
            (Some((number, at)), ends) if ends.is_none_or(|end| at < end) => {
                arrivals.next();
                pool.arrive(number);
            }
            (_, Some(_)) => {
                if let Some(Reverse((end, number, ticket))) = pool.running.pop() {
                    pool.end(end, number, ticket);
                }
            }
            (_, None) => break,
        }
    }
    let served = pool.served.len().max(1) as f64;
    let mut times: Vec<_> = pool.served.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    Run {
        completion_ms: times.iter().map(|time| *time as f64).sum::<f64>() / served,
        median_ms: times.get(times.len() / 2).copied().unwrap_or(0) as f64,
        longest_wait_ms: pool.served.iter().map(|(wait, _)| *wait).max().unwrap_or(0) as f64,
        least_share: least_share(scenario, requests, &pool.work),
        refused: 1.0 - pool.served.len() as f64 / requests.len().max(1) as f64,
        forecast: pool.forecasts.0 / pool.forecasts.1.max(1.0),
    }
}

/// The least that a tenant got of its max-min fair share: of all the work that was done, each gets
/// its weight's share, and what one does not want goes to the others.
fn least_share(scenario: &AdmissionScenario, requests: &[Request], work: &[f64]) -> f64 {
    let mut wanted = vec![0.0; work.len()];
    for request in requests {
        if let Some(wanted) = wanted.get_mut(request.tenant) {
            *wanted += request.tokens as f64 * scenario.token_ms;
        }
    }
    let weights: Vec<_> = scenario.tenants.iter().map(|tenant| tenant.weight).collect();
    let fair = max_min(work.iter().sum(), &wanted, &weights);
    work.iter().zip(&fair).map(|(got, fair)| got / fair.max(1.0)).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_meets_its_goals() {
        let report = admission_report(10);
        assert!(report.completion_ratio.high < 0.65, "{:?}", report.completion_ratio);
        assert!(report.queue.least_share.low > 0.85, "{:?}", report.queue.least_share);
        // Without a fair queue the flood takes from the others: the measure sees it.
        assert!(report.first_come.least_share.high < report.queue.least_share.low);
        assert!(report.queue.refused.mean == 0.0 && report.first_come.refused.mean == 0.0);
        // With its default options no wait is longer than 120 s, whatever comes.
        assert!(report.queue_with_refusals.longest_wait_ms.high <= 120_000.0);
        assert!(report.queue_with_refusals.least_share.low > 0.85);
        // Refusals rest on forecasts that are right on the whole.
        let forecast = &report.queue_with_refusals.forecast;
        assert!(forecast.low > 0.7 && forecast.high < 1.5, "{forecast:?}");
        // Where nobody needs to wait, the order does no harm.
        assert!(report.by_load.iter().all(|result| result.completion_ratio.mean < 1.0));
        assert!(report.by_load.iter().all(|result| result.least_share.low > 0.8));
    }

    #[test]
    fn equal_seeds_give_equal_reports() {
        assert_eq!(admission_report(2), admission_report(2));
    }
}
