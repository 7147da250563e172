//! JSON written straight into bytes, for answers on the hot path.

use bytes::Bytes;

/// Text of a JSON value under construction. The caller sees to its grammar.
#[derive(Clone, Debug, Default)]
pub(crate) struct JsonText(Vec<u8>);

impl JsonText {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Appends `text` as it is.
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Appends `text` as a JSON string.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        // Writing into memory cannot fail, nor can a string be no JSON.
        let _ = serde_json::to_writer(&mut self.0, text);
        self
    }

    pub(crate) fn string_or_null(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.raw("null"),
        }
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// Appends any value.
    pub(crate) fn value(&mut self, value: &serde_json::Value) -> &mut Self {
        let _ = serde_json::to_writer(&mut self.0, value);
        self
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}
