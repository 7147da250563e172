//! What the generations of Claude take, told by the model's name.

/// Numbers in the name: `claude-opus-4-8` is (4, 8), `claude-sonnet-5` (5, 0). `None` for a model
/// of someone else behind the same API.
fn generation(model: &str) -> Option<(u32, u32)> {
    let (_, after) = model.split_once("claude")?;
    // Dates have more digits than a generation.
    let mut numbers = after
        .split(['-', '@', '.', ':', '/'])
        .filter(|part| part.len() <= 2)
        .filter_map(|part| part.parse::<u32>().ok());
    let first = numbers.next().unwrap_or(u32::MAX);
    Some((first, numbers.next().unwrap_or(0)))
}

fn at_least(model: &str, least: (u32, u32)) -> bool {
    generation(model).is_some_and(|generation| generation >= least)
}

/// Whether the model decides itself how long it thinks (`thinking.type: adaptive`, guided by
/// `output_config.effort`).
pub(super) fn takes_adaptive_thinking(model: &str) -> bool {
    at_least(model, (4, 6))
}

/// Whether a fixed budget of thinking (`thinking.type: enabled`) may be set.
pub(super) fn takes_thinking_budget(model: &str) -> bool {
    !at_least(model, (4, 7))
}

/// Whether `temperature`, `top_p` and `top_k` may be set.
pub(super) fn takes_sampling(model: &str) -> bool {
    !at_least(model, (4, 7))
}

/// Whether the API enforces `output_config.format` for the model.
pub(super) fn takes_schema(model: &str) -> bool {
    at_least(model, (4, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_from_dates_and_prefixes() {
        for (model, expected) in [
            ("claude-opus-4-8", Some((4, 8))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-haiku-4-5-20251001", Some((4, 5))),
            ("claude-3-5-haiku-latest", Some((3, 5))),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", Some((4, 5))),
            ("claude-sonnet-4-5@20250929", Some((4, 5))),
            ("claude-next", Some((u32::MAX, 0))),
            ("kimi-k3", None),
        ] {
            assert_eq!(generation(model), expected, "{model}");
        }
    }
}
