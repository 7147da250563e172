//! Events are the same wherever the stream is cut, and taps forward what came.
#![no_main]

use bytes::Bytes;
use dialects::openai_chat::StreamTap;
use dialects::sse::SseParser;
use libfuzzer_sys::fuzz_target;

fn events(pieces: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
    let mut parser = SseParser::new(1 << 20);
    let mut found = Vec::new();
    for piece in pieces {
        parser.feed(piece, |event| found.push((event.event.to_owned(), event.data.to_vec())));
    }
    parser.finish(|event| found.push((event.event.to_owned(), event.data.to_vec())));
    found
}

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (cut, stream) = input;
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(events(&[&stream]), events(&[head, tail]));
    let mut tap = StreamTap::new(true);
    let mut forwarded = Vec::new();
    for piece in [head, tail] {
        tap.observe(Bytes::copy_from_slice(piece), |bytes| forwarded.extend_from_slice(&bytes));
    }
    assert!(stream.starts_with(&forwarded));
});
