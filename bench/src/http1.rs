//! The least of HTTP/1.1 that reads a server's answers: status, framing, body bytes.
//!
//! Written for a load generator that shares its cores with what it measures, so nothing is kept of
//! an answer but its status and length.

use memchr::memmem;

/// Longest response head that is read before the answer counts as malformed, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Why an answer could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The status line is not HTTP/1.x with a three-digit code.
    #[error("malformed status line")]
    StatusLine,
    /// The head is longer than any server under test sends.
    #[error("response head too long")]
    HeadTooLong,
    /// `content-length` is not a number.
    #[error("malformed content-length")]
    ContentLength,
    /// Chunked framing is broken.
    #[error("malformed chunk")]
    Chunk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize { size: u64, digits: u8, in_extension: bool },
    ChunkData(u64),
    ChunkEnd,
    Trailer { line_is_empty: bool },
    UntilClose,
    Done,
}

/// Incremental reader of one answer after another on a connection.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    state: State,
    head: Vec<u8>,
    status: u16,
    close: bool,
}

impl ResponseReader {
    pub(crate) fn new() -> Self {
        Self { state: State::Head, head: Vec::with_capacity(1024), status: 0, close: false }
    }

    /// Forgets the last answer; the next byte fed starts a new one.
    pub(crate) fn reset(&mut self) {
        self.state = State::Head;
        self.head.clear();
        self.status = 0;
        self.close = false;
    }

    /// Status code of the answer being read; 0 until the head is complete.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the whole answer has been read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the connection cannot carry another request after this answer.
    pub(crate) fn closes(&self) -> bool {
        self.close
    }

    /// Whether no byte of the answer has been read yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state == State::Head && self.head.is_empty()
    }

    /// The server closed the connection: true if that is a regular end of the answer.
    pub(crate) fn end_of_input(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    /// Takes the next bytes off the wire, hands body bytes to `body` and returns how many bytes
    /// were used: fewer than given only when the answer ended within them.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        mut body: impl FnMut(&[u8]),
    ) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            match self.state {
                State::Done => break,
                State::Head => at += self.feed_head(rest)?,
                State::Length(left) => {
                    let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    body(&rest[..take]);
                    at += take;
                    let left = left - take as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::ChunkData(left) => {
                    let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    body(&rest[..take]);
                    at += take;
                    let left = left - take as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                }
                State::UntilClose => {
                    body(rest);
                    at = input.len();
                }
                State::ChunkSize { .. } | State::ChunkEnd | State::Trailer { .. } => {
                    self.state = step_framing(self.state, rest[0])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn feed_head(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let before = self.head.len();
        self.head.extend_from_slice(input);
        let search_from = before.saturating_sub(3);
        let Some(found) = memmem::find(&self.head[search_from..], b"\r\n\r\n") else {
            return if self.head.len() > MAX_HEAD {
                Err(Malformed::HeadTooLong)
            } else {
                Ok(input.len())
            };
        };
        let end = search_from + found + 4;
        let used = end - before;
        self.head.truncate(end);
        self.read_head()?;
        Ok(used)
    }

    fn read_head(&mut self) -> Result<(), Malformed> {
        let mut lines = self.head.split(|byte| *byte == b'\n');
        let status_line = lines.next().unwrap_or_default();
        self.status = parse_status(status_line)?;
        let mut length = None;
        let mut chunked = false;
        for line in lines {
            let line = line.trim_ascii_end();
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = Some(parse_decimal(value).ok_or(Malformed::ContentLength)?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                chunked = value.to_ascii_lowercase().ends_with(b"chunked");
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.close = value.eq_ignore_ascii_case(b"close");
            }
        }
        self.state = match (self.status, chunked, length) {
            (100..=199, ..) => {
                self.head.clear();
                State::Head
            }
            (204 | 304, ..) | (_, false, Some(0)) => State::Done,
            (_, true, _) => State::ChunkSize { size: 0, digits: 0, in_extension: false },
            (_, false, Some(length)) => State::Length(length),
            (_, false, None) => {
                self.close = true;
                State::UntilClose
            }
        };
        Ok(())
    }
}

fn step_framing(state: State, byte: u8) -> Result<State, Malformed> {
    match state {
        State::ChunkSize { size, digits, in_extension } => match byte {
            b'\n' if digits == 0 => Err(Malformed::Chunk),
            b'\n' if size == 0 => Ok(State::Trailer { line_is_empty: true }),
            b'\n' => Ok(State::ChunkData(size)),
            b'\r' => Ok(state),
            b';' | b' ' | b'\t' => Ok(State::ChunkSize { size, digits, in_extension: true }),
            _ if in_extension => Ok(state),
            _ => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed::Chunk)?;
                if digits == 16 {
                    return Err(Malformed::Chunk);
                }
                let size = size << 4 | u64::from(digit);
                Ok(State::ChunkSize { size, digits: digits + 1, in_extension })
            }
        },
        State::ChunkEnd => match byte {
            b'\r' => Ok(state),
            b'\n' => Ok(State::ChunkSize { size: 0, digits: 0, in_extension: false }),
            _ => Err(Malformed::Chunk),
        },
        State::Trailer { line_is_empty } => Ok(match byte {
            b'\n' if line_is_empty => State::Done,
            b'\n' => State::Trailer { line_is_empty: true },
            b'\r' => state,
            _ => State::Trailer { line_is_empty: false },
        }),
        other => Ok(other),
    }
}

fn parse_status(line: &[u8]) -> Result<u16, Malformed> {
    let code = line.get(9..12).filter(|_| line.starts_with(b"HTTP/1."));
    code.and_then(parse_decimal)
        .and_then(|code| u16::try_from(code).ok())
        .ok_or(Malformed::StatusLine)
}

fn parse_decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8], step: usize) -> (ResponseReader, Vec<u8>, usize) {
        let mut reader = ResponseReader::new();
        let mut body = Vec::new();
        let mut used = 0;
        for piece in wire.chunks(step) {
            let taken = reader.feed(piece, |bytes| body.extend_from_slice(bytes)).unwrap();
            used += taken;
            if taken < piece.len() {
                break;
            }
        }
        (reader, body, used)
    }

    #[test]
    fn reads_a_body_by_length_however_it_is_cut() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y\r\n\r\nhello, worldHTTP/1.1 ";
        for step in 1..=wire.len() {
            let (reader, body, used) = read(wire, step);
            assert_eq!(body, b"hello, world", "step {step}");
            assert!(reader.is_done());
            assert_eq!(reader.status(), 200);
            assert_eq!(used, wire.len() - b"HTTP/1.1 ".len());
            assert!(!reader.closes());
        }
    }

    #[test]
    fn reads_chunks_with_extensions_and_trailers_however_they_are_cut() {
        let wire = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                    C;ext=1\r\nпривет\r\n00a \r\n0123456789\r\n0\r\nchecksum: 1\r\n\r\n";
        for step in 1..=wire.len() {
            let (reader, body, used) = read(wire.as_bytes(), step);
            assert_eq!(body, "привет0123456789".as_bytes(), "step {step}");
            assert!(reader.is_done());
            assert!(reader.closes());
            assert_eq!(used, wire.len());
        }
    }

    #[test]
    fn a_chunked_answer_is_not_done_before_its_last_line() {
        let wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
        assert!(!read(wire, wire.len()).0.is_done());
    }

    #[test]
    fn a_body_without_framing_ends_with_the_connection() {
        let (mut reader, body, _) = read(b"HTTP/1.0 502 Bad\r\n\r\nbroken", 5);
        assert_eq!(body, b"broken");
        assert!(!reader.is_done());
        assert!(reader.end_of_input());
        assert!(reader.closes());
        assert_eq!(reader.status(), 502);
    }

    #[test]
    fn a_cut_body_is_not_a_regular_end() {
        let (mut reader, ..) = read(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", 64);
        assert!(!reader.end_of_input());
    }

    #[test]
    fn skips_interim_answers_and_takes_empty_ones() {
        let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        for step in [1, 7, wire.len()] {
            let (reader, body, _) = read(wire, step);
            assert!(reader.is_done());
            assert_eq!(reader.status(), 204);
            assert!(body.is_empty());
        }
    }

    #[test]
    fn refuses_what_is_not_http() {
        let mut reader = ResponseReader::new();
        assert_eq!(reader.feed(b"SSH-2.0-x\r\n\r\n", |_| {}), Err(Malformed::StatusLine));
        let mut reader = ResponseReader::new();
        let wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(reader.feed(wire, |_| {}), Err(Malformed::Chunk));
        let mut reader = ResponseReader::new();
        let wire = b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n";
        assert_eq!(reader.feed(wire, |_| {}), Err(Malformed::ContentLength));
        let mut reader = ResponseReader::new();
        assert_eq!(reader.feed(&[b'a'; MAX_HEAD + 1], |_| {}), Err(Malformed::HeadTooLong));
    }
}
