//! One client connection: send a request, read its answer, nothing kept.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http1::{Malformed, ResponseReader};

/// Why an exchange gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection could be opened.
    #[error("connect: {0}")]
    Connect(io::Error),
    /// A connection kept from an earlier exchange had been closed by the server in between.
    #[error("kept connection was closed")]
    Stale,
    /// The connection broke before the answer was whole.
    #[error("connection broke: {0}")]
    Broken(io::Error),
    /// The server closed the connection before the answer was whole.
    #[error("answer was cut")]
    Cut,
    /// The answer is not HTTP/1.1.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A kept-alive HTTP/1.1 connection.
pub(crate) struct Connection {
    stream: TcpStream,
    reader: ResponseReader,
    buffer: Box<[u8]>,
    used_before: bool,
}

impl Connection {
    /// Opens a connection with a read buffer of `buffer_len` bytes.
    pub(crate) async fn open(address: SocketAddr, buffer_len: usize) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        Ok(Self {
            stream,
            reader: ResponseReader::new(),
            buffer: vec![0; buffer_len].into_boxed_slice(),
            used_before: false,
        })
    }

    /// Whether the connection may carry another request.
    pub(crate) fn is_reusable(&self) -> bool {
        self.reader.is_done() && !self.reader.closes()
    }

    /// Sends one request, hands the body of the answer to `body` as it comes, returns the status.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        mut body: impl FnMut(&[u8]),
    ) -> Result<u16, Failure> {
        self.reader.reset();
        let reused = std::mem::replace(&mut self.used_before, true);
        if let Err(error) = self.stream.write_all(request).await {
            return Err(if reused { Failure::Stale } else { Failure::Broken(error) });
        }
        while !self.reader.is_done() {
            let read = match self.stream.read(&mut self.buffer).await {
                Ok(read) => read,
                Err(_) if reused && self.reader.is_untouched() => return Err(Failure::Stale),
                Err(error) => return Err(Failure::Broken(error)),
            };
            if read == 0 {
                if reused && self.reader.is_untouched() {
                    return Err(Failure::Stale);
                }
                return if self.reader.end_of_input() {
                    Ok(self.reader.status())
                } else {
                    Err(Failure::Cut)
                };
            }
            self.reader.feed(&self.buffer[..read], &mut body)?;
        }
        Ok(self.reader.status())
    }
}
