//! What a request may ask depends on the model's generation.

use serde_json::{Map, Value};

use super::content::Turn;
use super::error::ApiError;

/// What newer models refuse whatever the version of the API says.
pub(super) fn check_generation(
    model: &str,
    body: &Map<String, Value>,
    turns: &[Turn],
) -> Result<(), ApiError> {
    let generation = generation(model);
    if generation >= (4, 6) && turns.last().is_some_and(|turn| turn.role == "assistant") {
        return Err(ApiError::invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ));
    }
    if generation < (4, 7) {
        return Ok(());
    }
    if let Some(name) =
        ["temperature", "top_p", "top_k"].iter().find(|name| body.contains_key(**name))
    {
        return Err(ApiError::invalid(format!("`{name}` is deprecated for this model.")));
    }
    if body.get("thinking").is_some_and(|thinking| thinking["type"] == "enabled") {
        return Err(ApiError::invalid(
            "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.",
        ));
    }
    Ok(())
}

/// The numbers in a model's name: `claude-opus-4-8` is (4, 8), `claude-sonnet-5` (5, 0).
fn generation(model: &str) -> (u32, u32) {
    // Dates and sizes have more digits than a generation.
    let mut numbers =
        model.split('-').filter(|part| part.len() <= 2).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::generation;

    #[test]
    fn generations_are_read_from_names() {
        for (model, numbers) in [
            ("claude-opus-4-8", (4, 8)),
            ("claude-sonnet-5", (5, 0)),
            ("claude-haiku-4-5-20251001", (4, 5)),
            ("claude-3-5-sonnet-20241022", (3, 5)),
            ("claude-mythos-preview", (0, 0)),
        ] {
            assert_eq!(generation(model), numbers, "{model}");
        }
    }
}
