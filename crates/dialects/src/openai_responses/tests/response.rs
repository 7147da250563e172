use chat::{ChatResponse, Choice, FinishReason, Json, Logprobs, Part, Reasoning, ToolCall, Usage};

use super::{context, decoded, full_request, snapshot};
use crate::openai_responses::encode_response;

fn answer() -> ChatResponse {
    ChatResponse {
        id: "chatcmpl-1".to_owned(),
        model: "GigaChat-2".to_owned(),
        created: 1_700_000_001,
        choices: vec![Choice {
            index: 0,
            parts: vec![
                Part::Reasoning(Reasoning {
                    text: "хм".to_owned(),
                    signature: Some("s".to_owned()),
                    encrypted: None,
                }),
                Part::Reasoning(Reasoning {
                    encrypted: Some("e".to_owned()),
                    ..Reasoning::default()
                }),
                Part::text("Привет \"мир\" 😀"),
                Part::Refusal("но нет".to_owned()),
                Part::ToolCall(ToolCall {
                    id: "call_1".to_owned(),
                    name: "f".to_owned(),
                    arguments: r#"{"город": "Москва"}"#.to_owned(),
                }),
                Part::ToolCall(ToolCall {
                    id: "call_2".to_owned(),
                    name: "g".to_owned(),
                    arguments: String::new(),
                }),
            ],
            finish: FinishReason::ToolCalls,
            stop_sequence: None,
            logprobs: Some(Logprobs {
                content: vec![
                    Json::parse(
                        r#"{"token":"П","logprob":-0.5,"bytes":[208,159],"top_logprobs":[]}"#,
                    )
                    .unwrap(),
                ],
            }),
        }],
        usage: Some(Usage {
            prompt_tokens: 100,
            cached_prompt_tokens: 60,
            cache_write_tokens: 10,
            completion_tokens: 20,
            reasoning_tokens: 7,
        }),
    }
}

fn write(response: &ChatResponse, echo: &crate::openai_responses::Echo) -> String {
    let body = encode_response(response, &context(), echo);
    String::from_utf8(body).unwrap()
}

#[test]
fn a_response_of_every_kind_of_item() {
    snapshot("full.json", &write(&answer(), &full_request().echo));
}

#[test]
fn the_least_response() {
    let mut response = answer();
    response.created = 0;
    response.usage = None;
    response.choices[0].logprobs = None;
    response.choices[0].finish = FinishReason::Stop;
    response.choices[0].parts = vec![
        Part::Reasoning(Reasoning { text: "хм".to_owned(), ..Reasoning::default() }),
        Part::text("ok"),
    ];
    snapshot("least.json", &write(&response, &decoded(r#"{"model":"m","input":"x"}"#).echo));
}

#[test]
fn a_cut_response_says_why() {
    let echo = decoded(r#"{"model":"m","input":"x"}"#).echo;
    for (finish, reason) in [
        (FinishReason::Length, "max_output_tokens"),
        (FinishReason::ContentFilter, "content_filter"),
    ] {
        let mut response = answer();
        response.choices[0].finish = finish;
        let value: serde_json::Value = serde_json::from_str(&write(&response, &echo)).unwrap();
        assert_eq!(value["status"], "incomplete");
        assert_eq!(value["incomplete_details"]["reason"], reason);
        assert_eq!(value["output"][0]["status"], "completed");
        assert_eq!(value["output"][4]["status"], "incomplete");
    }
}
