//! Keys, tokens and folders through the provider's door, without a socket.

use http::Request;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::providers::Provider;
use crate::providers::planned::{exchange, world};
use crate::world::WorldHandle;

use super::jwt::tests::{claims_at, header, sign};

fn send(world: &WorldHandle, request: http::request::Builder, path: &str, body: &Value) -> Answer {
    super::handle(&exchange(world, Provider::Yandex, request, path, body.to_string()))
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(answer.body()).expect("a JSON body")
}

fn complete(world: &WorldHandle, authorization: &str, folder: &str) -> Answer {
    let request = json!({
        "modelUri": format!("gpt://{folder}/yandexgpt/latest"),
        "messages": [{"role": "user", "text": "Привет"}],
    });
    let builder = Request::post("/").header("authorization", authorization);
    send(world, builder, "/foundationModels/v1/completion", &request)
}

#[test]
fn a_signed_token_is_exchanged_and_expires() {
    let world = world("token_ttl_s: 60");
    let now = i64::try_from(world.now()).expect("a date of this era");
    let request = json!({"jwt": sign(&header(), &claims_at(now))});
    let answer = send(&world, Request::post("/"), "/iam/v1/tokens", &request);
    assert_eq!(answer.status, 200);
    let bearer = format!("Bearer {}", body(&answer)["iamToken"].as_str().expect("a token"));
    assert_eq!(complete(&world, &bearer, "b1g").status, 200);
    world.advance(61);
    let expired = complete(&world, &bearer, "b1g");
    assert_eq!(expired.status, 401);
    assert_eq!(body(&expired)["error"]["grpcCode"], 16);
}

#[test]
fn a_forged_token_is_refused_in_the_flat_shape() {
    let world = world("");
    let request = json!({"jwt": "a.b.c"});
    let answer = send(&world, Request::post("/"), "/iam/v1/tokens", &request);
    assert_eq!(answer.status, 401);
    assert_eq!(body(&answer)["code"], 16);
    let neither = send(&world, Request::post("/"), "/iam/v1/tokens", &json!({}));
    assert_eq!((neither.status.as_u16(), body(&neither)["code"].as_u64()), (400, Some(3)));
}

#[test]
fn schemes_are_not_mixed_up() {
    let world = world("");
    assert_eq!(complete(&world, "Api-Key sim-a", "b1g").status, 200);
    assert_eq!(complete(&world, "Bearer t1.sim-a", "b1g").status, 200);
    for wrong in ["Bearer sim-a", "Api-Key t1.sim-a", "Api-Key other", "Basic eDp5"] {
        assert_eq!(complete(&world, wrong, "b1g").status, 401, "{wrong}");
    }
}

#[test]
fn folders_must_be_the_callers() {
    let world = world("folder: b1gown");
    assert_eq!(complete(&world, "Api-Key sim-a", "b1gown").status, 200);
    let other = complete(&world, "Api-Key sim-a", "b1gother");
    assert_eq!(other.status, 400);
    assert_eq!(
        body(&other)["error"]["message"],
        "Specified folder ID 'b1gother' does not match with service account folder ID 'b1gown'"
    );
}
