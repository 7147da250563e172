use std::collections::HashSet;
use std::ops::Range;

use chat::{ApiError, ErrorKind};
use memchr::memchr2;

/// Where the members of a JSON object stand in its text.
///
/// Made by one pass that checks the whole text (RFC 8259; UTF-8; nesting), builds no value and
/// copies nothing, so that a request can be read in the few members that matter and forwarded as
/// the bytes that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    members: Vec<Member>,
}

/// One member of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The key with its quotes.
    pub(crate) key: Range<usize>,
    /// The value without surrounding white space.
    pub(crate) value: Range<usize>,
}

/// Why a text has no outline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// Not JSON, or not UTF-8.
    #[error("the request body is not valid JSON: {reason} at byte {offset}; send one JSON object")]
    Malformed {
        /// Where, counted from 0.
        offset: usize,
        /// What was found or missed there.
        reason: &'static str,
    },
    /// JSON, but not an object.
    #[error("the request body must be a JSON object, not {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// Nested too deeply.
    #[error("the request body is nested more than {limit} levels deep")]
    TooDeep {
        /// Most levels allowed.
        limit: usize,
    },
    /// Two members of one name: which one counts would depend on the reader.
    #[error("`{name}` stands twice in the request body; send it once")]
    Duplicate {
        /// The name, shortened.
        name: String,
    },
}

impl From<OutlineError> for ApiError {
    fn from(error: OutlineError) -> Self {
        let api_error = Self::new(ErrorKind::InvalidRequest, error.to_string());
        match error {
            OutlineError::Duplicate { name } => {
                api_error.with_code("duplicate_member").with_param(name)
            }
            OutlineError::TooDeep { .. } => api_error.with_code("nesting_too_deep"),
            OutlineError::Malformed { .. } | OutlineError::NotAnObject { .. } => {
                api_error.with_code("invalid_json")
            }
        }
    }
}

impl Outline {
    /// Reads the outline of `text`, which may nest at most `max_depth` levels (the object itself
    /// is one).
    ///
    /// # Errors
    /// When the text is not one JSON object within the limits.
    pub fn read(text: &[u8], max_depth: usize) -> Result<Self, OutlineError> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text.as_bytes(),
            Err(error) => {
                let offset = error.valid_up_to();
                return Err(OutlineError::Malformed { offset, reason: "invalid UTF-8" });
            }
        };
        let mut scanner = Scanner { text, at: 0, max_depth };
        scanner.white_space();
        match scanner.peek() {
            Some(b'{') => {}
            None => return Err(scanner.malformed("nothing")),
            Some(first) => {
                scanner.value(1)?;
                scanner.end()?;
                let found = match first {
                    b'[' => "an array",
                    b'"' => "a string",
                    b't' | b'f' => "a boolean",
                    b'n' => "null",
                    _ => "a number",
                };
                return Err(OutlineError::NotAnObject { found });
            }
        }
        let members = scanner.members()?;
        scanner.end()?;
        if let Some(key) = duplicate(text, &members) {
            let name = String::from_utf8_lossy(&key[1..key.len() - 1]);
            return Err(OutlineError::Duplicate { name: name.chars().take(64).collect() });
        }
        Ok(Self { members })
    }

    /// Where the value of the member `name` stands in `text`, the text this outline was read from.
    /// Names with escapes in them are compared as written.
    #[must_use]
    pub fn range(&self, text: &[u8], name: &str) -> Option<Range<usize>> {
        self.position(text, name).map(|position| self.members[position].value.clone())
    }

    /// The value of the member `name` as JSON text.
    #[must_use]
    pub fn get<'t>(&self, text: &'t [u8], name: &str) -> Option<&'t str> {
        std::str::from_utf8(text.get(self.range(text, name)?)?).ok()
    }

    pub(crate) fn position(&self, text: &[u8], name: &str) -> Option<usize> {
        self.members.iter().position(|member| {
            member.key.len() == name.len() + 2
                && text.get(member.key.start + 1..member.key.end - 1) == Some(name.as_bytes())
        })
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }
}

fn duplicate<'t>(text: &'t [u8], members: &[Member]) -> Option<&'t [u8]> {
    let key = |member: &Member| &text[member.key.clone()];
    if members.len() <= 32 {
        return members.iter().enumerate().find_map(|(position, member)| {
            let twice = members[..position].iter().any(|earlier| key(earlier) == key(member));
            twice.then(|| key(member))
        });
    }
    let mut seen = HashSet::with_capacity(members.len());
    members.iter().map(key).find(|key| !seen.insert(*key))
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    max_depth: usize,
}

impl Scanner<'_> {
    fn malformed(&self, reason: &'static str) -> OutlineError {
        OutlineError::Malformed { offset: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), OutlineError> {
        self.white_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.malformed("something more")) }
    }

    /// The members of the object that begins here.
    ///
    /// An escape in a name is refused: `"mod\u0065l"` is another member to whoever compares
    /// bytes, and the same one to whoever decodes first.
    fn members(&mut self) -> Result<Vec<Member>, OutlineError> {
        let mut members: Vec<Member> = Vec::with_capacity(16);
        self.object(1, |key, value| members.push(Member { key, value }))?;
        for member in &members {
            if self.text[member.key.clone()].contains(&b'\\') {
                self.at = member.key.start;
                return Err(self.malformed("an escape in the name of a member"));
            }
        }
        Ok(members)
    }

    fn object(
        &mut self,
        depth: usize,
        mut on_member: impl FnMut(Range<usize>, Range<usize>),
    ) -> Result<(), OutlineError> {
        if depth > self.max_depth {
            return Err(OutlineError::TooDeep { limit: self.max_depth });
        }
        self.at += 1;
        self.white_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.malformed("no key where one must be"));
            }
            let key_start = self.at;
            self.string()?;
            let key = key_start..self.at;
            self.white_space();
            if self.peek() != Some(b':') {
                return Err(self.malformed("no colon after a key"));
            }
            self.at += 1;
            self.white_space();
            let value_start = self.at;
            self.value(depth + 1)?;
            on_member(key, value_start..self.at);
            self.white_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.white_space();
                }
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.malformed("no comma or closing brace after a value")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), OutlineError> {
        if depth > self.max_depth {
            return Err(OutlineError::TooDeep { limit: self.max_depth });
        }
        self.at += 1;
        self.white_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.white_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.white_space();
                }
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.malformed("no comma or closing bracket after a value")),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), OutlineError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth, |_, _| {}),
            Some(b'[') => self.array(depth),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.malformed("no value where one must be")),
            None => Err(self.malformed("an early end")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), OutlineError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.malformed("no value where one must be"))
        }
    }

    fn digits(&mut self) -> Result<(), OutlineError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed("no digit where one must be")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), OutlineError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), OutlineError> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(self.malformed("a string without end"));
            };
            let has_control = rest[..stop].iter().fold(false, |found, &byte| found | (byte < 0x20));
            if has_control {
                let offset = rest[..stop].iter().position(|&byte| byte < 0x20).unwrap_or(0);
                self.at += offset;
                return Err(self.malformed("an unescaped control character in a string"));
            }
            self.at += stop + 1;
            if rest[stop] == b'"' {
                return Ok(());
            }
            match self.peek() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') => {
                    let hex = self.text.get(self.at + 1..self.at + 5);
                    if !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                        return Err(self.malformed("a broken \\u escape"));
                    }
                    self.at += 5;
                }
                _ => return Err(self.malformed("an unknown escape")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_found_where_they_stand() {
        let text = r#" { "model" : "чат", "n":1,"messages":[{"content":"\"}"}] } "#.as_bytes();
        let outline = Outline::read(text, 8).unwrap();
        assert_eq!(outline.get(text, "model"), Some("\"чат\""));
        assert_eq!(outline.get(text, "n"), Some("1"));
        assert_eq!(outline.get(text, "messages"), Some(r#"[{"content":"\"}"}]"#));
        assert_eq!(outline.get(text, "mode"), None);
    }

    #[test]
    fn duplicates_are_refused() {
        let error = Outline::read(br#"{"model":"a","x":1,"model":"b"}"#, 8).unwrap_err();
        assert_eq!(error, OutlineError::Duplicate { name: "model".to_owned() });
    }

    #[test]
    fn a_name_cannot_hide_behind_an_escape() {
        assert!(Outline::read(br#"{"model":"a","mod\u0065l":"b"}"#, 8).is_err());
    }

    #[test]
    fn a_flood_of_members_is_read_in_linear_time() {
        let members: Vec<String> = (0..300_000).map(|number| format!("\"m{number}\":1")).collect();
        let text = format!("{{{},\"m7\":2}}", members.join(","));
        let error = Outline::read(text.as_bytes(), 8).unwrap_err();
        assert_eq!(error, OutlineError::Duplicate { name: "m7".to_owned() });
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(7), "]".repeat(7));
        assert!(Outline::read(deep.as_bytes(), 8).is_ok());
        assert_eq!(Outline::read(deep.as_bytes(), 7), Err(OutlineError::TooDeep { limit: 7 }));
        let hostile = "[".repeat(1 << 20);
        assert_eq!(
            Outline::read(hostile.as_bytes(), 128),
            Err(OutlineError::TooDeep { limit: 128 })
        );
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<f64>().prop_map(|value| serde_json::json!(value).to_string()),
            any::<String>().prop_map(|value| serde_json::json!(value).to_string()),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::btree_map("[a-zа-я\"]{0,4}", inner, 0..6).prop_map(|members| {
                    let members: Vec<String> = members
                        .into_iter()
                        .map(|(key, value)| format!("{}:{value}", serde_json::json!(key)))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_takes_is_taken_and_nothing_else(
            text in json(), cut in any::<prop::sample::Index>(), junk in any::<u8>(),
        ) {
            let mut bytes = format!("{{\"a\":{text}}}").into_bytes();
            prop_assert!(Outline::read(&bytes, 64).is_ok());
            let at = cut.index(bytes.len());
            bytes[at] = junk;
            let theirs = serde_json::from_slice::<std::collections::HashMap<
                String, &serde_json::value::RawValue>>(&bytes);
            match Outline::read(&bytes, 64) {
                Ok(_) => {
                    // serde checks pairs of surrogates, which a forwarded body leaves to the
                    // provider.
                    if let Err(error) = theirs {
                        prop_assert!(error.to_string().contains("surrogate")
                            || error.to_string().contains("hex escape"), "{}", error);
                    }
                }
                Err(OutlineError::Duplicate { .. }) => {}
                Err(_) => prop_assert!(theirs.is_err()),
            }
        }
    }
}
