//! What the process remembers of its decisions, and what it learns from them and from those of other
//! replicas. The database keeps what is worth keeping; nothing here waits for it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use routing::{
    DecisionRecord, DecisionStore, FeedbackRecord, OutcomeRecord, Policy, QualitySignal,
    QualitySource, Standing, StoredDecision,
};
use serde_json::{Value, json};

use super::decide::Decided;
use super::turns::AnsweredTurn;
use crate::snapshot::{Deployment, Snapshot};

/// Requests of this process whose decisions can be explained without the database.
const RECENT: usize = 4_096;
/// Decisions that wait for the database; the oldest of more are forgotten.
const MOST_PENDING: usize = 100_000;

/// Which decisions the database keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Recorded {
    /// Those about which feedback was given.
    Judged,
    /// Those of the policy `learned`, in the shadow too.
    #[default]
    Learned,
    /// All.
    All,
}

/// A decision and what came of it.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) request_id: String,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) decided: Box<Decided>,
    /// The deployment that answered; the last one tried if none did.
    pub(crate) deployment: Option<Arc<Deployment>>,
    pub(crate) outcome: OutcomeRecord,
}

/// What the process remembers of its decisions.
#[derive(Debug, Default)]
pub struct DecisionMemory {
    store: Mutex<Option<Arc<dyn DecisionStore>>>,
    recorded: AtomicU8,
    recent: Mutex<VecDeque<Arc<Remembered>>>,
    pending: Mutex<VecDeque<DecisionRecord>>,
    /// Tenant and request of what was stored by this process and not read back yet.
    own: Mutex<HashSet<(String, String)>>,
    overflowed: AtomicBool,
}

impl Remembered {
    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or_default()
    }

    /// As the database keeps it, and as it is explained.
    pub(crate) fn record(&self) -> DecisionRecord {
        let decided = &self.decided;
        let name = |place: usize| {
            decided.route.profiles.get(place).map(|profile| profile.name.to_string())
        };
        let learned = decided.learned.as_ref();
        let shadow = decided.route.learned.shadow;
        let governed = decided.policy == Policy::Learned && !shadow;
        let deployment = self.deployment.as_ref().map(|deployment| deployment.name().to_owned());
        let planned = decided.plan.order.first().and_then(|place| name(*place));
        DecisionRecord {
            request_id: self.request_id.clone(),
            at_ms: decided.at_ms,
            tenant: self.tenant().to_owned(),
            route: decided.route.name.clone(),
            class: decided.request.features.class,
            features: decided.request.features,
            decision: explain(decided),
            chosen: deployment.or(planned).unwrap_or_default(),
            propensity: decided.plan.propensity,
            explored: governed && learned.is_some_and(|learned| learned.explored),
            governed,
            shadow_choice: learned
                .filter(|_| shadow)
                .and_then(|learned| learned.chosen)
                .and_then(name),
            outcome: Some(self.outcome.clone()),
            feedback: None,
        }
    }
}

/// Candidates, filters and scores, for people.
fn explain(decided: &Decided) -> Value {
    let candidates: Vec<Value> = decided
        .route
        .profiles
        .iter()
        .zip(&decided.facts)
        .zip(&decided.plan.standings)
        .enumerate()
        .map(|(place, ((profile, facts), standing))| {
            let mut candidate = json!({
                "deployment": profile.name,
                "priority": profile.priority,
                "expected_cost_nanos": facts.cost_nanos,
                "expected_first_token_ms": facts.first_token_ms.round(),
                "expected_total_ms": facts.total_ms.round(),
                "expected_quality": rounded(facts.quality),
                "load": facts.load.round(),
            });
            match standing {
                Standing::Removed(reason) => {
                    candidate["removed_by"] = json!(reason.name());
                    candidate["reason"] = json!(reason.to_string());
                }
                Standing::Unavailable { why, .. } => {
                    candidate["unavailable"] = json!(why.name());
                }
                Standing::Scored(score) => candidate["score"] = json!(rounded(*score)),
            }
            if let Some(learned) = &decided.learned {
                let of = |values: &[f32]| values.get(place).copied().map(f64::from).map(rounded);
                candidate["learned_quality"] = json!(of(&learned.qualities));
                candidate["propensity"] = json!(of(&learned.propensities));
            }
            candidate
        })
        .collect();
    let order: Vec<&str> = decided
        .plan
        .order
        .iter()
        .filter_map(|place| decided.route.profiles.get(*place))
        .map(|profile| &*profile.name)
        .collect();
    json!({
        "policy": decided.policy,
        "candidates": candidates,
        "order": order,
        "kept_for_conversation": decided.plan.sticky,
        "sensitivity": decided.request.requirements.sensitivity,
        "complexity": rounded(f64::from(decided.request.features.complexity)),
        "prompt_tokens": decided.request.prompt_tokens,
        "expected_output_tokens": decided.request.expected_output_tokens,
        "held_by_floor": decided.learned.as_ref().map(|learned| learned.held),
    })
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

impl DecisionMemory {
    /// Keeps decisions in `store`.
    pub fn keep_in(&self, store: Arc<dyn DecisionStore>) {
        *self.store.lock() = Some(store);
    }

    /// Where decisions are kept.
    #[must_use]
    pub fn store(&self) -> Option<Arc<dyn DecisionStore>> {
        self.store.lock().clone()
    }

    /// Which decisions are kept.
    pub fn set_recorded(&self, recorded: Recorded) {
        self.recorded.store(recorded as u8, Ordering::Relaxed);
    }

    /// A request is over.
    pub(crate) fn remember(&self, remembered: Remembered) {
        let decided = &remembered.decided;
        let learns = decided.learned.is_some();
        let recorded = self.recorded.load(Ordering::Relaxed);
        let kept =
            recorded == Recorded::All as u8 || (learns && recorded != Recorded::Judged as u8);
        let judged = remembered.outcome.quality.is_some();
        if kept || judged {
            let record = remembered.record();
            learn(&decided.route.state, &record);
            if kept && self.store.lock().is_some() {
                self.keep(record);
            }
        }
        note_turn(&remembered);
        let mut recent = self.recent.lock();
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(Arc::new(remembered));
    }

    fn keep(&self, record: DecisionRecord) {
        self.own.lock().insert((record.tenant.clone(), record.request_id.clone()));
        let mut pending = self.pending.lock();
        pending.push_back(record);
        if pending.len() > MOST_PENDING {
            pending.pop_front();
            if !self.overflowed.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    event = "decisions_lost",
                    "the database takes no decisions; the oldest that wait are forgotten"
                );
            }
        }
    }

    /// What waits for the database, taken out.
    #[must_use]
    pub fn take_pending(&self) -> Vec<DecisionRecord> {
        self.pending.lock().drain(..).collect()
    }

    /// Puts back what the database did not take.
    pub fn put_back(&self, records: Vec<DecisionRecord>) {
        let mut pending = self.pending.lock();
        for record in records.into_iter().rev() {
            pending.push_front(record);
        }
    }

    /// The decision about a request of this process, of one tenant only or of any (`None`).
    #[must_use]
    pub fn recent(&self, tenant: Option<&str>, request_id: &str) -> Option<DecisionRecord> {
        let recent = self.recent.lock();
        let found = recent.iter().rev().find(|remembered| {
            remembered.request_id == request_id
                && tenant.is_none_or(|tenant| tenant == remembered.tenant())
        })?;
        let found = Arc::clone(found);
        drop(recent);
        Some(found.record())
    }

    /// Learns from what the store holds above what was read before, `reached`. What this process
    /// has learned already is passed over; feedback is not.
    pub fn follow(&self, snapshot: &Snapshot, stored: &[StoredDecision], reached: i64) {
        for StoredDecision { first_sequence, record, .. } in stored {
            let Some(route) = snapshot.routes.get(&record.route) else { continue };
            let key = (record.tenant.clone(), record.request_id.clone());
            let own = self.own.lock().remove(&key);
            let known = own || *first_sequence <= reached;
            match (&record.feedback, known) {
                (None, true) => {}
                (None, false) => learn(&route.state, record),
                (Some(feedback), true) => learn_from(&route.state, record, feedback),
                (Some(feedback), false) => {
                    learn(&route.state, &DecisionRecord { feedback: None, ..record.clone() });
                    learn_from(&route.state, record, feedback);
                }
            }
        }
    }

    /// Stores feedback about a request of `tenant` (`None`: of any). `false`: there is no such
    /// request.
    ///
    /// # Errors
    /// When it could not be stored.
    pub(crate) async fn say(
        &self,
        tenant: Option<&str>,
        feedback: &FeedbackRecord,
    ) -> Result<bool, routing::DecisionError> {
        let Some(store) = self.store() else {
            return Err(routing::DecisionError::Unavailable("there is no database".to_owned()));
        };
        if store.set_feedback(tenant, feedback).await? == routing::FeedbackResult::Kept {
            return Ok(true);
        }
        // It may wait for the database, or not be one of those that are kept.
        let Some(record) = self.recent(tenant, &feedback.request_id) else { return Ok(false) };
        self.own.lock().insert((record.tenant.clone(), record.request_id.clone()));
        store.append(std::slice::from_ref(&record)).await?;
        let kept = store.set_feedback(Some(&record.tenant), feedback).await?;
        Ok(kept == routing::FeedbackResult::Kept)
    }
}

/// Takes note of an answered turn, and of the answer before if the same was asked again.
fn note_turn(remembered: &Remembered) {
    let Remembered { decided, deployment, outcome, .. } = remembered;
    let (Some(turn), Some(deployment)) = (decided.turn, deployment) else { return };
    if outcome.status != 200 || outcome.error.is_some() {
        return;
    }
    let took = i64::try_from(outcome.total_ms).unwrap_or(i64::MAX);
    let answer = AnsweredTurn {
        deployment: deployment.name().to_owned(),
        class: decided.request.features.class,
        asked_ms: decided.at_ms,
        done_ms: decided.at_ms.saturating_add(took),
    };
    let state = &decided.route.state;
    let before = state.turns.lock().answered(turn, answer);
    if let Some(before) = before {
        let (quality, weight) = QualitySignal::RetriedByUser.value_and_weight();
        state.quality.lock().observe(&before.deployment, before.class, quality, weight);
    }
}

/// Takes a decision and what came of it into account.
fn learn(state: &super::RouteState, record: &DecisionRecord) {
    if let Some(lesson) = record.lesson() {
        state.learned.lock().learn(&lesson);
    }
    if let Some(outcome) = &record.outcome
        && let Some(score) = outcome.quality
    {
        let signal = match outcome.quality_source {
            Some(QualitySource::Judge) => QualitySignal::Judge(score),
            _ => QualitySignal::InvalidJson,
        };
        observe(state, record, signal);
    }
    state.patterns.lock().learn(record);
}

/// Takes into account what was said of an answer that was taken into account without it.
fn learn_from(state: &super::RouteState, record: &DecisionRecord, said: &FeedbackRecord) {
    state.learned.lock().learn_quality(&record.chosen, &record.features, said.score);
    let signal = match said.source.as_str() {
        "judge" => QualitySignal::Judge(said.score),
        _ => QualitySignal::Feedback(said.score),
    };
    observe(state, record, signal);
    let before = record.outcome.as_ref().and_then(|outcome| outcome.quality);
    state.patterns.lock().learn_quality(record, before);
}

fn observe(state: &super::RouteState, record: &DecisionRecord, signal: QualitySignal) {
    let (quality, weight) = signal.value_and_weight();
    state.quality.lock().observe(&record.chosen, record.class, quality, weight);
}
