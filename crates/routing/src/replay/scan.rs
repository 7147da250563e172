//! What a prompt looks like, where only its text is known.

use crate::features::PromptShape;
use crate::request::PromptFeatures;

/// The features of a prompt, as the gateway would see them.
pub(super) fn scan(prompt: &str) -> PromptFeatures {
    let json = serde_json::Value::from(prompt).to_string();
    PromptFeatures::scan(json.as_bytes(), PromptShape { turns: 1, ..PromptShape::default() })
}
