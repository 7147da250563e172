//! Gets an answer out of a deployment, in its own dialect, whole or streamed.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use chat::{ApiError, ChatResponse, ErrorKind, ResponseFormat};
use dialects::json::Patch;
use dialects::openai_responses::Echo;
use dialects::{AnswerContext, EncodedRequest, structured};
use http::{HeaderMap, Response};
use metering::LedgerOutcome;
use providers::{Answer, AnswerBody, Call, Operation, WireFormat};
use telemetry::Stage;

use crate::answer_headers::describe;
use crate::batching;
use crate::codec::{self, Course, Understood};
use crate::counting;
use crate::embedding;
use crate::exchange::Exchange;
use crate::guard::{self, RestoreFilter};
use crate::headers::{for_caller, for_other_api, for_provider};
use crate::receive::Received;
use crate::relay::{EventFilter, Passage, Relay};
use crate::reply::{self, ReplyBody};
use crate::snapshot::Deployment;
use crate::surface::Surface;
use crate::worker::{Worker, id_seed};

/// Longest body of a provider's error that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// What an attempt gives: an answer, or the exchange back with the reason why not.
pub(crate) type Attempted = Result<Response<ReplyBody>, (Box<Exchange>, ApiError)>;

/// A request and what its attempts have in common.
pub(crate) struct Dispatch<'a> {
    worker: &'a Arc<Worker>,
    headers: &'a HeaderMap,
    received: &'a Received,
    /// The canonical form, made when the first candidate needs it.
    canonical: OnceLock<Understood>,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(
        worker: &'a Arc<Worker>,
        headers: &'a HeaderMap,
        received: &'a Received,
    ) -> Self {
        Self { worker, headers, received, canonical: OnceLock::new() }
    }
}

impl Dispatch<'_> {
    /// Asks one deployment, in its own dialect, for a whole answer or a stream.
    pub(crate) async fn attempt(
        &self,
        mut exchange: Box<Exchange>,
        deployment: &Arc<Deployment>,
    ) -> Attempted {
        exchange.adaptations.clear();
        exchange.start_over();
        let Some(course) = codec::course(exchange.surface, &deployment.provider) else {
            let error = ApiError::new(ErrorKind::Internal, "the candidate cannot serve this");
            return Err((exchange, error));
        };
        match course {
            Course::Forward(WireFormat::OpenAiEmbeddings) if batching::batches(deployment) => {
                let (worker, received) = (self.worker, self.received);
                Box::pin(batching::embed(worker, exchange, received, deployment)).await
            }
            // What is put back into a stream is put back into events.
            Course::Forward(format) if self.received.stream && exchange.restores() => {
                let chat = match format {
                    WireFormat::OpenAiChat | WireFormat::Anthropic => Some(format),
                    _ => deployment.provider.wire_format(Operation::Chat),
                };
                match chat {
                    Some(format) => Box::pin(self.convert(exchange, deployment, format)).await,
                    None => Err((exchange, cannot_restore())),
                }
            }
            Course::Forward(format) => self.forward(exchange, deployment, format).await,
            Course::Convert(format) => Box::pin(self.convert(exchange, deployment, format)).await,
            Course::Embed(format) => {
                let (worker, received) = (self.worker, self.received);
                let headers = for_other_api(self.headers, format);
                Box::pin(embedding::embed(worker, exchange, received, deployment, format, headers))
                    .await
            }
            Course::Count(format) => {
                let (worker, received) = (self.worker, self.received);
                Box::pin(counting::count(worker, exchange, received, deployment, format)).await
            }
            Course::CountHere => counting::count_here(exchange, self.received),
        }
    }

    /// Caller and provider speak the same dialect: the bytes that came, but for the members that
    /// must differ.
    async fn forward(
        &self,
        exchange: Box<Exchange>,
        deployment: &Arc<Deployment>,
        format: WireFormat,
    ) -> Attempted {
        let received = self.received;
        let mut patch = Patch::new(&received.body, &received.outline);
        let model = deployment.provider.model_name(exchange.surface.operation(), &deployment.model);
        if received.model != model {
            let mut value = Vec::with_capacity(model.len() + 2);
            dialects::json::push_string(&mut value, &model);
            patch.set("model", value);
        }
        patch.remove("llm_proxy");
        let wants_usage = codec::wants_stream_usage(received);
        if received.stream
            && format == WireFormat::OpenAiChat
            && deployment.stream_usage
            && !wants_usage
        {
            patch.set("stream_options", codec::stream_options_with_usage(received));
        }
        let body = patch.apply();
        let operation = exchange.surface.operation();
        let headers = for_provider(self.headers, exchange.surface.vendor());
        let (mut exchange, answer, started) =
            self.call(exchange, deployment, operation, received.stream, body, headers).await?;
        if !received.stream {
            let headers = answer.headers.clone();
            let max = exchange.snapshot.settings.max_answer_bytes;
            let body = match collect(answer.body, max).await {
                Ok(body) => body,
                Err(error) => return Err((exchange, error)),
            };
            exchange.waited += started.elapsed();
            exchange.stage(Stage::dispatch);
            match codec::watch_whole(exchange.surface, format, &body) {
                Ok(watched) => {
                    exchange.declined = exchange.has_choice() && codec::tells_refusal(&body);
                    exchange.usage = watched.usage;
                    exchange.response_model = watched.model;
                }
                Err(error) => return Err((exchange, error)),
            }
            return inspected_whole(exchange, &headers, body);
        }
        let context = self.context(&exchange, wants_usage);
        let passage = Passage::Forward {
            tap: codec::tap(format, wants_usage),
            encoder: codec::stream_encoder(exchange.surface, &context, Echo::default()),
        };
        stream(exchange, answer, passage, started).await
    }

    /// The provider speaks another dialect.
    async fn convert(
        &self,
        exchange: Box<Exchange>,
        deployment: &Arc<Deployment>,
        format: WireFormat,
    ) -> Attempted {
        let (mut exchange, request, encoded) = match self.encode(exchange, deployment, format).await
        {
            Ok(ready) => ready,
            Err(refused) => return Err(refused),
        };
        let Understood { chat: request, echo } = request;
        exchange.adaptations.clone_from(&encoded.adaptations);
        let context = self.context(&exchange, request.stream_usage);
        if encoded.validate != ResponseFormat::Text {
            let request = Understood { chat: request, echo };
            let validated = self.validated(exchange, deployment, format, request, &context);
            return Box::pin(validated).await;
        }
        let mut encoded = encoded;
        let body = vec![Bytes::from(std::mem::take(&mut encoded.body))];
        let headers = for_other_api(self.headers, format);
        let (mut exchange, answer, started) =
            self.call(exchange, deployment, Operation::Chat, request.stream, body, headers).await?;
        if request.stream {
            let passage = Passage::Convert {
                decoder: codec::stream_decoder(format, &context.id_seed),
                filter: restoring(&exchange, codec::stop_filter(&encoded, request.choice_count)),
                encoder: codec::stream_encoder(exchange.surface, &context, echo),
                events: Vec::new(),
            };
            return stream(exchange, answer, passage, started).await;
        }
        let headers = answer.headers.clone();
        let max = exchange.snapshot.settings.max_answer_bytes;
        let collected = collect(answer.body, max).await;
        exchange.waited += started.elapsed();
        exchange.stage(Stage::dispatch);
        let decoded =
            collected.and_then(|body| codec::decode_answer(format, &body, &context.id_seed));
        match decoded {
            Ok(mut response) => {
                codec::stop_whole(&encoded, &mut response);
                note(&mut exchange, &response);
                let body = codec::encode_answer(exchange.surface, &response, &context, &echo);
                exchange.stage(Stage::encode);
                inspected_whole(exchange, &headers, body.into())
            }
            Err(error) => Err((exchange, error)),
        }
    }

    /// The request in the provider's dialect, pictures uploaded where it wants them so.
    async fn encode(
        &self,
        exchange: Box<Exchange>,
        deployment: &Arc<Deployment>,
        format: WireFormat,
    ) -> Result<(Box<Exchange>, Understood, EncodedRequest), (Box<Exchange>, ApiError)> {
        let mut request = match self.canonical(exchange.surface) {
            Ok(request) => request.clone(),
            Err(error) => return Err((exchange, error)),
        };
        let http = self.worker.http();
        let timeouts = &deployment.timeouts;
        if let Err(error) =
            deployment.provider.prepare_images(http, &mut request.chat, timeouts).await
        {
            return Err((exchange, error));
        }
        match codec::encode_request(format, &request.chat, deployment) {
            Ok(encoded) => Ok((exchange, request, encoded)),
            Err(error) => Err((exchange, error)),
        }
    }

    /// The provider cannot enforce the form of the answer: it is asked for by instruction, checked
    /// here, and asked for once more if it does not fit. Only then is it sent, as a stream too.
    async fn validated(
        &self,
        mut exchange: Box<Exchange>,
        deployment: &Arc<Deployment>,
        format: WireFormat,
        request: Understood,
        context: &AnswerContext,
    ) -> Attempted {
        let Understood { chat: mut request, echo } = request;
        let streamed = std::mem::take(&mut request.stream);
        let wanted = request.response_format.clone();
        let mut repaired = false;
        loop {
            let encoded = match codec::encode_request(format, &request, deployment) {
                Ok(encoded) => encoded,
                Err(error) => return Err((exchange, error)),
            };
            let body = vec![Bytes::from(encoded.body.clone())];
            let headers = for_other_api(self.headers, format);
            let (returned, answer, started) =
                self.call(exchange, deployment, Operation::Chat, false, body, headers).await?;
            exchange = returned;
            let headers = answer.headers.clone();
            let max = exchange.snapshot.settings.max_answer_bytes;
            let collected = collect(answer.body, max).await;
            exchange.waited += started.elapsed();
            let decoded =
                collected.and_then(|body| codec::decode_answer(format, &body, &context.id_seed));
            let mut response = match decoded {
                Ok(response) => response,
                Err(error) => return Err((exchange, error)),
            };
            codec::stop_whole(&encoded, &mut response);
            add_usage(&mut exchange, &mut response);
            let fault = match fit(&wanted, &mut response) {
                Ok(()) => {
                    return send_checked(
                        exchange, &headers, response, context, echo, streamed, started,
                    );
                }
                Err(fault) => fault,
            };
            exchange.charge_attempt(LedgerOutcome::Discarded);
            if repaired {
                let error = ApiError::new(
                    ErrorKind::BadGateway,
                    format!("the answer does not have the form that was asked for: {fault}"),
                )
                .with_code("response_format_failed");
                return Err((exchange, error));
            }
            repaired = true;
            exchange.attempts += 1;
            let parts = response.choices.into_iter().next().map(|choice| choice.parts);
            let role = chat::Role::Assistant;
            let parts = parts.unwrap_or_default();
            request.messages.push(chat::Message { role, parts, name: None });
            let repair = structured::repair_prompt(&fault);
            request.messages.push(chat::Message::text(chat::Role::User, repair));
        }
    }

    fn canonical(&self, surface: Surface) -> Result<&Understood, ApiError> {
        if let Some(request) = self.canonical.get() {
            return Ok(request);
        }
        let request = codec::decode_request(surface, &self.received.body)?;
        Ok(self.canonical.get_or_init(|| request))
    }

    fn context(&self, exchange: &Exchange, stream_usage: bool) -> AnswerContext {
        AnswerContext {
            id_seed: id_seed(),
            request_id: exchange.request_id.clone(),
            now: seconds_since_1970(),
            route: self.received.model.clone(),
            stream_usage,
        }
    }

    /// Calls the provider; what it answers with an error status is an error here.
    async fn call(
        &self,
        mut exchange: Box<Exchange>,
        deployment: &Arc<Deployment>,
        operation: Operation,
        stream: bool,
        body: Vec<Bytes>,
        extra_headers: HeaderMap,
    ) -> Result<(Box<Exchange>, Answer, Instant), (Box<Exchange>, ApiError)> {
        if operation != Operation::CountTokens
            && let Err(error) = exchange.begin_attempt(deployment)
        {
            return Err((exchange, error));
        }
        let started = Instant::now();
        let timeouts = exchange.timeouts(deployment);
        let call = Call {
            operation,
            model: &deployment.model,
            stream,
            body,
            request_id: &exchange.request_id,
            timeouts: &timeouts,
            extra_headers: &extra_headers,
        };
        let sent = deployment.provider.send(self.worker.http(), call).await;
        let failed = match sent {
            Ok(answer) if answer.status.is_success() => {
                // Whole answers are waited for further; their caller adds that.
                if stream {
                    exchange.waited += started.elapsed();
                }
                return Ok((exchange, answer, started));
            }
            Ok(answer) => Box::pin(provider_error(deployment, operation, answer)).await,
            Err(error) => error,
        };
        exchange.waited += started.elapsed();
        Err((exchange, failed))
    }
}

/// The provider's own error as one of ours.
pub(crate) async fn provider_error(
    deployment: &Deployment,
    operation: Operation,
    answer: Answer,
) -> ApiError {
    let status = answer.status.as_u16();
    let retry_after = answer
        .headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| dialects::retry_after(value, SystemTime::now()));
    let body = collect(answer.body, MAX_ERROR_BYTES).await.unwrap_or_default();
    let format = deployment.provider.wire_format(operation);
    codec::decode_error(format, status, &body, retry_after)
}

/// Reads an answer whole.
pub(crate) async fn collect(mut body: AnswerBody, max_bytes: usize) -> Result<Bytes, ApiError> {
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        let length = first.as_ref().map_or(whole.len(), Bytes::len) + chunk.len();
        if length > max_bytes {
            return Err(ApiError::new(
                ErrorKind::BadGateway,
                format!("the provider's answer is larger than {max_bytes} bytes"),
            )
            .with_code("answer_too_large"));
        }
        match first.take() {
            None if whole.is_empty() => first = Some(chunk),
            None => whole.extend_from_slice(&chunk),
            Some(head) => {
                whole.reserve(2 * length);
                whole.extend_from_slice(&head);
                whole.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

async fn stream(
    mut exchange: Box<Exchange>,
    answer: Answer,
    passage: Passage,
    started: Instant,
) -> Attempted {
    open_stream(&mut exchange);
    let priming = Instant::now();
    let relay = Box::new(Relay::new(Some(answer.body), passage, exchange, started));
    match relay.prime().await {
        Ok(mut relay) => {
            relay.exchange().waited += priming.elapsed();
            relay.exchange().stage(Stage::dispatch);
            Ok(streaming(relay, &answer.headers))
        }
        Err((mut exchange, error)) => {
            exchange.waited += priming.elapsed();
            close_stream(&mut exchange);
            Err((exchange, error))
        }
    }
}

fn open_stream(exchange: &mut Exchange) {
    exchange.streamed = true;
    exchange.gateway.metrics().open_streams.inc();
}

fn close_stream(exchange: &mut Exchange) {
    exchange.streamed = false;
    exchange.time_to_first_token = None;
    exchange.gateway.metrics().open_streams.dec();
}

fn streaming(mut relay: Box<Relay>, provider_headers: &HeaderMap) -> Response<ReplyBody> {
    let mut head = Response::new(());
    let exchange = relay.exchange();
    exchange.win();
    for_caller(provider_headers, exchange.surface.vendor(), head.headers_mut());
    describe(&mut head, exchange);
    let mut response = reply::event_stream(relay);
    response.headers_mut().extend(head.into_parts().0.headers);
    response
}

pub(crate) fn whole(
    mut exchange: Box<Exchange>,
    provider_headers: &HeaderMap,
    body: impl Into<Bytes>,
) -> Response<ReplyBody> {
    exchange.win();
    exchange.finish(200);
    let mut response = reply::json(200, body);
    for_caller(provider_headers, exchange.surface.vendor(), response.headers_mut());
    describe(&mut response, &mut exchange);
    response
}

/// Sends a whole answer as the guard lets it go out.
fn inspected_whole(
    mut exchange: Box<Exchange>,
    provider_headers: &HeaderMap,
    body: Bytes,
) -> Attempted {
    match guard::inspect_output(&mut exchange, body) {
        Ok(body) => Ok(whole(exchange, provider_headers, body)),
        Err(error) => {
            exchange.charge_attempt(LedgerOutcome::Discarded);
            Err((exchange, error))
        }
    }
}

/// A filter that puts back into a stream what the guard took out of the request, behind another.
fn restoring(
    exchange: &Exchange,
    inner: Option<Box<dyn EventFilter>>,
) -> Option<Box<dyn EventFilter>> {
    match &exchange.guarded {
        Some(guarded) if exchange.restores() => {
            Some(Box::new(RestoreFilter::new(Arc::clone(guarded), inner)))
        }
        _ => inner,
    }
}

fn cannot_restore() -> ApiError {
    ApiError::new(
        ErrorKind::InvalidRequest,
        "personal data was taken out of the request, and this provider's stream cannot have it put \
         back; ask without `stream`",
    )
    .with_code("stream_not_restorable")
}

/// Sends an answer that was checked whole, as a stream if one was asked for.
fn send_checked(
    mut exchange: Box<Exchange>,
    headers: &HeaderMap,
    response: ChatResponse,
    context: &AnswerContext,
    echo: Echo,
    streamed: bool,
    started: Instant,
) -> Attempted {
    note(&mut exchange, &response);
    if !streamed {
        let body = codec::encode_answer(exchange.surface, &response, context, &echo);
        return inspected_whole(exchange, headers, body.into());
    }
    open_stream(&mut exchange);
    let passage = Passage::Convert {
        decoder: codec::stream_decoder(WireFormat::OpenAiChat, ""),
        filter: restoring(&exchange, None),
        encoder: codec::stream_encoder(exchange.surface, context, echo),
        events: Vec::new(),
    };
    let mut relay = Box::new(Relay::new(None, passage, exchange, started));
    relay.replay(response.into_events());
    Ok(streaming(relay, headers))
}

fn note(exchange: &mut Exchange, response: &ChatResponse) {
    exchange.usage = response.usage;
    exchange.response_model = Some(response.model.clone());
    exchange.declined = response.choices.iter().any(|choice| {
        codec::is_refusal(&choice.finish)
            || choice.parts.iter().any(|part| matches!(part, chat::Part::Refusal(_)))
    });
}

/// A repaired answer cost what all its attempts cost.
fn add_usage(exchange: &mut Exchange, response: &mut ChatResponse) {
    if let (Some(before), Some(usage)) = (exchange.usage, &mut response.usage) {
        usage.prompt_tokens += before.prompt_tokens;
        usage.cached_prompt_tokens += before.cached_prompt_tokens;
        usage.cache_write_tokens += before.cache_write_tokens;
        usage.completion_tokens += before.completion_tokens;
        usage.reasoning_tokens += before.reasoning_tokens;
    }
    exchange.usage = response.usage;
}

/// Checks each answer that is not a tool call, and leaves of it only the JSON.
fn fit(
    wanted: &ResponseFormat,
    response: &mut ChatResponse,
) -> Result<(), structured::SchemaFault> {
    for choice in &mut response.choices {
        let calls = choice.parts.iter().any(|part| matches!(part, chat::Part::ToolCall(_)));
        if calls {
            continue;
        }
        let clean = structured::check(wanted, &choice.joined_text())?;
        choice.parts.retain(|part| part.as_text().is_none());
        choice.parts.push(chat::Part::text(clean));
    }
    Ok(())
}

pub(crate) fn seconds_since_1970() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}
