//! Token life and chat through the provider's door, without a socket.

use http::Request;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::providers::Provider;
use crate::providers::planned::{exchange, world};
use crate::world::WorldHandle;

const REQUEST_ID: &str = "6f0b1291-c7f3-43c6-bb2e-9f3efb2dc98e";

fn send(world: &WorldHandle, request: http::request::Builder, path: &str, body: String) -> Answer {
    super::handle(&exchange(world, Provider::GigaChat, request, path, body))
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(answer.body()).expect("a JSON body")
}

fn token(world: &WorldHandle, principal: &str, scope: &str) -> Answer {
    use base64::Engine as _;
    let credentials =
        base64::engine::general_purpose::STANDARD.encode(format!("{principal}:secret"));
    let request = Request::post("/")
        .header("authorization", format!("Basic {credentials}"))
        .header("rquid", REQUEST_ID);
    send(world, request, "/api/v2/oauth", format!("scope={scope}"))
}

fn chat(world: &WorldHandle, token: &str, text: &str) -> Answer {
    let request = Request::post("/").header("authorization", format!("Bearer {token}"));
    let body = json!({"model": "GigaChat-2", "messages": [{"role": "user", "content": text}]});
    send(world, request, "/api/v1/chat/completions", body.to_string())
}

#[test]
fn a_token_lives_as_long_as_it_says() {
    let world = world("token_ttl_s: 60");
    let issued = body(&token(&world, "sim-a", "GIGACHAT_API_PERS"));
    let access = issued["access_token"].as_str().expect("a token");
    assert!(issued["expires_at"].as_u64().unwrap().abs_diff((world.now() + 60) * 1000) <= 2000);
    assert_eq!(chat(&world, access, "Привет").status, 200);
    world.advance(61);
    let refused = chat(&world, access, "Привет");
    assert_eq!(refused.status, 401);
    assert_eq!(body(&refused), json!({"status": 401, "message": "Token has expired"}));
    assert_eq!(chat(&world, "made-up", "Привет").status, 401);
}

#[test]
fn an_expired_token_fault_revokes_the_token() {
    let world = world("");
    let issued = body(&token(&world, "sim-a", "GIGACHAT_API_PERS"));
    let access = issued["access_token"].as_str().expect("a token");
    assert_eq!(chat(&world, access, "x [[sim: expired_token]]").status, 401);
    assert_eq!(chat(&world, access, "Привет").status, 401);
    let renewed = body(&token(&world, "sim-a", "GIGACHAT_API_PERS"));
    let access = renewed["access_token"].as_str().expect("a token");
    assert_eq!(chat(&world, access, "x [[sim: expired_token]]").status, 200);
}

#[test]
fn scopes_are_checked_in_order() {
    let world = world("");
    let code = |answer: &Answer| (answer.status.as_u16(), body(answer)["code"].as_u64());
    assert_eq!(code(&token(&world, "sim-a", "")), (400, Some(5)));
    assert_eq!(code(&token(&world, "sim-a", "ALL")), (400, Some(1)));
    assert_eq!(code(&token(&world, "sim-pers", "GIGACHAT_API_CORP")), (400, Some(7)));
    assert_eq!(code(&token(&world, "other", "GIGACHAT_API_PERS")), (401, Some(6)));
    assert_eq!(token(&world, "sim-corp", "GIGACHAT_API_CORP").status, 200);
}

#[test]
fn refusals_have_the_services_shape() {
    let world = world("");
    let issued = body(&token(&world, "sim-a", "GIGACHAT_API_PERS"));
    let access = issued["access_token"].as_str().expect("a token");
    for status in [400, 402, 403, 404, 413, 422, 429, 500, 503] {
        let answer = chat(&world, access, &format!("x [[sim: status={status}; retry_after=3]]"));
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(body(&answer)["status"], status);
        assert!(body(&answer)["message"].is_string());
        assert_eq!(answer.headers["retry-after"], "3");
        assert!(answer.headers.contains_key("x-request-id"));
    }
}
