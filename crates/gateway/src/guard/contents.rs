//! The texts in the body of a request or of an answer, with their places, and the body with some of
//! them rewritten. One pass over bytes that are known to be JSON; no value is built.

use std::ops::Range;

use bytes::Bytes;
use guarding::Channel;
use memchr::{memchr2, memmem};

/// A text that belongs together: what one message says in one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentText {
    pub(crate) channel: Channel,
    /// Where it stands, for people: `messages[2]`.
    pub(crate) place: String,
    pub(crate) text: String,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    /// In the text.
    at: Range<usize>,
    /// In the body, quotes included.
    token: Range<usize>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// JSON in a string: the arguments of a tool.
    Json,
    /// A number that is a string where it is rewritten.
    Number,
}

/// What takes the place of a span of a text, or is put in where the span is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Which text.
    pub(crate) text: usize,
    /// Bytes of it.
    pub(crate) span: Range<usize>,
    pub(crate) by: String,
}

/// The texts of a request's body.
pub(crate) fn of_request(body: &[u8]) -> Vec<ContentText> {
    let mut walk = Walk::new(body);
    walk.object(|walk, key| {
        let (channel, place) = match key {
            "messages" | "input" => {
                walk.messages(key);
                return;
            }
            "prompt" | "suffix" | "user" | "metadata" | "safety_identifier" => (Channel::User, key),
            "instructions" | "system" => (Channel::System, key),
            "tools" | "functions" | "response_format" | "text" => (Channel::ToolDescription, key),
            _ => return walk.skip(),
        };
        walk.begin(channel, place);
        walk.structured("", Some(channel));
    });
    walk.finish()
}

/// The texts of an answer's body.
pub(crate) fn of_answer(body: &[u8]) -> Vec<ContentText> {
    let mut walk = Walk::new(body);
    walk.begin(Channel::Assistant, "answer");
    walk.answer("");
    walk.finish()
}

/// The body with the edits made; they must not overlap within a text.
pub(crate) fn rewritten(body: &[u8], texts: &[ContentText], edits: &[Edit]) -> Bytes {
    let mut tokens: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let mut own: Vec<&Edit> = edits.iter().filter(|edit| edit.text == number).collect();
        own.sort_by_key(|edit| edit.span.start);
        if own.is_empty() {
            continue;
        }
        for field in &text.fields {
            if let Some(value) = text.rewritten_field(field, &own) {
                let mut token = Vec::with_capacity(value.len() + 2);
                dialects::json::push_string(&mut token, &value);
                tokens.push((field.token.clone(), token));
            }
        }
    }
    tokens.sort_by_key(|(place, _)| place.start);
    let mut new = Vec::with_capacity(body.len() + 64 * tokens.len());
    let mut done = 0;
    for (place, token) in tokens {
        new.extend_from_slice(body.get(done..place.start).unwrap_or_default());
        new.extend_from_slice(&token);
        done = place.end;
    }
    new.extend_from_slice(body.get(done..).unwrap_or_default());
    new.into()
}

impl ContentText {
    /// Number of texts that it was put together from.
    #[cfg(test)]
    fn parts(&self) -> usize {
        self.fields.len()
    }

    /// The whole text as edits that keep it in place: one for each part.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Range<usize>, bool)> + '_ {
        self.fields.iter().map(|field| (field.at.clone(), field.form == Form::Json))
    }

    fn rewritten_field(&self, field: &Field, edits: &[&Edit]) -> Option<String> {
        let mut value = String::new();
        let mut done = field.at.start;
        let mut changed = false;
        for edit in edits {
            let start = edit.span.start.max(field.at.start);
            let end = edit.span.end.min(field.at.end);
            if start > end || (start == end && !edit.span.is_empty()) {
                continue;
            }
            changed = true;
            value.push_str(self.text.get(done..start).unwrap_or_default());
            // What goes on in another field leaves nothing there.
            if edit.span.start >= field.at.start {
                let bare = field.form == Form::Json
                    && is_bare(
                        self.text.get(field.at.start..start).unwrap_or_default(),
                        self.text.get(end..field.at.end).unwrap_or_default(),
                    );
                let quote = if bare { "\"" } else { "" };
                value.extend([quote, &edit.by, quote]);
            }
            done = end;
        }
        changed.then(|| value + self.text.get(done..field.at.end).unwrap_or_default())
    }
}

/// Whether what stands between is a JSON value without quotes.
fn is_bare(before: &str, after: &str) -> bool {
    before.trim_end().ends_with([':', '[', ',']) && after.trim_start().starts_with([',', '}', ']'])
}

struct Walk<'b> {
    body: &'b [u8],
    at: usize,
    texts: Vec<ContentText>,
}

impl<'b> Walk<'b> {
    fn new(body: &'b [u8]) -> Self {
        Self { body, at: 0, texts: Vec::new() }
    }

    fn finish(mut self) -> Vec<ContentText> {
        self.texts.retain(|text| !text.text.is_empty());
        self.texts
    }

    fn begin(&mut self, channel: Channel, place: impl Into<String>) {
        let place = place.into();
        self.texts.push(ContentText { channel, place, text: String::new(), fields: Vec::new() });
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.body.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, &str)) {
        if self.peek() != Some(b'{') {
            return self.skip();
        }
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let key = self.string();
                    let key = unescaped(self.body.get(key).unwrap_or_default());
                    if self.peek() == Some(b':') {
                        self.at += 1;
                    }
                    member(self, &key);
                }
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return;
                }
                _ => return,
            }
        }
    }

    fn array(&mut self, mut item: impl FnMut(&mut Self, usize)) {
        self.at += 1;
        let mut number = 0;
        loop {
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return;
                }
                None | Some(b'}' | b':') => return,
                Some(_) => {
                    item(self, number);
                    number += 1;
                }
            }
        }
    }

    /// Passes over a string and gives its place, quotes included.
    fn string(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += 1;
        while let Some(rest) = self.body.get(self.at..)
            && let Some(found) = memchr2(b'"', b'\\', rest)
        {
            let escaped = rest.get(found) == Some(&b'\\');
            self.at += found + 1 + usize::from(escaped);
            if !escaped {
                return start..self.at;
            }
        }
        self.at = self.body.len();
        start..self.at
    }

    fn scalar(&mut self) -> Range<usize> {
        let start = self.at;
        let rest = self.body.get(start..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        self.at += rest.iter().position(ends).unwrap_or(rest.len()).max(1);
        start..self.at.min(self.body.len())
    }

    /// Passes over a value.
    fn skip(&mut self) {
        match self.peek() {
            Some(b'"') => _ = self.string(),
            Some(b'{' | b'[') => {
                let mut depth = 0_usize;
                while let Some(byte) = self.body.get(self.at) {
                    match byte {
                        b'"' => {
                            self.string();
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        return;
                    }
                }
            }
            Some(_) => _ = self.scalar(),
            None => {}
        }
    }

    /// The string that is a member of the object that begins here; the place does not move.
    fn look(&mut self, wanted: &str) -> Option<String> {
        let before = self.at;
        let mut found = None;
        self.object(|walk, key| {
            if key == wanted && walk.peek() == Some(b'"') {
                let token = walk.string();
                found = Some(unescaped(walk.body.get(token).unwrap_or_default()));
            } else {
                walk.skip();
            }
        });
        self.at = before;
        found
    }

    /// A list of messages, or of texts, or one text.
    fn messages(&mut self, place: &str) {
        if self.peek() != Some(b'[') {
            self.begin(Channel::User, place);
            return self.structured("", Some(Channel::User));
        }
        self.array(|walk, number| {
            let place = format!("{place}[{number}]");
            let mut channel = Channel::User;
            let mut is_message = false;
            if walk.peek() == Some(b'{') {
                let role = walk.look("role");
                let kind = walk.look("type");
                is_message = role.is_some();
                channel = match (role.as_deref(), kind.as_deref()) {
                    (Some("system" | "developer"), _) => Channel::System,
                    (Some("assistant" | "model"), _)
                    | (None, Some("function_call" | "reasoning")) => Channel::Assistant,
                    (Some("tool" | "function"), _) => Channel::ToolResult,
                    (None, Some(kind)) if kind.ends_with("_output") => Channel::ToolResult,
                    _ => Channel::User,
                };
            }
            walk.begin(channel, place);
            if walk.peek() != Some(b'{') {
                return walk.structured("", Some(channel));
            }
            walk.object(|walk, key| match key {
                "name" if is_message => walk.structured("", Some(channel)),
                _ => walk.structured(key, Some(channel)),
            });
        });
    }

    /// A value whose members the API names.
    fn structured(&mut self, key: &str, channel: Option<Channel>) {
        let Some(first) = self.peek() else { return };
        match first {
            b'"' => {
                let token = self.string();
                if !names_something(key) && !self.is_data(&token) {
                    let form = if key == "arguments" { Form::Json } else { Form::Text };
                    self.add(token, form);
                }
            }
            b'[' => self.array(|walk, _| walk.structured(key, channel)),
            b'{' => self.part(key, channel),
            _ => _ = self.scalar(),
        }
    }

    /// An object in a message: a part of its content, a call of a tool, a schema.
    fn part(&mut self, key: &str, channel: Option<Channel>) {
        let kind = self.look("type");
        let other = match kind.as_deref() {
            Some("tool_result") => Some(Channel::ToolResult),
            Some("document" | "search_result") => Some(Channel::Document),
            _ => None,
        };
        let outer = self.texts.last().map(|text| (text.channel, text.place.clone()));
        let changes = other.filter(|other| Some(*other) != channel);
        if let (Some(other), Some((_, place))) = (changes, &outer) {
            self.begin(other, place.clone());
        }
        let calls = kind.as_deref() == Some("tool_use");
        // The text of a document stands where others have bytes.
        let holds_text = key == "source" && kind.as_deref() == Some("text");
        let channel = other.or(channel);
        self.object(|walk, inner| match inner {
            "input" if calls => walk.free(""),
            "data" if holds_text => walk.structured("", channel),
            _ => walk.structured(inner, channel),
        });
        if let (Some(_), Some((channel, place))) = (changes, outer) {
            self.begin(channel, place);
        }
    }

    /// A value whose members nobody knows: names give it its context.
    fn free(&mut self, key: &str) {
        match self.peek() {
            Some(b'"') => {
                let token = self.string();
                self.label(key);
                self.add(token, Form::Text);
            }
            Some(b'[') => self.array(|walk, _| walk.free(key)),
            Some(b'{') => self.object(|walk, inner| walk.free(inner)),
            Some(_) => {
                let token = self.scalar();
                // Shorter numbers identify nobody.
                if token.len() >= 8 {
                    self.label(key);
                    self.add(token, Form::Number);
                }
            }
            None => {}
        }
    }

    /// A value of an answer.
    fn answer(&mut self, key: &str) {
        const SAID: [&str; 10] = [
            "content",
            "text",
            "arguments",
            "reasoning_content",
            "reasoning",
            "refusal",
            "thinking",
            "title",
            "output",
            "transcript",
        ];
        match self.peek() {
            Some(b'"') => {
                let token = self.string();
                if SAID.contains(&key) {
                    self.add(token, if key == "arguments" { Form::Json } else { Form::Text });
                }
            }
            Some(b'[') if matches!(key, "embedding" | "logprobs" | "tokens") => self.skip(),
            Some(b'[') => self.array(|walk, _| walk.answer(key)),
            Some(b'{') if key == "input" => self.free(""),
            Some(b'{') => self.object(|walk, inner| walk.answer(inner)),
            Some(_) => _ = self.scalar(),
            None => {}
        }
    }

    fn is_data(&self, token: &Range<usize>) -> bool {
        let text = self.body.get(token.start + 1..).unwrap_or_default();
        text.starts_with(b"data:")
            && memmem::find(text.get(..128).unwrap_or(text), b";base64,").is_some()
    }

    fn label(&mut self, key: &str) {
        let Some(text) = self.texts.last_mut() else { return };
        if !key.is_empty() {
            if !text.text.is_empty() {
                text.text.push('\n');
            }
            text.text.push_str(key);
            text.text.push_str(": ");
        }
    }

    fn add(&mut self, token: Range<usize>, form: Form) {
        let raw = self.body.get(token.clone()).unwrap_or_default();
        let value = match form {
            Form::Number => String::from_utf8_lossy(raw).into_owned(),
            Form::Text => unescaped(raw),
            Form::Json => legible(unescaped(raw)),
        };
        let Some(text) = self.texts.last_mut() else { return };
        if value.is_empty() {
            return;
        }
        if !text.text.is_empty() && !text.text.ends_with(": ") {
            text.text.push('\n');
        }
        let start = text.text.len();
        text.text.push_str(&value);
        text.fields.push(Field { at: start..text.text.len(), token, form });
    }
}

/// Whether a member's value is a word of the API or a name that must not change.
fn names_something(key: &str) -> bool {
    matches!(
        key,
        "type"
            | "role"
            | "id"
            | "name"
            | "tool_call_id"
            | "tool_use_id"
            | "call_id"
            | "file_id"
            | "model"
            | "detail"
            | "format"
            | "media_type"
            | "cache_control"
            | "signature"
            | "encrypted_content"
            | "data"
            | "file_data"
            | "status"
            | "required"
            | "pattern"
            | "$ref"
            | "server_url"
            | "authorization"
    )
}

/// The text that a JSON string stands for; lone surrogates become replacement characters.
fn unescaped(token: &[u8]) -> String {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner).is_none() {
        return String::from_utf8_lossy(inner).into_owned();
    }
    serde_json::from_slice(token).unwrap_or_else(|_| String::from_utf8_lossy(inner).into_owned())
}

/// JSON text with the letters themselves instead of their escapes: what was masked must be seen.
fn legible(json: String) -> String {
    if !json.contains("\\u") {
        return json;
    }
    match serde_json::from_str::<Box<serde_json::value::RawValue>>(&json) {
        Ok(_) => without_escapes(&json),
        Err(_) => json,
    }
}

fn without_escapes(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
        let (units, length) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(high), Some(low)) if (0xD800..0xDC00).contains(&high) => (vec![high, low], 12),
            (Some(one), _) => (vec![one], 6),
            (None, _) => (Vec::new(), escape.chars().take(2).map(char::len_utf8).sum()),
        };
        let plain = String::from_utf16(&units).unwrap_or_default();
        let keeps =
            plain.is_empty() || plain.contains(['"', '\\']) || plain.contains(char::is_control);
        out.push_str(if keeps { escape.get(..length).unwrap_or(escape) } else { &plain });
        rest = escape.get(length..).unwrap_or_default();
    }
    out + rest
}

#[cfg(test)]
#[path = "tests/contents.rs"]
mod tests;
