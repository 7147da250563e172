//! Answers, streams and errors of providers.
#![no_main]

use dialects::{StreamDecode, anthropic, gigachat, openai_chat, openai_responses, yandexgpt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (cut, bytes) = input;
    _ = openai_chat::decode_response(&bytes);
    _ = openai_chat::ResponseTap::read(&bytes);
    _ = openai_responses::observe_response(&bytes);
    _ = anthropic::decode_response(&bytes);
    _ = gigachat::decode_response(&bytes, "s");
    _ = gigachat::decode_embeddings(&bytes);
    _ = yandexgpt::decode_response(&bytes, "s");
    _ = yandexgpt::decode_embedding(&bytes);
    _ = openai_chat::decode_error(cut, &bytes, None);
    _ = anthropic::decode_error(cut, None, &bytes);
    _ = gigachat::decode_error(cut, &bytes, None);
    _ = yandexgpt::decode_error(cut, &bytes, None);
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let decoders: [Box<dyn StreamDecode>; 4] = [
        Box::new(openai_chat::StreamDecoder::new()),
        Box::new(anthropic::StreamDecoder::new()),
        Box::new(gigachat::StreamDecoder::new("s")),
        Box::new(yandexgpt::StreamDecoder::new("s")),
    ];
    for mut decoder in decoders {
        let mut events = Vec::new();
        decoder.decode(head, &mut events);
        decoder.decode(tail, &mut events);
        decoder.finish(&mut events);
        assert!(!events.is_empty(), "a stream has an end or an error");
    }
});
