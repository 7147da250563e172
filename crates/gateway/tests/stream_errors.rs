//! What a provider says against the proxy itself, told in the middle of a stream.

mod common;

use common::{Gate, KEY, Stub, openai_compatible};
use providers::kind::{Anthropic, GigaChat, Kind, OpenAiApis, OpenAiCompatible};
use tokio::io::AsyncReadExt;

/// What comes over the socket when `first` is answered, and, once the caller has it, `then`.
async fn streamed(kind: Box<dyn Kind>, path: &str, first: &str, then: &str) -> (String, Gate) {
    let pieces = vec![first.to_owned(), then.to_owned()];
    let stub = Stub::start_stepwise("text/event-stream", pieces).await;
    let gate = Gate::start(&stub.base_url, kind);
    let body = r#"{"model":"main","stream":true,"max_tokens":5,"input":"Да",
        "messages":[{"role":"user","content":"Да"}]}"#;
    let head = format!("authorization: Bearer {KEY}\r\ncontent-length: {}", body.len());
    let request =
        format!("POST {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n{head}\r\n\r\n{body}");
    let mut socket = gate.send(&request).await;
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("first-word") {
        assert!(socket.read_buf(&mut got).await.unwrap() > 0, "{}", String::from_utf8_lossy(&got));
    }
    stub.proceed();
    socket.read_to_end(&mut got).await.unwrap();
    (String::from_utf8(got).unwrap(), gate)
}

fn responses() -> Box<dyn Kind> {
    let apis = OpenAiApis {
        chat: true,
        responses: true,
        completions: false,
        embeddings: false,
        moderations: false,
    };
    Box::new(OpenAiCompatible { apis, yandex_folder: None, project_id: None, tokenizes: false })
}

fn anthropic() -> Box<dyn Kind> {
    Box::new(Anthropic { version: http::HeaderValue::from_static("2023-06-01"), beta: None })
}

fn chat_word(word: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"model\":\"far\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"
    )
}

fn anthropic_word(word: &str) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
         \"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}\n\n"
    )
}

fn response_word(word: &str) -> String {
    format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\
         \"delta\":\"{word}\"}}\n\n"
    )
}

fn gigachat_word(word: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{word}\"}},\"index\":0}}],\
         \"created\":1,\"model\":\"far\",\"object\":\"chat.completion\"}}\n\n"
    )
}

const ANTHROPIC_START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\
     \"message\":{\"id\":\"m\",\"model\":\"far\"}}\n\n\
     event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
     \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";

/// A provider that refuses the proxy in the middle of an answer.
struct Case {
    kind: Box<dyn Kind>,
    path: &'static str,
    start: &'static str,
    word: fn(&str) -> String,
    refusal: &'static str,
}

fn cases() -> [Case; 5] {
    [
        Case {
            kind: openai_compatible(),
            path: "/v1/chat/completions",
            start: "",
            word: chat_word,
            refusal: "data: {\"error\":{\"message\":\"accused\",\"type\":\"invalid_request_error\",\
             \"code\":\"invalid_api_key\"}}\n\n",
        },
        Case {
            kind: anthropic(),
            path: "/v1/messages",
            start: ANTHROPIC_START,
            word: anthropic_word,
            refusal: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\
             \"message\":\"accused\"}}\n\n",
        },
        Case {
            kind: responses(),
            path: "/v1/responses",
            start: "",
            word: response_word,
            refusal: "event: error\ndata: {\"type\":\"error\",\"code\":\"invalid_api_key\",\
             \"message\":\"accused\"}\n\n",
        },
        Case {
            kind: Box::new(GigaChat),
            path: "/v1/chat/completions",
            start: "",
            word: gigachat_word,
            refusal: "data: {\"status\":401,\"message\":\"accused\"}\n\n",
        },
        Case {
            kind: anthropic(),
            path: "/v1/chat/completions",
            start: ANTHROPIC_START,
            word: anthropic_word,
            refusal: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\
             \"message\":\"accused\"}}\n\n",
        },
    ]
}

#[tokio::test]
async fn it_does_not_look_like_the_callers_fault() {
    for Case { kind, path, start, word, refusal } in cases() {
        let what = format!("{kind:?} {path}");
        let first = format!("{start}{}", word("first-word"));
        let then = format!("{}{refusal}data: [DONE]\n\n", word("second-word"));
        let (got, gate) = streamed(kind, path, &first, &then).await;
        assert!(got.contains("second-word"), "{what}: {got}");
        assert!(got.contains("refused llm-proxy itself"), "{what}: {got}");
        for wrong in
            ["accused", "invalid_api_key", "authentication_error", "permission_error", "[DONE]"]
        {
            assert!(!got.contains(wrong), "{what}, {wrong}: {got}");
        }
        let surface = match path {
            "/v1/messages" => "messages",
            "/v1/responses" => "responses",
            _ => "chat_completions",
        };
        let labels =
            format!(r#"surface="{surface}",route="main",status="200",error_type="bad_gateway""#);
        assert_eq!(gate.counted(&labels), 1, "{what}: {}", gate.metrics.encode());
    }
}

#[tokio::test]
async fn what_is_nobodys_fault_here_is_forwarded_as_it_came() {
    for (kind, path, first, error) in [
        (
            openai_compatible(),
            "/v1/chat/completions",
            chat_word("first-word"),
            "data: {\"error\": {\"message\":\"slow down\",\"type\":\"rate_limit_error\"}}\n\n",
        ),
        (
            anthropic(),
            "/v1/messages",
            format!("{ANTHROPIC_START}{}", anthropic_word("first-word")),
            "event: error\ndata: {\"type\": \"error\",\"error\":{\"type\":\"overloaded_error\",\
             \"message\":\"slow down\"}}\n\n",
        ),
        (
            responses(),
            "/v1/responses",
            response_word("first-word"),
            "event: error\ndata: {\"type\": \"error\",\"code\":\"rate_limit_exceeded\",\
             \"message\":\"slow down\"}\n\n",
        ),
    ] {
        let (got, _) = streamed(kind, path, &first, error).await;
        assert!(got.contains(error), "{path}: {got}");
        assert_eq!(got.matches("slow down").count(), 1, "{path}: {got}");
    }
}
