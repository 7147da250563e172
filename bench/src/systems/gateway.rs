//! llm-proxy itself, as it is by default but for the line of log per request, which the control does
//! not write either.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::providers::{
    GIGACHAT_CREDENTIALS, GIGACHAT_MODEL, GIGACHAT_SCOPE, OPENAI_KEY, OPENAI_MODEL,
};
use super::{Kind, Places, Providers, System, bearer};
use crate::error::{Doing, Result};
use crate::server::{Server, free_address};
use crate::workload::{Dialect, Exchange, Route};

/// Key of the bench's caller; also serves as the peers' key.
pub(super) const CALLER_KEY: &str = "sk-bench-0123456789abcdef0123456789abcdef";

pub(super) fn version(binary: &Path) -> String {
    let output = Command::new(binary).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}

pub(super) fn start(places: &Places, providers: &Providers) -> Result<System> {
    let address = free_address()?;
    let operations = free_address()?;
    let config = places.scratch.join("llm-proxy.yaml");
    let text = configuration(address, operations, providers);
    fs::write(&config, text).doing(|| format!("writing {}", config.display()))?;
    let mut command = Command::new(&places.binary);
    command.current_dir(&places.scratch).arg("serve").arg("--config").arg(&config);
    let mut server = Server::start("gateway", &places.scratch, command)?;
    let ready_in = server.wait_ready(operations, "/health/ready", Duration::from_secs(20))?;
    let chat = |model: &str| Route {
        path: "/v1/chat/completions".to_owned(),
        model: model.to_owned(),
        headers: vec![bearer(CALLER_KEY)],
        dialect: Dialect::OpenAi,
    };
    let messages = Route {
        path: "/v1/messages".to_owned(),
        model: "same-dialect".to_owned(),
        headers: vec![("x-api-key", CALLER_KEY.to_owned())],
        dialect: Dialect::Anthropic,
    };
    Ok(System {
        kind: Kind::Gateway,
        version: version(&places.binary),
        server: Some(server),
        ready_in,
        address,
        stream_address: address,
        fixed_address: address,
        routes: BTreeMap::from([
            (Exchange::SameDialect, chat("same-dialect")),
            (Exchange::FixedAnswer, chat("fixed")),
            (Exchange::ToGigaChat, chat("to-gigachat")),
            (Exchange::FromAnthropic, messages),
        ]),
    })
}

fn configuration(address: SocketAddr, operations: SocketAddr, providers: &Providers) -> String {
    let openai = providers.url("/openai/v1");
    let fixed = providers.fixed_url();
    let gigachat = providers.url("/gigachat/api/v1");
    let gigachat_auth = providers.url("/gigachat/api/v2/oauth");
    format!(
        r#"server:
  listen: "{address}"
  ops_listen: "{operations}"
providers:
  openai:
    kind: openai
    base_url: "{openai}"
    api_key: "{OPENAI_KEY}"
  fixed:
    kind: openai
    base_url: "{fixed}"
    api_key: "{OPENAI_KEY}"
  gigachat:
    kind: gigachat
    base_url: "{gigachat}"
    auth_url: "{gigachat_auth}"
    credentials: "{GIGACHAT_CREDENTIALS}"
    scope: {GIGACHAT_SCOPE}
models:
  - name: same-dialect
    deployments: [{{provider: openai, model: {OPENAI_MODEL}}}]
  - name: fixed
    deployments: [{{provider: fixed, model: {OPENAI_MODEL}}}]
  - name: to-gigachat
    deployments: [{{provider: gigachat, model: {GIGACHAT_MODEL}}}]
identity:
  static_keys: [{{name: bench, key: "{CALLER_KEY}"}}]
telemetry:
  access_log: errors
"#
    )
}
