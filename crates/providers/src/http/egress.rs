//! The way out through an HTTP proxy: a tunnel by CONNECT (RFC 9110, 9.3.6).

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most bytes of what a proxy answers before the tunnel begins.
const MAX_HEAD: usize = 16 * 1024;

/// A proxy through which a provider is reached. Holds a secret and shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as they stand in the URL.
    name: String,
    /// `Basic ...`, where the proxy wants to know who asks.
    authorization: Option<String>,
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("EgressProxy").field(&self.name).finish()
    }
}

/// Not the address of a proxy. Does not quote it: a password may stand in it.
#[derive(Debug, thiserror::Error)]
#[error("the address of a proxy must be http://host:port or http://user:password@host:port")]
pub struct EgressProxyError;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("the proxy {0} could not be reached: {1}")]
    Unreachable(String, io::Error),
    #[error("the proxy {0} wants other credentials (status 407); correct them in `egress_proxy`")]
    Credentials(String),
    #[error("the proxy {0} refused to connect to {1} (status {2}); allow it there")]
    Forbidden(String, String, u16),
    #[error("the proxy {0} did not connect to {1}: it answered with status {2}")]
    Refused(String, String, u16),
    #[error("the proxy {0} closed the connection before it had connected to {1}")]
    Dropped(String, String),
    #[error("{0} did not answer as an HTTP proxy does")]
    NoProxy(String),
}

impl EgressProxy {
    /// Reads `http://host:port`, with `user:password@` before the host where the proxy wants them;
    /// what is special in a URL is percent-encoded there (RFC 3986, 3.2.1).
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(url: &str) -> Result<Self, EgressProxyError> {
        let uri: Uri = url.parse().map_err(|_| EgressProxyError)?;
        let authority = uri.authority().ok_or(EgressProxyError)?;
        let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let (user, name) = match authority.as_str().rsplit_once('@') {
            Some((user, name)) => (Some(user), name),
            None => (None, authority.as_str()),
        };
        let port = authority.port_u16().filter(|port| *port != 0);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let (Some("http"), true, Some(port), false) =
            (uri.scheme_str(), bare, port, host.is_empty())
        else {
            return Err(EgressProxyError);
        };
        let authorization = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let pair = [percent_decoded(user), vec![b':'], percent_decoded(password)].concat();
            format!("Basic {}", STANDARD.encode(pair))
        });
        Ok(Self { host: host.to_owned(), port, name: name.to_owned(), authorization })
    }

    /// No connection to the proxy itself.
    pub(super) fn unreachable(&self, error: io::Error) -> io::Error {
        io::Error::other(TunnelError::Unreachable(self.name.clone(), error))
    }

    /// Asks the proxy, to which `stream` is a connection, for a tunnel to `target` (`host:port`).
    /// From then on the stream is one to the target. Reads not a byte of what the target says.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, target: &str) -> io::Result<()> {
        let (name, to) = (|| self.name.clone(), || target.to_owned());
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        let dropped = |_| io::Error::other(TunnelError::Dropped(name(), to()));
        stream.write_all(request.as_bytes()).await.map_err(dropped)?;
        let mut left = MAX_HEAD;
        let status = loop {
            let head = read_head(stream, &mut left).await.map_err(dropped)?;
            match head.as_deref().and_then(status) {
                // Preliminary answers (RFC 9110, 15.2).
                Some(100..=199) => {}
                Some(status) => break status,
                None => return Err(io::Error::other(TunnelError::NoProxy(name()))),
            }
        };
        Err(io::Error::other(match status {
            200..=299 => return Ok(()),
            407 => TunnelError::Credentials(name()),
            403 => TunnelError::Forbidden(name(), to(), status),
            _ => TunnelError::Refused(name(), to(), status),
        }))
    }
}

/// The head of an answer; `None` if it is longer than what is `left`.
async fn read_head(stream: &mut TcpStream, left: &mut usize) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if *left == 0 {
            return Ok(None);
        }
        *left -= 1;
        // One at a time: what follows the head is not for the proxy's client.
        head.push(stream.read_u8().await?);
    }
    Ok(Some(head))
}

/// The status of an answer in HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = match rest {
        [b'0' | b'1', b' ', digits @ ..] => digits.get(..3)?,
        _ => return None,
    };
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..=599).contains(&status).then_some(status)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_secrets_not_shown() {
        let basic = |pair: &str| Some(format!("Basic {}", STANDARD.encode(pair)));
        for (url, host, port, name, authorization) in [
            ("http://proxy:3128", "proxy", 3128, "proxy:3128", None),
            ("http://10.0.0.1:80/", "10.0.0.1", 80, "10.0.0.1:80", None),
            ("http://[::1]:8080", "::1", 8080, "[::1]:8080", None),
            ("http://u:hunter2@p:1", "p", 1, "p:1", basic("u:hunter2")),
            ("http://u@p:1", "p", 1, "p:1", basic("u:")),
            ("http://%D1%8F:a%40b%3Ac%2525@p:1", "p", 1, "p:1", basic("я:a@b:c%25")),
            ("http://u:50%25off%zz@p:1", "p", 1, "p:1", basic("u:50%off%zz")),
        ] {
            let proxy = EgressProxy::parse(url).unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port, proxy.name.as_str()), (host, port, name));
            assert_eq!(proxy.authorization, authorization);
            assert_eq!(format!("{proxy:?}"), format!("EgressProxy({name:?})"));
        }
        for url in [
            "",
            "proxy:3128",
            "http://proxy",
            "http://u:hunter2@proxy",
            "http://u:hunter2@proxy:0",
            "http://u:hunter2@:3128",
            "https://u:hunter2@proxy:3128",
            "socks5://u:hunter2@proxy:3128",
            "http://u:hunter2@proxy:3128/path",
            "http://u:hunter2@proxy:3128/?q",
            "http://u:hun ter2@proxy:3128",
        ] {
            let error = EgressProxy::parse(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hunter"), "{url}");
        }
    }

    #[test]
    fn only_http_1_is_an_answer() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for wrong in ["HTTP/2 200\r\n\r\n", "HTTP/1.1 +20\r\n\r\n", "HTTP/1.1 20", "SSH-2.0-x", ""]
        {
            assert_eq!(status(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
