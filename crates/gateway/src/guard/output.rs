use bytes::Bytes;
use chat::{ApiError, ErrorKind};
use guarding::leaks::LeakDetector;
use guarding::policy::GuardPolicy;
use guarding::pseudonyms::Pseudonyms;
use guarding::{GuardRefusal, Inspected, Verdict};

use super::contents::{self, Edit};
use crate::exchange::Exchange;

/// What a caller is told whose answer gave the system prompt away.
pub(super) const LEAKED: &str = "the answer repeated the instructions of the assistant, which may not \
                                 go out; ask whoever runs llm-proxy to look at it by the request id";

/// Looks at a whole answer in the caller's dialect: what was taken out of the request is put back,
/// and what else it gives away is treated by the policy.
///
/// # Errors
/// When it may not go out.
pub(crate) fn inspect_output(exchange: &mut Exchange, body: Bytes) -> Result<Bytes, ApiError> {
    let Some(guarded) = exchange.guarded.clone() else { return Ok(body) };
    let (policy, pseudonyms) = (&guarded.policy, &guarded.pseudonyms);
    if pseudonyms.is_empty() && policy.output.is_idle() && guarded.leaks.is_none() {
        return Ok(body);
    }
    let mut body = body;
    if let Some(detector) = &guarded.leaks {
        find_leak(exchange, policy, detector, &body)?;
    }
    if !policy.output.is_idle() {
        let texts = contents::of_answer(&body);
        let inspected: Vec<Inspected<'_>> = texts
            .iter()
            .map(|text| Inspected { channel: text.channel, text: &text.text })
            .collect();
        let known = |value: &str| guarded.known.contains(&squeezed(value));
        let inspection = guarded.setup.inspector.inspect_output(&inspected, policy, known);
        let metrics = &exchange.gateway.metrics().guard;
        for detection in &inspection.detections {
            metrics.count_detection(&detection.kind, "output");
        }
        if inspection.verdict() > Verdict::Allow {
            let rules: Vec<&str> =
                inspection.detections.iter().take(32).map(|found| found.rule.as_str()).collect();
            tracing::warn!(
                event = "guard_output",
                request_id = exchange.request_id,
                policy = policy.name,
                verdict = inspection.verdict().name(),
                enforced = policy.enforces,
                found = rules.join(" "),
                "the answer holds data that the caller did not send"
            );
        }
        if policy.enforces {
            if let Some(refusal) = inspection.refusal {
                let message = "the answer held data that may not go out; ask whoever runs \
                               llm-proxy to look at it by the request id";
                return Err(
                    ApiError::new(ErrorKind::ContentPolicy, message).with_code(refusal.code())
                );
            }
            // Nothing that an answer gives away comes back.
            let mut none = Pseudonyms::new(&guarded.setup.pseudonym_key, b"");
            let replaced = inspection.replacements(&inspected, &mut none);
            let edits: Vec<Edit> =
                replaced.into_iter().map(|(text, span, by)| Edit { text, span, by }).collect();
            if !edits.is_empty() {
                body = contents::rewritten(&body, &texts, &edits);
            }
        }
    }
    Ok(restored(body, pseudonyms))
}

/// Looks for the system prompt in an answer.
fn find_leak(
    exchange: &Exchange,
    policy: &GuardPolicy,
    detector: &LeakDetector,
    body: &[u8],
) -> Result<(), ApiError> {
    let texts = contents::of_answer(body);
    let Some(leak) = texts.iter().find_map(|text| detector.find(&text.text)) else {
        return Ok(());
    };
    exchange.gateway.metrics().guard.count_detection("system_prompt", "output");
    let refuses = policy.enforces && policy.prompt_leaks.refuses();
    tracing::warn!(
        event = "guard_output",
        request_id = exchange.request_id,
        policy = policy.name,
        verdict = if refuses { Verdict::Block.name() } else { Verdict::Flag.name() },
        enforced = policy.enforces,
        found = leak.rule(),
        "the answer gives the system prompt away"
    );
    if refuses {
        let code = GuardRefusal::PromptLeak.code();
        return Err(ApiError::new(ErrorKind::ContentPolicy, LEAKED).with_code(code));
    }
    Ok(())
}

fn restored(body: Bytes, pseudonyms: &Pseudonyms) -> Bytes {
    if pseudonyms.is_empty() {
        return body;
    }
    let texts = contents::of_answer(&body);
    let mut edits = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        for (span, is_json) in text.fields() {
            let part = text.text.get(span.clone()).unwrap_or_default();
            if pseudonyms.stands_in(part) {
                edits.push(Edit { text: number, by: pseudonyms.restore(part, is_json), span });
            }
        }
    }
    if edits.is_empty() { body } else { contents::rewritten(&body, &texts, &edits) }
}

fn squeezed(value: &str) -> String {
    let letters = value.chars().filter(|letter| !letter.is_whitespace());
    letters.flat_map(char::to_lowercase).collect()
}
