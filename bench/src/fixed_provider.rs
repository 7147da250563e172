//! A provider that gives every request the same answer, as cheaply as a socket allows.
//!
//! The simulator reads and checks what it is sent, which costs more than a proxy's own work. Against
//! this provider the ceiling of a system shows.

use std::io;
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Largest head of a request in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// What the assistant says: some 300 bytes, as in the reference figures.
const ANSWER: &str = "Обратный прокси принимает запрос вместо сервера и передаёт его дальше, \
                      а балансировщик ещё и выбирает, которому из серверов его отдать. Часто \
                      это одна программа.";

/// Serves until the process is ended, on one thread.
pub(crate) fn serve(address: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = answer();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        let answer = std::rc::Rc::new(answer);
        loop {
            let (stream, _) = listener.accept().await?;
            let answer = std::rc::Rc::clone(&answer);
            tokio::task::spawn_local(async move {
                // A client that goes away is none of a provider's business.
                let _ = converse(stream, &answer).await;
            });
        }
    })
}

fn answer() -> Vec<u8> {
    let body = format!(
        "{{\"id\":\"chatcmpl-fixed\",\"object\":\"chat.completion\",\"created\":1760000000,\
         \"model\":\"gpt-4.1-mini\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\
         \"content\":\"{ANSWER}\",\"refusal\":null}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":25,\"completion_tokens\":48,\"total_tokens\":73}}}}"
    );
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn converse(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut head = Vec::new();
    let mut body_left = 0;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let mut input = &buffer[..read];
        while !input.is_empty() {
            if body_left > 0 {
                let take = body_left.min(input.len());
                body_left -= take;
                input = &input[take..];
            } else {
                let before = head.len();
                head.extend_from_slice(input);
                let Some(end) = memmem::find(&head, b"\r\n\r\n").map(|at| at + 4) else {
                    if head.len() > MAX_HEAD {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    break;
                };
                input = &input[end - before..];
                body_left = content_length(&head[..end]).ok_or(io::ErrorKind::InvalidData)?;
                head.clear();
            }
            if body_left == 0 {
                stream.write_all(answer).await?;
            }
        }
    }
}

/// Length of the body; none if it is unreadable or the body is chunked, which nobody here sends.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut length = 0;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = std::str::from_utf8(value).ok()?.parse().ok()?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return None;
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_each_request_however_it_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer();
        let length = answer.len();
        let request = b"POST /v1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".repeat(2);
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in request.chunks(7) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut received = vec![0; length * 2];
            stream.read_exact(&mut received).await.unwrap();
            received
        };
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            converse(stream, &answer).await
        };
        let (received, served) = tokio::join!(client, server);
        assert!(served.is_ok());
        assert_eq!(received, answer.repeat(2));
    }

    #[test]
    fn the_answer_is_json_of_the_length_it_says() {
        let answer = String::from_utf8(answer()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let content = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert!((280..=320).contains(&content.len()), "{}", content.len());
    }

    #[test]
    fn bodies_without_a_length_are_refused() {
        assert_eq!(content_length(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"), Some(0));
        assert_eq!(content_length(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), None);
        assert_eq!(content_length(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), None);
    }
}
