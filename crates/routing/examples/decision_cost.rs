//! CPU time of one decision with 20 deployments: `cargo run --release -p routing --example
//! decision_cost`.

use std::hint::black_box;
use std::time::Instant;

use routing::{
    Availability, Capabilities, DeploymentProfile, Facts, LearnedOptions, LearnedPolicy, LoadMeter,
    PlanOptions, Policy, PromptFeatures, PromptShape, Requirements, RouteRequest, Situation, plan,
};

const DEPLOYMENTS: usize = 20;
const ROUNDS: u32 = 200_000;

fn main() {
    let profiles: Vec<DeploymentProfile> = (0..DEPLOYMENTS)
        .map(|number| DeploymentProfile {
            name: format!("provider/{number}").into(),
            context_tokens: Some(32_000),
            ..DeploymentProfile::default()
        })
        .collect();
    let meters: Vec<LoadMeter> =
        (0..DEPLOYMENTS).map(|number| LoadMeter::new(500.0 + number as f64, 20.0, 1.0)).collect();
    let prompt = r#"[{"role":"user","content":"Сравни два тарифа и объясни, какой выгоднее"}]"#;
    let features = PromptFeatures::scan(prompt.as_bytes(), PromptShape::default());
    let request = RouteRequest {
        prompt_tokens: 300,
        max_output_tokens: Some(500),
        expected_output_tokens: 300,
        needs: Capabilities::NONE,
        requirements: Requirements::default(),
        allowed_providers: None,
        features,
        conversation: Some(7),
        continues: true,
    };
    let mut rng = fastrand::Rng::with_seed(1);
    for policy in [Policy::Priority, Policy::Balanced] {
        let options = PlanOptions { policy, ..PlanOptions::default() };
        let started = Instant::now();
        for round in 0..ROUNDS {
            let facts: Vec<Facts> = meters
                .iter()
                .map(|meter| Facts {
                    cost_nanos: Some(1_000_000 + i64::from(round % 7)),
                    first_token_ms: meter.first_token_ms(u64::from(round)),
                    total_ms: 6_000.0,
                    quality: 0.7,
                    load: meter.score(u64::from(round), 300),
                    availability: Availability::Ready,
                    barred: None,
                })
                .collect();
            let situation = Situation {
                profiles: &profiles,
                facts: &facts,
                request: &request,
                options: &options,
                learned: None,
                sticky: None,
            };
            _ = black_box(plan(&situation, &mut rng));
        }
        let each = started.elapsed() / ROUNDS;
        println!("{policy:?}: {} ns a decision, {DEPLOYMENTS} deployments", each.as_nanos());
    }
    let mut learned = LearnedPolicy::new(LearnedOptions::default());
    learned.reload(
        LearnedOptions::default(),
        profiles.iter().map(|profile| (&*profile.name, &profile.quality)),
    );
    let costs = vec![1_000_000.0; DEPLOYMENTS];
    let waits = vec![500.0; DEPLOYMENTS];
    let allowed = vec![true; DEPLOYMENTS];
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let scores = learned.decide(&features, &costs, &waits, &allowed, true, &mut rng);
        _ = black_box(scores);
    }
    println!("scores of the learned policy: {} ns", (started.elapsed() / ROUNDS).as_nanos());
    let started = Instant::now();
    for _ in 0..ROUNDS {
        _ = black_box(PromptFeatures::scan(prompt.as_bytes(), PromptShape::default()));
    }
    let each = (started.elapsed() / ROUNDS).as_nanos();
    println!("features of a prompt of {} bytes: {each} ns", prompt.len());
}
