//! Messages and their parts as Anthropic's turns and content blocks.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chat::{
    File, Image, ImageDetail, Json, MediaSource, Message, Part, Reasoning, Role, ToolCall,
    ToolResult,
};

use crate::json::JsonWriter;

/// A text of the system prompt.
pub(super) struct SystemBlock<'a> {
    pub(super) text: &'a str,
    pub(super) cache_control: Option<&'a Json>,
}

/// Neighbouring messages of one side.
pub(super) struct Turn<'a> {
    assistant: bool,
    parts: Vec<&'a Part>,
}

/// A conversation in Anthropic's terms.
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<SystemBlock<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
    /// Members that found no place.
    pub(super) lost: Vec<&'static str>,
}

/// Lifts the system prompt out and merges neighbouring messages of one side; the results of tools
/// stand first in theirs, as the API demands. What the API refuses to see is left out: empty
/// texts.
pub(super) fn conversation(messages: &[Message]) -> Conversation<'_> {
    let mut conversation = Conversation { system: Vec::new(), turns: Vec::new(), lost: Vec::new() };
    for message in messages {
        if message.name.is_some() {
            conversation.lose("messages.name");
        }
        if matches!(message.role, Role::System | Role::Developer) {
            conversation.lift(message);
            continue;
        }
        let assistant = message.role == Role::Assistant;
        if message.parts.iter().any(is_unsigned) {
            conversation.lose("messages.reasoning_content");
        }
        let parts = message.parts.iter().filter(|part| !is_empty(part) && !is_unsigned(part));
        match conversation.turns.last_mut() {
            Some(turn) if turn.assistant == assistant => turn.parts.extend(parts),
            _ => conversation.turns.push(Turn { assistant, parts: parts.collect() }),
        }
    }
    for turn in &mut conversation.turns {
        if !turn.assistant {
            turn.parts.sort_by_key(|part| !matches!(part, Part::ToolResult(_)));
        }
    }
    conversation.turns.retain(|turn| !turn.parts.is_empty());
    conversation
}

/// A conversation of instructions only, with them as the user's turn.
pub(super) fn instructions_as_turn(messages: &[Message]) -> Conversation<'_> {
    let parts = messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter(|part| matches!(part, Part::Text(text) if !text.text.is_empty()));
    let turn = Turn { assistant: false, parts: parts.collect() };
    Conversation { system: Vec::new(), turns: vec![turn], lost: Vec::new() }
}

impl<'a> Conversation<'a> {
    /// Whether it goes on after results of tools that the model called without thinking first:
    /// the API refuses to think with a budget then.
    pub(super) fn resumes_without_thinking(&self) -> bool {
        let resumes = self.turns.last().is_some_and(|turn| {
            !turn.assistant && turn.parts.iter().any(|part| matches!(part, Part::ToolResult(_)))
        });
        let calling = |turn: &&Turn<'_>| {
            turn.assistant && turn.parts.iter().any(|part| matches!(part, Part::ToolCall(_)))
        };
        resumes
            && self
                .turns
                .iter()
                .rev()
                .find(calling)
                .is_some_and(|turn| !matches!(turn.parts.first(), Some(Part::Reasoning(_))))
    }

    fn lift(&mut self, message: &'a Message) {
        for part in &message.parts {
            match part {
                Part::Text(text) if text.text.is_empty() => {}
                Part::Text(text) => self.system.push(SystemBlock {
                    text: &text.text,
                    cache_control: text.cache_control.as_ref(),
                }),
                _ => self.lose("messages.content"),
            }
        }
    }

    fn lose(&mut self, member: &'static str) {
        if !self.lost.contains(&member) {
            self.lost.push(member);
        }
    }
}

fn is_empty(part: &Part) -> bool {
    match part {
        Part::Text(text) => text.text.is_empty(),
        Part::Refusal(text) => text.is_empty(),
        _ => false,
    }
}

/// Only thinking that the provider can recognise as its own may be sent back.
fn is_unsigned(part: &Part) -> bool {
    matches!(part, Part::Reasoning(reasoning)
        if reasoning.signature.is_none() && reasoning.encrypted.is_none())
}

/// Writes the array of messages; answers the members that were left out.
pub(super) fn write(json: &mut JsonWriter<'_>, turns: &[Turn<'_>]) -> Vec<&'static str> {
    let mut blocks = Blocks { json, lost: Vec::new() };
    blocks.json.begin_array();
    for turn in turns {
        blocks.json.begin_object().field("role", if turn.assistant { "assistant" } else { "user" });
        match turn.parts.as_slice() {
            [Part::Text(text)] if text.cache_control.is_none() => {
                blocks.json.field("content", &text.text);
            }
            parts => {
                blocks.json.key("content").begin_array();
                for part in parts {
                    blocks.part(part);
                }
                blocks.json.end_array();
            }
        }
        blocks.json.end_object();
    }
    blocks.json.end_array();
    blocks.lost
}

struct Blocks<'a, 'b> {
    json: &'a mut JsonWriter<'b>,
    lost: Vec<&'static str>,
}

impl Blocks<'_, '_> {
    fn begin(&mut self, kind: &str) {
        self.json.begin_object().field("type", kind);
    }

    fn lose(&mut self, member: &'static str) {
        if !self.lost.contains(&member) {
            self.lost.push(member);
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => {
                self.begin("text");
                self.json.field("text", &text.text);
                self.json.optional_json("cache_control", text.cache_control.as_ref()).end_object();
            }
            Part::Refusal(text) => {
                self.begin("text");
                self.json.field("text", text).end_object();
            }
            Part::Image(image) => self.image(image),
            Part::File(file) => self.file(file),
            Part::ToolCall(call) => self.call(call),
            Part::ToolResult(result) => self.result(result),
            Part::Reasoning(reasoning) => self.reasoning(reasoning),
        }
    }

    fn image(&mut self, image: &Image) {
        if image.detail.is_some_and(|detail| detail != ImageDetail::Auto) {
            self.lose("messages.content.image_url.detail");
        }
        self.begin("image");
        self.source(&image.source);
        self.json.optional_json("cache_control", image.cache_control.as_ref()).end_object();
    }

    fn source(&mut self, source: &MediaSource) {
        self.json.key("source").begin_object();
        match source {
            MediaSource::Url(url) => self.json.field("type", "url").field("url", url),
            MediaSource::Base64 { media_type, data } => self
                .json
                .field("type", "base64")
                .field("media_type", media_type)
                .field("data", data),
            MediaSource::FileId(id) => self.json.field("type", "file").field("file_id", id),
        };
        self.json.end_object();
    }

    /// PDF as it is, texts as text; the API takes nothing else.
    fn file(&mut self, file: &File) {
        let text = match &file.source {
            MediaSource::Base64 { media_type, data } if media_type.starts_with("text/") => {
                STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            }
            _ => None,
        };
        let takes = match &file.source {
            MediaSource::Base64 { media_type, .. } => {
                media_type == "application/pdf" || text.is_some()
            }
            _ => true,
        };
        if !takes {
            self.lose("messages.content.file");
            return;
        }
        self.begin("document");
        match text {
            Some(text) => {
                self.json.key("source").begin_object().field("type", "text");
                self.json.field("media_type", "text/plain").field("data", &text).end_object();
            }
            None => self.source(&file.source),
        }
        self.json.optional_field("title", file.name.as_deref()).end_object();
    }

    fn call(&mut self, call: &ToolCall) {
        self.begin("tool_use");
        self.json.field("id", &safe_id(&call.id)).field("name", &call.name);
        self.json.key("input").raw(&input_object(&call.arguments)).end_object();
    }

    fn result(&mut self, result: &ToolResult) {
        self.begin("tool_result");
        self.json.field("tool_use_id", &safe_id(&result.call_id));
        match result.content.as_slice() {
            [] => {}
            [Part::Text(text)] if text.cache_control.is_none() => {
                self.json.field("content", &text.text);
            }
            parts => {
                self.json.key("content").begin_array();
                for part in parts.iter().filter(|part| !is_empty(part)) {
                    self.part(part);
                }
                self.json.end_array();
            }
        }
        if result.is_error {
            self.json.key("is_error").boolean(true);
        }
        self.json.end_object();
    }

    fn reasoning(&mut self, reasoning: &Reasoning) {
        if let Some(signature) = &reasoning.signature {
            self.begin("thinking");
            self.json.field("thinking", &reasoning.text).field("signature", signature).end_object();
        }
        if let Some(data) = &reasoning.encrypted {
            self.begin("redacted_thinking");
            self.json.field("data", data).end_object();
        }
    }
}

/// The API takes ids of letters, digits, `_` and `-` only.
fn safe_id(id: &str) -> Cow<'_, str> {
    let safe = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if !id.is_empty() && id.chars().all(safe) {
        return Cow::Borrowed(id);
    }
    let replaced: String = id.chars().map(|c| if safe(c) { c } else { '_' }).collect();
    Cow::Owned(if replaced.is_empty() { "_".to_owned() } else { replaced })
}

/// Arguments as the object that the API demands. Text that is no object is wrapped the way
/// Anthropic advises for arguments that a model got wrong.
pub(super) fn input_object(arguments: &str) -> Cow<'_, str> {
    let trimmed = arguments.trim();
    if trimmed.is_empty() {
        return Cow::Borrowed("{}");
    }
    let is_object = trimmed.starts_with('{')
        && serde_json::from_str::<&serde_json::value::RawValue>(trimmed).is_ok();
    if is_object {
        return Cow::Borrowed(trimmed);
    }
    let mut wrapped = Vec::with_capacity(arguments.len() + 24);
    JsonWriter::new(&mut wrapped).begin_object().field("INVALID_JSON", arguments).end_object();
    Cow::Owned(String::from_utf8_lossy(&wrapped).into_owned())
}
