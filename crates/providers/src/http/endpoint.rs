use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::answer::AnswerBody;
use super::body::Segments;
use super::client::{HttpClient, Outgoing, SendError};
use super::connect::{Origin, OriginError, OriginOptions};

/// An address that small documents are asked of, and the way there: an identity provider's, say.
#[derive(Debug)]
pub struct Endpoint {
    url: Box<str>,
    origin: Origin,
    path: PathAndQuery,
}

/// Why a small document could not be had. No message holds anything of the request or the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No connection, or it broke.
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    /// The whole exchange took longer than it may.
    #[error("it did not answer within {0:?}")]
    Silent(Duration),
    /// The answer is longer than it may be.
    #[error("its answer is longer than {0} bytes")]
    TooLarge(usize),
}

impl Endpoint {
    /// The endpoint at `url`, `http` or `https`.
    ///
    /// # Errors
    /// When the URL or a certificate cannot be used.
    pub fn new(url: &str, options: OriginOptions) -> Result<Self, OriginError> {
        let uri: Uri = url.parse().map_err(|_| OriginError::Url(url.to_owned()))?;
        let path = uri.path_and_query().cloned();
        let origin = Origin::new(&uri, options)?;
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { url: url.into(), origin, path })
    }

    /// The URL that it was made of.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and reads its answer whole, whatever its status: at most `max_bytes` within
    /// `time`, connecting included. Redirects are not followed.
    ///
    /// # Errors
    /// There is no answer, or none that is read.
    pub async fn exchange(
        &self,
        http: &HttpClient,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        max_bytes: usize,
        time: Duration,
    ) -> Result<(StatusCode, Bytes), EndpointError> {
        let outgoing =
            Outgoing { method, path: self.path.clone(), headers, body: Segments::new([body]) };
        let deadline = Instant::now() + time;
        let exchange = async {
            let sent = http.send(&self.origin, outgoing, time).await;
            let (response, lease) = sent.map_err(|error| match error {
                SendError::ConnectTimeout(_) => EndpointError::Silent(time),
                error => EndpointError::Unreachable(error.to_string()),
            })?;
            let status = response.status();
            let name = self.origin.authority.as_str().into();
            let mut body = AnswerBody::new(response.into_body(), lease, name, time, deadline);
            let mut whole = Vec::new();
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|error| EndpointError::Unreachable(error.message))?;
                if whole.len() + piece.len() > max_bytes {
                    return Err(EndpointError::TooLarge(max_bytes));
                }
                whole.extend_from_slice(&piece);
            }
            Ok((status, Bytes::from(whole)))
        };
        let exchanged = tokio::time::timeout_at(deadline, exchange).await;
        exchanged.map_err(|_| EndpointError::Silent(time))?
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection with these pieces, each after the one before was surely read.
    async fn ask(
        pieces: &'static [&'static str],
        max_bytes: usize,
    ) -> Result<Bytes, EndpointError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            _ = stream.read(&mut [0; 4096]).await.unwrap();
            for piece in pieces {
                _ = stream.write_all(piece.as_bytes()).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            std::future::pending::<()>().await;
        });
        let url = format!("http://{address}/keys?a=b");
        let endpoint = Endpoint::new(&url, OriginOptions::new()).unwrap();
        let time = Duration::from_secs(1);
        let http = HttpClient::new();
        let asked =
            endpoint.exchange(&http, Method::GET, HeaderMap::new(), Bytes::new(), max_bytes, time);
        let answer = asked.await;
        serving.abort();
        answer.map(|(status, body)| {
            assert_eq!(status, StatusCode::OK);
            body
        })
    }

    #[tokio::test]
    async fn a_document_is_read_whole_within_its_bounds() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
        assert_eq!(ask(&[HEAD, "abc", "def"], 6).await.unwrap(), "abcdef");
        assert_eq!(ask(&[HEAD, "abc", "def"], 5).await, Err(EndpointError::TooLarge(5)));
        let late = ask(&[HEAD, "abc"], 6).await;
        assert!(matches!(late, Err(EndpointError::Silent(_) | EndpointError::Unreachable(_))));
        assert!(matches!(ask(&[], 6).await, Err(EndpointError::Silent(_))));
    }
}
