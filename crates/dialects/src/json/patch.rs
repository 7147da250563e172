use bytes::Bytes;

use super::Outline;

/// Bodies up to this size are copied into one piece; beyond it the copy would cost more than
/// writing several pieces does.
const COPY_LIMIT: usize = 16 * 1024;

/// Changes a few members of a JSON object and leaves every other byte as it came.
#[derive(Debug)]
pub struct Patch<'a> {
    body: &'a Bytes,
    outline: &'a Outline,
    /// Member number and its new value; `None` removes it.
    changes: Vec<(usize, Option<Vec<u8>>)>,
    additions: Vec<(&'static str, Vec<u8>)>,
}

impl<'a> Patch<'a> {
    /// Starts from `body`, whose outline is `outline`.
    #[must_use]
    pub fn new(body: &'a Bytes, outline: &'a Outline) -> Self {
        Self { body, outline, changes: Vec::new(), additions: Vec::new() }
    }

    /// Gives the member `name` the JSON text `value`, adding it if it is not there.
    pub fn set(&mut self, name: &'static str, value: Vec<u8>) -> &mut Self {
        match self.outline.position(self.body, name) {
            Some(position) => self.changes.push((position, Some(value))),
            None => self.additions.push((name, value)),
        }
        self
    }

    /// Takes the member `name` out, if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Some(position) = self.outline.position(self.body, name) {
            self.changes.push((position, None));
        }
        self
    }

    /// The changed body, in one or several pieces that share the memory of the original; the
    /// original itself if nothing was changed.
    #[must_use]
    pub fn apply(self) -> Vec<Bytes> {
        if self.changes.is_empty() && self.additions.is_empty() {
            return vec![self.body.clone()];
        }
        let mut pieces = Pieces { body: self.body, pieces: Vec::new(), pending: None, any: false };
        for (position, member) in self.outline.members().iter().enumerate() {
            let change = self.changes.iter().rev().find(|(changed, _)| *changed == position);
            match change {
                None => pieces.keep(member.key.start, member.value.end),
                Some((_, None)) => pieces.flush(),
                Some((_, Some(value))) => {
                    pieces.keep(member.key.start, member.value.start);
                    pieces.flush();
                    pieces.pieces.push(Bytes::copy_from_slice(value));
                }
            }
        }
        pieces.flush();
        for (name, value) in &self.additions {
            let mut member = Vec::with_capacity(name.len() + value.len() + 4);
            if pieces.any {
                member.push(b',');
            }
            super::push_string(&mut member, name);
            member.push(b':');
            member.extend_from_slice(value);
            pieces.pieces.push(member.into());
            pieces.any = true;
        }
        pieces.close()
    }
}

struct Pieces<'a> {
    body: &'a Bytes,
    pieces: Vec<Bytes>,
    /// A run of the original that is kept as it is.
    pending: Option<(usize, usize)>,
    /// Whether a member was written already, so that the next needs a comma.
    any: bool,
}

impl Pieces<'_> {
    fn keep(&mut self, start: usize, end: usize) {
        match &mut self.pending {
            Some((_, pending_end)) => *pending_end = end,
            None => {
                if self.any {
                    self.pieces.push(Bytes::from_static(b","));
                }
                self.pending = Some((start, end));
            }
        }
        self.any = true;
    }

    fn flush(&mut self) {
        if let Some((start, end)) = self.pending.take() {
            self.pieces.push(self.body.slice(start..end));
        }
    }

    fn close(self) -> Vec<Bytes> {
        let length: usize = self.pieces.iter().map(Bytes::len).sum::<usize>() + 2;
        if length <= COPY_LIMIT {
            let mut whole = Vec::with_capacity(length);
            whole.push(b'{');
            for piece in &self.pieces {
                whole.extend_from_slice(piece);
            }
            whole.push(b'}');
            return vec![whole.into()];
        }
        let mut pieces = self.pieces;
        pieces.insert(0, Bytes::from_static(b"{"));
        pieces.push(Bytes::from_static(b"}"));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(text: &str, change: impl FnOnce(&mut Patch<'_>)) -> String {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let outline = Outline::read(&body, 64).unwrap();
        let mut patch = Patch::new(&body, &outline);
        change(&mut patch);
        String::from_utf8(patch.apply().concat()).unwrap()
    }

    #[test]
    fn only_the_named_members_change() {
        let text = r#"{ "model":"чат" , "x": [1, 2] ,"llm_proxy":{"a":1},"n":1 }"#;
        assert_eq!(patched(text, |_| {}), text);
        assert_eq!(
            patched(text, |patch| {
                patch.set("model", b"\"m\"".to_vec()).remove("llm_proxy").remove("absent");
            }),
            r#"{"model":"m","x": [1, 2],"n":1}"#
        );
        assert_eq!(
            patched(text, |patch| {
                patch.set("stream_options", b"{}".to_vec()).remove("n").remove("model");
            }),
            r#"{"x": [1, 2] ,"llm_proxy":{"a":1},"stream_options":{}}"#
        );
        assert_eq!(patched("{}", |patch| _ = patch.set("a", b"1".to_vec())), r#"{"a":1}"#);
        assert_eq!(patched(r#"{"a":1}"#, |patch| _ = patch.remove("a")), "{}");
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let text = format!("{{\"model\":\"a\",\"text\":\"{}\"}}", "я".repeat(COPY_LIMIT));
        let body = Bytes::from(text.clone());
        let outline = Outline::read(&body, 64).unwrap();
        let mut patch = Patch::new(&body, &outline);
        patch.set("model", b"\"b\"".to_vec());
        let pieces = patch.apply();
        assert!(pieces.iter().any(|piece| body.as_ptr_range().contains(&piece.as_ptr())));
        assert_eq!(pieces.concat(), text.replacen("\"a\"", "\"b\"", 1).into_bytes());
    }
}
