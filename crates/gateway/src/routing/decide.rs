//! Which deployments may serve a request, in which order they are tried, and why.

use std::sync::Arc;

use chat::{ApiError, ErrorKind};
use metering::ChargedUsage;
use parking_lot::Mutex;
use routing::local::{Job, MAX_ENGINES, PrefixHashes, PrefixIndex, PrefixOptions, PriorityClass};
use routing::{
    Availability, Facts, FilterReason, Health, LearnedChoice, LearnedScores, Millis, NoCandidate,
    Plan, PlanOptions, Policy, RouteRequest, Situation, Standing, Unavailability,
};

use super::request::{content, route_request};
use super::state::now;
use super::watch::Expected;
use crate::codec;
use crate::exchange::{Exchange, now_ms};
use crate::receive::Received;
use crate::snapshot::{Deployment, MissingPrice, Route};
use crate::surface::Surface;

/// A decision, and what it was made by.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) route: Arc<Route>,
    pub(crate) request: RouteRequest,
    pub(crate) plan: Plan,
    pub(crate) facts: Vec<Facts>,
    pub(crate) policy: Policy,
    pub(crate) learned: Option<LearnedScores>,
    pub(crate) at_ms: i64,
    /// Which turn of which conversation it is; `None`: the first.
    pub(crate) turn: Option<u64>,
}

/// Chooses, and puts the others in the order in which they follow.
pub(crate) fn decide(
    exchange: &Exchange,
    received: &Received,
    route: &Arc<Route>,
) -> Result<Decided, ApiError> {
    let options = plan_options(exchange, received, route)?;
    let learns = options.policy == Policy::Learned || route.learned.shadow;
    let queues = route.deployments.iter().any(|deployment| deployment.pool.is_some());
    let by_quality = matches!(options.policy, Policy::Quality | Policy::Balanced)
        || received.requirements.min_quality.is_some();
    let request = route_request(exchange, received, route, learns || queues || by_quality);
    let now = now();
    let mut rng = fastrand::Rng::new();
    let mut facts = all_facts(exchange, route, &request, now, false);
    let learned = learns.then(|| learned(exchange, route, &request, &facts, &mut rng));
    let decide = |facts: &[Facts], rng: &mut fastrand::Rng| {
        let choice = learned.as_ref().and_then(|learned| {
            let chosen = learned.0.chosen?;
            let propensity = f64::from(learned.0.propensities.get(chosen).copied()?);
            Some(LearnedChoice { scores: &learned.1, chosen, propensity })
        });
        let sticky = preferred(exchange, route, &request, received, facts, now, rng);
        routing::plan(
            &Situation {
                profiles: &route.profiles,
                facts,
                request: &request,
                options: &options,
                learned: choice.filter(|_| !route.learned.shadow),
                sticky,
            },
            rng,
        )
    };
    let mut planned = decide(&facts, &mut rng);
    let waits = |none: &NoCandidate| {
        let full = Unavailability::PoolFull;
        none.standings
            .iter()
            .any(|standing| matches!(standing, Standing::Unavailable { why, .. } if *why == full))
    };
    if planned.as_ref().is_err_and(waits) {
        // Nobody else can: it waits for its turn.
        facts = all_facts(exchange, route, &request, now, true);
        planned = decide(&facts, &mut rng);
    }
    match planned {
        Ok(plan) => {
            if let (Some(conversation), Some(first)) = (request.conversation, plan.order.first())
                && route.deployments.len() > 1
                && let Ok(first) = u32::try_from(*first)
            {
                route.state.conversations.lock().set(conversation, first, now);
            }
            Ok(Decided {
                turn: super::request::turn(exchange.surface, received, route, &request),
                route: Arc::clone(route),
                request,
                plan,
                facts,
                policy: options.policy,
                learned: learned.map(|(scores, _)| scores),
                at_ms: now_ms(),
            })
        }
        Err(none) => Err(refusal(&none, route, &request, exchange.surface, now)),
    }
}

fn plan_options(
    exchange: &Exchange,
    received: &Received,
    route: &Route,
) -> Result<PlanOptions, ApiError> {
    let mut options = route.plan.clone();
    if let Some(policy) = exchange.principal.as_ref().and_then(|caller| caller.routing_policy()) {
        options.policy = policy;
    }
    if let Some(policy) = received.requirements.policy {
        if !route.allows_policy_override {
            return Err(ApiError::invalid(
                "llm_proxy.policy",
                "requests may not choose the policy here; leave `llm_proxy.policy` out",
            )
            .with_code("policy_not_allowed"));
        }
        options.policy = policy;
    }
    Ok(options)
}

/// What the request is expected to be like at any deployment.
pub(crate) fn expected(request: &RouteRequest, streamed: bool) -> Expected {
    Expected {
        prompt_tokens: request.prompt_tokens,
        output_tokens: request.expected_output_tokens,
        features: request.features,
        streamed,
    }
}

fn all_facts(
    exchange: &Exchange,
    route: &Route,
    request: &RouteRequest,
    now: Millis,
    queue: bool,
) -> Vec<Facts> {
    let at_ms = now_ms();
    let usage = ChargedUsage {
        prompt_tokens: request.prompt_tokens,
        completion_tokens: request.expected_output_tokens,
        images: u64::from(request.features.images),
        ..ChargedUsage::default()
    };
    let quality = route.state.quality.lock();
    let deployments = route.deployments.iter().zip(&route.profiles);
    deployments
        .map(|(deployment, profile)| {
            let tokens = request.prompt_tokens.saturating_add(request.expected_output_tokens);
            let seen = deployment.state.seen(now, tokens, request.expected_output_tokens);
            let price = deployment.prices.as_ref().and_then(|prices| prices.at(at_ms));
            let free = exchange.snapshot.settings.missing_price == MissingPrice::Free;
            let barred = if !codec::can_serve(exchange.surface, &deployment.provider) {
                Some(FilterReason::Surface)
            } else if price.is_none() && !free {
                Some(FilterReason::Price)
            } else {
                None
            };
            let class = request.features.class;
            Facts {
                cost_nanos: price.map(|price| price.cost(&usage).nanos),
                first_token_ms: seen.first_token_ms,
                total_ms: seen.total_ms,
                quality: quality.expected(&profile.name, class, &profile.quality),
                load: seen.load,
                availability: availability(
                    deployment,
                    seen.health,
                    seen.limited_until,
                    (!queue).then(|| job(exchange, request, None)),
                    now,
                ),
                barred,
            }
        })
        .collect()
}

fn availability(
    deployment: &Deployment,
    health: Health,
    limited_until: Option<Millis>,
    job: Option<Job>,
    now: Millis,
) -> Availability {
    let away = |until, why| Availability::Unavailable { until, why };
    let health = match health {
        Health::Open { until } => return away(until, Unavailability::CircuitOpen),
        Health::Cooling { until } => return away(until, Unavailability::Cooldown),
        Health::HalfOpen { free_probes: 0 } => {
            return away(now.saturating_add(1_000), Unavailability::CircuitOpen);
        }
        Health::HalfOpen { .. } => Availability::Probing,
        Health::Ramping { share } => Availability::Ramping(share as f32),
        Health::Closed => Availability::Ready,
    };
    if let Some(until) = limited_until {
        return away(until, Unavailability::RateLimit);
    }
    if let (Some(pool), Some(job)) = (&deployment.pool, job)
        && !pool.options().queue_before_elsewhere
        && let Some(until) = pool.full_until(now, &job)
    {
        return away(until, Unavailability::PoolFull);
    }
    health
}

/// The request as the queue of a pool sees it.
pub(crate) fn job(exchange: &Exchange, request: &RouteRequest, received: Option<&Received>) -> Job {
    let principal = exchange.principal.as_ref();
    let route = exchange.route.as_ref();
    let tenant = principal.and_then(|principal| principal.tenant_id());
    let deadline = exchange.deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(std::time::Instant::now()).as_millis();
        now().saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
    });
    let urgency = received.and_then(|received| received.requirements.urgency);
    let reserved = route.map_or(request.expected_output_tokens, |route| {
        let most = request.max_output_tokens.unwrap_or(u64::MAX);
        route.state.expected_output(&request.features, request.prompt_tokens, 0.9).min(most)
    });
    Job {
        tenant: tenant.map_or(0, |tenant| super::request::hashed(tenant.as_bytes())),
        class: urgency.unwrap_or(PriorityClass::Normal),
        weight: principal.map_or(1.0, |principal| f64::from(principal.queue_share())),
        prompt_tokens: request.prompt_tokens,
        predicted_tokens: request.expected_output_tokens,
        reserved_tokens: reserved,
        deadline,
    }
}

/// Scores of the learning policy, and the same as numbers from 0 to 1.
fn learned(
    exchange: &Exchange,
    route: &Route,
    request: &RouteRequest,
    facts: &[Facts],
    rng: &mut fastrand::Rng,
) -> (LearnedScores, Vec<f64>) {
    let costs: Vec<f64> =
        facts.iter().map(|facts| facts.cost_nanos.map_or(f64::NAN, |nanos| nanos as f64)).collect();
    let waits: Vec<f64> = facts.iter().map(|facts| facts.first_token_ms).collect();
    let allowed: Vec<bool> = facts
        .iter()
        .zip(&route.profiles)
        .map(|(facts, profile)| {
            routing::filter(profile, facts, request).is_none()
                && !matches!(facts.availability, Availability::Unavailable { .. })
        })
        .collect();
    let explore = exchange.principal.as_ref().is_some_and(|caller| caller.allows_exploration());
    let learned = route.state.learned.lock();
    let scores = learned.decide(&request.features, &costs, &waits, &allowed, explore, rng);
    drop(learned);
    // Any order-keeping way from all numbers to 0..1.
    let flat = scores.scores.iter().map(|score| 1.0 / (1.0 + (-f64::from(*score)).exp())).collect();
    (scores, flat)
}

/// The deployment that has the beginning of this prompt in its cache, or that the conversation had
/// before.
fn preferred(
    exchange: &Exchange,
    route: &Route,
    request: &RouteRequest,
    received: &Received,
    facts: &[Facts],
    now: Millis,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    if route.deployments.len() < 2 {
        return None;
    }
    if let Some(index) = &route.state.prefixes
        && exchange.surface != Surface::Embeddings
    {
        let loads: Vec<f32> = route
            .deployments
            .iter()
            .zip(facts)
            .take(MAX_ENGINES)
            .map(|(deployment, facts)| {
                let away = matches!(facts.availability, Availability::Unavailable { .. });
                let local =
                    deployment.pool.as_ref().is_some_and(|pool| pool.options().prefix_affinity);
                if away || !local { f32::INFINITY } else { deployment.state.requests(now) }
            })
            .collect();
        let tenant = exchange.principal.as_ref().and_then(|caller| caller.tenant_id());
        let salt = super::request::hashed(tenant.map_or(&[], |tenant| tenant.as_bytes()));
        let hashes = PrefixHashes::of(content(exchange.surface, received), salt);
        let mut index = index.lock();
        if let Some(choice) = index.choose(&hashes, &loads, now, rng) {
            index.note(choice.engine, &hashes, now);
            return Some(choice.engine);
        }
    }
    let conversation = request.conversation.filter(|_| request.continues)?;
    let place = route.state.conversations.lock().get(conversation, now)?;
    usize::try_from(place).ok()
}

/// An index of the beginnings of prompts, for routes whose engines are in a pool.
pub(super) fn prefix_index() -> Mutex<PrefixIndex> {
    Mutex::new(PrefixIndex::new(PrefixOptions::default()))
}

/// Nobody can serve the request: which filters removed whom, or when to come again.
fn refusal(
    none: &NoCandidate,
    route: &Route,
    request: &RouteRequest,
    surface: Surface,
    now: Millis,
) -> ApiError {
    let explained = none.explain(&route.profiles);
    let name = &route.name;
    if let Some(soonest) = none.soonest {
        // Who was told to come again later tells its callers the same.
        let later = |standing: &Standing| match standing {
            Standing::Unavailable { why, .. } => {
                matches!(why, Unavailability::Cooldown | Unavailability::RateLimit)
            }
            _ => true,
        };
        let busy = none.standings.iter().all(later);
        let mut error = ApiError::new(
            if busy { ErrorKind::RateLimited } else { ErrorKind::Overloaded },
            format!("no deployment of `{name}` can be asked at the moment: {explained}"),
        )
        .with_code("no_deployment_available");
        // A request larger than a minute's limit will never fit.
        if soonest != Millis::MAX {
            let wait = soonest.saturating_sub(now).max(1);
            error.retry_after = Some(std::time::Duration::from_millis(wait));
        }
        return error;
    }
    let only = |reason: &str| {
        none.standings.iter().all(
            |standing| matches!(standing, Standing::Removed(removed) if removed.name() == reason),
        )
    };
    if only("surface") {
        return ApiError::invalid(
            "model",
            format!("no deployment of `{name}` offers {}; ask for another model", surface.name()),
        )
        .with_code("unsupported_operation");
    }
    let reasons = |reason: &str| {
        none.standings.iter().any(
            |standing| matches!(standing, Standing::Removed(removed) if removed.name() == reason),
        )
    };
    // What the deployments that could serve it at all lack.
    let but_surface = |reason: &str| {
        none.standings.iter().all(|standing| {
            matches!(standing, Standing::Removed(removed)
                if removed.name() == reason || removed.name() == "surface")
        })
    };
    if but_surface("residency") {
        let wanted = request.requirements.residency.map_or("", |residency| residency.name());
        return ApiError::invalid(
            "llm_proxy.residency",
            format!("no deployment of `{name}` keeps data in `{wanted}`: {explained}"),
        )
        .with_code("residency_not_available");
    }
    if but_surface("provider") {
        return ApiError::new(
            ErrorKind::PermissionDenied,
            format!("this key may not use any provider of `{name}`"),
        )
        .with_code("provider_not_allowed");
    }
    if but_surface("price") {
        return ApiError::new(
            ErrorKind::Overloaded,
            format!(
                "the price of `{name}` is not known here, so it cannot be charged for; tell \
                 whoever runs llm-proxy to give `price`"
            ),
        )
        .with_code("price_missing");
    }
    let kind = if but_surface("context") {
        ErrorKind::ContextLengthExceeded
    } else {
        ErrorKind::InvalidRequest
    };
    let param = ["sensitivity", "residency", "cost", "latency", "quality"]
        .into_iter()
        .find(|reason| reasons(reason))
        .map_or("llm_proxy", |reason| match reason {
            "sensitivity" => "llm_proxy.sensitivity",
            "residency" => "llm_proxy.residency",
            "cost" => "llm_proxy.max_cost",
            "latency" => "llm_proxy.max_latency_ms",
            _ => "llm_proxy.min_quality",
        });
    let message = format!("no deployment of `{name}` meets what the request demands: {explained}");
    let error = ApiError::new(kind, message).with_param(param);
    if kind == ErrorKind::ContextLengthExceeded {
        error.with_param("messages")
    } else {
        error.with_code("no_deployment_fits")
    }
}
