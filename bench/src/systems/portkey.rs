//! Peer: the Portkey gateway from npm, its far side named by request headers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::providers::{OPENAI_KEY, OPENAI_MODEL};
use super::{Kind, Places, Providers, System, bearer, run_to_end};
use crate::error::{Doing, Result};
use crate::server::{Server, free_address};
use crate::workload::{Dialect, Exchange, Route};

#[derive(Deserialize)]
struct Package {
    version: String,
}

fn package(peers: &Path) -> PathBuf {
    peers.join("portkey/node_modules/@portkey-ai/gateway")
}

pub(super) fn script(peers: &Path) -> PathBuf {
    package(peers).join("build/start-server.js")
}

/// The gateway as a dependency. Its HTTP adapter is held at the version it was known to work with: later
/// ones share the provider's immutable headers with it, and every stream becomes a 500.
const MANIFEST: &str = r#"{
  "private": true,
  "dependencies": {"@portkey-ai/gateway": "1"},
  "overrides": {"@hono/node-server": "1.13.8"}
}
"#;

pub(super) fn install(peers: &Path) -> Result<()> {
    let prefix = peers.join("portkey");
    fs::create_dir_all(&prefix).doing(|| format!("creating {}", prefix.display()))?;
    let manifest = prefix.join("package.json");
    fs::write(&manifest, MANIFEST).doing(|| format!("writing {}", manifest.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-fund", "--no-audit", "--prefix"]).arg(prefix);
    run_to_end(npm)
}

pub(super) fn version(peers: &Path) -> Option<String> {
    let text = fs::read(package(peers).join("package.json")).ok()?;
    serde_json::from_slice::<Package>(&text).ok().map(|package| package.version)
}

pub(super) fn start(places: &Places, providers: &Providers) -> Result<System> {
    let address = free_address()?;
    let mut command = Command::new("node");
    command
        .arg(script(&places.peers))
        .arg(format!("--port={}", address.port()))
        .arg("--headless")
        .env("NODE_ENV", "production");
    let mut server = Server::start("portkey", &places.scratch, command)?;
    let ready_in = server.wait_ready(address, "/", Duration::from_secs(60))?;
    let route = |far_side: String| Route {
        path: "/v1/chat/completions".to_owned(),
        model: OPENAI_MODEL.to_owned(),
        headers: vec![
            bearer(OPENAI_KEY),
            ("x-portkey-provider", "openai".to_owned()),
            ("x-portkey-custom-host", far_side),
        ],
        dialect: Dialect::OpenAi,
    };
    Ok(System {
        kind: Kind::Portkey,
        version: version(&places.peers).unwrap_or_default(),
        server: Some(server),
        ready_in,
        address,
        stream_address: address,
        fixed_address: address,
        routes: BTreeMap::from([
            (Exchange::SameDialect, route(providers.url("/openai/v1"))),
            (Exchange::FixedAnswer, route(providers.fixed_url())),
        ]),
    })
}
