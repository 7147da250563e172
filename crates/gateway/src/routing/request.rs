use std::hash::{BuildHasher, Hasher};

use memchr::memmem;
use routing::{Capabilities, PromptFeatures, PromptShape, RouteRequest};

use crate::accounting::{count_images, max_output};
use crate::exchange::Exchange;
use crate::receive::Received;
use crate::snapshot::Route;
use crate::surface::Surface;

/// What the router knows of a request, read from its bytes: nothing is parsed a second time.
///
/// `scanned`: whether the kind of text matters, because there is something to choose or to predict.
pub(super) fn route_request(
    exchange: &Exchange,
    received: &Received,
    route: &Route,
    scanned: bool,
) -> RouteRequest {
    let principal = exchange.principal.as_ref();
    let wanted = &received.requirements;
    let content = content(exchange.surface, received);
    let tools =
        received.member("tools").map_or(0, |tools| occurrences(tools.as_bytes(), b"\"name\""));
    let images = count_images(&received.body);
    let shape = PromptShape {
        turns: saturated(occurrences(content, b"\"role\"")),
        tools: saturated(tools),
        images: u16::try_from(images).unwrap_or(u16::MAX),
        wants_json: wants_json(received),
    };
    let features =
        if scanned { PromptFeatures::scan(content, shape) } else { PromptFeatures::default() };
    let sensitivity = [
        wanted.sensitivity,
        Some(route.sensitivity),
        principal.map(|principal| principal.sensitivity()),
    ];
    let max_output_tokens = max_output(received);
    let usual = route.state.expected_output(&features, exchange.prompt_estimate, 0.5);
    RouteRequest {
        prompt_tokens: exchange.prompt_estimate,
        max_output_tokens,
        expected_output_tokens: match exchange.surface {
            Surface::Embeddings | Surface::Moderations | Surface::CountTokens => 0,
            _ => max_output_tokens.map_or(usual, |most| most.min(usual)),
        },
        needs: Capabilities {
            tools: tools > 0,
            vision: images > 0,
            json_schema: memmem::find(
                received
                    .member("response_format")
                    .or_else(|| received.member("text"))
                    .unwrap_or_default()
                    .as_bytes(),
                b"\"json_schema\"",
            )
            .is_some(),
        },
        requirements: routing::Requirements {
            residency: wanted.residency.max(principal.and_then(|principal| principal.residency())),
            sensitivity: sensitivity.into_iter().flatten().max().unwrap_or_default(),
            max_cost_nanos: wanted.max_cost_nanos,
            max_latency_ms: wanted.max_latency_ms,
            min_quality: wanted.min_quality,
        },
        allowed_providers: principal
            .and_then(|principal| principal.provider_names())
            .map(|names| names.into_iter().map(Into::into).collect()),
        features,
        conversation: conversation(exchange, received, route, content),
        // Questions that begin alike are not one conversation yet.
        continues: wanted.session_id.is_some() || memmem::find(content, b"\"assistant\"").is_some(),
    }
}

/// The JSON text that holds what the model is told.
pub(super) fn content(surface: Surface, received: &Received) -> &[u8] {
    let name = match surface {
        Surface::ChatCompletions | Surface::Messages | Surface::CountTokens => "messages",
        Surface::Completions => "prompt",
        _ => "input",
    };
    received.member(name).unwrap_or_default().as_bytes()
}

fn wants_json(received: &Received) -> bool {
    let format = received.member("response_format").or_else(|| received.member("text"));
    format.is_some_and(|format| memmem::find(format.as_bytes(), b"\"json").is_some())
}

fn occurrences(text: &[u8], what: &[u8]) -> usize {
    /// Longer texts are judged by their beginning.
    const LOOKED_AT: usize = 64 * 1024;
    memmem::find_iter(text.get(..LOOKED_AT).unwrap_or(text), what).count()
}

fn saturated(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Whose conversation it is: by the caller's session id, else by how the conversation began. Keyed
/// by the process's own secret, so that nobody can aim at another's.
fn conversation(
    exchange: &Exchange,
    received: &Received,
    route: &Route,
    content: &[u8],
) -> Option<u64> {
    let mut hasher = route.state.hasher().build_hasher();
    let principal = exchange.principal.as_ref();
    if let Some(tenant) = principal.and_then(|principal| principal.tenant_id()) {
        hasher.write(tenant.as_bytes());
    }
    hasher.write_u8(0);
    if let Some(session) = &received.requirements.session_id {
        hasher.write(session.as_bytes());
        return Some(hasher.finish());
    }
    if let Some(key) = principal {
        hasher.write(key.name().as_bytes());
    }
    hasher.write(beginning(content));
    Some(hasher.finish())
}

/// Whose conversation it is, in bytes that are the same at every replica and after a restart.
pub(crate) fn conversation_name(exchange: &Exchange, received: &Received) -> Vec<u8> {
    let principal = exchange.principal.as_ref();
    let tenant = principal.and_then(|principal| principal.tenant_id());
    let key = principal.map(identity::Principal::name).unwrap_or_default();
    let begins = match &received.requirements.session_id {
        Some(session) => session.as_bytes(),
        None => beginning(content(exchange.surface, received)),
    };
    let mut name = Vec::with_capacity(begins.len() + 64);
    for part in [tenant.map_or(&[][..], |tenant| tenant.as_bytes()), key.as_bytes(), begins] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    name
}

/// Which turn of its conversation it is: by what was asked last and how much was said before.
pub(super) fn turn(
    surface: Surface,
    received: &Received,
    route: &Route,
    request: &RouteRequest,
) -> Option<u64> {
    /// Turns are told apart by so many bytes at their end.
    const COMPARED: usize = 2 * 1024;
    let conversation = request.conversation.filter(|_| request.continues)?;
    let content = content(surface, received);
    let mut hasher = route.state.hasher().build_hasher();
    hasher.write_u64(conversation);
    hasher.write_usize(content.len());
    hasher.write(content.get(content.len().saturating_sub(COMPARED)..).unwrap_or(content));
    Some(hasher.finish())
}

/// A hash that is the same for the life of the process and known to nobody outside.
pub(super) fn hashed(bytes: &[u8]) -> u64 {
    static KEY: std::sync::LazyLock<std::hash::RandomState> =
        std::sync::LazyLock::new(std::hash::RandomState::new);
    let mut hasher = KEY.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// What stands before the first answer of the model: the same in each turn of a conversation.
fn beginning(content: &[u8]) -> &[u8] {
    /// Longer beginnings are told apart by so many bytes.
    const COMPARED: usize = 16 * 1024;
    let answer = memmem::find(content, b"\"assistant\"");
    let begins = answer.and_then(|at| memchr::memrchr(b'{', content.get(..at)?));
    let before = match begins {
        Some(begins) => content.get(..begins).unwrap_or_default().trim_ascii_end(),
        None => content.strip_suffix(b"]").unwrap_or(content).trim_ascii_end(),
    };
    let before = before.strip_suffix(b",").unwrap_or(before).trim_ascii_end();
    before.get(..COMPARED).unwrap_or(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_a_conversation_begin_alike() {
        let first = br#"[{"role":"system","content":"s"}, {"role":"user","content":"q"}]"#;
        let second = br#"[{"role":"system","content":"s"}, {"role":"user","content":"q"}, {"role":"assistant","content":"a"}, {"role":"user","content":"r"}]"#;
        assert_eq!(beginning(first), beginning(second));
        let other = br#"[{"role":"system","content":"s"}, {"role":"user","content":"Q"}]"#;
        assert_ne!(beginning(first), beginning(other));
        assert_eq!(beginning(b"[]"), b"[");
        assert_eq!(beginning(b""), b"");
    }
}
