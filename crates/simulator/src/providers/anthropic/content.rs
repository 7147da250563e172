//! Turns and content blocks: their types, their order, and which tool results
//! answer which tool uses.

use serde_json::Value;

use super::Version;
use super::error::ApiError;
use super::request::required;

/// Most base64 an image may have, bytes (5 MiB of image).
const MAX_IMAGE_BASE64: usize = 5 * 1024 * 1024 / 3 * 4;

/// One message with its content as blocks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) role: String,
    pub(crate) blocks: Vec<Value>,
}

/// All text among `blocks`, in order.
pub(crate) fn text_of(blocks: &[Value]) -> String {
    let mut text = String::new();
    for part in blocks.iter().filter_map(|block| block["text"].as_str()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(part);
    }
    text
}

/// Text of a tool result, whichever way it was written.
pub(crate) fn result_text(block: &Value) -> String {
    match &block["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => text_of(blocks),
        _ => String::new(),
    }
}

/// Reads `messages`, merging neighbours of one role as the service does.
pub(super) fn read_turns(value: Option<&Value>) -> Result<Vec<Turn>, ApiError> {
    let value = value.ok_or_else(|| required("messages"))?;
    let messages = value
        .as_array()
        .ok_or_else(|| ApiError::invalid("messages: Input should be a valid list"))?;
    if messages.is_empty() {
        return Err(ApiError::invalid("messages: at least one message is required"));
    }
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len());
    let last = messages.len() - 1;
    for (at, message) in messages.iter().enumerate() {
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .ok_or_else(|| required(&format!("messages.{at}.role")))?;
        if !matches!(role, "user" | "assistant" | "system") {
            return Err(ApiError::invalid(format!(
                "messages: Unexpected role \"{role}\". Allowed roles are \"user\", \"assistant\" and \"system\"."
            )));
        }
        if at == 0 && role == "assistant" {
            return Err(ApiError::invalid("messages: first message must use the \"user\" role"));
        }
        let blocks = read_blocks(message.get("content"), at, role, at == last)?;
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role: role.to_owned(), blocks }),
        }
    }
    if let Some(turn) = turns.last()
        && turn.role == "assistant"
        && turn
            .blocks
            .last()
            .and_then(|block| block["text"].as_str())
            .is_some_and(|text| text.ends_with(char::is_whitespace))
    {
        return Err(ApiError::invalid(
            "messages: final assistant content cannot end with trailing whitespace",
        ));
    }
    Ok(turns)
}

fn read_blocks(
    content: Option<&Value>,
    at: usize,
    role: &str,
    last: bool,
) -> Result<Vec<Value>, ApiError> {
    let empty_allowed = last && role == "assistant";
    match content {
        None => Err(required(&format!("messages.{at}.content"))),
        Some(Value::String(text)) => {
            if text.is_empty() && !empty_allowed {
                return Err(non_empty(at));
            }
            Ok(vec![serde_json::json!({"type": "text", "text": text})])
        }
        Some(Value::Array(blocks)) => {
            if blocks.is_empty() && !empty_allowed {
                return Err(non_empty(at));
            }
            for (index, block) in blocks.iter().enumerate() {
                check_block(block, &format!("messages.{at}.content.{index}"), role)?;
            }
            Ok(blocks.clone())
        }
        Some(_) => {
            Err(ApiError::invalid(format!("messages.{at}.content: Input should be a valid list")))
        }
    }
}

fn non_empty(at: usize) -> ApiError {
    ApiError::invalid(format!(
        "messages.{at}: all messages must have non-empty content except for the optional final assistant message"
    ))
}

fn check_block(block: &Value, path: &str, role: &str) -> Result<(), ApiError> {
    let kind = block
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| required(&format!("{path}.type")))?;
    let text = |name: &str| {
        block
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| required(&format!("{path}.{kind}.{name}")))
    };
    match kind {
        "text" => {
            if text("text")?.is_empty() {
                return Err(ApiError::invalid("messages: text content blocks must be non-empty"));
            }
            Ok(())
        }
        "image" if role == "user" => check_image(block, path),
        "search_result" | "container_upload" if role == "user" => Ok(()),
        "document" if role != "system" => Ok(()),
        "tool_result" if role == "user" => {
            text("tool_use_id")?;
            match block.get("content") {
                None | Some(Value::Null | Value::String(_)) => Ok(()),
                Some(Value::Array(parts)) => {
                    for (index, part) in parts.iter().enumerate() {
                        check_block(part, &format!("{path}.tool_result.content.{index}"), "user")?;
                    }
                    Ok(())
                }
                Some(_) => Err(ApiError::invalid(format!(
                    "{path}.tool_result.content: Input should be a valid string or list"
                ))),
            }
        }
        "tool_use" if role == "assistant" => {
            text("id")?;
            text("name")?;
            match block.get("input") {
                Some(Value::Object(_)) => Ok(()),
                Some(_) => Err(ApiError::invalid(format!(
                    "{path}.tool_use.input: Input should be a valid dictionary"
                ))),
                None => Err(required(&format!("{path}.tool_use.input"))),
            }
        }
        "thinking" if role == "assistant" => {
            text("thinking")?;
            // A signature this simulator did not write is a changed block.
            if text("signature")?.starts_with(super::SIGNATURE_PREFIX) {
                Ok(())
            } else {
                Err(ApiError::invalid(format!("{path}: Invalid `signature` in `thinking` block")))
            }
        }
        "redacted_thinking" if role == "assistant" => text("data").map(|_| ()),
        "server_tool_use" if role == "assistant" => Ok(()),
        other if role == "assistant" && other.ends_with("_tool_result") => Ok(()),
        other => Err(ApiError::invalid(format!(
            "{path}: Input tag '{other}' found using 'type' does not match any of the expected tags for role '{role}'"
        ))),
    }
}

fn check_image(block: &Value, path: &str) -> Result<(), ApiError> {
    let source = block.get("source").ok_or_else(|| required(&format!("{path}.image.source")))?;
    let field = |name: &str| {
        source
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| required(&format!("{path}.image.source.{name}")))
    };
    match field("type")? {
        "base64" => {
            let media = field("media_type")?;
            if !["image/jpeg", "image/png", "image/gif", "image/webp"].contains(&media) {
                return Err(ApiError::invalid(format!(
                    "{path}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
                )));
            }
            let data = field("data")?;
            if data.len() > MAX_IMAGE_BASE64 {
                return Err(ApiError::invalid(format!(
                    "{path}.image.source.base64: image exceeds 5 MB maximum"
                )));
            }
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(data).map(|_| ()).map_err(|_| {
                ApiError::invalid(format!("{path}.image.source.base64.data: Invalid base64 data"))
            })
        }
        "url" => {
            let url = field("url")?;
            if url.starts_with("https://") || url.starts_with("http://") {
                Ok(())
            } else {
                Err(ApiError::invalid(format!(
                    "{path}.image.source.url.url: Only HTTP(S) URLs are supported"
                )))
            }
        }
        "file" => field("file_id").map(|_| ()),
        other => Err(ApiError::invalid(format!(
            "{path}.image.source: Input tag '{other}' found using 'type' does not match any of the expected tags: 'base64', 'url', 'file'"
        ))),
    }
}

/// What the newer version of the API no longer takes.
pub(super) fn check_version_rules(turns: &[Turn], version: Version) -> Result<(), ApiError> {
    if version == Version::Of2023 {
        return Ok(());
    }
    for (at, turn) in turns.iter().enumerate() {
        for (index, block) in turn.blocks.iter().enumerate() {
            if turn.role == "assistant" && block["type"] == "document" {
                return Err(ApiError::invalid(format!(
                    "messages.{at}.content.{index}: `document` blocks are not permitted in `assistant` messages"
                )));
            }
            let cited = block["citations"].as_array().is_some_and(|list| !list.is_empty());
            if turn.role == "user" && block["type"] == "text" && cited {
                return Err(ApiError::invalid(format!(
                    "messages.{at}.content.{index}.text.citations: citations are not permitted in `user` messages"
                )));
            }
        }
    }
    Ok(())
}

/// Every tool use is answered in the very next user turn, and nothing else is.
pub(super) fn check_tool_pairs(turns: &[Turn]) -> Result<(), ApiError> {
    for (at, turn) in turns.iter().enumerate() {
        if turn.role == "assistant" {
            let uses: Vec<&str> = ids(turn, "tool_use", "id");
            if let Some(repeated) = first_repeated(&uses) {
                return Err(ApiError::invalid(format!(
                    "messages.{at}: `tool_use` ids must be unique: {repeated}"
                )));
            }
            let next = turns.get(at + 1);
            let answers =
                next.map_or_else(Vec::new, |next| ids(next, "tool_result", "tool_use_id"));
            let open: Vec<&str> = uses.into_iter().filter(|id| !answers.contains(id)).collect();
            if !open.is_empty() {
                return Err(ApiError::invalid(format!(
                    "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
                    open.join(", ")
                )));
            }
        }
        if turn.role == "user" {
            let answers = ids(turn, "tool_result", "tool_use_id");
            if let Some(repeated) = first_repeated(&answers) {
                return Err(ApiError::invalid(format!(
                    "messages.{at}.content: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {repeated}"
                )));
            }
            let uses = at
                .checked_sub(1)
                .map_or_else(Vec::new, |before| ids(&turns[before], "tool_use", "id"));
            if let Some(stray) = answers.iter().find(|id| !uses.contains(id)) {
                return Err(ApiError::invalid(format!(
                    "messages.{at}.content: unexpected `tool_use_id` found in `tool_result` blocks: {stray}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )));
            }
            let first_other = turn.blocks.iter().position(|block| block["type"] != "tool_result");
            let last_result = turn.blocks.iter().rposition(|block| block["type"] == "tool_result");
            if let (Some(other), Some(result)) = (first_other, last_result)
                && other < result
            {
                return Err(ApiError::invalid(format!(
                    "messages.{at}.content: `tool_result` blocks must come first in the content of a message that answers `tool_use` blocks"
                )));
            }
        }
    }
    Ok(())
}

fn ids<'a>(turn: &'a Turn, kind: &str, member: &str) -> Vec<&'a str> {
    turn.blocks
        .iter()
        .filter(|block| block["type"] == kind)
        .filter_map(|block| block[member].as_str())
        .collect()
}

fn first_repeated<'a>(ids: &[&'a str]) -> Option<&'a str> {
    ids.iter().enumerate().find(|(at, id)| ids[..*at].contains(id)).map(|(_, id)| *id)
}
