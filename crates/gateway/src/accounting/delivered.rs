use chat::StreamEvent;
use memchr::memmem::Finder;

/// Text that went out in a stream, counted as it goes: what a stream that is cut is charged for.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Hundredths of a token.
    weight: u64,
}

impl Delivered {
    /// Tokens so far, an estimate.
    pub(crate) fn tokens(&self) -> u64 {
        self.weight.div_ceil(100)
    }

    /// Counts an event on its way.
    pub(crate) fn observe_event(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Text { text, .. }
            | StreamEvent::Reasoning { text, .. }
            | StreamEvent::Refusal { text, .. }
            | StreamEvent::ToolCallArguments { fragment: text, .. } => self.count(text.as_bytes()),
            _ => {}
        }
    }

    /// Counts the texts in bytes that are forwarded: the values of `content`, `text`, `arguments`
    /// and the like. A value that is cut at the edge of a piece counts as far as it is there.
    pub(crate) fn observe_bytes(&mut self, piece: &[u8]) {
        thread_local! {
            static FINDERS: [Finder<'static>; 5] = [
                Finder::new(b"content\":\""),
                Finder::new(b"text\":\""),
                Finder::new(b"arguments\":\""),
                Finder::new(b"delta\":\""),
                Finder::new(b"partial_json\":\""),
            ];
        }
        FINDERS.with(|finders| {
            for finder in finders {
                let mut from = 0;
                while let Some(rest) = piece.get(from..)
                    && let Some(at) = finder.find(rest)
                {
                    let start = from + at + finder.needle().len();
                    let value = piece.get(start..).unwrap_or_default();
                    let length = string_length(value);
                    self.count(value.get(..length).unwrap_or_default());
                    from = start + length;
                }
            }
        });
    }

    fn count(&mut self, text: &[u8]) {
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            self.weight += match byte {
                b'a'..=b'z' | b'A'..=b'Z' => 24,
                b'0'..=b'9' => 33,
                b' ' => 0,
                b'\\' => {
                    let unicode = bytes.as_slice().first() == Some(&b'u');
                    bytes.nth(if unicode { 4 } else { 0 });
                    33
                }
                0x80..0xc0 => 0,
                0xd0..=0xd4 => 33,
                0xc0.. => 100,
                _ => 90,
            };
        }
    }
}

/// Bytes of a JSON string up to its closing quote, or to the end.
fn string_length(value: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = value.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += next;
        if value.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_texts_count_as_the_texts_themselves() {
        let text = "Привет, \"мир\"! Как дела?";
        let event = serde_json::json!({"choices": [{"delta": {"content": text}}]});
        let mut delivered = Delivered::default();
        delivered.observe_bytes(format!("data: {event}\n\n").as_bytes());
        let expected = chat::estimate_tokens(text);
        assert!(delivered.tokens().abs_diff(expected) <= 1, "{} {expected}", delivered.tokens());
    }

    #[test]
    fn nothing_else_counts() {
        let mut delivered = Delivered::default();
        delivered.observe_bytes(b"data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\"}\n\n");
        assert_eq!(delivered.tokens(), 0);
    }
}
