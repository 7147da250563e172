//! Peer: the LiteLLM proxy from PyPI, in a virtual environment, with two workers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::gateway::CALLER_KEY;
use super::providers::{OPENAI_KEY, OPENAI_MODEL};
use super::{Kind, Places, Providers, System, bearer, run_to_end};
use crate::error::{Doing, Result};
use crate::server::{Server, free_address};
use crate::workload::{Dialect, Exchange, Route};

pub(super) fn executable(peers: &Path) -> PathBuf {
    peers.join("litellm/bin/litellm")
}

pub(super) fn install(peers: &Path) -> Result<()> {
    let environment = peers.join("litellm");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&environment);
    run_to_end(venv)?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "litellm[proxy]"]);
    run_to_end(pip)
}

pub(super) fn version(peers: &Path) -> Option<String> {
    let pip = peers.join("litellm/bin/pip");
    let output = Command::new(pip).args(["show", "litellm"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

pub(super) fn start(places: &Places, providers: &Providers) -> Result<System> {
    let address = free_address()?;
    let config = places.scratch.join("litellm.yaml");
    let openai = providers.url("/openai/v1");
    let fixed = providers.fixed_url();
    let text = format!(
        r#"model_list:
  - model_name: same-dialect
    litellm_params: {{model: openai/{OPENAI_MODEL}, api_base: "{openai}", api_key: {OPENAI_KEY}}}
  - model_name: fixed
    litellm_params: {{model: openai/{OPENAI_MODEL}, api_base: "{fixed}", api_key: {OPENAI_KEY}}}
general_settings: {{master_key: "{CALLER_KEY}"}}
litellm_settings: {{use_chat_completions_url_for_anthropic_messages: true, telemetry: false}}
"#
    );
    fs::write(&config, text).doing(|| format!("writing {}", config.display()))?;
    let mut command = Command::new(executable(&places.peers));
    command
        .arg("--config")
        .arg(&config)
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--num_workers", "2", "--telemetry", "False"])
        .env("LITELLM_LOG", "ERROR")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    let mut server = Server::start("litellm", &places.scratch, command)?;
    let ready_in = server.wait_ready(address, "/health/liveliness", Duration::from_secs(180))?;
    let route = |path: &str, model: &str, dialect| Route {
        path: path.to_owned(),
        model: model.to_owned(),
        headers: vec![bearer(CALLER_KEY)],
        dialect,
    };
    Ok(System {
        kind: Kind::Litellm,
        version: version(&places.peers).unwrap_or_default(),
        server: Some(server),
        ready_in,
        address,
        stream_address: address,
        fixed_address: address,
        routes: BTreeMap::from([
            (Exchange::SameDialect, route("/v1/chat/completions", "same-dialect", Dialect::OpenAi)),
            (Exchange::FixedAnswer, route("/v1/chat/completions", "fixed", Dialect::OpenAi)),
            (Exchange::FromAnthropic, route("/v1/messages", "same-dialect", Dialect::Anthropic)),
        ]),
    })
}
