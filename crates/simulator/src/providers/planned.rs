//! Planned replies and made-up requests for tests of providers.

use std::sync::Arc;

use crate::directive;
use crate::draw::Draw;
use crate::exchange::Exchange;
use crate::plan::reply_to;
use crate::profile::Profile;
use crate::prompt::{Prompt, ToolOffer};
use crate::providers::Provider;
use crate::reply::Reply;
use crate::request_log::Record;
use crate::world::{World, WorldHandle};

/// The reply to `prompt`, whose text may carry directives.
pub(crate) fn planned(prompt: &Prompt) -> Reply {
    let world = World::new(Some(1), Profile::default());
    let script = directive::parse(&prompt.text).expect("well-formed").unwrap_or_default();
    let allowance = world.admit(prompt.provider, &prompt.key, prompt.prompt_tokens);
    reply_to(&world, prompt, &script, Draw::new(1), allowance)
}

/// A prompt with `text`, 20 tokens, and one tool on offer.
pub(crate) fn prompt(text: &str) -> Prompt {
    Prompt {
        text: text.to_owned(),
        prompt_tokens: 20,
        parallel_tools: true,
        tools: vec![ToolOffer {
            name: "get_weather".to_owned(),
            parameters: serde_json::json!({"type": "object",
                "properties": {"city": {"type": "string"}}, "required": ["city"]}),
        }],
        ..Prompt::default()
    }
}

/// A request for `path` below the provider's prefix, as the server hands it over.
pub(crate) fn exchange(
    world: &WorldHandle,
    provider: Provider,
    request: http::request::Builder,
    path: &str,
    body: impl Into<bytes::Bytes>,
) -> Exchange {
    let prefix = format!("/{}", provider.name());
    let (parts, ()) =
        request.uri(format!("{prefix}{path}")).body(()).expect("a valid request").into_parts();
    let record = Record::new(parts, body.into(), world.next_arrival());
    Exchange { world: world.clone(), record: Arc::new(record), prefix: prefix.len() }
}

/// A world with this profile (YAML).
pub(crate) fn world(profile: &str) -> WorldHandle {
    Arc::new(World::new(Some(1), Profile::parse(profile).expect("a valid profile")))
}
