//! An answer that is not what its API promises has one code, whichever API it is.

use chat::{ApiError, ErrorKind};
use dialects::{anthropic, gigachat, openai_chat, openai_responses, yandexgpt};

#[test]
fn nonsense_has_one_code_in_every_dialect() {
    for body in [b"<html>".as_slice(), b"7", b""] {
        let errors: [(&str, Option<ApiError>); 8] = [
            ("openai_chat", openai_chat::decode_response(body).err()),
            ("openai_chat, forwarded", openai_chat::ResponseTap::read(body).err()),
            ("openai_responses", openai_responses::observe_response(body).err()),
            ("anthropic", anthropic::decode_response(body).err()),
            ("anthropic, counted", anthropic::decode_count_tokens(body).err()),
            ("gigachat", gigachat::decode_response(body, "seed").err()),
            ("gigachat, embeddings", gigachat::decode_embeddings(body).err()),
            ("yandexgpt", yandexgpt::decode_response(body, "seed").err()),
        ];
        for (dialect, error) in errors {
            let error = error.unwrap_or_else(|| panic!("{dialect} takes {body:?}"));
            assert_eq!(error.kind, ErrorKind::BadGateway, "{dialect}: {body:?}");
            assert_eq!(error.code.as_deref(), Some("invalid_provider_answer"), "{dialect}");
        }
    }
}
