//! Members of OpenAI's Responses that other APIs do not have.

use dialects::{
    EncodedRequest, Target, Unsupported, anthropic, gigachat, openai_chat, openai_responses,
    yandexgpt,
};

type Encode = fn(&chat::ChatRequest, &Target<'_>) -> Result<EncodedRequest, chat::ApiError>;

const OTHERS: [(&str, Encode); 3] = [
    ("anthropic", anthropic::encode_request),
    ("gigachat", gigachat::encode_request),
    ("yandexgpt", yandexgpt::encode_request),
];

fn request(members: &str) -> chat::ChatRequest {
    let body = format!(r#"{{"model":"m","input":"Да"{members}}}"#);
    openai_responses::decode_request(body.as_bytes()).unwrap().chat
}

fn target(unsupported: Unsupported, legacy_max_tokens: bool) -> Target<'static> {
    Target {
        model: "far",
        unsupported,
        default_max_output_tokens: 100,
        stream_usage: true,
        legacy_max_tokens,
    }
}

fn adapted(encode: Encode, members: &str, target: &Target<'_>) -> Vec<String> {
    let encoded = encode(&request(members), target).unwrap();
    encoded.adaptations.iter().map(ToString::to_string).collect()
}

const VERBOSITY: &str = r#","text":{"verbosity":"low"}"#;
const TRUNCATION: &str = r#","truncation":"auto""#;

#[test]
fn what_a_provider_cannot_do_goes_through_the_policy() {
    for (name, encode) in OTHERS {
        for (members, member) in [(VERBOSITY, "verbosity"), (TRUNCATION, "truncation")] {
            for policy in [Unsupported::Drop, Unsupported::Emulate] {
                let dropped = adapted(encode, members, &target(policy, false));
                assert_eq!(dropped, [format!("dropped={member}")], "{name}");
            }
            let strict = target(Unsupported::Strict, false);
            let error = encode(&request(members), &strict).unwrap_err();
            assert_eq!(error.code.as_deref(), Some("unsupported_parameter"), "{name}");
            assert_eq!(error.param.as_deref(), Some(member), "{name}");
        }
    }
}

#[test]
fn what_is_the_default_needs_nothing() {
    let members = r#","truncation":"disabled","text":{"verbosity":"medium"}"#;
    let strict = target(Unsupported::Strict, true);
    for (name, encode) in
        OTHERS.into_iter().chain([("openai_chat", openai_chat::encode_request as Encode)])
    {
        assert!(adapted(encode, members, &strict).is_empty(), "{name}");
    }
}

#[test]
fn chat_completions_know_verbosity_where_they_are_openais() {
    let strict = target(Unsupported::Strict, false);
    let encoded = openai_chat::encode_request(&request(VERBOSITY), &strict).unwrap();
    let body = String::from_utf8(encoded.body).unwrap();
    assert!(body.contains(r#""verbosity":"low""#), "{body}");
    let engine = target(Unsupported::Drop, true);
    let encoded = openai_chat::encode_request(&request(VERBOSITY), &engine).unwrap();
    assert_eq!(encoded.adaptations[0].to_string(), "dropped=verbosity");
    assert!(!String::from_utf8(encoded.body).unwrap().contains("verbosity"));
    let dropped = target(Unsupported::Drop, false);
    assert_eq!(adapted(openai_chat::encode_request, TRUNCATION, &dropped), ["dropped=truncation"]);
    assert!(openai_chat::encode_request(&request(TRUNCATION), &strict).is_err());
}

#[test]
fn other_values_are_refused() {
    for (members, param) in [
        (r#","text":{"verbosity":"loud"}"#, "text.verbosity"),
        (r#","truncation":"oldest""#, "truncation"),
    ] {
        let body = format!(r#"{{"model":"m","input":"Да"{members}}}"#);
        let error = openai_responses::decode_request(body.as_bytes()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param));
        assert_eq!(error.code.as_deref(), Some("invalid_value"));
    }
}
