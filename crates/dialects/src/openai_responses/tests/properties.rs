//! A stream amounts to the whole answer, and no input makes a parser panic.

use chat::Part;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{context, decoded};
use crate::StreamEncode;
use crate::anthropic::tests::properties::{accumulate, answer, events_of};
use crate::openai_responses::{
    StreamEncoder, StreamTap, decode_request, encode_response, observe_response,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_last_event_holds_the_whole_answer(
        answer in answer(),
        refusals in any::<bool>(),
        size in 1..9usize,
        reversed in any::<bool>(),
        summary in any::<bool>(),
    ) {
        let mut answer = answer;
        if refusals {
            for part in answer.choices[0].parts.iter_mut().step_by(2) {
                if let Part::Text(text) = part {
                    *part = Part::Refusal(text.text.clone());
                }
            }
        }
        let body = if summary {
            r#"{"model":"m","input":"x","reasoning":{"summary":"auto"}}"#
        } else {
            r#"{"model":"m","input":"x"}"#
        };
        let echo = decoded(body).echo;
        let events = events_of(&answer, size, reversed);
        let mut encoder = StreamEncoder::new(context(), echo.clone());
        let mut last = Vec::new();
        let mut wire = Vec::new();
        for event in &events {
            encoder.events(event, &mut |_, data| last = data.to_vec());
        }
        let mut framed = StreamEncoder::new(context(), echo.clone());
        for event in &events {
            framed.encode(event, &mut wire);
        }
        let last: serde_json::Value = serde_json::from_slice(&last).unwrap();
        let whole = encode_response(&accumulate(&events), &context(), &echo);
        let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        prop_assert_eq!(&last["response"], &value);

        let mut tap = StreamTap::new();
        tap.observe(&wire);
        prop_assert_eq!(tap.finish(), observe_response(&whole).unwrap());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in vec(any::<u8>(), 0..300),
        text in "\\{\"model\":\"m\",\"(input|tools|text|include|x)\":[\\[\\]{}\",:a-z0-9]{0,40}\\}",
    ) {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let _ = decode_request(body);
            let _ = observe_response(body);
        }
        let mut tap = StreamTap::new();
        tap.observe(b"event: response.completed\ndata: ");
        tap.observe(&bytes);
        prop_assert!(tap.finish().error.is_some());
    }
}
