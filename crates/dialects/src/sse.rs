//! Server-sent events (WHATWG HTML, 9.2) on raw bytes: frames found in a stream cut anywhere.

use memchr::memchr;

/// Finds events in a stream of bytes. Holds only what is incomplete.
#[derive(Debug)]
pub struct SseParser {
    pending: Vec<u8>,
    event: String,
    data: Vec<u8>,
    has_data: bool,
    limit: usize,
    overflowed: bool,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// Its `event` field; empty where there was none.
    pub event: &'a str,
    /// Its `data` lines joined by line feeds.
    pub data: &'a [u8],
}

impl SseParser {
    /// Takes events of at most `limit` bytes; a longer one makes [`SseParser::overflowed`] true
    /// and ends parsing.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            pending: Vec::new(),
            event: String::new(),
            data: Vec::new(),
            has_data: false,
            limit,
            overflowed: false,
        }
    }

    /// Whether an event passed the limit.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Takes the next bytes and hands each completed event to `on_event`.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(SseEvent<'_>)) {
        while !self.overflowed {
            let Some(end) = memchr(b'\n', bytes) else {
                self.pending.extend_from_slice(bytes);
                self.overflowed = self.pending.len() + self.data.len() > self.limit;
                return;
            };
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.pending.is_empty() {
                self.line(line, &mut on_event);
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(line);
                self.line(&whole, &mut on_event);
                whole.clear();
                self.pending = whole;
            }
        }
    }

    /// The stream ended: an event whose closing blank line is missing is still handed over, as
    /// several providers leave it out after their last one.
    pub fn finish(&mut self, mut on_event: impl FnMut(SseEvent<'_>)) {
        let last = std::mem::take(&mut self.pending);
        if !last.is_empty() {
            self.line(&last, &mut on_event);
        }
        self.line(b"", &mut on_event);
    }

    fn line(&mut self, line: &[u8], on_event: &mut impl FnMut(SseEvent<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if self.has_data {
                on_event(SseEvent { event: &self.event, data: &self.data });
            }
            self.event.clear();
            self.data.clear();
            self.has_data = false;
            return;
        }
        let (name, value) = match memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
                self.overflowed = self.data.len() > self.limit;
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }
}

/// Length in bytes of the first event with its blank line; `None` if its end has not come.
#[must_use]
pub fn event_length(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let line_end = from + memchr(b'\n', &bytes[from..])?;
        match &bytes[line_end + 1..] {
            [b'\n', ..] => return Some(line_end + 2),
            [b'\r', b'\n', ..] => return Some(line_end + 3),
            _ => from = line_end + 1,
        }
    }
}

/// Appends one event of one line of data.
pub fn push_event(out: &mut Vec<u8>, event: Option<&str>, data: &[u8]) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = SseParser::new(1 << 20);
        let mut found = Vec::new();
        let mut take = |event: SseEvent<'_>| {
            found.push((event.event.to_owned(), String::from_utf8_lossy(event.data).into_owned()));
        };
        for piece in pieces {
            parser.feed(piece, &mut take);
        }
        parser.finish(&mut take);
        found
    }

    #[test]
    fn a_stream_cut_anywhere_equals_the_whole() {
        let stream =
            ": hi\r\nevent: done\r\ndata: {\"a\":\"я\"}\r\n\r\ndata:x\ndata: y\n\ndata: end"
                .as_bytes();
        let whole = events(&[stream]);
        assert_eq!(
            whole,
            [
                ("done".to_owned(), "{\"a\":\"я\"}".to_owned()),
                (String::new(), "x\ny".to_owned()),
                (String::new(), "end".to_owned()),
            ]
        );
        for cut in 0..=stream.len() {
            assert_eq!(events(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut parser = SseParser::new(100);
        for _ in 0..50 {
            parser.feed(&[b'a'; 10], |_| {});
        }
        assert!(parser.overflowed());
        assert!(parser.pending.len() <= 110);
    }
}
