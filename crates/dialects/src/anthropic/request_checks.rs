//! Rules that Anthropic's API enforces beyond the shape of the JSON.

use std::collections::HashSet;

use chat::{ApiError, Part, Role};

/// Checks the ranges of the sampling parameters.
pub(super) fn ranges(temperature: Option<f64>, top_p: Option<f64>) -> Result<(), ApiError> {
    for (member, value) in [("temperature", temperature), ("top_p", top_p)] {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(ApiError::invalid(member, format!("{member}: range: 0..1")));
        }
    }
    Ok(())
}

/// Follows `tool_use` and `tool_result` blocks: every call is answered in the next turn, every
/// answer has its call in the turn before. Neighbouring messages of one role are one turn.
#[derive(Debug, Default)]
pub(super) struct ToolPairing {
    /// Role of the current turn.
    role: Option<Role>,
    /// Calls of the assistant's latest turn, in order, with the message they stand in.
    asked: Vec<(usize, String)>,
    /// The ids in `asked`.
    ids: HashSet<String>,
    /// Those of them that were answered so far.
    answered: HashSet<String>,
}

impl ToolPairing {
    /// Takes message number `index`.
    pub(super) fn turn(
        &mut self,
        index: usize,
        role: Role,
        parts: &[Part],
    ) -> Result<(), ApiError> {
        if role == Role::System {
            return Ok(());
        }
        if role == Role::Assistant && self.role != Some(Role::Assistant) {
            self.all_answered()?;
            self.asked.clear();
            self.ids.clear();
            self.answered.clear();
        }
        self.role = Some(role);
        for (position, part) in parts.iter().enumerate() {
            match part {
                Part::ToolCall(call) => {
                    if role != Role::Assistant {
                        return Err(misplaced(index, position, "tool_use", "assistant"));
                    }
                    if !self.ids.insert(call.id.clone()) {
                        return Err(ApiError::invalid(
                            format!("messages.{index}.content.{position}.id"),
                            format!(
                                "messages.{index}.content.{position}: `tool_use` ids must be unique"
                            ),
                        ));
                    }
                    self.asked.push((index, call.id.clone()));
                }
                Part::ToolResult(result) => {
                    if role != Role::User {
                        return Err(misplaced(index, position, "tool_result", "user"));
                    }
                    self.answer(index, position, &result.call_id)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, index: usize, position: usize, id: &str) -> Result<(), ApiError> {
        let path = format!("messages.{index}.content.{position}");
        if !self.ids.contains(id) {
            return Err(ApiError::invalid(
                path.clone(),
                format!(
                    "{path}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                     `tool_result` block must have a corresponding `tool_use` block in the \
                     previous message."
                ),
            ));
        }
        if !self.answered.insert(id.to_owned()) {
            return Err(ApiError::invalid(
                path.clone(),
                format!(
                    "{path}: each tool_use must have a single result. Found multiple \
                     `tool_result` blocks with id: {id}"
                ),
            ));
        }
        Ok(())
    }

    /// The conversation ended. Its last turn may be an open call only if nothing follows it,
    /// which the API refuses too.
    pub(super) fn finish(&self) -> Result<(), ApiError> {
        self.all_answered()
    }

    fn all_answered(&self) -> Result<(), ApiError> {
        let open: Vec<&str> = self
            .asked
            .iter()
            .filter(|(_, id)| !self.answered.contains(id))
            .map(|(_, id)| id.as_str())
            .collect();
        let Some((index, _)) = self.asked.first().filter(|_| !open.is_empty()) else {
            return Ok(());
        };
        Err(ApiError::invalid(
            format!("messages.{index}"),
            format!(
                "messages.{index}: `tool_use` ids were found without `tool_result` blocks \
                 immediately after: {}. Each `tool_use` block must have a corresponding \
                 `tool_result` block in the next message.",
                open.join(", ")
            ),
        ))
    }
}

fn misplaced(index: usize, position: usize, block: &str, role: &str) -> ApiError {
    let path = format!("messages.{index}.content.{position}");
    let message = format!("{path}: `{block}` blocks can only be in `{role}` messages");
    ApiError::invalid(path, message)
}
