//! The demo's tenant: a key with a budget of one rouble, which is spent and then refused.

use serde_json::{Value, json};

use super::remote::call;

/// Requests after which the rouble must be gone.
const MOST_REQUESTS: u32 = 200;

/// How the rouble was spent.
pub(super) struct Spent {
    /// The tenant's id.
    pub(super) tenant: String,
    /// The key whose budget is spent.
    pub(super) key: String,
    /// The budget's id.
    pub(super) id: String,
    /// Requests that were answered.
    pub(super) requests: u32,
    /// What the next one was told.
    pub(super) refusal: String,
}

/// Makes a tenant, a key and a budget of one rouble, and spends it on GigaChat.
pub(super) fn spend(admin: &str, admin_key: &str, base_url: &str) -> Result<Spent, String> {
    let create = |path, body| call(admin, admin_key, "POST", path, Some(body));
    let text = |value: &Value, member: &str| value[member].as_str().unwrap_or_default().to_owned();
    let tenant = text(&create("tenants", json!({"name": "Демо", "tier": "pro"}))?, "id");
    let made = create("keys", json!({"tenant": tenant, "name": "один рубль", "tags": ["demo"]}))?;
    let (key_id, key) = (text(&made, "id"), text(&made, "key"));
    let budget = json!({
        "tenant": tenant,
        "name": "один рубль",
        "scope": {"kind": "key", "id": key_id},
        "period": "total",
        "amount_nanos": 1_000_000_000,
        "hard": true,
    });
    let id = text(&create("budgets", budget)?, "id");
    let mut requests = 0;
    for _ in 0..MOST_REQUESTS {
        match ask(base_url, &key)? {
            (200, _) => requests += 1,
            // Changes reach all that serve within two seconds.
            (401, _) => std::thread::sleep(std::time::Duration::from_millis(50)),
            (429, refusal) => return Ok(Spent { tenant, key, id, requests, refusal }),
            (status, refusal) => return Err(format!("the demo was answered {status}: {refusal}")),
        }
    }
    Err("the demo's rouble was not spent in time".to_owned())
}

/// Asks once: the status and, if it is no success, the message.
fn ask(base_url: &str, key: &str) -> Result<(u16, String), String> {
    let body = json!({
        "model": "gigachat",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Сколько стоит один рубль?"}],
    });
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
    let mut answer = ureq::Agent::new_with_config(agent)
        .post(format!("{base_url}/v1/chat/completions"))
        .header("authorization", format!("Bearer {key}"))
        .send_json(&body)
        .map_err(|error| format!("the demo's gateway does not answer: {error}"))?;
    let status = answer.status().as_u16();
    let body: Value = answer.body_mut().read_json().unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    Ok((status, message.to_owned()))
}
