use chat::Json;

/// Appends JSON to a byte vector and keeps track of commas. What it writes is valid JSON as long
/// as every `begin_*` meets its `end_*` and every value in an object follows a `key`; both are
/// checked in debug builds by the tests of the dialects, which parse what they wrote.
#[derive(Debug)]
pub struct JsonWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Whether the next value or key needs a comma before it.
    comma: bool,
}

impl<'a> JsonWriter<'a> {
    /// Appends to `out`.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, comma: false }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
    }

    /// `{`
    pub fn begin_object(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
        self
    }

    /// `}`
    pub fn end_object(&mut self) -> &mut Self {
        self.out.push(b'}');
        self.comma = true;
        self
    }

    /// `[`
    pub fn begin_array(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'[');
        self.comma = false;
        self
    }

    /// `]`
    pub fn end_array(&mut self) -> &mut Self {
        self.out.push(b']');
        self.comma = true;
        self
    }

    /// The key of the value that follows.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.separate();
        push_string(self.out, key);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// A string.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.separate();
        push_string(self.out, value);
        self.comma = true;
        self
    }

    /// A whole number.
    pub fn integer(&mut self, value: impl itoa::Integer) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.comma = true;
        self
    }

    /// A number; `null` if it is not finite. Whole values are written without a fraction.
    pub fn number(&mut self, value: f64) -> &mut Self {
        if !value.is_finite() {
            return self.null();
        }
        self.separate();
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value);
        self.out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
        self.comma = true;
        self
    }

    /// `true` or `false`
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    /// `null`
    pub fn null(&mut self) -> &mut Self {
        self.raw("null")
    }

    /// A value that is JSON text already.
    pub fn json(&mut self, value: &Json) -> &mut Self {
        self.raw(value.get())
    }

    /// A value that the caller knows to be JSON text.
    pub fn raw(&mut self, value: &str) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(value.as_bytes());
        self.comma = true;
        self
    }

    /// `"key": "value"`
    pub fn field(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key).string(value)
    }

    /// `"key": "value"` where there is one.
    pub fn optional_field(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.key(key).string(value),
            None => self,
        }
    }

    /// `"key": number` where there is one.
    pub fn optional_number(&mut self, key: &str, value: Option<f64>) -> &mut Self {
        match value {
            Some(value) => self.key(key).number(value),
            None => self,
        }
    }

    /// `"key": integer` where there is one.
    pub fn optional_integer(&mut self, key: &str, value: Option<impl itoa::Integer>) -> &mut Self {
        match value {
            Some(value) => self.key(key).integer(value),
            None => self,
        }
    }

    /// `"key": boolean` where there is one.
    pub fn optional_boolean(&mut self, key: &str, value: Option<bool>) -> &mut Self {
        match value {
            Some(value) => self.key(key).boolean(value),
            None => self,
        }
    }

    /// `"key": json` where there is one.
    pub fn optional_json(&mut self, key: &str, value: Option<&Json>) -> &mut Self {
        match value {
            Some(value) => self.key(key).json(value),
            None => self,
        }
    }
}

/// Appends `text` as a JSON string (RFC 8259, 7): only what must be escaped is.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (position, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..position]);
        plain_from = position + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_string_reads_back(text in ".*") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn commas_stand_where_they_must() {
        let mut out = Vec::new();
        let mut json = JsonWriter::new(&mut out);
        json.begin_object().field("a", "б\u{1}").key("b").begin_array().integer(1).number(0.5);
        json.begin_object().end_object().end_array().key("c").null().end_object();
        assert_eq!(out, r#"{"a":"б\u0001","b":[1,0.5,{}],"c":null}"#.as_bytes());
    }
}
