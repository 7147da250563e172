//! `POST /v1/feedback`: what somebody says of an answer.

use chat::{ApiError, ErrorKind};
use dialects::json::JsonWriter;
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use routing::FeedbackRecord;
use serde::Deserialize;

use crate::exchange::{Exchange, now_ms};
use crate::reply::{self, ReplyBody};
use crate::{pipeline, receive};

/// What a caller sends. Exactly one of `score` and `thumbs` says how good the answer was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    request_id: String,
    score: Option<f64>,
    thumbs: Option<Thumbs>,
    source: Option<String>,
    comment: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Thumbs {
    Up,
    Down,
}

/// Stores feedback; what is answered is stored.
pub(crate) async fn answer(
    mut exchange: Box<Exchange>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<ReplyBody> {
    if let Err(error) = pipeline::identify(&mut exchange, headers).await {
        Box::pin(pipeline::drain(body)).await;
        return pipeline::refuse(exchange, &error);
    }
    let limits = exchange.snapshot.settings.body.clone();
    let given = match receive::read_body(headers, body, &limits).await {
        Ok(body) => read(&body),
        Err(error) => Err(error),
    };
    let feedback = match given {
        Ok(feedback) => feedback,
        Err(error) => return pipeline::refuse(exchange, &error),
    };
    // A key of the platform speaks of the platform's own requests only, as any tenant of its own.
    let tenant = exchange.principal.as_ref().and_then(|caller| caller.tenant_id().cloned());
    let tenant = tenant.as_deref().unwrap_or_default();
    let said = exchange.gateway.decisions().say(Some(tenant), &feedback).await;
    match said {
        Ok(true) => {
            exchange.finish(200);
            let mut body = Vec::new();
            let mut json = JsonWriter::new(&mut body);
            json.begin_object();
            json.field("object", "feedback");
            json.field("request_id", &feedback.request_id);
            json.end_object();
            reply::json(200, body)
        }
        Ok(false) => {
            let error = ApiError::new(
                ErrorKind::NotFound,
                "there is no such request; `request_id` is the `x-request-id` of an answer",
            )
            .with_code("request_not_found")
            .with_param("request_id");
            pipeline::refuse(exchange, &error)
        }
        Err(error) => {
            tracing::error!(%error, event = "feedback_not_stored", "feedback could not be stored");
            let error = ApiError::new(
                ErrorKind::Overloaded,
                "feedback cannot be stored at the moment; send it again later",
            )
            .with_code("decision_memory_unavailable");
            pipeline::refuse(exchange, &error)
        }
    }
}

fn read(body: &[u8]) -> Result<FeedbackRecord, ApiError> {
    let given: Given = serde_json::from_slice(body).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        ApiError::new(ErrorKind::InvalidRequest, format!("the feedback cannot be read: {reason}"))
            .with_code("invalid_feedback")
    })?;
    let score = match (given.score, given.thumbs) {
        (Some(score), None) => score,
        (None, Some(Thumbs::Up)) => 1.0,
        (None, Some(Thumbs::Down)) => 0.0,
        _ => {
            return Err(ApiError::invalid(
                "score",
                "give either `score`, a number from 0 to 1, or `thumbs`, `up` or `down`",
            )
            .with_code("invalid_feedback"));
        }
    };
    let feedback = FeedbackRecord {
        request_id: given.request_id,
        at_ms: now_ms(),
        score,
        source: given.source.unwrap_or_else(|| "user".to_owned()),
        comment: given.comment,
    };
    feedback.check().map_err(|fault| {
        let param = match fault {
            routing::FeedbackFault::Score => "score",
            routing::FeedbackFault::Source => "source",
            routing::FeedbackFault::Comment => "comment",
        };
        ApiError::invalid(param, fault.to_string()).with_code("invalid_feedback")
    })?;
    Ok(feedback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbs_are_scores() {
        let read = |text: &str| read(text.as_bytes()).map(|feedback| feedback.score);
        assert_eq!(read(r#"{"request_id":"r","thumbs":"up"}"#).unwrap(), 1.0);
        assert_eq!(read(r#"{"request_id":"r","thumbs":"down"}"#).unwrap(), 0.0);
        assert_eq!(read(r#"{"request_id":"r","score":0.25}"#).unwrap(), 0.25);
    }

    #[test]
    fn what_says_nothing_or_too_much_is_refused() {
        for text in [
            r#"{"request_id":"r"}"#,
            r#"{"request_id":"r","score":2}"#,
            r#"{"request_id":"r","score":1,"thumbs":"up"}"#,
            r#"{"score":1}"#,
            r#"{"request_id":"r","score":1,"model":"x"}"#,
            "[]",
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidRequest, "{text}");
            assert_eq!(error.code.as_deref(), Some("invalid_feedback"), "{text}");
        }
    }
}
