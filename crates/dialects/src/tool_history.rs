//! Tool calls and their results in a conversation, for dialects that name results by tool or by
//! order instead of by the id of the call.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use chat::{ApiError, Message, Part, ToolCall, ToolResult};
use serde_json::Value;

/// The results in a conversation, by the place of the call that each answers.
pub(crate) struct Results<'m> {
    by_call: HashMap<(usize, usize), &'m ToolResult>,
}

impl<'m> Results<'m> {
    /// Pairs each result with the latest call of its id before it: some clients use the same ids
    /// again in every turn.
    ///
    /// # Errors
    /// A 400 for a result that answers no call, because these dialects have no place for it.
    pub(crate) fn of(messages: &'m [Message]) -> Result<Self, ApiError> {
        let mut open: HashMap<&str, (usize, VecDeque<usize>)> = HashMap::new();
        let mut by_call = HashMap::new();
        for (number, message) in messages.iter().enumerate() {
            for (place, part) in message.parts.iter().enumerate() {
                match part {
                    Part::ToolCall(call) => {
                        let calls = open.entry(&call.id).or_default();
                        if calls.0 != number {
                            *calls = (number, VecDeque::new());
                        }
                        calls.1.push_back(place);
                    }
                    Part::ToolResult(result) => {
                        let call = open
                            .get_mut(result.call_id.as_str())
                            .and_then(|(at, places)| Some((*at, places.pop_front()?)));
                        let Some(call) = call else { return Err(unasked(number)) };
                        by_call.insert(call, result);
                    }
                    _ => {}
                }
            }
        }
        Ok(Self { by_call })
    }

    /// The calls of a message, each with its result if there is one.
    pub(crate) fn calls(
        &self,
        number: usize,
        message: &'m Message,
    ) -> Vec<(&'m ToolCall, Option<&'m ToolResult>)> {
        let parts = message.parts.iter().enumerate();
        let calls = parts.filter_map(|(place, part)| match part {
            Part::ToolCall(call) => Some((call, self.by_call.get(&(number, place)).copied())),
            _ => None,
        });
        calls.collect()
    }
}

fn unasked(number: usize) -> ApiError {
    ApiError::invalid(
        format!("messages[{number}]"),
        format!("messages[{number}] holds a tool result that answers no tool call before it"),
    )
}

/// What the assistant said, refusals included, which these dialects have no other place for.
pub(crate) fn spoken(message: &Message) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.text.as_str()),
        Part::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// The member by which Anthropic's callers say that a tool failed, which other dialects lack.
pub(crate) const IS_ERROR: &str = "messages.content.is_error";

/// Whether a tool in the conversation failed.
pub(crate) fn has_failed_result(messages: &[Message]) -> bool {
    let mut parts = messages.iter().flat_map(|message| &message.parts);
    parts.any(|part| matches!(part, Part::ToolResult(result) if result.is_error))
}

/// The text of a result; with `mark`, a failure says in words that it is one.
pub(crate) fn result_text(result: &ToolResult, mark: bool) -> String {
    let text = result.joined_text();
    match (mark && result.is_error, text.is_empty()) {
        (false, _) => text,
        (true, false) => format!("Error: {text}"),
        (true, true) => "Error".to_owned(),
    }
}

/// Whether a message holds thinking, which providers that keep theirs hidden have no place for.
pub(crate) fn has_reasoning(message: &Message) -> bool {
    message.parts.iter().any(|part| matches!(part, Part::Reasoning(_)))
}

/// Whether a tool answered with pictures or files, which these dialects cannot say.
pub(crate) fn shows(message: &Message, wanted: impl Fn(&Part) -> bool) -> bool {
    message.parts.iter().any(|part| match part {
        Part::ToolResult(result) => result.content.iter().any(&wanted),
        _ => false,
    })
}

/// Arguments as the object that these dialects want; what is none is put into one.
pub(crate) fn arguments_object(arguments: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(_)) => arguments.into(),
        Ok(Value::Null) => "{}".into(),
        Ok(value) => serde_json::json!({ "value": value }).to_string().into(),
        Err(_) if arguments.trim().is_empty() => "{}".into(),
        Err(_) => serde_json::json!({ "value": arguments }).to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use chat::Role;

    use super::*;

    fn call(id: &str, name: &str) -> Part {
        let (id, name) = (id.to_owned(), name.to_owned());
        Part::ToolCall(ToolCall { id, name, arguments: "{}".to_owned() })
    }

    fn result(id: &str, text: &str) -> Message {
        let result = ToolResult {
            call_id: id.to_owned(),
            name: None,
            content: vec![Part::text(text)],
            is_error: false,
        };
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)], name: None }
    }

    fn calls(parts: Vec<Part>) -> Message {
        Message { role: Role::Assistant, parts, name: None }
    }

    fn texts(messages: &[Message], number: usize) -> Vec<Option<String>> {
        let results = Results::of(messages).unwrap();
        let calls = results.calls(number, &messages[number]);
        calls.into_iter().map(|(_, result)| result.map(ToolResult::joined_text)).collect()
    }

    #[test]
    fn ids_that_are_used_again_find_the_result_of_their_own_turn() {
        let messages = [
            calls(vec![call("1", "a")]),
            result("1", "Тверь"),
            calls(vec![call("1", "a")]),
            calls(vec![call("1", "a"), call("1", "a")]),
            result("1", "Омск"),
            result("1", "Томск"),
        ];
        assert_eq!(texts(&messages, 0), [Some("Тверь".to_owned())]);
        assert_eq!(texts(&messages, 2), [None]);
        assert_eq!(texts(&messages, 3), [Some("Омск".to_owned()), Some("Томск".to_owned())]);
    }

    #[test]
    fn a_result_without_a_call_is_not_lost_silently() {
        for messages in [
            vec![result("1", "x")],
            vec![calls(vec![call("1", "a")]), result("1", "x"), result("1", "y")],
        ] {
            let number = messages.len() - 1;
            let refused = Results::of(&messages).err().unwrap();
            assert_eq!(refused.param, Some(format!("messages[{number}]")));
        }
    }

    #[test]
    fn arguments_become_an_object_without_losing_anything() {
        for (given, wanted) in [
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            ("", "{}"),
            (" null ", "{}"),
            ("[1]", r#"{"value":[1]}"#),
            (r#"{"город":"#, r#"{"value":"{\"город\":"}"#),
        ] {
            assert_eq!(arguments_object(given), wanted, "{given}");
        }
    }
}
