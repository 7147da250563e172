//! The command line.

mod check;
mod demo;
pub(crate) mod guard;
mod one_rouble;
mod remote;
mod report;
mod route;
mod serve;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use guard::GuardCommand;
use remote::{Action, PriceAction, Remote};
use report::Report;
use route::Route;

/// Where the configuration is looked for when no file is named.
const DEFAULT_CONFIG: &str = "llm-proxy.yaml";

const NEXT_STEPS: &str = "\
llm-proxy stands between applications and language models.

  llm-proxy demo                          try it: simulated providers, sample keys
  llm-proxy serve --config FILE           serve for real
  llm-proxy check --config FILE           look for faults in a configuration
  llm-proxy --help                        everything else

There is no llm-proxy.yaml in this directory. Begin with one of examples/, or try the demo.
";

#[derive(Parser)]
#[command(
    name = "llm-proxy",
    version,
    about = "A gateway between applications and language models",
    after_help = "Example: llm-proxy demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve callers
    #[command(after_help = "Example: llm-proxy serve --config llm-proxy.yaml")]
    Serve {
        /// The configuration
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Simulated providers, gateway and sample keys in a temporary directory; prints what to try
    #[command(after_help = "Example: llm-proxy demo --listen 127.0.0.1:8080")]
    Demo {
        /// Where callers connect
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Print one line of JSON when ready
        #[arg(long)]
        json: bool,
    },
    /// The provider simulator alone
    #[command(after_help = "Example: llm-proxy simulate --listen 127.0.0.1:8090 --seed 7")]
    Simulate(simulator::SimulateArgs),
    /// Look for faults in a configuration: exit 0, or 2 with file:line and remedy for each
    #[command(after_help = "Example: llm-proxy check --config llm-proxy.yaml --effective")]
    Check {
        /// The configuration
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// Print the configuration with all its defaults; secrets are not shown
        #[arg(long)]
        effective: bool,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Manage tenants through the admin API
    #[command(after_help = "Example: llm-proxy tenants create name=Ромашка tier=pro")]
    Tenants {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        action: Action,
    },
    /// Manage teams through the admin API
    #[command(after_help = "Example: llm-proxy teams create tenant=ten_... name=support")]
    Teams {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        action: Action,
    },
    /// Manage users and service accounts through the admin API
    #[command(
        after_help = "Example: llm-proxy users create tenant=ten_... name=bot service_account=true"
    )]
    Users {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        action: Action,
    },
    /// Manage virtual keys through the admin API
    #[command(after_help = "Example: llm-proxy keys create tenant=ten_... name=web")]
    Keys {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        action: Action,
    },
    /// Manage budgets through the admin API
    #[command(
        after_help = "Example: llm-proxy budgets create tenant=ten_... name=month period=month hard=true \\\n           amount_nanos=1000000000000 scope='{\"kind\":\"tenant\"}'"
    )]
    Budgets {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        action: Action,
    },
    /// What deployments cost, from the admin API
    #[command(after_help = "Example: llm-proxy prices list")]
    Prices {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        action: PriceAction,
    },
    /// Reports for finance and auditors, from the admin API
    #[command(after_help = "Example: llm-proxy report cost --by tenant,model")]
    Report {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        report: Report,
    },
    /// Ask what routing would have done
    #[command(after_help = "Example: llm-proxy route replay outcomes.jsonl --policy learned")]
    Route {
        #[command(subcommand)]
        route: Route,
    },
    /// Ask what the guard makes of texts
    #[command(after_help = "Example: llm-proxy guard scan --policy 152-fz < texts.jsonl")]
    Guard {
        #[command(subcommand)]
        guard: GuardCommand,
    },
    /// The JSON Schema of the configuration
    #[command(after_help = "Example: llm-proxy schema > llm-proxy.schema.json")]
    Schema,
}

/// How a command ends other than well.
pub(crate) enum Failure {
    /// It could not be done: exit 1.
    Failed(String),
    /// It was asked for wrongly, or the configuration is wrong: exit 2.
    Usage(String),
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Some(Command::Serve { config }) => serve::run(&config),
        Some(Command::Demo { listen, json }) => demo::run(listen, json),
        Some(Command::Simulate(arguments)) => simulate(&arguments),
        Some(Command::Check { config, effective, json }) => check::run(&config, effective, json),
        Some(Command::Tenants { remote, action }) => remote.run("tenants", action),
        Some(Command::Teams { remote, action }) => remote.run("teams", action),
        Some(Command::Users { remote, action }) => remote.run("users", action),
        Some(Command::Keys { remote, action }) => remote.run("keys", action),
        Some(Command::Budgets { remote, action }) => remote.run("budgets", action),
        Some(Command::Prices { remote, action }) => remote.prices(&action),
        Some(Command::Report { remote, report }) => report.run(&remote),
        Some(Command::Route { route }) => route.run(),
        Some(Command::Guard { guard }) => guard.run(),
        Some(Command::Schema) => {
            print(&config::schema_json());
            Ok(())
        }
        None if std::path::Path::new(DEFAULT_CONFIG).exists() => {
            serve::run(std::path::Path::new(DEFAULT_CONFIG))
        }
        None => Err(Failure::Usage(NEXT_STEPS.to_owned())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(reason)) => {
            eprintln!("llm-proxy: {reason}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(reason)) => {
            eprintln!("{}", reason.trim_end());
            ExitCode::from(2)
        }
    }
}

/// Writes to standard output, as far as somebody reads it: `| head` is no failure.
fn print(text: &str) {
    _ = std::io::stdout().write_all(text.as_bytes());
}

fn simulate(arguments: &simulator::SimulateArgs) -> Result<(), Failure> {
    let options = arguments.options().map_err(|error| Failure::Usage(error.to_string()))?;
    simulator::run(options).map_err(|error| Failure::Failed(error.to_string()))
}
