//! A running simulator.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::bill::Accounts;
use crate::options::Options;
use crate::profile::Profile;
use crate::request_log::ReceivedRequest;
use crate::server::{self, Workers};
use crate::tls::{Tls, TlsError};
use crate::world::{World, WorldHandle};

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A worker thread or runtime could not be made.
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Simulated providers on threads of their own; stops when dropped.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let simulator = simulator::Simulator::start(simulator::Options::default()).await?;
/// let base_url = format!("{}/openai/v1", simulator.base_url());
/// # assert!(base_url.starts_with("http://127.0.0.1:"));
/// # Ok::<(), simulator::StartError>(())
/// # }).unwrap();
/// ```
pub struct Simulator {
    address: SocketAddr,
    world: WorldHandle,
    tls: Option<Arc<Tls>>,
    workers: Workers,
}

impl Simulator {
    /// Starts listening; ready when this returns.
    ///
    /// # Errors
    /// When the address is taken, or TLS or threads cannot be set up.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_blocking(options)
    }

    /// As [`Simulator::start`], for callers without a runtime.
    ///
    /// # Errors
    /// As [`Simulator::start`].
    pub fn start_blocking(options: Options) -> Result<Self, StartError> {
        let refused = |source| StartError::Listen { address: options.listen, source };
        let listener = server::bind(options.listen).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let tls = if options.tls { Some(Arc::new(Tls::self_signed()?)) } else { None };
        let world = Arc::new(World::new(options.seed, options.profile));
        let workers = Workers::start(listener, &world, tls.as_ref(), options.workers)
            .map_err(StartError::Worker)?;
        Ok(Self { address, world, tls, workers })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`, without a slash at the end; add a provider's prefix.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As [`Simulator::base_url`] with `https`; `None` when TLS is off.
    pub fn tls_base_url(&self) -> Option<String> {
        self.tls.as_ref().map(|_| format!("https://{}", self.address))
    }

    /// PEM of the CA to trust; `None` when TLS is off.
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// What each key has cost so far.
    pub fn bill(&self) -> Accounts {
        self.world.bill.accounts()
    }

    /// The last requests received, oldest first.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.world.requests.view()
    }

    /// Replaces the profile; its seed is ignored.
    pub fn set_profile(&self, profile: Profile) {
        self.world.set_profile(profile);
    }

    /// Forgets accounts, requests, tokens, counters and files; keeps seed, profile and clock.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Moves the simulated clock forward, so that access tokens expire.
    pub fn advance_clock(&self, seconds: u64) {
        self.world.advance(seconds);
    }

    /// Stops listening and breaks open connections.
    pub fn shutdown(mut self) {
        self.workers.stop();
    }
}

/// Serves until the process is told to stop (SIGINT or SIGTERM); prints where it listens.
///
/// # Errors
/// When the simulator cannot be started.
pub fn run(options: Options) -> Result<(), StartError> {
    let simulator = Simulator::start_blocking(options)?;
    let url = simulator.tls_base_url().unwrap_or_else(|| simulator.base_url());
    println!("simulator listening on {url}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Worker)?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Worker)?;
        tokio::select! {
            _ = terminate.recv() => {}
            result = tokio::signal::ctrl_c() => result.map_err(StartError::Worker)?,
        }
        Ok::<(), StartError>(())
    })?;
    simulator.shutdown();
    Ok(())
}
