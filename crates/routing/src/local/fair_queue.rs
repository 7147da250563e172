use std::collections::{BTreeMap, BTreeSet};

use super::job::Ticket;
use crate::Millis;

/// Steps of virtual time for one token at weight 1.
const SCALE: f64 = 256.0;
/// Tenants without a waiting job whose use is remembered.
const MAX_IDLE: usize = 1024;

/// Where a job stands within its tenant: the aged time, then the order of arrival.
pub(super) type Place = (Millis, Ticket);

/// Start-time fair queueing of tenants; within a tenant, jobs in the order of their places.
///
/// The tenant with the least service for its weight is next. A tenant that had nothing waiting comes
/// back at the present virtual time: what it left unused is not saved up for it.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    virtual_time: u64,
    flows: BTreeMap<u64, Flow>,
    /// The first job of each tenant that has one, by the virtual time at which it is due.
    heads: BTreeSet<(u64, Place, u64)>,
    waiting: usize,
    cost: u64,
}

#[derive(Debug)]
struct Flow {
    /// Virtual time at which the next job is due.
    tag: u64,
    weight: f64,
    jobs: BTreeMap<Place, u64>,
    cost: u64,
}

impl Flow {
    fn head(&self, tenant: u64) -> Option<(u64, Place, u64)> {
        self.jobs.keys().next().map(|place| (self.tag, *place, tenant))
    }
}

impl FairQueue {
    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Cost of all jobs that wait.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// Jobs of one tenant that wait.
    pub(super) fn len_of(&self, tenant: u64) -> usize {
        self.flows.get(&tenant).map_or(0, |flow| flow.jobs.len())
    }

    pub(super) fn push(&mut self, tenant: u64, weight: f64, place: Place, cost: u64) {
        let now = self.virtual_time;
        let flow = self.flows.entry(tenant).or_insert_with(|| Flow {
            tag: now,
            weight,
            jobs: BTreeMap::new(),
            cost: 0,
        });
        if let Some(head) = flow.head(tenant) {
            self.heads.remove(&head);
        } else {
            flow.tag = flow.tag.max(now);
        }
        flow.weight = weight;
        if let Some(replaced) = flow.jobs.insert(place, cost) {
            flow.cost = flow.cost.saturating_sub(replaced);
            self.cost = self.cost.saturating_sub(replaced);
        } else {
            self.waiting += 1;
        }
        flow.cost = flow.cost.saturating_add(cost);
        self.cost = self.cost.saturating_add(cost);
        if let Some(head) = flow.head(tenant) {
            self.heads.insert(head);
        }
    }

    /// The ticket of the job that is next.
    pub(super) fn first(&self) -> Option<Ticket> {
        self.heads.first().map(|(_, (_, ticket), _)| *ticket)
    }

    /// Takes a job out. With `served`, its tenant is charged.
    pub(super) fn take(&mut self, tenant: u64, place: Place, served: bool) {
        let Some(flow) = self.flows.get_mut(&tenant) else { return };
        if let Some(head) = flow.head(tenant) {
            self.heads.remove(&head);
        }
        if let Some(cost) = flow.jobs.remove(&place) {
            flow.cost = flow.cost.saturating_sub(cost);
            self.cost = self.cost.saturating_sub(cost);
            self.waiting = self.waiting.saturating_sub(1);
            if served {
                self.virtual_time = self.virtual_time.max(flow.tag);
                flow.tag = flow.tag.saturating_add(steps(cost, flow.weight));
            }
        }
        if let Some(head) = flow.head(tenant) {
            self.heads.insert(head);
        }
        self.forget();
    }

    /// Corrects what a tenant was charged, once the true cost is known.
    pub(super) fn settle(&mut self, tenant: u64, charged: u64, cost: u64) {
        let Some(flow) = self.flows.get_mut(&tenant) else { return };
        if let Some(head) = flow.head(tenant) {
            self.heads.remove(&head);
        }
        flow.tag = flow
            .tag
            .saturating_add(steps(cost, flow.weight))
            .saturating_sub(steps(charged, flow.weight));
        if let Some(head) = flow.head(tenant) {
            self.heads.insert(head);
        }
    }

    /// Cost of the jobs that would be served before a job of this tenant at this place.
    pub(super) fn cost_before(&self, tenant: u64, weight: f64, place: Place) -> u64 {
        let own = self.flows.get(&tenant);
        let own_before: u64 = own.map_or(0, |flow| {
            flow.jobs.range(..place).fold(0, |sum, (_, cost)| sum.saturating_add(*cost))
        });
        let own_tag = match own {
            Some(flow) if !flow.jobs.is_empty() => flow.tag,
            Some(flow) => flow.tag.max(self.virtual_time),
            None => self.virtual_time,
        };
        let due = own_tag.saturating_add(steps(own_before, weight));
        let others = self.heads.iter().filter(|(_, _, other)| *other != tenant).take_while(
            // Heads stand in the order of their tags.
            |(tag, _, _)| *tag <= due,
        );
        others.fold(own_before, |sum, (tag, place, other)| {
            let Some(flow) = self.flows.get(other) else { return sum };
            let head = flow.jobs.get(place).copied().unwrap_or(0);
            let until_due = tokens(due.saturating_sub(*tag), flow.weight).max(head);
            sum.saturating_add(until_due.min(flow.cost))
        })
    }

    /// Keeps memory bounded: nothing is owed once nobody waits, and of many tenants that were served
    /// and left, those that are owed most are forgotten first.
    fn forget(&mut self) {
        if self.waiting == 0 {
            self.flows.clear();
            return;
        }
        let now = self.virtual_time;
        if self.flows.len() <= MAX_IDLE + self.heads.len() {
            return;
        }
        self.flows.retain(|_, flow| !flow.jobs.is_empty() || flow.tag > now);
        while self.flows.len() > MAX_IDLE / 2 + self.heads.len() {
            let idle = || self.flows.values().filter(|flow| flow.jobs.is_empty());
            let count = idle().count() as u128;
            let mean = idle().map(|flow| u128::from(flow.tag)).sum::<u128>() / count.max(1);
            self.flows.retain(|_, flow| !flow.jobs.is_empty() || u128::from(flow.tag) > mean);
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.flows.len()
    }
}

fn steps(cost: u64, weight: f64) -> u64 {
    (cost as f64 * SCALE / weight) as u64
}

fn tokens(steps: u64, weight: f64) -> u64 {
    (steps as f64 * weight / SCALE) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64) -> Place {
        (at, Ticket::from_number(at))
    }

    fn serve(queue: &mut FairQueue, places: &BTreeMap<Ticket, (u64, Place)>) -> Option<u64> {
        let ticket = queue.first()?;
        let (tenant, place) = places[&ticket];
        queue.take(tenant, place, true);
        Some(tenant)
    }

    fn fill(queue: &mut FairQueue, jobs: &[(u64, f64, u64)]) -> BTreeMap<Ticket, (u64, Place)> {
        let mut places = BTreeMap::new();
        for (number, (tenant, weight, cost)) in jobs.iter().enumerate() {
            let place = place(number as u64);
            queue.push(*tenant, *weight, place, *cost);
            places.insert(place.1, (*tenant, place));
        }
        places
    }

    #[test]
    fn tenants_are_served_by_weight_not_by_numbers_of_jobs() {
        let mut queue = FairQueue::default();
        let jobs: Vec<_> = (0..400)
            .map(|_| (1, 1.0, 100))
            .chain((0..40).map(|_| (2, 1.0, 1000)))
            .chain((0..400).map(|_| (3, 2.0, 100)))
            .collect();
        let places = fill(&mut queue, &jobs);
        let mut served = BTreeMap::<u64, u64>::new();
        for _ in 0..210 {
            let tenant = serve(&mut queue, &places).expect("jobs wait");
            *served.entry(tenant).or_default() += if tenant == 2 { 1000 } else { 100 };
        }
        let (first, long, heavy) = (served[&1], served[&2], served[&3]);
        assert!(first.abs_diff(long) <= 1000, "{served:?}");
        assert!(heavy.abs_diff(2 * first) <= 1000, "{served:?}");
    }

    #[test]
    fn a_tenant_that_was_away_does_not_get_what_it_left_unused() {
        let mut queue = FairQueue::default();
        let mut places = fill(&mut queue, &[(1, 1.0, 100); 100]);
        for _ in 0..50 {
            serve(&mut queue, &places);
        }
        for number in 1000..1050 {
            queue.push(2, 1.0, place(number), 100);
            places.insert(place(number).1, (2, place(number)));
        }
        let of_two = (0..20).filter(|_| serve(&mut queue, &places) == Some(2)).count();
        assert!((9..=11).contains(&of_two), "{of_two}");
    }

    #[test]
    fn who_used_more_than_predicted_waits_for_it() {
        let mut queue = FairQueue::default();
        let jobs: Vec<_> = (0..40).map(|number| (number % 2, 1.0, 100)).collect();
        let places = fill(&mut queue, &jobs);
        let first = serve(&mut queue, &places).expect("jobs wait");
        queue.settle(first, 100, 1000);
        let mut others = 0;
        while serve(&mut queue, &places) != Some(first) {
            others += 1;
        }
        assert!((9..=11).contains(&others), "{others}");
    }

    #[test]
    fn the_cost_before_a_job_is_what_is_then_served_before_it() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let mut queue = FairQueue::default();
            let jobs: Vec<_> = (0..100)
                .map(|_| {
                    let tenant = random.u64(0..5);
                    (tenant, 1.0 + tenant as f64, random.u64(50..150))
                })
                .collect();
            let mut places = fill(&mut queue, &jobs);
            for _ in 0..random.usize(0..50) {
                serve(&mut queue, &places);
            }
            let (tenant, mine) = (random.u64(0..5), place(1000));
            let expected = queue.cost_before(tenant, 1.0 + tenant as f64, mine);
            queue.push(tenant, 1.0 + tenant as f64, mine, 100);
            places.insert(mine.1, (tenant, mine));
            let before = queue.cost();
            while queue.first() != Some(mine.1) {
                serve(&mut queue, &places);
            }
            let served = before - queue.cost();
            // One job of each other tenant may fall on either side.
            assert!(expected.abs_diff(served) <= 4 * 150, "{expected} {served}");
        }
    }

    #[test]
    fn tenants_that_left_are_forgotten() {
        let mut queue = FairQueue::default();
        for tenant in 0..20_000 {
            queue.push(tenant, 1.0, place(2 * tenant), 100);
            queue.push(tenant + 1, 1.0, place(2 * tenant + 1), 100);
            queue.take(tenant, place(2 * tenant), true);
            assert!(queue.remembered() <= MAX_IDLE + queue.heads.len() + 1);
            if tenant > 0 {
                queue.take(tenant, place(2 * tenant - 1), true);
            }
        }
        assert_eq!(queue.len(), 1);
        queue.take(20_000, place(39_999), true);
        assert_eq!((queue.remembered(), queue.cost()), (0, 0));
    }
}
