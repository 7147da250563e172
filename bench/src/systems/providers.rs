//! The far side: simulated providers and the fixed one; also the system called `direct`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::{Kind, Places, System, bearer};
use crate::error::{Doing, Error, Result};
use crate::server::{Server, exchange_once, free_address};
use crate::workload::{Dialect, Exchange, Route};

/// Key that the simulator takes for OpenAI.
pub(super) const OPENAI_KEY: &str = "sim-bench";
/// `sim-bench:secret` in base64, as GigaChat's authorization key is given out.
pub(super) const GIGACHAT_CREDENTIALS: &str = "c2ltLWJlbmNoOnNlY3JldA==";
pub(super) const GIGACHAT_SCOPE: &str = "GIGACHAT_API_PERS";
pub(super) const OPENAI_MODEL: &str = "gpt-4.1-mini";
pub(super) const GIGACHAT_MODEL: &str = "GigaChat-2";

/// The running far side.
#[derive(Debug)]
pub(crate) struct Providers {
    pub(crate) simulator: Server,
    fixed: Server,
    address: SocketAddr,
    fixed_address: SocketAddr,
    gigachat_token: String,
    version: String,
    ready_in: Duration,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

impl Providers {
    pub(crate) fn start(places: &Places) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(&places.binary);
        command.args(["simulate", "--listen", &address.to_string()]);
        let mut server = Server::start("simulator", &places.scratch, command)?;
        let ready_in = server.wait_ready(address, "/_sim/healthz", Duration::from_secs(20))?;
        let gigachat_token = gigachat_token(address)?;
        let version = super::gateway::version(&places.binary);
        let fixed_address = free_address()?;
        let own = std::env::current_exe().doing(|| "finding this program".to_owned())?;
        let mut command = Command::new(own);
        command.args(["fixed-provider", &fixed_address.to_string()]);
        let mut fixed = Server::start("fixed-provider", &places.scratch, command)?;
        fixed.wait_ready(fixed_address, "/", Duration::from_secs(20))?;
        Ok(Self {
            simulator: server,
            fixed,
            address,
            fixed_address,
            gigachat_token,
            version,
            ready_in,
        })
    }

    /// CPU time of all providers together.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.simulator.usage()?.cpu + self.fixed.usage()?.cpu)
    }

    /// Base URL of the simulated provider at `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn fixed_address(&self) -> SocketAddr {
        self.fixed_address
    }

    /// Base URL of the provider that always gives the same answer.
    pub(super) fn fixed_url(&self) -> String {
        format!("http://{}/v1", self.fixed_address)
    }

    /// How the simulator itself is asked; also what a plain reverse proxy forwards.
    pub(super) fn routes(&self) -> BTreeMap<Exchange, Route> {
        let openai = Route {
            path: "/openai/v1/chat/completions".to_owned(),
            model: OPENAI_MODEL.to_owned(),
            headers: vec![bearer(OPENAI_KEY)],
            dialect: Dialect::OpenAi,
        };
        let gigachat = Route {
            path: "/gigachat/api/v1/chat/completions".to_owned(),
            model: GIGACHAT_MODEL.to_owned(),
            headers: vec![bearer(&self.gigachat_token)],
            dialect: Dialect::OpenAi,
        };
        BTreeMap::from([
            (Exchange::FixedAnswer, openai.clone()),
            (Exchange::SameDialect, openai.clone()),
            (Exchange::ToGigaChat, gigachat),
            (Exchange::FromAnthropic, openai),
        ])
    }

    pub(super) fn as_system(&self) -> System {
        System {
            kind: Kind::Direct,
            version: self.version.clone(),
            server: None,
            ready_in: self.ready_in,
            address: self.address,
            stream_address: self.address,
            fixed_address: self.fixed_address,
            routes: self.routes(),
        }
    }
}

fn gigachat_token(address: SocketAddr) -> Result<String> {
    let body = format!("scope={GIGACHAT_SCOPE}");
    let request = format!(
        "POST /gigachat/api/v2/oauth HTTP/1.1\r\nhost: {address}\r\n\
         authorization: Basic {GIGACHAT_CREDENTIALS}\r\n\
         rquid: 6f0b1291-c7f3-43c6-bb2e-9f3efb2dc98e\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = exchange_once(address, request.as_bytes())
        .doing(|| "asking the simulator for a GigaChat token".to_owned())?;
    let token: Token = serde_json::from_slice(&body).map_err(|error| {
        Error::Setup(format!("the simulator gave no GigaChat token (status {status}): {error}"))
    })?;
    Ok(token.access_token)
}
