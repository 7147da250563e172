//! `/responses`: stateless, whole or as typed events.

mod request;
mod wire;

use super::auth::Caller;
use super::error::ApiError;
use super::{EVENT_STREAM, body_json, failure, planned, rate_limit_headers};
use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::providers::Provider;
use crate::script::Fault;

pub(crate) fn handle(
    provider: Provider,
    exchange: &Exchange,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let body = body_json(provider, exchange)?;
    let mut request = request::read(provider, &body)?;
    let reply = planned(provider, exchange, caller, &mut request.prompt)?;
    if reply.fault == Some(Fault::OkWithErrorBody) {
        return Ok(Answer::json(200, failure(provider, &reply).to_string()));
    }
    let stream = request.prompt.stream;
    let response = wire::Response::new(request, reply.clone(), exchange.world.now());
    let answer = if stream {
        let after = match reply.fault {
            Some(Fault::ErrorInStreamAfter(after)) => after,
            _ => 0,
        };
        let error = response.failure_events(after);
        Answer::stream(&reply, EVENT_STREAM, response.events(), error)
    } else {
        Answer::whole(&reply, response.whole())
    };
    Ok(rate_limit_headers(provider, answer, &reply))
}
