//! What is asked: prompts, bodies and the bytes of requests.

use std::net::SocketAddr;

use serde::Serialize;

use crate::load::Request;

/// Wire format in which a system takes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI chat completions; GigaChat's own endpoint takes the same members.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
}

/// What is asked of a system between caller and provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exchange {
    /// OpenAI caller, OpenAI provider.
    SameDialect,
    /// OpenAI caller, the provider that always gives the same answer.
    FixedAnswer,
    /// OpenAI caller, GigaChat provider.
    ToGigaChat,
    /// Anthropic caller, OpenAI provider.
    FromAnthropic,
}

/// How a system takes one kind of exchange.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) model: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) dialect: Dialect,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    max_tokens: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

/// Output limit of every request: above what any script of the simulator produces.
const MAX_TOKENS: u32 = 8_000;

impl Route {
    /// The request as it goes over the wire.
    pub(crate) fn request(
        &self,
        address: SocketAddr,
        prompt: &str,
        streamed: bool,
    ) -> serde_json::Result<Request> {
        let body = serde_json::to_vec(&Body {
            model: &self.model,
            messages: [Message { role: "user", content: prompt }],
            max_tokens: MAX_TOKENS,
            stream: streamed,
        })?;
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            self.path,
            body.len()
        );
        if self.dialect == Dialect::Anthropic {
            head.push_str("anthropic-version: 2023-06-01\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        Ok(Request { address, bytes, streamed })
    }
}

/// A question that the simulator answers with its fixed text of about 300 bytes.
pub(crate) const SHORT_PROMPT: &str = "Кратко объясни, чем обратный прокси отличается от \
                                       балансировщика нагрузки и когда нужны оба.";

/// A prompt that makes the simulator stream `chunks` events, `between_ms` apart.
pub(crate) fn stream_prompt(chunks: u32, between_ms: u32) -> String {
    let pause = if between_ms == 0 { String::new() } else { format!("; between_ms={between_ms}") };
    format!("{SHORT_PROMPT} [[sim: chunks={chunks}; chunk_tokens=2{pause}]]")
}

/// A prompt of `len` bytes of Russian text, give or take a sentence.
pub(crate) fn long_prompt(len: usize) -> String {
    let sentence = "Договор поставки вступает в силу с даты подписания, «если иное» не указано.\n";
    let mut prompt = sentence.repeat(len / sentence.len());
    prompt.push_str(SHORT_PROMPT);
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_by_its_length_in_bytes() {
        let route = Route {
            path: "/v1/messages".to_owned(),
            model: "chat".to_owned(),
            headers: vec![("x-api-key", "k".to_owned())],
            dialect: Dialect::Anthropic,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let request = route.request(address, "привет", true).unwrap();
        let text = String::from_utf8(request.bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:80\r\n"));
        assert!(head.contains("\r\nx-api-key: k"));
        assert!(head.contains("\r\nanthropic-version: "));
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["messages"][0]["content"], "привет");
        assert_eq!(body["stream"], true);
    }

    #[test]
    fn prompts_are_of_the_size_asked() {
        let prompt = long_prompt(1_000_000);
        assert!((998_000..=1_002_000).contains(&prompt.len()), "{}", prompt.len());
        assert!(stream_prompt(5, 0).ends_with("[[sim: chunks=5; chunk_tokens=2]]"));
        assert!(stream_prompt(5, 9).contains("between_ms=9"));
    }
}
