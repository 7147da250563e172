use std::sync::Arc;
use std::time::Instant;

use chat::ApiError;
use routing::{CallOutcome, Finish, InFlight, Millis, PromptFeatures, Taken, Transition, classify};

use super::pool::PoolPlace;
use super::state::now;
use crate::snapshot::{Deployment, Route};

/// A call to a deployment, watched: what comes of it is what the router knows of the deployment.
/// Dropping it means that the caller went away, which says nothing.
#[derive(Debug)]
pub(crate) struct Watch {
    deployment: Arc<Deployment>,
    route: Arc<Route>,
    expected: Expected,
    started: Instant,
    is_probe: bool,
    first_token_ms: Option<Millis>,
    in_flight: Option<InFlight>,
    taken: Option<Taken>,
    /// Its place among those that a pool serves at a time.
    place: Option<PoolPlace>,
}

/// What a call is expected to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) prompt_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) features: PromptFeatures,
    pub(crate) streamed: bool,
}

impl Watch {
    /// Asks the deployment's breaker and its provider's known limits, and begins to watch.
    ///
    /// # Errors
    /// When it may not be called before a time on the router's clock.
    pub(crate) fn begin(
        deployment: &Arc<Deployment>,
        route: &Arc<Route>,
        expected: &Expected,
        place: Option<PoolPlace>,
    ) -> Result<Self, Millis> {
        let now = now();
        let (prompt, output) = (expected.prompt_tokens, expected.output_tokens);
        let state = &deployment.state;
        let (is_probe, taken) = state.admit(now, prompt.saturating_add(output))?;
        let in_flight = state.begin(now, prompt, output, expected.streamed);
        Ok(Self {
            deployment: Arc::clone(deployment),
            route: Arc::clone(route),
            expected: *expected,
            started: Instant::now(),
            is_probe,
            first_token_ms: None,
            in_flight: Some(in_flight),
            taken,
            place,
        })
    }

    fn elapsed_ms(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The first token of a stream came.
    pub(crate) fn first_token(&mut self) {
        if self.first_token_ms.is_some() {
            return;
        }
        let took = self.elapsed_ms();
        self.first_token_ms = Some(took);
        self.deployment.state.observe_first_token(took);
        let was_probe = std::mem::take(&mut self.is_probe);
        if let Some(in_flight) = &mut self.in_flight {
            let state = &self.deployment.state;
            let transition = state.first_token(now(), in_flight, took, was_probe);
            self.tell(transition);
        }
    }

    /// The answer came to its end, with so many tokens as far as is known.
    pub(crate) fn completed(mut self, completion_tokens: Option<u64>) {
        let total_ms = self.elapsed_ms();
        if let Some(tokens) = completion_tokens {
            let Expected { features, prompt_tokens, .. } = &self.expected;
            self.route.state.observe_output(features, *prompt_tokens, tokens);
        }
        let completion_tokens = completion_tokens.unwrap_or(self.expected.output_tokens);
        let first_token_ms = self.first_token_ms;
        self.end(
            Finish::Done { completion_tokens, total_ms, first_token_ms },
            &CallOutcome::Completed {
                // Of a whole answer nobody knows it, so it was not late.
                first_token_ms: first_token_ms.unwrap_or_default(),
                total_ms,
                completion_tokens,
            },
        );
    }

    /// It failed.
    pub(crate) fn failed(mut self, error: &ApiError) {
        let outcome = classify(error);
        let finish = match outcome {
            CallOutcome::Failed(_) | CallOutcome::Throttled { .. } => Finish::Failed,
            CallOutcome::Completed { .. } | CallOutcome::Neutral => Finish::Abandoned,
        };
        self.end(finish, &outcome);
    }

    fn end(&mut self, finish: Finish, outcome: &CallOutcome) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let now = now();
        let state = &self.deployment.state;
        let tokens = match finish {
            Finish::Done { completion_tokens, .. } => completion_tokens,
            Finish::Failed => 0,
            Finish::Abandoned => self.expected.output_tokens,
        };
        let used = self.expected.prompt_tokens.saturating_add(tokens);
        state.settle(now, self.taken.take(), used);
        let transition = state.finish(now, in_flight, finish, outcome, self.is_probe);
        self.tell(transition);
        if let Some(place) = self.place.take() {
            place.finish(tokens);
        }
    }

    fn tell(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            super::tell_transition(&self.deployment, transition);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(Finish::Abandoned, &CallOutcome::Neutral);
    }
}
