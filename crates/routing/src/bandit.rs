//! The policy `learned`: a contextual bandit with a floor.
//!
//! For each deployment a regression tells the quality to expect of a request. Cost and first token
//! are not learned: the caller hands in what it expects of this request, so that a new price acts
//! at once. The score of a deployment is
//!
//! ```text
//! quality_weight * quality - price * (cost_weight * cost / reference_cost
//!                                     + latency_weight * first_token / reference_first_token)
//! ```
//!
//! where the references are what the best single deployment takes of an ordinary request, and
//! `price`, at most 1, falls as quality is lost and rises as there is room: what may be lost below
//! the best single deployment is spent where it saves most.
//!
//! The floor: what was lost against the best single deployment, discounted, stays below
//! `floor_margin` of its quality; where it would not, the best single deployment serves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deployment::QualityPriors;
use crate::request::{PromptFeatures, TaskClass};
use crate::ridge::{Context, DIMENSIONS, Ridge, context};

/// How the policy `learned` learns and decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnedOptions {
    /// What quality is worth, relative to the other weights.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub quality_weight: f64,
    /// The most that cost may be worth: the mean cost of a request at the best single deployment
    /// counts as this much quality.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub cost_weight: f64,
    /// The most that the first token may be worth: its mean time at the best single deployment
    /// counts as this much quality.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub latency_weight: f64,
    /// Share of requests that go to a random deployment to learn, only of tenants that agreed.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub exploration: f64,
    /// Share of requests that go, besides, to deployments with fewer than `min_outcomes`, only of
    /// tenants that agreed.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub warm_up: f64,
    /// What an outcome is worth compared with the next one; 0.998 halves it every 346.
    #[schemars(range(min = 0.9, max = 1.0))]
    pub discount: f64,
    /// Share of the best single deployment's quality that may be lost for cost and latency.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor_margin: f64,
    /// Outcomes that a deployment needs before it is preferred for anything.
    #[schemars(range(min = 1, max = 100_000))]
    pub min_outcomes: u64,
    /// How many outcomes the declared quality counts for.
    #[schemars(range(min = 0.1, max = 10_000.0))]
    pub prior_outcomes: f64,
    /// Decide and log, but let the route's other policy act.
    pub shadow: bool,
}

impl Default for LearnedOptions {
    fn default() -> Self {
        Self {
            quality_weight: 0.6,
            cost_weight: 0.3,
            latency_weight: 0.1,
            exploration: 0.02,
            warm_up: 0.2,
            discount: 0.998,
            floor_margin: 0.03,
            min_outcomes: 30,
            prior_outcomes: 6.0,
            shadow: false,
        }
    }
}

/// What became of a request, for [`LearnedPolicy::learn`].
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'o> {
    /// Name of the deployment that served it.
    pub deployment: &'o str,
    /// What it was like.
    pub features: PromptFeatures,
    /// How good the answer was, 0 to 1; `None`: nobody can tell.
    pub quality: Option<f64>,
    /// What it cost, in the unit of the costs that [`LearnedPolicy::decide`] is given.
    pub cost: f64,
    /// Time to its first token, milliseconds; `None`: none came.
    pub first_token_ms: Option<f64>,
    /// Whether this policy chose the deployment. What others chose teaches as well, but does not
    /// count against the floor.
    pub governed: bool,
}

/// What [`LearnedPolicy::decide`] says of a request. The vectors have an element for each
/// deployment, in the order of the last [`LearnedPolicy::reload`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LearnedScores {
    /// Score of each; negative infinity where it is not allowed.
    pub scores: Vec<f32>,
    /// Expected quality of each, 0 to 1.
    pub qualities: Vec<f32>,
    /// How probable it was that each would be chosen.
    pub propensities: Vec<f32>,
    /// Which to use; `None`: none is allowed.
    pub chosen: Option<usize>,
    /// Which would be used without exploration.
    pub greedy: Option<usize>,
    /// The best single deployment of those allowed.
    pub best_single: Option<usize>,
    /// Whether `chosen` was drawn to learn.
    pub explored: bool,
    /// Whether the floor held back a deployment with a better score.
    pub held: bool,
}

#[derive(Debug, Clone)]
struct Arm {
    name: Box<str>,
    /// Still in the configuration; its place in the order of the last reload.
    place: Option<usize>,
    prior: [f32; TaskClass::COUNT],
    model: Ridge,
    /// Outcomes since the best single deployment last changed, or ever: what warm-up goes by.
    fresh: u64,
    /// By how much its answers of late were better than expected.
    surprise: f64,
    /// Quality of the mean request of late, all requests counted: what makes it the best single.
    standing: f32,
    /// Discounted sums of its own outcomes: how many, their quality.
    quality: (f64, f64),
    /// Discounted sums of its own outcomes: tokens of prompts, cost.
    cost: (f64, f64),
    /// Discounted sums of its own outcomes: how many, time to the first token.
    first_token: (f64, f64),
}

impl Arm {
    fn expected(&self, x: &Context, class: TaskClass) -> f32 {
        let prior = self.prior.get(class.index()).copied().unwrap_or(0.5);
        (prior + self.model.predict(x)).clamp(0.0, 1.0)
    }

    /// Whether it turned out to have changed.
    fn learn(&mut self, x: &Context, class: TaskClass, quality: f64, discount: f64) -> bool {
        self.surprise += (quality - f64::from(self.expected(x, class)) - self.surprise) * SURPRISE;
        let changed = self.surprise.abs() > CHANGED;
        if changed {
            self.model.forget(0.1);
            self.surprise = 0.0;
        }
        self.fresh = self.fresh.saturating_add(1);
        discounted(&mut self.quality, quality, discount);
        let prior = self.prior.get(class.index()).copied().unwrap_or(0.5);
        self.model.learn(x, quality - f64::from(prior), discount);
        changed
    }
}

/// Deployments beyond the configuration's whose learned state is kept.
const KEPT_ARMS: usize = 256;

/// Standard deviation of a quality that is 0 or 1 and uncertain: the noise of the regression.
const NOISE: f64 = 0.45;

/// Standard deviations of a difference in quality that are reckoned as lost.
const CAUTION: f64 = 0.35;

/// Weight of the last answer in the mean of surprises: about the last 65 count.
const SURPRISE: f64 = 0.03;

/// Mean surprise from which on a deployment is taken to have changed: four standard deviations of
/// the mean of that many answers that are right or wrong.
const CHANGED: f64 = 0.225;

/// Standard deviations by which a deployment must lead the best single one to take its place.
const LEAD: f64 = 1.0;

/// Requests that the account of losses begins with, none of them lost: room to begin to learn.
const FIRST_ROOM: f64 = 50.0;

/// Share of the margin at which the price neither rises nor falls. The rest is for errors of the
/// regression, so that the floor itself seldom has to hold.
const TARGET: f64 = 0.85;

/// Share of the margin that exploration leaves untouched: early on, what it loses is known too low.
const KEPT_FROM_EXPLORATION: f64 = 0.33;

/// How much longer the account of losses remembers than the regressions: the power of the discount.
/// It has to, because answers that are right or wrong say little of a few hundredths each.
const MEMORY: f64 = 0.25;

/// How fast the price moves: its logarithm, per request.
const STEP: f64 = 0.006;

/// The policy's state: what it learned, and its account of losses.
#[derive(Debug, Clone)]
pub struct LearnedPolicy {
    options: LearnedOptions,
    arms: Vec<Arm>,
    /// Places of the configuration's deployments in `arms`.
    order: Vec<usize>,
    /// The best single deployment's place in `arms`.
    best: Option<usize>,
    /// The mean request of late.
    mean: Context,
    /// Discounted tokens of prompts.
    tokens: f64,
    /// Discounted requests.
    requests: f64,
    /// Discounted requests governed.
    governed: f64,
    /// Discounted quality lost against the best single deployment.
    lost: f64,
    /// The same, as the regression expected it.
    expected_loss: f64,
    /// Logarithm of the price.
    price: f64,
}

impl LearnedPolicy {
    /// A policy that knows nothing yet of any deployment.
    #[must_use]
    pub fn new(options: LearnedOptions) -> Self {
        Self {
            options,
            arms: Vec::new(),
            order: Vec::new(),
            best: None,
            mean: [0.0; DIMENSIONS],
            tokens: 0.0,
            requests: 0.0,
            governed: FIRST_ROOM,
            lost: 0.0,
            expected_loss: 0.0,
            price: 0.25f64.ln(),
        }
    }

    /// Takes over a configuration: names and declared qualities of the deployments, in the order of
    /// the slices that [`Self::decide`] will be given. What was learned of a name is kept, also
    /// while the name is away.
    pub fn reload<'d>(
        &mut self,
        options: LearnedOptions,
        deployments: impl IntoIterator<Item = (&'d str, &'d QualityPriors)>,
    ) {
        self.options = options;
        for arm in &mut self.arms {
            arm.place = None;
        }
        self.order.clear();
        for (place, (name, priors)) in deployments.into_iter().enumerate() {
            let at = self.position(name).unwrap_or_else(|| {
                self.arms.push(Arm {
                    name: name.into(),
                    place: None,
                    prior: [0.5; TaskClass::COUNT],
                    model: Ridge::new(self.options.prior_outcomes.max(0.1)),
                    fresh: 0,
                    surprise: 0.0,
                    standing: 0.5,
                    quality: (0.0, 0.0),
                    cost: (0.0, 0.0),
                    first_token: (0.0, 0.0),
                });
                self.arms.len() - 1
            });
            if let Some(arm) = self.arms.get_mut(at) {
                arm.place = Some(place);
                for (class, prior) in TaskClass::ALL.into_iter().zip(&mut arm.prior) {
                    *prior = (priors.of(class) as f32).clamp(0.0, 1.0);
                }
            }
            self.order.push(at);
        }
        if self.arms.len() > KEPT_ARMS + self.order.len() {
            self.forget_the_absent();
        }
        self.stand();
    }

    fn forget_the_absent(&mut self) {
        self.arms.retain(|arm| arm.place.is_some());
        self.best = None;
        let mut order: Vec<(usize, usize)> = Vec::with_capacity(self.arms.len());
        for (at, arm) in self.arms.iter().enumerate() {
            order.extend(arm.place.map(|place| (place, at)));
        }
        order.sort_unstable();
        self.order = order.into_iter().map(|(_, at)| at).collect();
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.arms.iter().position(|arm| &*arm.name == name)
    }

    /// The options of the last reload.
    #[must_use]
    pub fn options(&self) -> &LearnedOptions {
        &self.options
    }

    /// Discounted mean quality of a deployment's own answers, and how many it has learned from.
    #[must_use]
    pub fn running_quality(&self, deployment: &str) -> Option<(f64, u64)> {
        let arm = self.arms.get(self.position(deployment)?)?;
        let (count, sum) = arm.quality;
        (count > 0.0).then(|| (sum / count, arm.model.count))
    }

    /// Share of the best single deployment's quality lost of late, and how much of it may be.
    #[must_use]
    pub fn loss(&self) -> (f64, f64) {
        let best = self.best_standing(|_| true).map_or(1.0, |(_, standing)| f64::from(standing));
        (
            self.lost.max(self.expected_loss) / self.governed / best.max(1e-6),
            self.options.floor_margin,
        )
    }

    /// The best single deployment of those allowed, and its standing.
    fn best_standing(&self, allowed: impl Fn(usize) -> bool) -> Option<(usize, f32)> {
        let mut best: Option<(usize, f32)> = None;
        for (place, at) in self.order.iter().enumerate() {
            let Some(arm) = self.arms.get(*at).filter(|_| allowed(place)) else { continue };
            if self.best == Some(*at) {
                return Some((place, arm.standing));
            }
            if best.is_none_or(|(_, standing)| arm.standing > standing) {
                best = Some((place, arm.standing));
            }
        }
        best
    }

    fn arm(&self, place: usize) -> Option<&Arm> {
        self.arms.get(*self.order.get(place)?)
    }

    /// Quality that may still be lost now without the account exceeding the margin.
    fn room(&self, best: f32) -> f64 {
        let margin = self.options.floor_margin * f64::from(best);
        (self.governed + 1.0) * margin - self.lost.max(self.expected_loss)
    }

    /// Scores the deployments of the last reload for a request and draws one.
    ///
    /// `costs` are what the request is expected to cost at each, in any unit, `first_tokens` the
    /// expected milliseconds to the first token; what is no number counts as the worst of the
    /// others. `allowed` says which passed the filters; what a slice has too few elements for is
    /// not allowed. `explore`: whether the tenant agreed to exploration.
    pub fn decide(
        &self,
        features: &PromptFeatures,
        costs: &[f64],
        first_tokens: &[f64],
        allowed: &[bool],
        explore: bool,
        rng: &mut fastrand::Rng,
    ) -> LearnedScores {
        let count = self.order.len();
        let may = |place: usize| place < count && allowed.get(place).copied().unwrap_or(false);
        let mut result = LearnedScores {
            scores: vec![f32::NEG_INFINITY; count],
            qualities: vec![0.0; count],
            propensities: vec![0.0; count],
            ..LearnedScores::default()
        };
        let Some((best, best_standing)) = self.best_standing(may) else { return result };
        let Some(best_arm) = self.arm(best) else { return result };
        result.best_single = Some(best);

        let x = context(features);
        let (worst_cost, reference_cost) = self.scale(costs, &may, self.reference_cost(best_arm));
        let (worst_wait, reference_wait) =
            self.scale(first_tokens, &may, mean(best_arm.first_token));
        let price = self.price.exp();
        let per_cost = price * self.options.cost_weight / reference_cost;
        let per_wait = price * self.options.latency_weight / reference_wait;
        let score_of = |place: usize, quality: f32| {
            let fact = |facts: &[f64], worst| {
                facts.get(place).copied().filter(|fact| fact.is_finite()).unwrap_or(worst)
            };
            self.options.quality_weight * f64::from(quality)
                - per_cost * fact(costs, worst_cost)
                - per_wait * fact(first_tokens, worst_wait)
        };

        let (mut top, mut top_score) = (best, f64::NEG_INFINITY);
        let (mut candidates, mut untried) = (0u32, 0u32);
        let slots = result.scores.iter_mut().zip(&mut result.qualities).zip(&self.order);
        for (place, ((slot, quality), at)) in slots.enumerate() {
            let Some(arm) = self.arms.get(*at).filter(|_| may(place)) else { continue };
            *quality = arm.expected(&x, features.class);
            let score = score_of(place, *quality);
            *slot = score as f32;
            candidates += 1;
            let tried = arm.model.count >= self.options.min_outcomes;
            untried += u32::from(arm.fresh < self.options.min_outcomes);
            // On a tie, the best single deployment.
            if (tried || place == best)
                && (score > top_score || (score >= top_score && place == best))
            {
                (top, top_score) = (place, score);
            }
        }

        let room = self.room(best_standing);
        let greedy = if top == best || self.worth(&x, features.class, top, best, room, &score_of) {
            top
        } else {
            result.held = true;
            best
        };
        result.greedy = Some(greedy);
        let margin = self.options.floor_margin * f64::from(best_standing) * self.governed;
        let explore = explore && room > margin * KEPT_FROM_EXPLORATION;
        self.draw(&mut result, greedy, candidates, untried, explore, &may, rng);
        result
    }

    /// Whether `top` may be used instead of `best`: its score is better even by what is uncertain
    /// of the difference in quality, and there is room for the loss.
    fn worth(
        &self,
        x: &Context,
        class: TaskClass,
        top: usize,
        best: usize,
        room: f64,
        score_of: &impl Fn(usize, f32) -> f64,
    ) -> bool {
        let (Some(top_arm), Some(best_arm)) = (self.arm(top), self.arm(best)) else { return false };
        let (of_top, of_best) = (top_arm.expected(x, class), best_arm.expected(x, class));
        let doubt = doubt(top_arm, best_arm, x);
        let loss = f64::from(of_best - of_top) + doubt;
        room > loss.max(0.0)
            && score_of(top, of_top) - self.options.quality_weight * doubt
                >= score_of(best, of_best)
    }

    /// The worst of the facts that are numbers, and what they are measured by.
    fn scale(&self, facts: &[f64], may: &impl Fn(usize) -> bool, known: Option<f64>) -> (f64, f64) {
        let mut worst = 0.0f64;
        for (place, fact) in facts.iter().enumerate() {
            if may(place) && fact.is_finite() {
                worst = worst.max(*fact);
            }
        }
        let reference = known.filter(|known| *known > 0.0).unwrap_or(worst);
        (worst, if reference > 0.0 { reference } else { 1.0 })
    }

    /// What an ordinary request of late would cost at a deployment, as far as its own outcomes
    /// tell: its cost per token times the tokens of the mean request.
    fn reference_cost(&self, arm: &Arm) -> Option<f64> {
        let (tokens, cost) = arm.cost;
        (tokens > 0.0 && self.requests > 0.0).then(|| cost / tokens * (self.tokens / self.requests))
    }

    #[allow(clippy::too_many_arguments)]
    fn draw(
        &self,
        result: &mut LearnedScores,
        greedy: usize,
        candidates: u32,
        untried: u32,
        explore: bool,
        may: &impl Fn(usize) -> bool,
        rng: &mut fastrand::Rng,
    ) {
        let all = if explore { self.options.exploration.clamp(0.0, 0.5) } else { 0.0 };
        let new = if explore && untried > 0 { self.options.warm_up.clamp(0.0, 0.5) } else { 0.0 };
        let each = all / f64::from(candidates.max(1));
        let each_new = new / f64::from(untried.max(1));
        // One number decides: the first `1 - all - new` of it is the greedy choice.
        let mut left = if explore { rng.f64() } else { 0.0 };
        let mut drawn = None;
        left -= 1.0 - all - new;
        if left < 0.0 {
            drawn = Some(greedy);
        }
        let slots = result.propensities.iter_mut().zip(&self.order);
        for (place, (propensity, at)) in slots.enumerate() {
            let Some(arm) = self.arms.get(*at).filter(|_| may(place)) else { continue };
            let fresh = arm.fresh < self.options.min_outcomes;
            let share = each + if fresh { each_new } else { 0.0 };
            *propensity = (share + if place == greedy { 1.0 - all - new } else { 0.0 }) as f32;
            if drawn.is_none() {
                left -= share;
                if left < 0.0 {
                    drawn = Some(place);
                    result.explored = true;
                }
            }
        }
        result.chosen = drawn.or(Some(greedy));
    }

    /// Learns what became of a request. The same outcomes in the same order make the same state, so
    /// that it can be rebuilt from a record of them.
    pub fn learn(&mut self, outcome: &Outcome<'_>) {
        let Some(at) = self.position(outcome.deployment) else { return };
        let x = context(&outcome.features);
        let class = outcome.features.class;
        let discount = self.options.discount.clamp(0.5, 1.0);
        let quality = outcome.quality.filter(|q| q.is_finite()).map(|q| q.clamp(0.0, 1.0));
        let tokens = f64::from(outcome.features.log_tokens.clamp(0.0, 16.0)).exp();

        self.requests = self.requests * discount + 1.0;
        self.tokens = self.tokens * discount + tokens;
        for (mean, x) in self.mean.iter_mut().zip(&x) {
            *mean += (x - *mean) / self.requests as f32;
        }
        if outcome.governed {
            self.account(at, &x, class, quality, discount);
        }
        let mut changed = false;
        if let Some(arm) = self.arms.get_mut(at) {
            if outcome.cost.is_finite() && outcome.cost >= 0.0 {
                arm.cost = (arm.cost.0 * discount + tokens, arm.cost.1 * discount + outcome.cost);
            }
            if let Some(wait) = outcome.first_token_ms.filter(|wait| wait.is_finite()) {
                discounted(&mut arm.first_token, wait.max(0.0), discount);
            }
            if let Some(quality) = quality {
                changed = arm.learn(&x, class, quality, discount);
            }
        }
        self.look_again(at, changed);
        self.stand();
    }

    /// Learns the quality of an answer that [`Self::learn`] was told of without one.
    pub fn learn_quality(&mut self, deployment: &str, features: &PromptFeatures, quality: f64) {
        let Some(at) = self.position(deployment) else { return };
        let (discount, class) = (self.options.discount.clamp(0.5, 1.0), features.class);
        if let Some(arm) = self.arms.get_mut(at).filter(|_| quality.is_finite()) {
            let changed = arm.learn(&context(features), class, quality.clamp(0.0, 1.0), discount);
            self.look_again(at, changed);
        }
        self.stand();
    }

    /// When the best single deployment changed, the others are tried anew: who was second may have
    /// had too few requests to be known.
    fn look_again(&mut self, at: usize, changed: bool) {
        if changed && self.best == Some(at) {
            self.arms.iter_mut().for_each(|arm| arm.fresh = 0);
            // What was lost against a measure that no longer holds says nothing of the next.
            (self.governed, self.lost, self.expected_loss) = (FIRST_ROOM, 0.0, 0.0);
        }
    }

    /// Enters what a request lost against the best single deployment, and moves the price.
    fn account(
        &mut self,
        at: usize,
        x: &Context,
        class: TaskClass,
        quality: Option<f64>,
        discount: f64,
    ) {
        let Some((best, standing)) = self.best_standing(|_| true) else { return };
        let (Some(best_arm), Some(arm)) = (self.arm(best), self.arms.get(at)) else { return };
        let of_best = f64::from(best_arm.expected(x, class));
        let of_arm = f64::from(arm.expected(x, class));
        let own = self.order.get(best) == Some(&at);
        let expected = if own { 0.0 } else { of_best - of_arm + doubt(arm, best_arm, x) };
        let seen = if own { 0.0 } else { of_best - quality.unwrap_or(of_arm) };
        let discount = discount.powf(MEMORY);
        self.governed = self.governed * discount + 1.0;
        self.expected_loss = self.expected_loss * discount + expected;
        self.lost = self.lost * discount + seen;

        let margin = self.options.floor_margin * f64::from(standing);
        let used = self.expected_loss.max(self.lost) / self.governed;
        let pull = if margin > 0.0 { 1.0 - used / (margin * TARGET) } else { -1.0 };
        self.price = (self.price + STEP * pull.clamp(-1.0, 1.0)).clamp(1e-3f64.ln(), 0.0);
    }

    /// Computes what each deployment would have made of the requests of late, and which is the best
    /// single one.
    fn stand(&mut self) {
        let shares = self.mean.iter().skip(DIMENSIONS - PromptFeatures::TOPICS - TaskClass::COUNT);
        let mut classes = [0.0f32; TaskClass::COUNT];
        for (to, share) in classes.iter_mut().zip(shares) {
            *to = *share;
        }
        let sum: f32 = classes.iter().sum();
        for arm in &mut self.arms {
            let prior = if sum > 0.0 {
                arm.prior.iter().zip(&classes).map(|(prior, share)| prior * share).sum::<f32>()
                    / sum
            } else {
                arm.prior.iter().sum::<f32>() / TaskClass::COUNT as f32
            };
            arm.standing = (prior + arm.model.predict(&self.mean)).clamp(0.0, 1.0);
        }
        let mut highest: Option<(usize, &Arm)> = None;
        for at in &self.order {
            let Some(arm) = self.arms.get(*at) else { continue };
            if highest.is_none_or(|(_, highest)| arm.standing > highest.standing) {
                highest = Some((*at, arm));
            }
        }
        let present = self.best.and_then(|at| self.arms.get(at)).filter(|arm| arm.place.is_some());
        let Some((at, arm)) = highest else { return };
        // A few lucky answers do not make another the measure of all.
        let stays = present.is_some_and(|present| {
            let lead = f64::from(arm.standing - present.standing);
            self.requests > 0.0 && lead <= LEAD * deviation(arm, present, &self.mean)
        });
        if !stays {
            self.best = Some(at);
        }
    }
}

/// Standard deviation of the difference between two deployments' expected quality.
fn deviation(one: &Arm, other: &Arm, x: &Context) -> f64 {
    one.model.deviation(x, NOISE).hypot(other.model.deviation(x, NOISE))
}

/// What is uncertain of the difference between two deployments' quality, as a loss to reckon with:
/// who picks the requests on which a difference looks small picks its errors too.
fn doubt(one: &Arm, other: &Arm, x: &Context) -> f64 {
    CAUTION * deviation(one, other, x)
}

fn discounted((count, sum): &mut (f64, f64), value: f64, discount: f64) {
    *count = *count * discount + 1.0;
    *sum = *sum * discount + value;
}

fn mean((count, sum): (f64, f64)) -> Option<f64> {
    (count > 0.0).then(|| sum / count)
}
