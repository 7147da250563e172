//! The systems that are compared: how each is started and asked.

mod gateway;
mod litellm;
mod nginx;
mod portkey;
mod providers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use providers::Providers;

use crate::error::{Error, Result};
use crate::load::Request;
use crate::server::Server;
use crate::workload::{Exchange, Route};

/// A way from the load generator to the simulated providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// No one in between: the simulator alone.
    Direct,
    /// The control: nginx as a plain reverse proxy.
    Nginx,
    /// llm-proxy.
    Gateway,
    /// The LiteLLM proxy, two workers.
    Litellm,
    /// The Portkey gateway.
    Portkey,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Gateway => "gateway",
            Self::Litellm => "litellm",
            Self::Portkey => "portkey",
        }
    }

    /// Whether the system can be started on this machine.
    pub(crate) fn is_installed(self, places: &Places) -> bool {
        match self {
            Self::Direct => true,
            Self::Nginx => nginx::version().is_some(),
            Self::Gateway => places.binary.is_file(),
            Self::Litellm => litellm::executable(&places.peers).is_file(),
            Self::Portkey => portkey::script(&places.peers).is_file(),
        }
    }

    /// How many times the start is worth timing: peers take half a minute.
    pub(crate) fn is_quick_to_start(self) -> bool {
        matches!(self, Self::Nginx | Self::Gateway)
    }
}

/// Where programs and files are.
#[derive(Debug)]
pub(crate) struct Places {
    /// The `llm-proxy` program.
    pub(crate) binary: PathBuf,
    /// Where `peers install` puts the peers.
    pub(crate) peers: PathBuf,
    /// Generated configurations and logs of this run.
    pub(crate) scratch: PathBuf,
}

/// A system that is up.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    /// Absent for `direct`.
    pub(crate) server: Option<Server>,
    pub(crate) ready_in: Duration,
    address: SocketAddr,
    /// Where streams go if the system needs to be told to leave them unbuffered.
    stream_address: SocketAddr,
    /// Where requests go whose provider is the fixed one, if the path cannot tell.
    fixed_address: SocketAddr,
    routes: BTreeMap<Exchange, Route>,
}

impl System {
    /// The prepared request, or nothing if the system has no such route.
    pub(crate) fn request(
        &self,
        exchange: Exchange,
        prompt: &str,
        streamed: bool,
    ) -> Result<Option<Request>> {
        let address = match exchange {
            Exchange::FixedAnswer => self.fixed_address,
            _ if streamed => self.stream_address,
            _ => self.address,
        };
        let Some(route) = self.routes.get(&exchange) else { return Ok(None) };
        Ok(Some(route.request(address, prompt, streamed)?))
    }
}

/// Starts the system in front of the providers and waits until it is ready.
pub(crate) fn start(kind: Kind, places: &Places, providers: &Providers) -> Result<System> {
    match kind {
        Kind::Direct => Ok(providers.as_system()),
        Kind::Nginx => nginx::start(places, providers),
        Kind::Gateway => gateway::start(places, providers),
        Kind::Litellm => litellm::start(places, providers),
        Kind::Portkey => portkey::start(places, providers),
    }
}

/// Installs the peers by their package names into the directory.
pub(crate) fn install_peers(peers: &Path) -> Result<()> {
    litellm::install(peers)?;
    portkey::install(peers)
}

/// Versions of the installed peers, by name.
pub(crate) fn installed_peers(peers: &Path) -> [(&'static str, Option<String>); 2] {
    [("litellm", litellm::version(peers)), ("portkey", portkey::version(peers))]
}

fn run_to_end(mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|source| Error::Io { doing: format!("running {program}"), source })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Setup(format!("{program} failed ({status})")))
    }
}

fn bearer(key: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {key}"))
}
