//! How a simulator is started, from code and from the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::profile::{Profile, ProfileError};

/// What [`crate::Simulator::start`] and [`crate::run`] need.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Overrides the profile's seed.
    pub seed: Option<u64>,
    /// What the world is like.
    pub profile: Profile,
    /// Also accept TLS on the same port, with a certificate of a CA made at start-up.
    pub tls: bool,
    /// Worker threads; at least 1.
    pub workers: usize,
}

impl Default for Options {
    /// A free port of 127.0.0.1, the default world, one worker, no TLS.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: None,
            profile: Profile::default(),
            tls: false,
            workers: 1,
        }
    }
}

/// Options of the `simulate` command.
#[derive(Clone, Debug, clap::Args)]
pub struct SimulateArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// Profile file (YAML or JSON): models, latencies, faults
    #[arg(long)]
    pub profile: Option<PathBuf>,
    /// Seed of the simulated world; overrides the profile's
    #[arg(long)]
    pub seed: Option<u64>,
    /// Worker threads [default: one per core]
    #[arg(long)]
    pub workers: Option<usize>,
    /// Accept TLS too; the CA's certificate is at /_sim/ca.pem
    #[arg(long)]
    pub tls: bool,
}

impl SimulateArgs {
    /// Reads the profile, if any.
    ///
    /// # Errors
    /// When the profile cannot be read or is not valid.
    pub fn options(&self) -> Result<Options, ProfileError> {
        let profile = match &self.profile {
            Some(path) => Profile::load(path)?,
            None => Profile::default(),
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Options {
            listen: self.listen,
            seed: self.seed,
            profile,
            tls: self.tls,
            workers: self.workers.unwrap_or(cores),
        })
    }
}
