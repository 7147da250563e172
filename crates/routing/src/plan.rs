//! Puts the deployments of a route in the order in which they are tried, and says why.

use std::fmt::Write as _;

use crate::Millis;
use crate::deployment::DeploymentProfile;
use crate::filter::{Availability, Facts, FilterReason, Unavailability, filter};
use crate::policy::{Offer, Policy, Weights, score};
use crate::request::RouteRequest;

/// How a route chooses.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanOptions {
    /// By what.
    pub policy: Policy,
    /// What `balanced` makes of cost, latency and quality.
    pub weights: Weights,
    /// Scores that differ by no more count as equal.
    pub tie_tolerance: f64,
    /// By how much the deployment that a conversation had before may be worse and still be kept.
    pub stickiness_margin: f64,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            policy: Policy::Priority,
            weights: Weights::default(),
            tie_tolerance: 0.02,
            stickiness_margin: 0.1,
        }
    }
}

/// What the learning policy says of each deployment.
#[derive(Debug, Clone, Copy)]
pub struct LearnedChoice<'a> {
    /// One score for each profile, 0 to 1.
    pub scores: &'a [f64],
    /// The one that it chose, by its place among the profiles.
    pub chosen: usize,
    /// With what probability it chooses that one.
    pub propensity: f64,
}

/// All that a plan is made of; profiles and facts are of the same deployments in the same order.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What is configured.
    pub profiles: &'a [DeploymentProfile],
    /// What is observed.
    pub facts: &'a [Facts],
    /// What is asked for.
    pub request: &'a RouteRequest,
    /// How the route chooses.
    pub options: &'a PlanOptions,
    /// What was learned, for the policy `learned`.
    pub learned: Option<LearnedChoice<'a>>,
    /// The deployment that the conversation had before, by its place.
    pub sticky: Option<usize>,
}

/// How a deployment stands in a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// A filter removed it.
    Removed(FilterReason),
    /// It cannot be asked now.
    Unavailable {
        /// When it can perhaps.
        until: Millis,
        /// Why it cannot.
        why: Unavailability,
    },
    /// It is in the plan with this score, 0 to 1.
    Scored(f64),
}

/// In which order deployments are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Places among the profiles, the first to try first. Never empty.
    pub order: Vec<usize>,
    /// How each profile stands.
    pub standings: Vec<Standing>,
    /// With what probability the first of the order is the first, 0 to 1.
    pub propensity: f64,
    /// Whether it is first because the conversation had it before.
    pub sticky: bool,
}

/// Nobody can serve the request.
#[derive(Debug, Clone, PartialEq)]
pub struct NoCandidate {
    /// How each profile stands.
    pub standings: Vec<Standing>,
    /// When the first of those that no filter removed can be asked again; `None`: filters removed
    /// all.
    pub soonest: Option<Millis>,
}

impl NoCandidate {
    /// Every filter, and whom it removed.
    #[must_use]
    pub fn explain(&self, profiles: &[DeploymentProfile]) -> String {
        let mut said = String::new();
        for (profile, standing) in profiles.iter().zip(&self.standings) {
            let separator = if said.is_empty() { "" } else { "; " };
            // Writing to a string does not fail.
            _ = match standing {
                Standing::Removed(reason) => {
                    write!(said, "{separator}{} ({}): {reason}", profile.name, reason.name())
                }
                Standing::Unavailable { why, .. } => {
                    write!(said, "{separator}{} ({})", profile.name, why.name())
                }
                Standing::Scored(_) => Ok(()),
            };
        }
        said
    }
}

/// Puts the deployments in the order in which they are tried.
///
/// Filters first; of those that are left and can be asked, the policy's score decides. Scores within
/// [`PlanOptions::tie_tolerance`] are equal: among them the priority decides, and among those of one
/// priority the first is drawn by power of two choices on the load (Mitzenmacher 2001), the others
/// follow by load; one that is tried out after an outage goes before its equals. Restricted content
/// goes to the strictest residency first whatever the policy.
///
/// # Errors
/// When filters removed all, or none that is left can be asked now.
pub fn plan(situation: &Situation<'_>, rng: &mut fastrand::Rng) -> Result<Plan, NoCandidate> {
    let Situation { profiles, facts, request, options, .. } = *situation;
    let mut standings = Vec::with_capacity(profiles.len());
    let mut candidates = Vec::with_capacity(profiles.len());
    let mut soonest: Option<Millis> = None;
    for (place, (profile, facts)) in profiles.iter().zip(facts).enumerate() {
        if let Some(reason) = filter(profile, facts, request) {
            standings.push(Standing::Removed(reason));
        } else if let Availability::Unavailable { until, why } = facts.availability {
            soonest = Some(soonest.map_or(until, |before| before.min(until)));
            standings.push(Standing::Unavailable { until, why });
        } else {
            standings.push(Standing::Scored(0.0));
            candidates.push(Candidate::of(place, profile, facts, request));
        }
    }
    if candidates.is_empty() {
        return Err(NoCandidate { standings, soonest });
    }
    let scores = scores(situation, &candidates);
    for (candidate, score) in candidates.iter_mut().zip(scores) {
        candidate.score = score;
        standings[candidate.place] = Standing::Scored(score);
    }
    // A ramp sends a request on its way elsewhere, if there is an elsewhere.
    for candidate in &mut candidates {
        candidate.deflected = rng.f32() >= candidate.share;
    }
    candidates.sort_by(|one, other| {
        (one.deflected.cmp(&other.deflected))
            .then(one.tier.cmp(&other.tier))
            .then(other.score.total_cmp(&one.score))
    });
    let tolerance =
        if options.policy == Policy::Priority { 0.0 } else { options.tie_tolerance.max(0.0) };
    let mut propensity = 1.0;
    let mut begin = 0;
    while begin < candidates.len() {
        let first = candidates[begin];
        let equal = |candidate: &&Candidate| {
            candidate.deflected == first.deflected
                && candidate.tier == first.tier
                && first.score - candidate.score <= tolerance
        };
        let end = begin + candidates[begin..].iter().take_while(equal).count().max(1);
        let group = &mut candidates[begin..end];
        group.sort_by(|one, other| {
            (one.idle().cmp(&other.idle()))
                .then(one.priority.cmp(&other.priority))
                // What is known of its load is from before it failed: only requests find out.
                .then(other.probing.cmp(&one.probing))
                .then(one.load.total_cmp(&other.load))
        });
        let same = |candidate: &&Candidate| {
            candidate.priority == group[0].priority
                && candidate.idle() == group[0].idle()
                && candidate.probing == group[0].probing
        };
        let equals = group.iter().take_while(same).count();
        let drawn = draw(&mut group[..equals], rng);
        if begin == 0 {
            propensity = drawn;
        }
        begin = end;
    }
    let mut order: Vec<usize> = candidates.iter().map(|candidate| candidate.place).collect();
    let mut sticky = false;
    if let Some(learned) = situation.learned.filter(|_| options.policy == Policy::Learned) {
        // Where a ramp sent the request elsewhere, the draw among the others decided.
        if sticky_first(&candidates, &mut order, learned.chosen, f64::INFINITY) {
            let chosen = candidates.iter().find(|other| other.place == learned.chosen);
            let share = chosen.map_or(1.0, |chosen| f64::from(chosen.share));
            propensity = learned.propensity * share;
        }
    }
    if let Some(place) = situation.sticky {
        sticky = sticky_first(&candidates, &mut order, place, options.stickiness_margin);
        if sticky {
            propensity = 1.0;
        }
    }
    Ok(Plan { order, standings, propensity, sticky })
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    place: usize,
    priority: u32,
    weight: f64,
    load: f64,
    /// Lower is tried first whatever the score.
    tier: u8,
    /// Of what would be its requests, how many it takes.
    share: f32,
    /// It may be well again, and the next few requests find out.
    probing: bool,
    score: f64,
    deflected: bool,
    offer: Offer,
}

impl Candidate {
    fn of(
        place: usize,
        profile: &DeploymentProfile,
        facts: &Facts,
        request: &RouteRequest,
    ) -> Self {
        let restricted = request.requirements.sensitivity.is_restricted();
        Self {
            place,
            priority: profile.priority,
            weight: profile.weight,
            load: facts.load,
            tier: if restricted { u8::MAX - profile.residency as u8 } else { 0 },
            share: match facts.availability {
                Availability::Ramping(share) => share,
                _ => 1.0,
            },
            probing: facts.availability == Availability::Probing,
            score: 0.0,
            deflected: false,
            offer: Offer {
                priority: profile.priority,
                cost_nanos: facts.cost_nanos,
                total_ms: facts.total_ms,
                quality: facts.quality,
            },
        }
    }

    /// Whether it serves only when the others do not.
    fn idle(&self) -> bool {
        self.weight <= 0.0
    }
}

fn scores(situation: &Situation<'_>, candidates: &[Candidate]) -> Vec<f64> {
    let offers: Vec<Offer> = candidates.iter().map(|candidate| candidate.offer).collect();
    let learned: Option<Vec<f64>> = situation.learned.map(|learned| {
        let of = |candidate: &Candidate| learned.scores.get(candidate.place).copied();
        candidates.iter().map(|candidate| of(candidate).unwrap_or(0.0)).collect()
    });
    let mut scores = Vec::with_capacity(offers.len());
    let options = situation.options;
    score(options.policy, &options.weights, &offers, learned.as_deref(), &mut scores);
    scores
}

/// Puts `place` first if it is there, not deflected, in the same tier as the first and worse by no
/// more than `margin`.
fn sticky_first(candidates: &[Candidate], order: &mut [usize], place: usize, margin: f64) -> bool {
    let Some(at) = order.iter().position(|other| *other == place) else { return false };
    let (Some(first), Some(wanted)) = (candidates.first(), candidates.get(at)) else {
        return false;
    };
    let best = candidates.iter().filter(|other| other.tier == first.tier);
    let best = best.map(|other| other.score).fold(0.0, f64::max);
    if wanted.tier != first.tier || wanted.deflected || best - wanted.score > margin {
        return false;
    }
    order[..=at].rotate_right(1);
    true
}

/// Draws two of the equals by their weights and puts the less loaded of them first; the others
/// follow in the order given. With what probability that one is first.
fn draw(equals: &mut [Candidate], rng: &mut fastrand::Rng) -> f64 {
    if equals.len() < 2 {
        return 1.0;
    }
    let weights: Vec<f64> = equals.iter().map(|candidate| candidate.weight.max(0.0)).collect();
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return 1.0;
    }
    let sample = |without: Option<usize>, rng: &mut fastrand::Rng| {
        let left = total - without.map_or(0.0, |place| weights[place]);
        let mut drawn = rng.f64() * left;
        let mut last = None;
        for (place, weight) in weights.iter().enumerate() {
            if Some(place) == without || *weight <= 0.0 {
                continue;
            }
            last = Some(place);
            if drawn < *weight {
                break;
            }
            drawn -= weight;
        }
        last
    };
    let Some(one) = sample(None, rng) else { return 1.0 };
    let chosen = match sample(Some(one), rng) {
        Some(other) if equals[other].load < equals[one].load => other,
        _ => one,
    };
    let propensity = chance(equals, &weights, total, chosen);
    equals[..=chosen].rotate_right(1);
    propensity
}

/// With what probability [`draw`] puts `chosen` first.
fn chance(equals: &[Candidate], weights: &[f64], total: f64, chosen: usize) -> f64 {
    let mut chance = 0.0;
    let own = weights[chosen];
    for (other, weight) in weights.iter().enumerate() {
        if other == chosen || *weight <= 0.0 {
            continue;
        }
        let first = own / total * weight / (total - own);
        let second = weight / total * own / (total - weight);
        // Of two that are equally loaded, the one drawn first is kept.
        if equals[chosen].load <= equals[other].load {
            chance += first;
        }
        if equals[chosen].load < equals[other].load {
            chance += second;
        }
    }
    if chance > 0.0 { chance.min(1.0) } else { 1.0 }
}

#[cfg(test)]
#[path = "tests/plan.rs"]
mod tests;
