use std::sync::Arc;

use bytes::Bytes;
use chat::{ApiError, ErrorKind, Sensitivity};
use dialects::json::Outline;
use guarding::leaks::{LeakDetector, canary, canary_note};
use guarding::policy::{GuardPolicy, Risk, RiskAction, Spotlighting};
use guarding::pseudonyms::Pseudonyms;
use guarding::spotlight::set_off;
use guarding::{Channel, GuardRefusal, Inspected, Inspection, Verdict};

use super::contents::{self, ContentText, Edit};
use super::setup::GuardSetup;
use crate::exchange::Exchange;
use crate::receive::Received;
use crate::routing;
use crate::snapshot::Route;

/// Texts beyond this are looked at on a thread of their own, so that other requests are served
/// meanwhile: bytes.
const INLINE: usize = 64 * 1024;

/// What the guard knows of a request while it is under way.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(super) setup: Arc<GuardSetup>,
    pub(super) policy: Arc<GuardPolicy>,
    /// What stands for what; empty where nothing is put back.
    pub(crate) pseudonyms: Pseudonyms,
    /// What the caller sent, without spaces and in small letters, where answers are looked at.
    pub(super) known: String,
    /// Knows the system prompt, where answers must not give it away.
    pub(super) leaks: Option<LeakDetector>,
    pub(crate) verdict: Verdict,
}

/// Looks at a request, and gives it back as it may go on.
///
/// # Errors
/// When it may not.
pub(crate) async fn inspect_input(
    exchange: &mut Exchange,
    received: Received,
    route: &Route,
) -> Result<Received, ApiError> {
    let Some(setup) = exchange.snapshot.guard.clone() else { return Ok(received) };
    let policy = setup.policy(route, exchange.principal.as_ref());
    if policy.is_off() {
        return Ok(received);
    }
    let conversation = setup.conversation(&routing::conversation_name(exchange, &received));
    if policy.enforces && setup.is_ended(&conversation) {
        return Err(ApiError::new(
            ErrorKind::ContentPolicy,
            "this conversation was ended by the guard; begin a new one",
        )
        .with_code("conversation_ended"));
    }
    let looked = Looked {
        setup: Arc::clone(&setup),
        policy: Arc::clone(&policy),
        conversation,
        request_id: exchange.request_id.to_string(),
        body: received.body.clone(),
    };
    let seen = if received.body.len() <= INLINE {
        looked.look()
    } else {
        let on_its_own = tokio::task::spawn_blocking(|| looked.look()).await;
        on_its_own.map_err(|_| ApiError::new(ErrorKind::Internal, "the guard failed"))?
    };
    let seen = seen?;
    report(exchange, &policy, &seen);
    if let Some(refusal) = seen.inspection.refusal.filter(|_| policy.enforces) {
        if seen.inspection.action == RiskAction::EndConversation {
            setup.end(conversation);
        }
        return Err(refused(refusal));
    }
    let Seen { inspection, body, pseudonyms, known, leaks, .. } = seen;
    let mut received = received;
    if let Some(body) = body {
        // What was rewritten was read within these limits before.
        received.outline = Outline::read(&body, exchange.snapshot.settings.body.max_json_depth)?;
        received.body = body;
    }
    let asked = received.requirements.sensitivity;
    let found = if policy.enforces { inspection.sensitivity } else { Sensitivity::Public };
    if found > Sensitivity::Public {
        received.requirements.sensitivity = asked.max(Some(found));
    }
    let verdict = if policy.enforces { inspection.verdict() } else { Verdict::Allow };
    exchange.guarded = Some(Arc::new(Guarded { setup, policy, pseudonyms, known, leaks, verdict }));
    Ok(received)
}

struct Looked {
    setup: Arc<GuardSetup>,
    policy: Arc<GuardPolicy>,
    conversation: [u8; 32],
    request_id: String,
    body: Bytes,
}

struct Seen {
    inspection: Inspection,
    texts: Vec<ContentText>,
    /// The body as it goes on, if it was rewritten.
    body: Option<Bytes>,
    pseudonyms: Pseudonyms,
    known: String,
    leaks: Option<LeakDetector>,
}

impl Looked {
    fn look(self) -> Result<Seen, ApiError> {
        let Self { setup, policy, conversation, request_id, body } = self;
        let texts = contents::of_request(&body);
        let length: usize = texts.iter().map(|text| text.text.len()).sum();
        if length > setup.max_text_bytes {
            let most = setup.max_text_bytes;
            return Err(ApiError::new(
                ErrorKind::RequestTooLarge,
                format!("the request holds {length} bytes of text; the guard looks at {most}"),
            )
            .with_code("too_much_text"));
        }
        let inspected: Vec<Inspected<'_>> = texts
            .iter()
            .map(|text| Inspected { channel: text.channel, text: &text.text })
            .collect();
        let inspection = setup.inspector.inspect_input(&inspected, &policy);
        let mut pseudonyms = Pseudonyms::new(&setup.pseudonym_key, &conversation);
        let mut edits = Vec::new();
        if policy.enforces {
            let replaced = inspection.replacements(&inspected, &mut pseudonyms);
            edits = replaced.into_iter().map(|(text, span, by)| Edit { text, span, by }).collect();
            if policy.neutralise_template_tokens {
                neutralise(&inspected, &mut edits);
            }
        }
        let mut rewritten = (!edits.is_empty()).then(|| contents::rewritten(&body, &texts, &edits));
        let known = if policy.output.is_idle() { String::new() } else { squeezed(&texts) };
        let system = system_prompt(&texts).filter(|_| policy.prompt_leaks > RiskAction::Allow);
        let canary = (system.as_deref().filter(|_| policy.enforces))
            .map(|system| canary(&setup.pseudonym_key, system));
        let leaks = system.map(|system| LeakDetector::new(&system, canary.as_deref()));
        if policy.enforces {
            let mark = setup.mark(&request_id);
            let body = rewritten.as_ref().unwrap_or(&body);
            rewritten =
                fortified(body, policy.spotlighting, &mark, canary.as_deref()).or(rewritten);
        }
        Ok(Seen { inspection, body: rewritten, pseudonyms, known, leaks, texts })
    }
}

/// Puts a space into tokens by which templates of chats tell roles apart, where no data is replaced.
fn neutralise(texts: &[Inspected<'_>], edits: &mut Vec<Edit>) {
    for (text, inspected) in texts.iter().enumerate() {
        for span in guarding::template_tokens::find(inspected.text) {
            let taken = edits.iter().any(|edit| {
                edit.text == text && edit.span.start < span.end && span.start < edit.span.end
            });
            let token = inspected.text.get(span.clone()).unwrap_or_default();
            if !taken {
                edits.push(Edit { text, by: guarding::template_tokens::harmless(token), span });
            }
        }
    }
}

/// All that stands in the role of the system.
fn system_prompt(texts: &[ContentText]) -> Option<String> {
    let of_system = texts.iter().filter(|text| text.channel == Channel::System);
    let parts: Vec<&str> = of_system.map(|text| text.text.as_str()).collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// The body with what tools and documents say set off, and with a secret word in the system prompt;
/// nothing if neither is there.
fn fortified(
    body: &[u8],
    spotlighting: Spotlighting,
    mark: &str,
    canary: Option<&str>,
) -> Option<Bytes> {
    if spotlighting == Spotlighting::Off && canary.is_none() {
        return None;
    }
    let texts = contents::of_request(body);
    let mut edits = Vec::new();
    let mut canary = canary;
    for (number, text) in texts.iter().enumerate() {
        match text.channel {
            Channel::System => {
                if let (Some((span, _)), Some(canary)) = (text.fields().last(), canary.take()) {
                    let by = canary_note(canary);
                    edits.push(Edit { text: number, span: span.end..span.end, by });
                }
            }
            Channel::ToolResult | Channel::Document if spotlighting != Spotlighting::Off => {
                edits.extend(text.fields().map(|(span, _)| {
                    let part = text.text.get(span.clone()).unwrap_or_default();
                    Edit { text: number, by: set_off(part, spotlighting, mark), span }
                }));
            }
            _ => {}
        }
    }
    (!edits.is_empty()).then(|| contents::rewritten(body, &texts, &edits))
}

/// Letters and digits alone, small: what the caller sent, to know it again in the answer.
fn squeezed(texts: &[ContentText]) -> String {
    let letters = texts.iter().flat_map(|text| text.text.chars().chain(std::iter::once('\n')));
    letters.filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn refused(refusal: GuardRefusal) -> ApiError {
    let message = match refusal {
        GuardRefusal::Data(category) => format!(
            "the request holds data that may not be sent ({}); take it out and send it again",
            category.name()
        ),
        GuardRefusal::Attack(_) => "the request looks like an attempt to override the model's \
             instructions; say it otherwise, or ask whoever runs llm-proxy to look at it by the \
             request id"
            .to_owned(),
        GuardRefusal::Content(_) => "the request asks for what is not allowed here; ask whoever \
             runs llm-proxy to look at it by the request id if that is wrong"
            .to_owned(),
        GuardRefusal::PromptLeak => super::output::LEAKED.to_owned(),
        GuardRefusal::SystemMessage => {
            "this key may not send system messages; send user messages only".to_owned()
        }
    };
    ApiError::new(ErrorKind::ContentPolicy, message).with_code(refusal.code())
}

/// Counts what was found, and tells the operator which rules found it where. The texts themselves are
/// never told.
fn report(exchange: &Exchange, policy: &GuardPolicy, seen: &Seen) {
    let inspection = &seen.inspection;
    let verdict = inspection.verdict();
    let metrics = &exchange.gateway.metrics().guard;
    metrics.count_inspection(&policy.name, verdict.name(), policy.enforces);
    for detection in &inspection.detections {
        metrics.count_detection(&detection.kind, "input");
    }
    if verdict == Verdict::Allow && inspection.action < RiskAction::Log {
        return;
    }
    let places: Vec<String> = inspection
        .detections
        .iter()
        .take(32)
        .map(|found| {
            let place = seen.texts.get(found.text).map_or("", |text| text.place.as_str());
            let (from, to) = (found.span.start, found.span.end);
            format!("{}@{place}:{from}-{to}={:.2}", found.rule, found.confidence)
        })
        .collect();
    let found = places.join(" ");
    let (request_id, risk) = (&exchange.request_id, inspection.risk.name());
    let content_risk = inspection.content_risk.name();
    let alarming = inspection.risk >= Risk::High || inspection.refusal.is_some();
    let key = exchange.principal.as_ref().map(|principal| principal.name());
    let (policy, verdict, enforced) = (&policy.name, verdict.name(), policy.enforces);
    if alarming {
        tracing::warn!(
            event = "guard_alarm",
            request_id,
            key,
            policy,
            verdict,
            enforced,
            risk,
            content_risk,
            found,
            attack_score = inspection.attack,
            "the guard found something"
        );
    } else {
        tracing::info!(
            event = "guard_finding",
            request_id,
            key,
            policy,
            verdict,
            enforced,
            risk,
            content_risk,
            found,
            attack_score = inspection.attack,
            "the guard found something"
        );
    }
}
