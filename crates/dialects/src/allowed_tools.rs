//! OpenAI's `allowed_tools`, the choice that narrows the tools instead of naming one.

use std::collections::HashSet;

use chat::Tool;

/// Leaves of `tools` those that are `allowed`, for providers that have no such choice.
///
/// # Errors
/// The first name that no tool has; `tools` is untouched then.
pub(crate) fn narrow<'n>(tools: &mut Vec<Tool>, allowed: &[&'n str]) -> Result<(), &'n str> {
    let offered: HashSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    if let Some(unknown) = allowed.iter().find(|name| !offered.contains(*name)) {
        return Err(unknown);
    }
    let allowed: HashSet<&str> = allowed.iter().copied().collect();
    tools.retain(|tool| allowed.contains(tool.name.as_str()));
    Ok(())
}
