//! Thinking: Anthropic's budgets and modes against OpenAI's scale of effort.

use chat::{ApiError, ReasoningEffort, ReasoningRequest};

use super::models;
use super::request_wire::{WireOutputConfig, WireThinking};

/// Least budget that the API takes.
pub(super) const LEAST_BUDGET: u64 = 1024;

/// How a request thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// Nothing is said about it.
    Unsaid,
    /// Switched off.
    Disabled,
    /// A fixed budget of tokens.
    Budget(u64),
    /// The model decides, guided by an effort.
    Adaptive(Option<&'static str>),
}

/// What `request` amounts to for `model`, before it is fitted into the output limit.
pub(super) fn of_request(request: Option<&ReasoningRequest>, model: &str) -> Thinking {
    let Some(request) = request else { return Thinking::Unsaid };
    if request.effort == Some(ReasoningEffort::None) {
        return Thinking::Disabled;
    }
    if let Some(budget) = request.budget_tokens.filter(|_| models::takes_thinking_budget(model)) {
        return Thinking::Budget(budget.max(LEAST_BUDGET));
    }
    if models::takes_adaptive_thinking(model) {
        let effort = request.effort.or(request.budget_tokens.map(effort_of));
        return Thinking::Adaptive(effort.and_then(effort_name));
    }
    request.effort.map_or(Thinking::Unsaid, |effort| Thinking::Budget(budget_of(effort)))
}

pub(super) fn effort_name(effort: ReasoningEffort) -> Option<&'static str> {
    match effort {
        ReasoningEffort::None => None,
        ReasoningEffort::Minimal | ReasoningEffort::Low => Some("low"),
        ReasoningEffort::Medium => Some("medium"),
        ReasoningEffort::High => Some("high"),
        ReasoningEffort::ExtraHigh => Some("xhigh"),
    }
}

/// Tokens of thinking for an effort, where a model takes only a budget.
fn budget_of(effort: ReasoningEffort) -> u64 {
    match effort {
        ReasoningEffort::None | ReasoningEffort::Minimal => LEAST_BUDGET,
        ReasoningEffort::Low => 2 * LEAST_BUDGET,
        ReasoningEffort::Medium => 8 * LEAST_BUDGET,
        ReasoningEffort::High => 16 * LEAST_BUDGET,
        ReasoningEffort::ExtraHigh => 32 * LEAST_BUDGET,
    }
}

/// The effort that comes nearest to a budget, where a model takes none.
fn effort_of(budget: u64) -> ReasoningEffort {
    match budget / LEAST_BUDGET {
        0..4 => ReasoningEffort::Low,
        4..16 => ReasoningEffort::Medium,
        16..32 => ReasoningEffort::High,
        _ => ReasoningEffort::ExtraHigh,
    }
}

/// Reads `thinking` and `output_config.effort`.
///
/// # Errors
/// A 400 in Anthropic's words.
pub(super) fn decode(
    thinking: Option<&WireThinking>,
    config: Option<&WireOutputConfig>,
    max_tokens: Option<u64>,
) -> Result<Option<ReasoningRequest>, ApiError> {
    let effort = match config.and_then(|config| config.effort.as_deref()) {
        None => None,
        Some("low") => Some(ReasoningEffort::Low),
        Some("medium") => Some(ReasoningEffort::Medium),
        Some("high") => Some(ReasoningEffort::High),
        Some("xhigh" | "max") => Some(ReasoningEffort::ExtraHigh),
        Some(_) => {
            return Err(ApiError::invalid(
                "output_config.effort",
                "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
            ));
        }
    };
    let Some(thinking) = thinking else {
        return Ok(effort.map(|effort| ReasoningRequest {
            effort: Some(effort),
            budget_tokens: None,
            visible: false,
        }));
    };
    let visible = thinking.display.as_deref() != Some("omitted");
    match thinking.kind.as_str() {
        "disabled" => Ok(Some(ReasoningRequest {
            effort: Some(ReasoningEffort::None),
            budget_tokens: None,
            visible: false,
        })),
        "adaptive" | "between_tools" => {
            Ok(Some(ReasoningRequest { effort, budget_tokens: None, visible }))
        }
        "enabled" => {
            let budget = thinking.budget_tokens.ok_or_else(|| {
                ApiError::invalid(
                    "thinking.enabled.budget_tokens",
                    "thinking.enabled.budget_tokens: Field required",
                )
            })?;
            if budget < LEAST_BUDGET {
                return Err(ApiError::invalid(
                    "thinking.enabled.budget_tokens",
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
                ));
            }
            if max_tokens.is_some_and(|limit| limit <= budget) {
                return Err(ApiError::invalid(
                    "max_tokens",
                    "`max_tokens` must be greater than `thinking.budget_tokens`",
                ));
            }
            Ok(Some(ReasoningRequest { effort, budget_tokens: Some(budget), visible }))
        }
        other => Err(ApiError::invalid(
            "thinking",
            format!(
                "thinking: Input tag '{other}' found using 'type' does not match any of the \
                 expected tags: 'adaptive', 'between_tools', 'disabled', 'enabled'"
            ),
        )),
    }
}
