//! Tool calls and their results in a conversation, for dialects that name results by tool or by
//! order instead of by the id of the call.

use std::collections::HashMap;

use chat::{Message, Part, ToolResult};

/// The results in a conversation, by the id of their call.
pub(crate) struct Results<'m> {
    by_call: HashMap<&'m str, &'m ToolResult>,
}

impl<'m> Results<'m> {
    pub(crate) fn of(messages: &'m [Message]) -> Self {
        let results =
            messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
                Part::ToolResult(result) => Some((result.call_id.as_str(), result)),
                _ => None,
            });
        Self { by_call: results.collect() }
    }

    pub(crate) fn get(&self, call_id: &str) -> Option<&'m ToolResult> {
        self.by_call.get(call_id).copied()
    }
}
