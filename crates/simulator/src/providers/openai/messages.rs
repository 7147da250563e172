//! The `messages` of a chat request: shape, order, and what the planner needs of them.

use std::fmt::Arguments;

use serde_json::{Map, Value};

use super::error::ApiError;
use super::fields::{missing, unknown_parameter, unsupported_value, wrong_type};
use crate::text::count_tokens;

type Object = Map<String, Value>;

const ROLES: &[&str] = &["system", "assistant", "user", "function", "tool", "developer"];

/// Tokens that an image counts as, at low detail.
pub(crate) const IMAGE_TOKENS: u64 = 85;

/// What was understood of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conversation {
    pub(crate) last_user_text: String,
    pub(crate) tool_results: Vec<String>,
    pub(crate) tokens: u64,
    pub(crate) images: usize,
    /// Some message contains the word "json", which `json_object` asks for.
    pub(crate) says_json: bool,
}

/// `strict`: names and order as OpenAI checks them; otherwise as chat templates tolerate them.
pub(crate) fn read(value: Option<&Value>, strict: bool) -> Result<Conversation, ApiError> {
    let messages = match value {
        None => return Err(missing("messages")),
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(wrong_type("messages", "an array of objects", other)),
    };
    if messages.is_empty() {
        return Err(ApiError::invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an \
             empty array instead.",
        )
        .param("messages")
        .code("empty_array"));
    }
    let mut reader =
        Reader { strict, found: Conversation { tokens: 3, ..Conversation::default() } };
    let mut awaited: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let path = format_args!("messages[{index}]");
        let Value::Object(message) = message else {
            return Err(wrong_type(path, "an object", message));
        };
        reader.message(message, path, index, &mut awaited)?;
    }
    if strict && !awaited.is_empty() {
        return Err(unanswered(&awaited, messages.len()));
    }
    Ok(reader.found)
}

struct Reader {
    strict: bool,
    found: Conversation,
}

impl Reader {
    fn message<'a>(
        &mut self,
        message: &'a Object,
        path: Arguments<'_>,
        index: usize,
        awaited: &mut Vec<&'a str>,
    ) -> Result<(), ApiError> {
        let role = match message.get("role") {
            None => return Err(missing(format_args!("{path}.role"))),
            Some(Value::String(role)) => role.as_str(),
            Some(other) => return Err(wrong_type(format_args!("{path}.role"), "a string", other)),
        };
        if !ROLES.contains(&role) {
            return Err(unsupported_value(format_args!("{path}.role"), role, ROLES));
        }
        if self.strict {
            let known: &[&str] = match role {
                "assistant" => &[
                    "role",
                    "content",
                    "name",
                    "tool_calls",
                    "function_call",
                    "refusal",
                    "audio",
                    "annotations",
                ],
                "tool" => &["role", "content", "tool_call_id"],
                _ => &["role", "content", "name"],
            };
            if let Some(error) = unknown_parameter(message, known, format_args!("{path}.")) {
                return Err(error);
            }
            if role != "tool" && !awaited.is_empty() {
                return Err(unanswered(awaited, index));
            }
        }
        self.found.tokens += 4;
        let text = self.content(message, role, path)?;
        match role {
            "user" => {
                self.found.tool_results.clear();
                self.found.last_user_text = text;
            }
            "assistant" => {
                self.found.tool_results.clear();
                if let Some(calls) = message.get("tool_calls").filter(|calls| !calls.is_null()) {
                    *awaited = self.tool_calls(calls, path)?;
                }
            }
            "tool" => {
                let id = match message.get("tool_call_id") {
                    Some(Value::String(id)) => id.as_str(),
                    Some(other) => {
                        return Err(wrong_type(
                            format_args!("{path}.tool_call_id"),
                            "a string",
                            other,
                        ));
                    }
                    None if self.strict => {
                        return Err(missing(format_args!("{path}.tool_call_id")));
                    }
                    None => "",
                };
                match awaited.iter().position(|awaited| *awaited == id) {
                    Some(at) => {
                        awaited.remove(at);
                    }
                    None if self.strict => {
                        return Err(ApiError::invalid(
                            "Invalid parameter: messages with role 'tool' must be a response to a \
                             preceeding message with 'tool_calls'.",
                        )
                        .param(format!("messages.[{index}].role")));
                    }
                    None => {}
                }
                self.found.tool_results.push(text);
            }
            "function" => self.found.tool_results.push(text),
            _ => {}
        }
        Ok(())
    }

    /// Checks a message's content; its text parts joined.
    fn content(
        &mut self,
        message: &Object,
        role: &str,
        path: Arguments<'_>,
    ) -> Result<String, ApiError> {
        let path = format_args!("{path}.content");
        let calls = ["tool_calls", "function_call", "audio", "refusal"];
        match message.get("content") {
            Some(Value::String(text)) => {
                self.count(text);
                Ok(text.clone())
            }
            Some(Value::Array(parts)) => self.parts(parts, role, path),
            None | Some(Value::Null)
                if role == "assistant"
                    && (!self.strict
                        || calls
                            .iter()
                            .any(|name| message.get(*name).is_some_and(|v| !v.is_null()))) =>
            {
                Ok(String::new())
            }
            None => Err(missing(path)),
            Some(Value::Null) => {
                Err(ApiError::invalid("Invalid value for 'content': expected a string, got null.")
                    .param(path.to_string().replace('[', ".[")))
            }
            Some(other) => Err(wrong_type(path, "one of a string or array of objects", other)),
        }
    }

    fn parts(
        &mut self,
        parts: &[Value],
        role: &str,
        path: Arguments<'_>,
    ) -> Result<String, ApiError> {
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            let path = format_args!("{path}[{index}]");
            let Value::Object(part) = part else {
                return Err(wrong_type(path, "an object", part));
            };
            let kind = match part.get("type") {
                Some(Value::String(kind)) => kind.as_str(),
                Some(other) => {
                    return Err(wrong_type(format_args!("{path}.type"), "a string", other));
                }
                None => return Err(missing(format_args!("{path}.type"))),
            };
            let supported: &[&str] = match role {
                "user" if self.strict => &["text", "image_url", "input_audio", "file"],
                "user" => &["text", "image_url", "input_audio", "file", "video_url", "video"],
                "assistant" => &["text", "refusal"],
                _ => &["text"],
            };
            if !supported.contains(&kind) {
                return Err(unsupported_value(path, kind, supported));
            }
            match kind {
                "text" | "refusal" => match part.get(kind) {
                    Some(Value::String(piece)) => {
                        self.count(piece);
                        if !text.is_empty() {
                            text.push('\n');
                        }
                        text.push_str(piece);
                    }
                    Some(other) => {
                        return Err(wrong_type(format_args!("{path}.{kind}"), "a string", other));
                    }
                    None => return Err(missing(format_args!("{path}.{kind}"))),
                },
                "image_url" => {
                    image(part.get("image_url"), format_args!("{path}.image_url"), self.strict)?;
                    self.found.images += 1;
                    self.found.tokens += IMAGE_TOKENS;
                }
                _ => self.found.tokens += IMAGE_TOKENS,
            }
        }
        Ok(text)
    }

    /// Checks an assistant's calls; their ids.
    fn tool_calls<'a>(
        &mut self,
        calls: &'a Value,
        path: Arguments<'_>,
    ) -> Result<Vec<&'a str>, ApiError> {
        let path = format_args!("{path}.tool_calls");
        let Value::Array(calls) = calls else {
            return Err(wrong_type(path, "an array of objects", calls));
        };
        if calls.is_empty() && self.strict {
            return Err(ApiError::invalid(format!(
                "Invalid '{path}': empty array. Expected an array with minimum length 1, but got \
                 an empty array instead."
            ))
            .param(path.to_string())
            .code("empty_array"));
        }
        let mut ids = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let path = format_args!("{path}[{index}]");
            let text = |value: Option<&'a Value>, path: String| match value {
                Some(Value::String(text)) => Ok(text.as_str()),
                Some(other) => Err(wrong_type(path, "a string", other)),
                None => Err(missing(path)),
            };
            if self.strict {
                text(call.get("type"), format!("{path}.type"))?;
            }
            let id = text(call.get("id"), format!("{path}.id"))?;
            let function =
                call.get("function").ok_or_else(|| missing(format_args!("{path}.function")))?;
            let name = text(function.get("name"), format!("{path}.function.name"))?;
            let arguments = text(function.get("arguments"), format!("{path}.function.arguments"))?;
            self.found.tokens += 4 + count_tokens(name) + count_tokens(arguments);
            ids.push(id);
        }
        Ok(ids)
    }

    fn count(&mut self, text: &str) {
        self.found.tokens += count_tokens(text);
        if !self.found.says_json {
            let bytes = text.as_bytes();
            self.found.says_json = memchr::memchr2_iter(b'j', b'J', bytes)
                .any(|at| bytes.get(at..at + 4).is_some_and(|w| w.eq_ignore_ascii_case(b"json")));
        }
    }
}

fn image(value: Option<&Value>, path: Arguments<'_>, strict: bool) -> Result<(), ApiError> {
    let url = match value {
        Some(Value::Object(image)) => match image.get("url") {
            Some(Value::String(url)) => url,
            Some(other) => return Err(wrong_type(format_args!("{path}.url"), "a string", other)),
            None => return Err(missing(format_args!("{path}.url"))),
        },
        Some(Value::String(url)) if !strict => url,
        Some(other) => return Err(wrong_type(path, "an object", other)),
        None => return Err(missing(path)),
    };
    let data = url.strip_prefix("data:");
    let plausible = match data {
        Some(data) => {
            let encoded =
                data.split_once(";base64,").filter(|(kind, _)| kind.starts_with("image/"));
            encoded.is_some_and(|(_, data)| {
                let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
                !data.is_empty() && data.bytes().all(alphabet)
            })
        }
        None => url.starts_with("http://") || url.starts_with("https://"),
    };
    if plausible {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Invalid '{path}.url'. Expected a valid URL or base64 data of an image, but got a value \
         with an invalid format."
    ))
    .param(format!("{path}.url"))
    .code("invalid_value"))
}

fn unanswered(awaited: &[&str], index: usize) -> ApiError {
    ApiError::invalid(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        awaited.join(", ")
    ))
    .param(format!("messages.[{index}].role"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(messages: &Value) -> ApiError {
        read(Some(messages), true).expect_err("refused")
    }

    #[test]
    fn roles_and_shapes_are_checked() {
        let unknown = error(&json!([{"role": "robot", "content": "x"}]));
        assert_eq!(unknown.param.as_deref(), Some("messages[0].role"));
        assert_eq!(
            unknown.message,
            "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', \
             'function', 'tool', and 'developer'."
        );
        let typed = error(&json!([{"role": "user", "content": 5}]));
        assert_eq!(
            typed.message,
            "Invalid type for 'messages[0].content': expected one of a string or array of \
             objects, but got an integer instead."
        );
        assert_eq!(error(&json!([])).code, Some("empty_array"));
        assert_eq!(error(&json!("hi")).code, Some("invalid_type"));
        assert_eq!(
            error(&json!([{"role": "user", "content": "a", "foo": 1}])).message,
            "Unknown parameter: 'messages[0].foo'."
        );
    }

    #[test]
    fn tool_messages_follow_their_calls() {
        let call = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": id});
        let user = json!({"role": "user", "content": "погода"});
        let stray = error(&json!([user, result("a")]));
        assert!(stray.message.contains("preceeding message"), "{}", stray.message);
        let lacking = error(&json!([user, call, result("a"), user]));
        assert!(lacking.message.ends_with("response messages: b"), "{}", lacking.message);
        let whole = read(Some(&json!([user, call, result("b"), result("a")])), true).expect("ok");
        assert_eq!(whole.tool_results, ["b", "a"]);
        assert_eq!(whole.last_user_text, "погода");
        assert!(read(Some(&json!([user, result("a")])), false).is_ok());
    }

    #[test]
    fn images_are_counted_and_checked() {
        let ask = |url: &str| {
            json!([{"role": "user", "content": [
            {"type": "text", "text": "Что тут? Ответь в JSON"},
            {"type": "image_url", "image_url": {"url": url}}]}])
        };
        let found = read(Some(&ask("data:image/png;base64,aGk=")), true).expect("image");
        assert_eq!((found.images, found.says_json), (1, true));
        assert!(read(Some(&ask("https://example.com/a.png")), true).is_ok());
        assert_eq!(error(&ask("data:image/png;base64,???")).code, Some("invalid_value"));
    }
}
