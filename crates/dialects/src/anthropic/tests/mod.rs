mod errors;
pub(crate) mod properties;
mod request_decode;
mod request_encode;
mod response;
mod stream;

use serde_json::Value;

use crate::{AnswerContext, Target, Unsupported};

fn target(unsupported: Unsupported) -> Target<'static> {
    Target {
        model: "claude-sonnet-4-6",
        unsupported,
        default_max_output_tokens: 4096,
        stream_usage: true,
        legacy_max_tokens: false,
    }
}

fn context() -> AnswerContext {
    AnswerContext {
        id_seed: "0123456789abcdefABCDEF01".to_owned(),
        request_id: "req_1".to_owned(),
        now: 1_700_000_000,
        route: "chat".to_owned(),
        stream_usage: true,
    }
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("the dialect wrote JSON")
}
