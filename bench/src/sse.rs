//! Counts the events of a server-sent event stream without keeping them.

/// Bytes of each line that are looked at; enough for the markers below.
const PREFIX: usize = 24;

/// Incremental scanner: feed it body bytes, it counts events that carry data.
#[derive(Debug, Default)]
pub(crate) struct EventScanner {
    prefix: [u8; PREFIX],
    line_len: usize,
    event_has_data: bool,
    events: u64,
    finished: bool,
    failed: bool,
}

impl EventScanner {
    /// Events with data so far, the `[DONE]` marker not among them.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Whether the dialect's last event has been seen (`[DONE]` or `message_stop`).
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the dialect's error event has been seen.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes the next body bytes, returns how many events with data ended within them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> u64 {
        let before = self.events;
        let mut from = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            self.keep(&bytes[from..newline]);
            self.end_line();
            from = newline + 1;
        }
        self.keep(&bytes[from..]);
        self.events - before
    }

    fn keep(&mut self, part: &[u8]) {
        if self.line_len < PREFIX {
            let take = part.len().min(PREFIX - self.line_len);
            self.prefix[self.line_len..self.line_len + take].copy_from_slice(&part[..take]);
        }
        self.line_len += part.len();
    }

    fn end_line(&mut self) {
        let line = &self.prefix[..self.line_len.min(PREFIX)];
        let is_blank = line.is_empty() || line == b"\r";
        if is_blank {
            self.events += u64::from(self.event_has_data);
            self.event_has_data = false;
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            if data.starts_with(b"[DONE]") {
                self.finished = true;
            } else {
                self.event_has_data = true;
                self.failed |= data.starts_with(b"{\"error\"");
            }
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.finished |= name.trim_ascii() == b"message_stop";
            self.failed |= name.trim_ascii() == b"error";
        }
        self.line_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(stream: &[u8], step: usize) -> EventScanner {
        let mut scanner = EventScanner::default();
        let counted: u64 = stream.chunks(step).map(|piece| scanner.feed(piece)).sum();
        assert_eq!(counted, scanner.events());
        scanner
    }

    #[test]
    fn counts_events_however_the_stream_is_cut() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"привет 🙂\"}}]}\n\n\
                      : heartbeat\n\n\
                      data: {\"a\":1}\ndata: more\n\n\
                      event: x\r\ndata:{}\r\n\r\n\
                      data: [DONE]\n\n";
        for step in 1..=stream.len() {
            let scanner = scan(stream.as_bytes(), step);
            assert_eq!(scanner.events(), 3, "step {step}");
            assert!(scanner.is_finished());
            assert!(!scanner.has_failed());
        }
    }

    #[test]
    fn an_event_counts_when_its_blank_line_arrives() {
        let mut scanner = EventScanner::default();
        assert_eq!(scanner.feed(b"data: {}\n"), 0);
        assert_eq!(scanner.feed(b"\n"), 1);
        assert!(!scanner.is_finished());
    }

    #[test]
    fn knows_the_end_and_the_errors_of_both_dialects() {
        let stop = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        assert!(scan(stop, 3).is_finished());
        assert!(scan(b"event: error\ndata: {\"type\":\"error\"}\n\n", 2).has_failed());
        assert!(scan(b"data: {\"error\":{\"message\":\"x\"}}\n\n", 5).has_failed());
        let quoted = b"data: {\"text\":\"event: error data: [DONE]\"}\n\n";
        let scanner = scan(quoted, 4);
        assert!(!scanner.has_failed() && !scanner.is_finished());
    }
}
