use std::collections::BTreeSet;

use chat::Residency;
use proptest::prelude::*;

use super::*;
use crate::deployment::{Capabilities, QualityPriors, Sensitivity};
use crate::request::{PromptFeatures, Requirements};

fn profile(name: &str) -> DeploymentProfile {
    DeploymentProfile {
        name: name.into(),
        provider: name.split('/').next().unwrap().into(),
        priority: 1,
        weight: 1.0,
        residency: Residency::Global,
        sensitivity: Sensitivity::Internal,
        capabilities: Capabilities::ALL,
        context_tokens: Some(8_000),
        quality: QualityPriors::uniform(0.7),
        first_token_ms: 500.0,
        token_ms: 20.0,
    }
}

fn facts() -> Facts {
    Facts {
        cost_nanos: Some(1_000_000),
        first_token_ms: 500.0,
        total_ms: 5_000.0,
        quality: 0.7,
        load: 100.0,
        availability: Availability::Ready,
        barred: None,
    }
}

fn request() -> RouteRequest {
    RouteRequest {
        prompt_tokens: 100,
        max_output_tokens: Some(100),
        expected_output_tokens: 100,
        needs: Capabilities::NONE,
        requirements: Requirements::default(),
        allowed_providers: None,
        features: PromptFeatures::default(),
        conversation: None,
        continues: false,
    }
}

fn planned(
    profiles: &[DeploymentProfile],
    facts: &[Facts],
    request: &RouteRequest,
    options: &PlanOptions,
    sticky: Option<usize>,
    seed: u64,
) -> Result<Plan, NoCandidate> {
    let situation = Situation { profiles, facts, request, options, learned: None, sticky };
    plan(&situation, &mut fastrand::Rng::with_seed(seed))
}

#[test]
fn a_deployment_that_is_tried_out_goes_before_its_equals() {
    let mut profiles = [profile("a/m"), profile("b/m"), profile("c/m")];
    let mut all = [facts(); 3];
    all[1].availability = Availability::Probing;
    all[1].load = 10_000.0;
    let options = PlanOptions::default();
    for seed in 0..20 {
        let plan = planned(&profiles, &all, &request(), &options, None, seed).unwrap();
        assert_eq!(plan.order[0], 1);
    }
    profiles[1].priority = 2;
    let plan = planned(&profiles, &all, &request(), &options, None, 1).unwrap();
    assert_eq!(plan.order[2], 1);
}

#[test]
fn the_error_lists_every_filter_and_whom_it_removed() {
    let mut profiles = [profile("openai/gpt"), profile("vllm/qwen"), profile("sber/giga")];
    profiles[1].residency = Residency::OnPremise;
    profiles[1].capabilities.vision = false;
    profiles[2].residency = Residency::Russia;
    profiles[2].context_tokens = Some(150);
    let mut request = request();
    request.needs.vision = true;
    request.requirements.residency = Some(Residency::Russia);
    let none =
        planned(&profiles, &[facts(); 3], &request, &PlanOptions::default(), None, 1).unwrap_err();
    assert_eq!(none.soonest, None);
    let said = none.explain(&profiles);
    for part in ["openai/gpt (residency)", "vllm/qwen (vision)", "sber/giga (context)"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn restricted_content_goes_on_premise_first_and_only_where_it_may() {
    let mut profiles = [profile("openai/gpt"), profile("sber/giga"), profile("vllm/qwen")];
    profiles[1].residency = Residency::Russia;
    profiles[1].sensitivity = Sensitivity::Sensitive;
    profiles[2].residency = Residency::OnPremise;
    profiles[2].sensitivity = Sensitivity::Sensitive;
    profiles[2].priority = 9;
    let mut request = request();
    request.requirements.sensitivity = Sensitivity::Sensitive;
    for policy in [Policy::Priority, Policy::Cost, Policy::Quality, Policy::Latency] {
        let options = PlanOptions { policy, ..PlanOptions::default() };
        let plan = planned(&profiles, &[facts(); 3], &request, &options, Some(1), 1).unwrap();
        assert_eq!(plan.order, [2, 1], "{policy:?}");
    }
}

#[test]
fn priorities_far_from_the_first_are_still_told_apart() {
    let mut profiles = [profile("a/1"), profile("a/2"), profile("a/3")];
    profiles[0].priority = 1_000_001;
    profiles[1].priority = 1_000_000;
    profiles[2].priority = 1;
    for seed in 0..20 {
        let plan =
            planned(&profiles, &[facts(); 3], &request(), &PlanOptions::default(), None, seed);
        assert_eq!(plan.unwrap().order, [2, 1, 0]);
    }
}

#[test]
fn equals_share_by_weight_and_avoid_the_loaded() {
    let mut profiles = [profile("a/1"), profile("a/2"), profile("a/3"), profile("a/4")];
    profiles[1].weight = 3.0;
    profiles[3].weight = 0.0;
    let mut all = [facts(); 4];
    let first = |all: &[Facts], seed| {
        let plan = planned(&profiles, all, &request(), &PlanOptions::default(), None, seed);
        let plan = plan.unwrap();
        assert_eq!(*plan.order.last().unwrap(), 3, "weight 0 comes last");
        plan.order[0]
    };
    let count = |all: &[Facts], place| (0..3_000).filter(|seed| first(all, *seed) == place).count();
    let heavy = count(&all, 1);
    assert!((1_600..2_000).contains(&heavy), "three of five parts: {heavy}");
    all[1].load = 10_000.0;
    assert_eq!(count(&all, 1), 0, "of two, the more loaded is never taken");
}

#[test]
fn the_propensity_is_how_often_it_happens() {
    let mut profiles = [profile("a/1"), profile("a/2"), profile("a/3")];
    profiles[0].weight = 2.0;
    let mut all = [facts(); 3];
    all[0].load = 50.0;
    all[2].load = 70.0;
    let mut seen = [(0u32, 0.0); 3];
    for seed in 0..20_000 {
        let plan = planned(&profiles, &all, &request(), &PlanOptions::default(), None, seed);
        let plan = plan.unwrap();
        let (count, said) = &mut seen[plan.order[0]];
        *count += 1;
        *said = plan.propensity;
    }
    for (count, said) in seen.into_iter().filter(|(count, _)| *count > 0) {
        let share = f64::from(count) / 20_000.0;
        assert!((share - said).abs() < 0.02, "{share} {said}");
    }
}

#[test]
fn a_ramp_takes_its_share_and_others_the_rest() {
    let profiles = [profile("a/1"), profile("b/1")];
    let mut all = [facts(); 2];
    all[0].load = 1.0;
    all[0].availability = Availability::Ramping(0.1);
    let first = |seed| {
        let plan = planned(&profiles, &all, &request(), &PlanOptions::default(), None, seed);
        plan.unwrap().order[0] == 0
    };
    let share = (0..5_000).filter(|seed| first(*seed)).count();
    assert!((350..650).contains(&share), "{share}");
}

#[test]
fn a_conversation_keeps_its_deployment_where_that_costs_little() {
    let profiles = [profile("a/1"), profile("b/1")];
    let mut all = [facts(); 2];
    all[1].quality = 0.65;
    let options = PlanOptions { policy: Policy::Quality, ..PlanOptions::default() };
    let plan = planned(&profiles, &all, &request(), &options, Some(1), 1).unwrap();
    assert_eq!((plan.order[0], plan.sticky), (1, true));
    all[1].quality = 0.5;
    let plan = planned(&profiles, &all, &request(), &options, Some(1), 1).unwrap();
    assert_eq!((plan.order[0], plan.sticky), (0, false));
}

#[test]
fn who_cannot_be_asked_is_left_out_and_the_soonest_is_named() {
    let profiles = [profile("a/1"), profile("b/1")];
    let mut all = [facts(); 2];
    let away = |until| Availability::Unavailable { until, why: Unavailability::CircuitOpen };
    all[0].availability = away(900);
    let plan = planned(&profiles, &all, &request(), &PlanOptions::default(), Some(0), 1).unwrap();
    assert_eq!(plan.order, [1]);
    all[1].availability = away(700);
    let none = planned(&profiles, &all, &request(), &PlanOptions::default(), None, 1).unwrap_err();
    assert_eq!(none.soonest, Some(700));
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (any::<Option<u32>>(), 0.0..1e6, 0.0..=1.0, 0.0..1e6, 0..4u8).prop_map(
        |(cost, total_ms, quality, load, availability)| Facts {
            cost_nanos: cost.map(i64::from),
            first_token_ms: total_ms / 10.0,
            total_ms,
            quality,
            load,
            availability: match availability {
                0 => Availability::Unavailable { until: 5, why: Unavailability::Cooldown },
                1 => Availability::Ramping(0.5),
                2 => Availability::Probing,
                _ => Availability::Ready,
            },
            barred: None,
        },
    )
}

proptest! {
    #[test]
    fn each_that_may_and_can_is_in_the_plan_once(
        all in proptest::collection::vec(any_facts(), 1..21),
        seed in any::<u64>(),
        min_quality in proptest::option::of(0.0..1.0),
        weights in proptest::collection::vec(0..3u8, 21),
        policy in prop::sample::select(vec![
            Policy::Priority, Policy::Cost, Policy::Latency, Policy::Quality, Policy::Balanced,
        ]),
        sticky in proptest::option::of(0..25usize),
    ) {
        let profiles: Vec<_> = (0..all.len())
            .map(|place| DeploymentProfile {
                weight: f64::from(weights[place]),
                priority: u32::from(weights[place]),
                ..profile(&format!("p/{place}"))
            })
            .collect();
        let mut request = request();
        request.requirements.min_quality = min_quality;
        let options = PlanOptions { policy, ..PlanOptions::default() };
        let expected: BTreeSet<usize> = (0..all.len())
            .filter(|place| min_quality.is_none_or(|min| all[*place].quality >= min))
            .filter(|place| !matches!(all[*place].availability, Availability::Unavailable { .. }))
            .collect();
        match planned(&profiles, &all, &request, &options, sticky, seed) {
            Ok(plan) => {
                let got: BTreeSet<usize> = plan.order.iter().copied().collect();
                prop_assert_eq!(plan.order.len(), got.len());
                prop_assert_eq!(got, expected);
                prop_assert!(plan.propensity > 0.0 && plan.propensity <= 1.0);
            }
            Err(_) => prop_assert!(expected.is_empty()),
        }
    }
}

#[test]
fn what_learning_chose_is_first_as_often_as_the_propensity_says() {
    let profiles = [profile("a/m"), profile("b/m"), profile("c/m")];
    let mut all = [facts(); 3];
    all[2].availability = Availability::Ramping(0.25);
    let options = PlanOptions { policy: Policy::Learned, ..PlanOptions::default() };
    let learned = LearnedChoice { scores: &[0.2, 0.5, 0.9], chosen: 2, propensity: 0.8 };
    let mut first = 0;
    for seed in 0..2_000 {
        let situation = Situation {
            profiles: &profiles,
            facts: &all,
            request: &request(),
            options: &options,
            learned: Some(learned),
            sticky: None,
        };
        let plan = plan(&situation, &mut fastrand::Rng::with_seed(seed)).unwrap();
        if plan.order[0] == 2 {
            first += 1;
            assert!((plan.propensity - 0.2).abs() < 1e-6);
        } else {
            assert_eq!(plan.order[0], 1, "the best of the others");
            assert!((plan.propensity - 1.0).abs() < 1e-6);
        }
    }
    assert!((400..600).contains(&first), "{first}");
}
