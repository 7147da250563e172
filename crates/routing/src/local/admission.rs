use std::collections::{BTreeMap, BTreeSet};

use super::fair_queue::{FairQueue, Place};
use super::job::{AdmissionOptions, Enqueued, Job, Next, PriorityClass, RefusalReason, Ticket};
use crate::Millis;

/// How much of the past the measured speed remembers: the weight of a job after the next one.
const SPEED_DECAY: f64 = 0.98;
/// Tokens that the configured speed counts for against measured ones.
const SPEED_PRIOR_TOKENS: f64 = 500.0;
/// Groups of jobs by how far they are put back, for which waits are foretold apart.
const SIZES: usize = 4;
/// Milliseconds of foretold waits that count against measured ones.
const FORECAST_PRIOR_MS: f64 = 20_000.0;

#[derive(Debug)]
struct Entry {
    job: Job,
    cost: u64,
    /// Tokens held while it runs.
    held: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { place: Place, until: Millis, asked: Millis, foretold: u64 },
    Running { since: Millis, charged: bool },
}

/// How foretold waits turned out: jobs that come later and go first cannot be foreseen, but on the
/// average they can.
#[derive(Debug, Clone, Copy)]
struct Forecast {
    foretold_ms: f64,
    waited_ms: f64,
}

impl Forecast {
    const NEW: Self = Self { foretold_ms: FORECAST_PRIOR_MS, waited_ms: FORECAST_PRIOR_MS };

    fn learn(&mut self, foretold: u64, waited: u64) {
        self.foretold_ms = self.foretold_ms * SPEED_DECAY + foretold as f64;
        self.waited_ms = self.waited_ms * SPEED_DECAY + waited as f64;
    }

    fn correct(self, foretold: f64) -> f64 {
        foretold * (self.waited_ms / self.foretold_ms.max(1.0)).clamp(0.5, 3.0)
    }
}

/// The queue in front of a pool of engines.
///
/// Classes are served in the order of their urgency, except that the less urgent get their least
/// shares; within a class tenants share by weight, counted in tokens; within a tenant short answers
/// go first, and age decides in the end. A job at the head that does not fit yet is not overtaken.
///
/// Every step costs O(log n) for n jobs, [`AdmissionQueue::expected_wait`] and
/// [`AdmissionQueue::enqueue`] O(tenants that wait + jobs of the tenant that wait).
#[derive(Debug)]
pub struct AdmissionQueue {
    options: AdmissionOptions,
    clock: Millis,
    last_ticket: u64,
    entries: BTreeMap<Ticket, Entry>,
    classes: [FairQueue; PriorityClass::COUNT],
    /// Work that each class is owed by the more urgent ones.
    credits: [f64; PriorityClass::COUNT],
    expiries: BTreeSet<(Millis, Ticket)>,
    running: u32,
    running_cost: u64,
    held_tokens: u64,
    measured_ms: f64,
    measured_cost: f64,
    forecasts: [[Forecast; SIZES]; PriorityClass::COUNT],
}

impl AdmissionQueue {
    /// An empty queue in front of an idle pool.
    #[must_use]
    pub fn new(options: AdmissionOptions) -> Self {
        let measured_ms = options.token_ms.max(0.001) * SPEED_PRIOR_TOKENS;
        Self {
            options,
            clock: 0,
            last_ticket: 0,
            entries: BTreeMap::new(),
            classes: Default::default(),
            credits: [0.0; PriorityClass::COUNT],
            expiries: BTreeSet::new(),
            running: 0,
            running_cost: 0,
            held_tokens: 0,
            measured_ms,
            measured_cost: SPEED_PRIOR_TOKENS,
            forecasts: [[Forecast::NEW; SIZES]; PriorityClass::COUNT],
        }
    }

    /// Other options from now on. What runs goes on, even if it is more than the new capacity; what
    /// waits keeps its place.
    pub fn set_options(&mut self, options: AdmissionOptions) {
        self.options = options;
    }

    /// Jobs that run.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Tokens that running jobs hold.
    #[must_use]
    pub fn held_tokens(&self) -> u64 {
        self.held_tokens
    }

    /// Jobs of a class that wait.
    #[must_use]
    pub fn waiting(&self, class: PriorityClass) -> usize {
        self.classes.get(class.index()).map_or(0, FairQueue::len)
    }

    /// Whether a job could begin now, and nobody waits before it.
    #[must_use]
    pub fn has_room(&self, job: &Job) -> bool {
        self.classes.iter().all(|class| class.len() == 0) && self.fits(self.held(job))
    }

    /// A job asks to be served. It begins at once, waits or is refused.
    pub fn enqueue(&mut self, now: Millis, job: Job) -> Enqueued {
        let now = self.advance(now);
        let job = Job { weight: weight(job.weight), ..job };
        let too_late = job.deadline.is_some_and(|deadline| deadline < now);
        if self.has_room(&job) && !too_late {
            let ticket = self.ticket();
            self.insert(ticket, job, State::Running { since: now, charged: false });
            self.begin(self.cost(&job), self.held(&job));
            return Enqueued::StartNow(ticket);
        }
        let foretold = self.work_before_ms(now, &job);
        let expected_wait_ms = self.expected_wait(now, &job);
        let until =
            now.saturating_add(self.options.max_wait_ms).min(job.deadline.unwrap_or(Millis::MAX));
        let queue = self.classes.get(job.class.index());
        let (waiting, of_tenant) =
            queue.map_or((0, 0), |queue| (queue.len(), queue.len_of(job.tenant)));
        let reason = if waiting >= self.options.max_waiting as usize {
            RefusalReason::QueueFull
        } else if of_tenant >= self.options.max_waiting_per_tenant as usize {
            RefusalReason::TenantQueueFull
        } else if now.saturating_add(expected_wait_ms) > until {
            RefusalReason::Deadline
        } else {
            let ticket = self.ticket();
            let place = (self.aged(now, &job), ticket);
            self.insert(
                ticket,
                job,
                State::Waiting { place, until, asked: now, foretold: foretold as u64 },
            );
            self.expiries.insert((until, ticket));
            let cost = self.cost(&job);
            if let Some(queue) = self.classes.get_mut(job.class.index()) {
                queue.push(job.tenant, job.weight, place, cost);
            }
            return Enqueued::Wait(ticket);
        };
        Enqueued::Refused { reason, expected_wait_ms }
    }

    /// The next job that may begin, or a job whose time is over. To be called until it answers
    /// `None` whenever a job ended, was cancelled or asked, and at [`AdmissionQueue::next_expiry`].
    pub fn next(&mut self, now: Millis) -> Option<Next> {
        let now = self.advance(now);
        if let Some((until, ticket)) = self.expiries.first().copied()
            && until < now
        {
            self.leave(ticket);
            return Some(Next::Expired(ticket));
        }
        let class = self.next_class()?;
        let ticket = self.classes.get(class).and_then(FairQueue::first)?;
        let entry = self.entries.get_mut(&ticket)?;
        let (tenant, cost, held) = (entry.job.tenant, entry.cost, entry.held);
        let State::Waiting { place, until, asked, foretold } = entry.state else { return None };
        let job = entry.job;
        if !self.fits(held) {
            return None;
        }
        if let Some(entry) = self.entries.get_mut(&ticket) {
            entry.state = State::Running { since: now, charged: true };
        }
        self.expiries.remove(&(until, ticket));
        self.learn_wait(&job, foretold, now.saturating_sub(asked));
        self.account(class, cost);
        if let Some(queue) = self.classes.get_mut(class) {
            queue.take(tenant, place, true);
        }
        self.begin(cost, held);
        Some(Next::Start(ticket))
    }

    /// A running job has ended, with so many tokens of its answer. `false`: it did not run.
    pub fn finish(&mut self, now: Millis, ticket: Ticket, tokens: u64) -> bool {
        let now = self.advance(now);
        let Some(Entry { job, state: State::Running { since, .. }, .. }) =
            self.entries.get(&ticket)
        else {
            return false;
        };
        let cost = self.cost(&Job { predicted_tokens: tokens, ..*job });
        let took = now.saturating_sub(*since);
        self.measured_ms = self.measured_ms * SPEED_DECAY + took as f64;
        self.measured_cost = self.measured_cost * SPEED_DECAY + cost as f64;
        self.end(ticket, cost);
        true
    }

    /// A job is no longer wanted: it leaves the queue, or has ended if it ran (then it is taken to
    /// have used what its time was worth; [`AdmissionQueue::finish`] is better where the tokens are
    /// known). `false`: neither waits nor runs.
    pub fn cancel(&mut self, now: Millis, ticket: Ticket) -> bool {
        let now = self.advance(now);
        match self.entries.get(&ticket) {
            None => false,
            Some(Entry { state: State::Waiting { .. }, .. }) => {
                self.leave(ticket);
                true
            }
            Some(Entry { state: State::Running { since, .. }, .. }) => {
                let took = now.saturating_sub(*since);
                let cost = took as f64 * self.measured_cost / self.measured_ms.max(0.001);
                self.end(ticket, cost as u64);
                true
            }
        }
    }

    /// Takes out all jobs that waited past their deadlines.
    pub fn expire(&mut self, now: Millis) -> Vec<Ticket> {
        let now = self.advance(now);
        let mut expired = Vec::new();
        while let Some((until, ticket)) = self.expiries.first().copied()
            && until < now
        {
            self.leave(ticket);
            expired.push(ticket);
        }
        expired
    }

    /// The first time at which a waiting job will have expired.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        self.expiries.first().map(|(until, _)| until.saturating_add(1))
    }

    /// How long a job would wait if it asked now, milliseconds: the work before it at the measured
    /// speed, corrected by how such forecasts turned out.
    #[must_use]
    pub fn expected_wait(&self, now: Millis, job: &Job) -> u64 {
        if self.has_room(job) {
            return 0;
        }
        self.forecast(job).correct(self.work_before_ms(now, job)) as u64
    }

    /// The work before a job, milliseconds. More urgent jobs that come later are not foreseen.
    fn work_before_ms(&self, now: Millis, job: &Job) -> f64 {
        let now = self.clock.max(now);
        let class = job.class.index();
        let place = (self.aged(now, job), Ticket::from_number(self.last_ticket.saturating_add(1)));
        let same = self
            .classes
            .get(class)
            .map_or(0, |queue| queue.cost_before(job.tenant, weight(job.weight), place));
        let (mut urgent, mut shares_of_others) = (0, 0.0);
        for (index, queue) in self.classes.iter().enumerate().filter(|(_, queue)| queue.len() > 0) {
            if index < class {
                urgent += queue.cost();
            } else if index > class {
                shares_of_others += self.share(index);
            }
        }
        let strict = (same + urgent) as f64 / (1.0 - shares_of_others).max(0.05);
        let share = self.share(class);
        let guaranteed = if share > 0.0 { same as f64 / share } else { f64::INFINITY };
        let running = f64::from(self.running.max(1));
        // Among as many as run, one ends after about this share of a mean job.
        let first_to_end = self.running_cost as f64 / running;
        let ms_per_cost = self.measured_ms / self.measured_cost.max(0.001);
        (strict.min(guaranteed) + first_to_end) * ms_per_cost / running
    }

    fn size(&self, job: &Job) -> usize {
        let put_back = self.aged(0, job) as f64 / self.options.ageing_limit_ms.max(1) as f64;
        ((put_back * SIZES as f64) as usize).min(SIZES - 1)
    }

    fn forecast(&self, job: &Job) -> Forecast {
        let of_class = self.forecasts.get(job.class.index());
        of_class.and_then(|sizes| sizes.get(self.size(job))).copied().unwrap_or(Forecast::NEW)
    }

    fn learn_wait(&mut self, job: &Job, foretold: u64, waited: u64) {
        let size = self.size(job);
        let of_class = self.forecasts.get_mut(job.class.index());
        if let Some(forecast) = of_class.and_then(|sizes| sizes.get_mut(size)) {
            forecast.learn(foretold, waited);
        }
    }

    fn advance(&mut self, now: Millis) -> Millis {
        self.clock = self.clock.max(now);
        self.clock
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.saturating_add(1);
        Ticket::from_number(self.last_ticket)
    }

    fn insert(&mut self, ticket: Ticket, job: Job, state: State) {
        let (cost, held) = (self.cost(&job), self.held(&job));
        self.entries.insert(ticket, Entry { job, cost, held, state });
    }

    /// Work that a job makes, in tokens of an answer, at least 1.
    fn cost(&self, job: &Job) -> u64 {
        let prompt = job.prompt_tokens as f64 * self.options.prompt_token_cost.max(0.0);
        job.predicted_tokens.saturating_add(prompt as u64).max(1)
    }

    fn held(&self, job: &Job) -> u64 {
        job.prompt_tokens
            .saturating_add(job.reserved_tokens.max(job.predicted_tokens))
            .min(self.options.max_tokens.unwrap_or(u64::MAX))
    }

    fn aged(&self, now: Millis, job: &Job) -> Millis {
        let put_back = self.cost(job) as f64 * self.options.ageing_ms_per_token.max(0.0);
        now.saturating_add((put_back as u64).min(self.options.ageing_limit_ms))
    }

    fn fits(&self, held: u64) -> bool {
        let tokens = self
            .options
            .max_tokens
            .is_none_or(|most| self.running == 0 || self.held_tokens.saturating_add(held) <= most);
        self.running < self.options.max_requests.max(1) && tokens
    }

    fn begin(&mut self, cost: u64, held: u64) {
        self.running = self.running.saturating_add(1);
        self.running_cost = self.running_cost.saturating_add(cost);
        self.held_tokens = self.held_tokens.saturating_add(held);
    }

    fn end(&mut self, ticket: Ticket, cost: u64) {
        let Some(entry) = self.entries.remove(&ticket) else { return };
        self.running = self.running.saturating_sub(1);
        self.running_cost = self.running_cost.saturating_sub(entry.cost);
        self.held_tokens = self.held_tokens.saturating_sub(entry.held);
        if let State::Running { charged: true, .. } = entry.state
            && let Some(queue) = self.classes.get_mut(entry.job.class.index())
        {
            queue.settle(entry.job.tenant, entry.cost, cost);
        }
    }

    /// Takes a waiting job out of everything.
    fn leave(&mut self, ticket: Ticket) {
        let Some(entry) = self.entries.remove(&ticket) else { return };
        let State::Waiting { place, until, .. } = entry.state else { return };
        self.expiries.remove(&(until, ticket));
        let class = entry.job.class.index();
        if let Some(queue) = self.classes.get_mut(class) {
            queue.take(entry.job.tenant, place, false);
            if queue.len() == 0
                && let Some(credit) = self.credits.get_mut(class)
            {
                *credit = credit.min(0.0);
            }
        }
    }

    fn share(&self, class: usize) -> f64 {
        let share = match class {
            1 => self.options.normal_share,
            2 => self.options.batch_share,
            _ => 0.0,
        };
        share.clamp(0.0, 1.0)
    }

    /// The class to serve: the most urgent that waits, unless a less urgent one is owed work.
    fn next_class(&self) -> Option<usize> {
        let mut waiting =
            self.classes.iter().enumerate().filter(|(_, queue)| queue.len() > 0).map(|(at, _)| at);
        let first = waiting.next()?;
        let owed = |class: &usize| self.credits.get(*class).is_some_and(|credit| *credit > 0.0);
        Some(waiting.find(owed).unwrap_or(first))
    }

    /// Counts what a class is served for the shares of all that wait.
    fn account(&mut self, class: usize, cost: u64) {
        let cost = cost as f64;
        let urgent_waits = self.classes.iter().take(class).any(|queue| queue.len() > 0);
        let shares = [self.share(0), self.share(1), self.share(2)];
        for (index, (queue, credit)) in self.classes.iter().zip(&mut self.credits).enumerate() {
            let share = shares.get(index).copied().unwrap_or(0.0);
            if queue.len() > 0 {
                *credit += share * cost;
            }
            if index == class && urgent_waits {
                *credit -= cost;
            }
            if index == class && queue.len() <= 1 {
                *credit = credit.min(0.0);
            }
        }
    }
}

fn weight(weight: f64) -> f64 {
    if weight.is_finite() { weight.clamp(0.01, 100.0) } else { 1.0 }
}
