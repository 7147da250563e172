//! What the fuzz targets over the dialects check, shared with the test that runs the same over a
//! seeded corpus where no fuzzer is at hand.
#![allow(dead_code, reason = "each target uses one of these")]

use bytes::Bytes;
use dialects::json::{Outline, Patch};
use dialects::openai_chat::StreamTap;
use dialects::sse::SseParser;
use dialects::{
    StreamDecode, anthropic, gigachat, openai_chat, openai_completions, openai_embeddings,
    openai_responses, yandexgpt,
};
use serde::de::IgnoredAny;

/// Bodies of callers, read in each dialect.
pub(crate) fn request_bodies(body: &[u8]) {
    _ = openai_chat::decode_request(body);
    _ = openai_responses::decode_request(body);
    _ = openai_completions::decode_request(body);
    _ = openai_embeddings::decode_request(body);
    _ = anthropic::decode_request(body);
    _ = anthropic::decode_count_tokens_request(body);
}

/// The outline of a body takes what serde takes, and a patch of it is JSON again.
pub(crate) fn json_outline(body: &[u8]) {
    let Ok(outline) = Outline::read(body, 100) else { return };
    let theirs = serde_json::from_slice::<IgnoredAny>(body);
    if let Err(error) = &theirs {
        let told = error.to_string();
        assert!(told.contains("surrogate") || told.contains("hex escape"), "{told}");
        return;
    }
    let body = Bytes::copy_from_slice(body);
    let mut patch = Patch::new(&body, &outline);
    patch.set("model", b"\"m\"".to_vec()).remove("llm_proxy").remove("stream");
    let patched = patch.apply().concat();
    assert!(serde_json::from_slice::<IgnoredAny>(&patched).is_ok());
    let outline = Outline::read(&patched, 100).unwrap();
    assert_eq!(outline.get(&patched, "model"), Some("\"m\""));
    assert_eq!(outline.get(&patched, "llm_proxy"), None);
}

fn events(pieces: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
    let mut parser = SseParser::new(1 << 20);
    let mut found = Vec::new();
    for piece in pieces {
        parser.feed(piece, |event| found.push((event.event.to_owned(), event.data.to_vec())));
    }
    parser.finish(|event| found.push((event.event.to_owned(), event.data.to_vec())));
    found
}

/// Events are the same wherever the stream is cut, and taps forward what came.
pub(crate) fn sse(cut: u16, stream: &[u8]) {
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(events(&[stream]), events(&[head, tail]));
    let mut tap = StreamTap::new(true);
    let mut forwarded = Vec::new();
    for piece in [head, tail] {
        tap.observe(Bytes::copy_from_slice(piece), |bytes| forwarded.extend_from_slice(&bytes));
    }
    assert!(stream.starts_with(&forwarded));
}

fn decoders() -> [Box<dyn StreamDecode>; 4] {
    [
        Box::new(openai_chat::StreamDecoder::new()),
        Box::new(anthropic::StreamDecoder::new()),
        Box::new(gigachat::StreamDecoder::new("s")),
        Box::new(yandexgpt::StreamDecoder::new("s")),
    ]
}

/// Answers, streams and errors of providers: none panics, and each stream ends once, with the same
/// events wherever it is cut.
pub(crate) fn provider_answers(cut: u16, bytes: &[u8]) {
    _ = openai_chat::decode_response(bytes);
    _ = openai_chat::ResponseTap::read(bytes);
    _ = openai_responses::observe_response(bytes);
    _ = anthropic::decode_response(bytes);
    _ = gigachat::decode_response(bytes, "s");
    _ = gigachat::decode_embeddings(bytes);
    _ = yandexgpt::decode_response(bytes, "s");
    _ = yandexgpt::decode_embedding(bytes);
    _ = openai_chat::decode_error(cut, bytes, None);
    _ = anthropic::decode_error(cut, None, bytes);
    _ = gigachat::decode_error(cut, bytes, None);
    _ = yandexgpt::decode_error(cut, bytes, None);
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    for (mut whole, mut pieces) in decoders().into_iter().zip(decoders()) {
        let mut expected = Vec::new();
        whole.decode(bytes, &mut expected);
        whole.finish(&mut expected);
        assert!(!expected.is_empty(), "a stream has an end or an error");
        let mut found = Vec::new();
        pieces.decode(head, &mut found);
        pieces.decode(tail, &mut found);
        pieces.finish(&mut found);
        assert_eq!(found, expected, "cut at {cut}");
    }
}
