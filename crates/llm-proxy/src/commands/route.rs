//! What routing would have done: policies over past outcomes.

use std::fmt::Write as _;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use routing::replay::{
    Estimate, PastReader, PolicyReport, ReplayOptions, ReplayPolicy, ReplayReport, replay,
};

use super::{Failure, print};

/// What to do about routing.
#[derive(Subcommand)]
pub(super) enum Route {
    /// Run policies over past outcomes: cost, quality and regret, with 95 % intervals
    #[command(after_help = "\
FILE has a line of JSON for each request, all of one kind:
  {\"prompt\": \"...\", \"outcomes\": {\"model\": {\"correct\": true, \"cost_usd\": 0.1, \"prompt_tokens\": 20}}}
      what several models answered; `quality` from 0 to 1 may stand for `correct`
  a decision of the decision memory: quality and cost of the other models are estimated

Example: llm-proxy route replay outcomes.jsonl --policy learned --policy best-single --seed 7")]
    Replay {
        /// Past outcomes, lines of JSON
        file: PathBuf,
        /// Policy to run, may be repeated; all if none is named
        #[arg(long = "policy", value_parser = policy)]
        policies: Vec<ReplayPolicy>,
        /// Seed of shuffles, draws and resamples
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Times that policies which draw or learn are run, each time in another order
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
        shuffles: u16,
        /// Print the report as one line of JSON
        #[arg(long)]
        json: bool,
    },
}

fn policy(name: &str) -> Result<ReplayPolicy, String> {
    ReplayPolicy::parse(name).ok_or_else(|| {
        let names: Vec<&str> = ReplayPolicy::ALL.iter().map(|policy| policy.name()).collect();
        format!("the policies are {}", names.join(", "))
    })
}

impl Route {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Replay { file, policies, seed, shuffles, json } = self;
        let mut options = ReplayOptions { seed, shuffles: shuffles.into(), ..Default::default() };
        if !policies.is_empty() {
            options.policies = policies;
        }
        let report = replay_file(&file, &options)?;
        if json {
            let text = serde_json::to_string(&report)
                .map_err(|error| Failure::Failed(error.to_string()))?;
            print(&format!("{text}\n"));
        } else {
            print(&show(&report));
        }
        Ok(())
    }
}

fn replay_file(path: &Path, options: &ReplayOptions) -> Result<ReplayReport, Failure> {
    let name = path.display();
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::Usage(format!("{name}: cannot be read: {error}")))?;
    let mut reader = PastReader::default();
    for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
        let at = number + 1;
        let line = line.map_err(|error| Failure::Usage(format!("{name}:{at}: {error}")))?;
        reader.line(&line).map_err(|fault| Failure::Usage(format!("{name}:{at}: {fault}")))?;
    }
    let nothing = || Failure::Usage(format!("{name}: has no outcome whose quality is known"));
    replay(&reader.finish().ok_or_else(nothing)?, options).ok_or_else(nothing)
}

fn show(report: &ReplayReport) -> String {
    let mut text = format!(
        "{} requests, {} deployments, best single: {}; ",
        report.rows,
        report.deployments.len(),
        report.best_single
    );
    _ = match report.method {
        "played" => {
            writeln!(text, "played, mean of {} orders, seed {}", report.shuffles, report.seed)
        }
        _ => writeln!(text, "doubly robust estimates from a log, seed {}", report.seed),
    };
    text.push_str(
        "quality and cost relative to the best single deployment; in brackets 95 % intervals\n\n",
    );
    let heads = ["policy", "quality", "cost", "regret", "quality/best", "cost/best", "rows worth"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(report.policies.iter().map(cells));
    if report.policies.iter().all(|policy| policy.effective_rows.is_none()) {
        rows.iter_mut().for_each(|row| row.truncate(heads.len() - 1));
    }
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let line: String =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells(policy: &PolicyReport) -> Vec<String> {
    let shown = |estimate: Estimate| {
        format!("{:.4} [{:.4}, {:.4}]", estimate.mean, estimate.low, estimate.high)
    };
    // Costs of a request are small: as many figures as are needed, whatever the unit.
    let cost = |estimate: Estimate| {
        format!("{:.3e} [{:.3e}, {:.3e}]", estimate.mean, estimate.low, estimate.high)
    };
    vec![
        policy.policy.name().to_owned(),
        shown(policy.quality),
        cost(policy.cost),
        policy.regret.map_or_else(|| "-".to_owned(), shown),
        shown(policy.relative_quality),
        shown(policy.relative_cost),
        policy.effective_rows.map_or_else(|| "-".to_owned(), |rows| format!("{rows:.0}")),
    ]
}
