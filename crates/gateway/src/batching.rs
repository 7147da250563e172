//! Requests for embeddings at local engines, sent together: up to 64 texts in 10 ms share one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chat::{ApiError, EmbeddingInput, EmbeddingRequest, EmbeddingResponse, ErrorKind, Usage};
use dialects::openai_embeddings;
use http::{HeaderMap, Response};
use parking_lot::Mutex;
use providers::{Call, Operation};
use routing::local::{Batch, BatchOptions, MicroBatcher, Pushed, apportion};
use telemetry::Stage;
use tokio::sync::oneshot;

use crate::accounting::estimate_prompt;
use crate::dispatch::{collect, provider_error, whole};
use crate::exchange::Exchange;
use crate::receive::Received;
use crate::reply::ReplyBody;
use crate::routing::router_now;
use crate::snapshot::Deployment;
use crate::worker::{Worker, id_seed};

/// What requests must have in common to share a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct BatchKey {
    deployment: String,
    /// Whether the inputs are token ids: a list holds either.
    tokens: bool,
    dimensions: Option<u32>,
    /// All other members of the request, as they are.
    others: Vec<(String, String)>,
}

/// A request that waits for its call.
struct Waiting {
    number: u64,
    deployment: Arc<Deployment>,
    request: EmbeddingRequest,
    /// Tokens, an estimate: its share of what the call is charged.
    weight: u64,
    done: oneshot::Sender<Result<EmbeddingResponse, ApiError>>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// Requests for embeddings that wait for others, of one worker.
pub(crate) struct EmbeddingBatches {
    batcher: Mutex<MicroBatcher<BatchKey, Waiting>>,
    wait: Duration,
}

impl Default for EmbeddingBatches {
    fn default() -> Self {
        let options = BatchOptions::default();
        let wait = Duration::from_millis(options.max_wait_ms);
        Self { batcher: Mutex::new(MicroBatcher::new(options)), wait }
    }
}

/// Whether requests for embeddings at this deployment are sent together.
pub(crate) fn batches(deployment: &Deployment) -> bool {
    deployment.pool.as_ref().is_some_and(|pool| pool.options().batch_embeddings)
}

/// Embeds together with others, and answers as OpenAI does.
pub(crate) async fn embed(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    received: &Received,
    deployment: &Arc<Deployment>,
) -> Result<Response<ReplyBody>, (Box<Exchange>, ApiError)> {
    let request = match openai_embeddings::decode_request(&received.body) {
        Ok(request) => request,
        Err(error) => return Err((exchange, error)),
    };
    if let Err(error) = exchange.begin_attempt(deployment) {
        return Err((exchange, error));
    }
    let base64 = request.base64;
    let started = Instant::now();
    let weight = estimate_prompt(&received.body).max(1);
    let answer = wait_for_call(worker, deployment, request, weight).await;
    exchange.waited += started.elapsed();
    exchange.stage(Stage::dispatch);
    match answer {
        Ok(response) => {
            exchange.usage = Some(response.usage);
            exchange.response_model = Some(response.model.clone());
            let body = openai_embeddings::encode_response(&response, base64);
            Ok(whole(exchange, &HeaderMap::new(), body))
        }
        Err(error) => Err((exchange, error)),
    }
}

async fn wait_for_call(
    worker: &Arc<Worker>,
    deployment: &Arc<Deployment>,
    request: EmbeddingRequest,
    weight: u64,
) -> Result<EmbeddingResponse, ApiError> {
    let key = BatchKey {
        deployment: deployment.name().to_owned(),
        tokens: matches!(request.input.first(), Some(EmbeddingInput::Tokens(_))),
        dimensions: request.dimensions,
        others: request
            .extra
            .members
            .iter()
            .map(|(name, value)| (name.clone(), value.get().to_owned()))
            .collect(),
    };
    let inputs = u32::try_from(request.input.len()).unwrap_or(u32::MAX);
    let (done, answer) = oneshot::channel();
    let number = fastrand::u64(..);
    let deployment = Arc::clone(deployment);
    let waiting = Waiting { number, deployment, request, weight, done };
    let batches = worker.embedding_batches();
    let pushed = batches.batcher.lock().push(router_now(), key.clone(), waiting, inputs);
    let worker_again = Arc::clone(worker);
    match pushed {
        Pushed::Held => {
            let wait = batches.wait;
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                loop {
                    let batches = worker_again.embedding_batches();
                    let Some(batch) = batches.batcher.lock().due(router_now()) else { return };
                    call(&worker_again, batch).await;
                }
            });
        }
        Pushed::Flush(batch) => {
            tokio::spawn(async move { call(&worker_again, batch).await });
        }
        Pushed::Alone(waiting) => {
            let parts = vec![routing::local::Part { request: waiting, inputs }];
            let batch = Batch { key, parts };
            tokio::spawn(async move { call(&worker_again, batch).await });
        }
    }
    answer.await.unwrap_or_else(|_| {
        Err(ApiError::new(ErrorKind::Internal, "the call for several requests was given up"))
    })
}

/// Makes one call for all of a batch, and gives each its own vectors and its share of the tokens.
async fn call(worker: &Worker, batch: Batch<BatchKey, Waiting>) {
    let answered = ask(worker, &batch).await;
    let weights: Vec<u64> = batch.parts.iter().map(|part| part.request.weight).collect();
    let whole = match answered {
        Ok(whole) => whole,
        Err(error) => {
            for part in batch.parts {
                _ = part.request.done.send(Err(error.clone()));
            }
            return;
        }
    };
    let tokens = apportion(whole.usage.prompt_tokens, &weights);
    let model = whole.model;
    let split = match batch.split(whole.embeddings) {
        Ok(split) => split,
        Err(_) => return,
    };
    for ((waiting, mut embeddings), prompt_tokens) in split.into_iter().zip(tokens) {
        for (index, embedding) in (0..).zip(&mut embeddings) {
            embedding.index = index;
        }
        let usage = Usage { prompt_tokens, ..Usage::default() };
        let response = EmbeddingResponse { model: model.clone(), embeddings, usage };
        _ = waiting.done.send(Ok(response));
    }
}

async fn ask(
    worker: &Worker,
    batch: &Batch<BatchKey, Waiting>,
) -> Result<EmbeddingResponse, ApiError> {
    let Some(first) = batch.parts.first() else { return Ok(EmbeddingResponse::default()) };
    let deployment = &first.request.deployment;
    let request_id = format!("batch_{}", id_seed());
    let model = deployment.provider.model_name(Operation::Embeddings, &deployment.model);
    let requests = batch.parts.iter().map(|part| &part.request.request);
    let body = openai_embeddings::encode_joint_request(&model, requests);
    let no_headers = HeaderMap::new();
    let call = Call {
        operation: Operation::Embeddings,
        model: &deployment.model,
        stream: false,
        body: vec![Bytes::from(body)],
        request_id: &request_id,
        timeouts: &deployment.timeouts,
        extra_headers: &no_headers,
    };
    let answer = deployment.provider.send(worker.http(), call).await?;
    if !answer.status.is_success() {
        return Err(provider_error(deployment, Operation::Embeddings, answer).await);
    }
    let max = worker.gateway().snapshot().settings.max_answer_bytes;
    let body = collect(answer.body, max).await?;
    let response = openai_embeddings::decode_response(&body)?;
    if response.embeddings.len() != batch.inputs() {
        return Err(ApiError::new(
            ErrorKind::BadGateway,
            "the provider's answer holds another number of vectors than there are inputs",
        )
        .with_code("invalid_provider_answer"));
    }
    Ok(response)
}
