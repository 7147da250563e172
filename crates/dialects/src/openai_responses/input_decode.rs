//! Input items as the messages of a conversation.

use std::collections::{BTreeMap, HashMap};

use chat::{
    ApiError, File, Image, ImageDetail, MediaSource, Message, Part, Role, ToolCall, ToolResult,
};

use super::item::unseal;
use super::request_decode::missing;
use super::request_wire::{WireContent, WireInput, WireItem, WirePart};

/// Appends the messages of `input`.
pub(super) fn input(wire: WireInput, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let items = match wire {
        WireInput::Text(text) => {
            messages.push(Message::text(Role::User, text));
            return Ok(());
        }
        WireInput::List(items) => items,
    };
    if items.is_empty() {
        return Err(ApiError::invalid("input", "'input' is empty; send at least one item"));
    }
    let mut conversation =
        Conversation { messages, calls: HashMap::new(), unanswered: BTreeMap::new() };
    for (index, wire_item) in items.into_iter().enumerate() {
        conversation.item(wire_item, index)?;
    }
    match conversation.unanswered.values().next() {
        Some(call) => Err(ApiError::invalid(
            "input",
            format!("No tool output found for function call {call}."),
        )),
        None => Ok(()),
    }
}

struct Conversation<'a> {
    messages: &'a mut Vec<Message>,
    /// Ids of the function calls seen.
    calls: HashMap<String, usize>,
    /// Those of them without output so far, by the number of their item.
    unanswered: BTreeMap<usize, String>,
}

impl Conversation<'_> {
    fn item(&mut self, wire: WireItem, index: usize) -> Result<(), ApiError> {
        let path = |member: &str| format!("input[{index}].{member}");
        let kind = match wire.kind.as_deref() {
            None if wire.role.is_some() => "message",
            None => return Err(missing(&path("type"))),
            Some(kind) => kind,
        };
        match kind {
            "message" => {
                let role = role(wire.role.as_deref(), &path("role"))?;
                let content = wire.content.ok_or_else(|| missing(&path("content")))?;
                let parts = content_parts(content, &path("content"))?;
                self.say(role, parts);
            }
            "function_call" => {
                let id = wire.call_id.ok_or_else(|| missing(&path("call_id")))?;
                let name = wire.name.ok_or_else(|| missing(&path("name")))?;
                let arguments = wire.arguments.ok_or_else(|| missing(&path("arguments")))?;
                self.calls.insert(id.clone(), index);
                self.unanswered.insert(index, id.clone());
                self.assistant().push(Part::ToolCall(ToolCall { id, name, arguments }));
            }
            "function_call_output" => {
                let id = wire.call_id.ok_or_else(|| missing(&path("call_id")))?;
                let output = wire.output.ok_or_else(|| missing(&path("output")))?;
                match self.calls.get(&id) {
                    Some(call) => {
                        self.unanswered.remove(call);
                    }
                    None => {
                        return Err(ApiError::invalid(
                            "input",
                            format!(
                                "No tool call found for function call output with call_id {id}."
                            ),
                        ));
                    }
                }
                let content = content_parts(output, &path("output"))?;
                let result = Part::ToolResult(ToolResult {
                    call_id: id,
                    name: wire.name,
                    content,
                    is_error: false,
                });
                match self.messages.last_mut() {
                    Some(message) if message.role == Role::Tool => message.parts.push(result),
                    _ => self.messages.push(Message {
                        role: Role::Tool,
                        parts: vec![result],
                        name: None,
                    }),
                }
            }
            "reasoning" => {
                let mut text: String = wire
                    .summary
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|part| part.text)
                    .collect();
                if let (true, Some(WireContent::List(parts))) = (text.is_empty(), wire.content) {
                    text = parts.into_iter().filter_map(|part| part.text).collect();
                }
                let reasoning = unseal(text, wire.encrypted_content);
                self.assistant().push(Part::Reasoning(reasoning));
            }
            "item_reference" => {
                return Err(ApiError::invalid(
                    path("type"),
                    "'item_reference' points to an item of a stored response, and responses are \
                     not stored here; send the item itself",
                )
                .with_code("unsupported_parameter"));
            }
            other => {
                return Err(ApiError::invalid(
                    path("type"),
                    format!(
                        "items of type '{other}' are served by OpenAI itself only; send 'message', \
                         'function_call', 'function_call_output' or 'reasoning'"
                    ),
                )
                .with_code("unsupported_value"));
            }
        }
        Ok(())
    }

    /// Appends a message; what the assistant says after thinking belongs to the same turn.
    fn say(&mut self, role: Role, parts: Vec<Part>) {
        if role == Role::Assistant
            && let Some(last) = self.messages.last_mut()
            && last.role == Role::Assistant
            && last.parts.iter().all(|part| matches!(part, Part::Reasoning(_)))
        {
            last.parts.extend(parts);
            return;
        }
        self.messages.push(Message { role, parts, name: None });
    }

    /// Parts of the assistant's current turn.
    fn assistant(&mut self) -> &mut Vec<Part> {
        if self.messages.last().is_none_or(|message| message.role != Role::Assistant) {
            self.messages.push(Message { role: Role::Assistant, parts: Vec::new(), name: None });
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last].parts
    }
}

fn role(role: Option<&str>, path: &str) -> Result<Role, ApiError> {
    match role {
        None => Err(missing(path)),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some("system") => Ok(Role::System),
        Some("developer") => Ok(Role::Developer),
        Some(other) => Err(ApiError::invalid(
            path,
            format!(
                "Invalid value: '{other}'. Supported values are: 'assistant', 'system', \
                 'developer', and 'user'."
            ),
        )
        .with_code("invalid_value")),
    }
}

fn content_parts(wire: WireContent, path: &str) -> Result<Vec<Part>, ApiError> {
    match wire {
        WireContent::Text(text) => Ok(vec![Part::text(text)]),
        WireContent::List(list) => {
            let mut parts = Vec::with_capacity(list.len());
            for (index, wire_part) in list.into_iter().enumerate() {
                parts.push(content_part(wire_part, &|| format!("{path}[{index}]"))?);
            }
            Ok(parts)
        }
    }
}

fn content_part(wire: WirePart, path: &dyn Fn() -> String) -> Result<Part, ApiError> {
    let absent = |member: &str| missing(&format!("{}.{member}", path()));
    Ok(match wire.kind.as_str() {
        "input_text" | "output_text" | "text" => {
            Part::text(wire.text.ok_or_else(|| absent("text"))?)
        }
        "refusal" => Part::Refusal(wire.refusal.ok_or_else(|| absent("refusal"))?),
        "input_image" => {
            let source = match (wire.image_url, wire.file_id) {
                (Some(url), _) => url_or_data(url),
                (None, Some(id)) => MediaSource::FileId(id),
                (None, None) => return Err(absent("image_url")),
            };
            let detail = match wire.detail.as_deref() {
                None => None,
                Some("low") => Some(ImageDetail::Low),
                Some("high" | "original") => Some(ImageDetail::High),
                Some(_) => Some(ImageDetail::Auto),
            };
            Part::Image(Image { source, detail, cache_control: None })
        }
        "input_file" => {
            let source = match (wire.file_data, wire.file_url, wire.file_id) {
                (Some(data), _, _) => match url_or_data(data) {
                    MediaSource::Url(data) => {
                        MediaSource::Base64 { media_type: "application/pdf".to_owned(), data }
                    }
                    source => source,
                },
                (None, Some(url), _) => MediaSource::Url(url),
                (None, None, Some(id)) => MediaSource::FileId(id),
                (None, None, None) => return Err(absent("file_data")),
            };
            Part::File(File { source, name: wire.filename })
        }
        "input_audio" => {
            let audio = wire.input_audio.ok_or_else(|| absent("input_audio"))?;
            let media_type = match audio.format.as_str() {
                "mp3" => "audio/mpeg".to_owned(),
                format => format!("audio/{format}"),
            };
            let source = MediaSource::Base64 { media_type, data: audio.data };
            Part::File(File { source, name: None })
        }
        other => {
            return Err(ApiError::invalid(
                format!("{}.type", path()),
                format!(
                    "Invalid value: '{other}'. Supported values are: 'input_text', 'input_image', \
                     'input_file', 'input_audio', 'output_text', and 'refusal'."
                ),
            )
            .with_code("invalid_value"));
        }
    })
}

/// Tells a `data:` address with base64 from one that must be fetched.
fn url_or_data(url: String) -> MediaSource {
    let parsed = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(','))
        .and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data)));
    match parsed {
        Some((media_type, data)) => {
            MediaSource::Base64 { media_type: media_type.to_owned(), data: data.to_owned() }
        }
        None => MediaSource::Url(url),
    }
}
