//! Embeddings at providers that do not speak OpenAI's dialect.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chat::{
    ApiError, Embedding, EmbeddingInput, EmbeddingRequest, EmbeddingResponse, ErrorKind, Usage,
};
use dialects::{Target, gigachat, openai_embeddings, yandexgpt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderMap, Response};
use providers::{Call, Operation, WireFormat};
use telemetry::Stage;

use crate::dispatch::{collect, provider_error, whole};
use crate::exchange::Exchange;
use crate::receive::Received;
use crate::reply::ReplyBody;
use crate::snapshot::Deployment;
use crate::worker::Worker;

/// Calls in flight at a time for one request, where a provider takes one text a call.
const PARALLEL_CALLS: usize = 8;

/// Embeds by one call or many, each with these `headers`, and answers as OpenAI does.
pub(crate) async fn embed(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    received: &Received,
    deployment: &Arc<Deployment>,
    format: WireFormat,
    headers: HeaderMap,
) -> Result<Response<ReplyBody>, (Box<Exchange>, ApiError)> {
    let request = match openai_embeddings::decode_request(&received.body) {
        Ok(request) => request,
        Err(error) => return Err((exchange, error)),
    };
    if let Err(error) = exchange.begin_attempt(deployment) {
        return Err((exchange, error));
    }
    let started = Instant::now();
    let caller = Caller { worker, exchange: &exchange, deployment, headers };
    let embedded = match format {
        WireFormat::YandexEmbeddings => caller.one_by_one(&request).await,
        _ => caller.all_at_once(&request).await,
    };
    exchange.waited += started.elapsed();
    exchange.stage(Stage::dispatch);
    match embedded {
        Ok(response) => {
            exchange.usage = Some(response.usage);
            exchange.response_model = Some(response.model.clone());
            let body = openai_embeddings::encode_response(&response, request.base64);
            Ok(whole(exchange, &HeaderMap::new(), body))
        }
        Err(error) => Err((exchange, error)),
    }
}

struct Caller<'a> {
    worker: &'a Worker,
    exchange: &'a Exchange,
    deployment: &'a Deployment,
    headers: HeaderMap,
}

impl Caller<'_> {
    async fn all_at_once(&self, request: &EmbeddingRequest) -> Result<EmbeddingResponse, ApiError> {
        let deployment = self.deployment;
        let model = deployment.provider.model_name(Operation::Embeddings, &deployment.model);
        let target = Target {
            model: &model,
            unsupported: deployment.unsupported,
            default_max_output_tokens: deployment.default_max_output_tokens,
            stream_usage: false,
            legacy_max_tokens: false,
        };
        let body = gigachat::encode_embeddings(request, &target)?;
        let answer = self.call(body).await?;
        let response = gigachat::decode_embeddings(&answer)?;
        if response.embeddings.len() != request.input.len() {
            return Err(ApiError::new(
                ErrorKind::BadGateway,
                "the provider's answer holds another number of vectors than there are inputs",
            )
            .with_code("invalid_provider_answer"));
        }
        Ok(response)
    }

    async fn one_by_one(&self, request: &EmbeddingRequest) -> Result<EmbeddingResponse, ApiError> {
        let deployment = self.deployment;
        let model = deployment.provider.model_name(Operation::Embeddings, &deployment.model);
        let mut bodies = Vec::with_capacity(request.input.len());
        for input in &request.input {
            let EmbeddingInput::Text(text) = input else {
                return Err(ApiError::invalid("input", "YandexGPT takes texts, not token ids")
                    .with_code("unsupported_parameter"));
            };
            bodies.push(yandexgpt::encode_embedding(&model, text, request.dimensions));
        }
        let answers: Vec<_> = stream::iter(bodies)
            .map(|body| async move { yandexgpt::decode_embedding(&self.call(body).await?) })
            .buffered(PARALLEL_CALLS)
            .try_collect()
            .await?;
        let mut response = EmbeddingResponse::default();
        let mut usage = Usage::default();
        for (index, (vector, cost, version)) in answers.into_iter().enumerate() {
            usage.prompt_tokens += cost.prompt_tokens;
            response.model = version;
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            response.embeddings.push(Embedding { index, vector });
        }
        response.usage = usage;
        Ok(response)
    }

    async fn call(&self, body: Vec<u8>) -> Result<Bytes, ApiError> {
        let deployment = self.deployment;
        let call = Call {
            operation: Operation::Embeddings,
            model: &deployment.model,
            stream: false,
            body: vec![body.into()],
            request_id: &self.exchange.request_id,
            timeouts: &deployment.timeouts,
            extra_headers: &self.headers,
        };
        let answer = deployment.provider.send(self.worker.http(), call).await?;
        if !answer.status.is_success() {
            return Err(provider_error(deployment, Operation::Embeddings, answer).await);
        }
        collect(answer.body, self.exchange.snapshot.settings.max_answer_bytes).await
    }
}
