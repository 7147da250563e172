//! The commands.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::{fs, io};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compare::{self, Findings, STOP};
use crate::error::{Doing, Error, Result};
use crate::load::{self, Outcome, Pace, Plan, Request};
use crate::scenario::Effort;
use crate::systems::{self, Kind, Places};
use crate::workload::{Dialect, Route, SHORT_PROMPT};
use crate::{fixed_provider, report, results};

/// Share of the machine taken by others above which figures are called noise.
const MAX_FOREIGN_SHARE: f64 = 0.05;

/// Load generator and comparison harness.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo build --release -p llm-proxy && cargo run --release -p bench -- run --quick"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the systems and print one table.
    Run(RunArgs),
    /// Drive one address and print what was seen as JSON.
    Load(LoadArgs),
    /// Serve a provider that gives every request the same answer; `run` starts it itself.
    #[command(hide = true)]
    FixedProvider {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Measure what keys, limits, budgets and the ledger cost a request.
    Accounting {
        /// Requests to measure.
        #[arg(long, default_value_t = 200_000)]
        requests: u32,
    },
    /// Other gateways to compare with.
    Peers {
        #[command(subcommand)]
        command: PeersCommand,
    },
}

#[derive(Subcommand)]
enum PeersCommand {
    /// Install LiteLLM (pip) and Portkey (npm) into bench/peers.
    Install,
    /// Say which are installed.
    Status,
}

#[derive(Args)]
struct RunArgs {
    /// Short runs and few streams: a smoke test of less than a minute, its figures are noise.
    #[arg(long)]
    quick: bool,
    /// Systems to compare; `direct` always runs. Default: all that are installed, peers not in
    /// a quick run.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// How often each run is repeated.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: Option<u32>,
    /// Length of a run in seconds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: Option<u64>,
    /// The llm-proxy program; default: the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Directory of the JSON results.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Next request as soon as the last answer is there.
    Closed,
    /// Requests due at a fixed rate.
    Open,
    /// Hold streams open.
    Hold,
}

#[derive(Args)]
struct LoadArgs {
    /// http://HOST:PORT/PATH of a chat completions endpoint; only this machine is driven.
    url: String,
    #[arg(long, value_enum, default_value = "closed")]
    mode: Mode,
    /// Connections, or streams to hold.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests per second of an open loop.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Largest number of requests.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    max_requests: u64,
    #[arg(long)]
    stream: bool,
    #[arg(long, default_value = "sim-bench")]
    key: String,
    #[arg(long, default_value = "gpt-4.1-mini")]
    model: String,
    #[arg(long, default_value = SHORT_PROMPT)]
    prompt: String,
    /// Send an Anthropic messages request.
    #[arg(long)]
    anthropic: bool,
}

/// Runs the command given; false if it found failures.
pub(crate) fn run() -> Result<bool> {
    match CommandLine::parse().command {
        Command::Run(args) => run_comparison(&args),
        Command::Load(args) => run_load(&args),
        Command::FixedProvider { address } => {
            fixed_provider::serve(address).doing(|| format!("serving at {address}"))?;
            Ok(true)
        }
        Command::Accounting { requests } => crate::accounting::run(requests),
        Command::Peers { command } => {
            let peers = peers_directory();
            if matches!(command, PeersCommand::Install) {
                fs::create_dir_all(&peers).doing(|| format!("creating {}", peers.display()))?;
                systems::install_peers(&peers)?;
            }
            for (name, version) in systems::installed_peers(&peers) {
                println!("{name}: {}", version.as_deref().unwrap_or("not installed"));
            }
            Ok(true)
        }
    }
}

fn peers_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn run_comparison(args: &RunArgs) -> Result<bool> {
    stop_on_signals();
    let mut effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    effort.repeat = args.repeat.unwrap_or(effort.repeat);
    effort.run = args.seconds.map_or(effort.run, Duration::from_secs);
    let scratch = tempfile::tempdir().doing(|| "creating a scratch directory".to_owned())?;
    let binary = args.binary.clone().map_or_else(binary_beside, Ok)?;
    let places = Places {
        // Absolute, for servers are started in a directory of their own.
        binary: binary.canonicalize().map_err(|_| {
            Error::Setup(format!(
                "{} is not there: build it with `cargo build --release -p llm-proxy`, or name \
                 another with --binary",
                binary.display()
            ))
        })?,
        peers: peers_directory(),
        scratch: scratch.path().to_owned(),
    };
    let kinds = choose(args, &places)?;
    let findings = compare::compare(&kinds, &effort, &places, |doing| eprintln!("{doing}"))?;
    let rows = report::rows(&findings.readings, &kinds);
    println!("{}", report::table(&rows, &kinds));
    let sound = print_remarks(&findings);
    let path = results::write(&args.results, &effort, &findings, &rows)?;
    println!("results: {}", path.display());
    Ok(sound)
}

fn choose(args: &RunArgs, places: &Places) -> Result<Vec<Kind>> {
    let mut chosen = vec![Kind::Direct];
    for kind in Kind::value_variants().iter().copied().filter(|kind| *kind != Kind::Direct) {
        let is_peer = matches!(kind, Kind::Litellm | Kind::Portkey);
        let wanted =
            args.only.contains(&kind) || (args.only.is_empty() && !(args.quick && is_peer));
        if !wanted {
            continue;
        }
        if kind.is_installed(places) {
            chosen.push(kind);
        } else if args.only.is_empty() {
            eprintln!("{} is not installed and is left out", kind.name());
        } else {
            return Err(Error::Setup(format!("{} is not installed", kind.name())));
        }
    }
    Ok(chosen)
}

/// Says what puts the figures in doubt; false if requests of ours failed.
fn print_remarks(findings: &Findings) -> bool {
    for (kind, version) in &findings.versions {
        println!("{}: {version}", kind.name());
    }
    println!("column direct: the simulator alone; in rows of added time, its time itself");
    print_noise(findings);
    let mut sound = true;
    for sample in &findings.samples {
        let Outcome { failures, unfinished, completed, .. } = &sample.outcome;
        if failures.is_empty() && *unfinished == 0 {
            continue;
        }
        sound &= matches!(sample.system, Kind::Litellm | Kind::Portkey);
        println!(
            "{} {} round {}: {completed} completed, {unfinished} unfinished, failed: {failures:?}",
            sample.scenario,
            sample.system.name(),
            sample.round + 1
        );
    }
    sound
}

fn print_noise(findings: &Findings) {
    let shares = findings.samples.iter().map(|sample| sample.foreign_share);
    let noisy = shares.clone().filter(|share| *share > MAX_FOREIGN_SHARE).count();
    if let Some(most) = shares.max_by(f64::total_cmp)
        && noisy > 0
    {
        println!(
            "noise: in {noisy} of {} runs other processes took more than {:.0} % of the machine, \
             up to {:.0} %",
            findings.samples.len(),
            MAX_FOREIGN_SHARE * 100.0,
            most * 100.0
        );
    }
}

fn binary_beside() -> Result<PathBuf> {
    let own = std::env::current_exe().doing(|| "finding this program".to_owned())?;
    Ok(own.with_file_name("llm-proxy"))
}

/// A second thread waits for the signals, so that servers are stopped before this process ends.
fn stop_on_signals() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            STOP.store(true, Ordering::Relaxed);
            io::Result::Ok(())
        })
    });
}

fn run_load(args: &LoadArgs) -> Result<bool> {
    let (address, path) = split_url(&args.url)?;
    let dialect = if args.anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
    let header = match dialect {
        Dialect::OpenAi => ("authorization", format!("Bearer {}", args.key)),
        Dialect::Anthropic => ("x-api-key", args.key.clone()),
    };
    let route = Route { path, model: args.model.clone(), headers: vec![header], dialect };
    let streamed = args.stream || matches!(args.mode, Mode::Hold);
    let request = route.request(address, &args.prompt, streamed)?;
    let pace = match args.mode {
        Mode::Open => Pace::Open { rate: args.rate },
        Mode::Closed => Pace::Closed,
        Mode::Hold => return hold(request, args),
    };
    let plan = Plan {
        pace,
        connections: args.connections as usize,
        duration: Duration::from_secs(args.seconds),
        grace: Duration::from_secs(10),
        max_requests: args.max_requests,
    };
    let outcome = load::run(request, &plan).doing(|| format!("driving {address}"))?;
    println!("{}", serde_json::to_string_pretty(&outcome)?);
    Ok(outcome.failures.is_empty() && outcome.unfinished == 0)
}

fn hold(request: Request, args: &LoadArgs) -> Result<bool> {
    let count = args.connections as usize;
    let hold_for = Duration::from_secs(args.seconds);
    let held = load::hold_streams(request, count, hold_for, || ())
        .doing(|| "holding streams".to_owned())?;
    println!("{{\"open\": {}, \"opened_in_s\": {:.3}}}", held.open, held.opened_in.as_secs_f64());
    Ok(held.open == count)
}

fn split_url(url: &str) -> Result<(SocketAddr, String)> {
    let fault = || Error::Setup(format!("{url} is not of the form http://HOST:PORT/PATH"));
    let rest = url.strip_prefix("http://").ok_or_else(fault)?;
    let (authority, path) = rest.split_once('/').ok_or_else(fault)?;
    let address = authority
        .to_socket_addrs()
        .doing(|| format!("resolving {authority}"))?
        .next()
        .ok_or_else(fault)?;
    if !address.ip().is_loopback() {
        return Err(Error::Setup(format!("{address} is not this machine: load stays local")));
    }
    Ok((address, format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
        let parsed = CommandLine::try_parse_from([
            "bench",
            "run",
            "--only",
            "nginx,gateway",
            "--repeat",
            "2",
        ]);
        let Command::Run(args) = parsed.unwrap().command else { panic!("not run") };
        assert_eq!(args.only, [Kind::Nginx, Kind::Gateway]);
        assert!(CommandLine::try_parse_from(["bench", "run", "--repeat", "0"]).is_err());
    }

    #[test]
    fn load_stays_on_this_machine() {
        let (address, path) = split_url("http://127.0.0.1:8080/v1/chat/completions").unwrap();
        assert_eq!(address.port(), 8080);
        assert_eq!(path, "/v1/chat/completions");
        assert!(split_url("http://192.0.2.1:80/v1").unwrap_err().to_string().contains("local"));
        assert!(split_url("https://127.0.0.1:8080/").is_err());
        assert!(split_url("http://127.0.0.1:8080").is_err());
    }
}
