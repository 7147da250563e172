//! `/_sim/...`: what tests ask the simulator about itself.

use http::Method;
use serde_json::json;

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::profile::Profile;

/// Answers a request below `/_sim`.
pub(crate) fn handle(exchange: &Exchange, ca_pem: Option<&str>) -> Answer {
    let world = &exchange.world;
    match (exchange.method(), exchange.path()) {
        (&Method::GET, "/healthz") => Answer::json(200, r#"{"status":"ok"}"#),
        (&Method::GET, "/bill") => as_json(&json!({"keys": world.bill.accounts()})),
        (&Method::GET, "/requests") => {
            let mut requests = world.requests.view();
            if let Some(last) = exchange.query("last").and_then(|text| text.parse().ok()) {
                requests = requests.split_off(requests.len().saturating_sub(last));
            }
            as_json(&json!({ "requests": requests }))
        }
        (&Method::POST, "/reset") => {
            world.reset();
            Answer::json(200, r#"{"status":"reset"}"#)
        }
        (&Method::PUT, "/profile") => {
            let parsed = std::str::from_utf8(exchange.body())
                .map_err(|error| error.to_string())
                .and_then(|text| Profile::parse(text).map_err(|error| error.to_string()));
            match parsed {
                Ok(profile) => {
                    world.set_profile(profile);
                    Answer::json(200, r#"{"status":"applied"}"#)
                }
                Err(error) => Answer::json(400, json!({ "error": error }).to_string()),
            }
        }
        (&Method::POST, "/clock") => {
            let seconds = exchange.query("advance_s").and_then(|text| text.parse().ok());
            match seconds {
                Some(seconds) => {
                    world.advance(seconds);
                    as_json(&json!({"now": world.now()}))
                }
                None => Answer::json(400, r#"{"error":"advance_s is a number of seconds"}"#),
            }
        }
        (&Method::GET, "/ca.pem") => match ca_pem {
            Some(pem) => Answer::bytes(200, "application/x-pem-file", pem.to_owned()),
            None => Answer::json(404, r#"{"error":"TLS is off"}"#),
        },
        _ => Answer::json(
            404,
            r#"{"error":"GET healthz, bill, requests?last=N, ca.pem; POST reset, clock?advance_s=N; PUT profile"}"#,
        ),
    }
}

fn as_json(value: &serde_json::Value) -> Answer {
    Answer::json(200, value.to_string())
}
