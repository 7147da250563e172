//! Reports for finance, from the admin API.

use std::fmt::Write as _;

use clap::{Subcommand, ValueEnum};
use metering::{Nanos, divide_half_even, format_nanos};
use serde_json::{Value, json};

use super::remote::{Remote, table};
use super::{Failure, print};

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A table for people.
    Table,
    /// Comma-separated values.
    Csv,
    /// JSON.
    Json,
}

/// Which report.
#[derive(Subcommand)]
pub(super) enum Report {
    /// What was spent
    #[command(after_help = "Example: llm-proxy report cost --by tenant,day --from 2026-11-01")]
    Cost {
        /// Dimensions: tenant, team, user, key, route, provider, model, day
        #[arg(long, default_value = "tenant,model")]
        by: String,
        /// First day, 2026-11-01 (UTC)
        #[arg(long)]
        from: Option<String>,
        /// Day after the last
        #[arg(long)]
        to: Option<String>,
        /// Only this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// How it is written
        #[arg(long, value_enum, default_value = "table")]
        format: Form,
    },
    /// What was saved against one model for everything
    #[command(
        after_help = "Example: llm-proxy report savings --baseline-prompt 200 --baseline-completion 800"
    )]
    Savings {
        /// Roubles for a million prompt tokens of the baseline model
        #[arg(long)]
        baseline_prompt: String,
        /// Roubles for a million completion tokens of the baseline model
        #[arg(long)]
        baseline_completion: String,
        /// First day, 2026-11-01 (UTC)
        #[arg(long)]
        from: Option<String>,
        /// Day after the last
        #[arg(long)]
        to: Option<String>,
        /// Only this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// What running llm-proxy costs in the time, roubles
        #[arg(long, default_value = "0")]
        running_costs: String,
    },
}

impl Report {
    pub(super) fn run(self, remote: &Remote) -> Result<(), Failure> {
        match self {
            Self::Cost { by, from, to, tenant, format } => {
                let rows = sums(remote, &by, from.as_deref(), to.as_deref(), tenant.as_deref())?;
                let rows: Vec<Value> = rows.iter().map(flat).collect();
                print(&match format {
                    Form::Table => table(&rows),
                    Form::Csv => csv(&rows),
                    Form::Json => format!("{}\n", Value::Array(rows)),
                });
                Ok(())
            }
            Self::Savings {
                baseline_prompt,
                baseline_completion,
                from,
                to,
                tenant,
                running_costs,
            } => {
                let amount = |text: &str| {
                    Nanos::parse(text).map_err(|error| Failure::Usage(error.to_string()))
                };
                let baseline = Baseline {
                    prompt: amount(&baseline_prompt)?,
                    completion: amount(&baseline_completion)?,
                    running_costs: amount(&running_costs)?,
                };
                let rows =
                    sums(remote, "model", from.as_deref(), to.as_deref(), tenant.as_deref())?;
                print(&baseline.compare(&rows));
                Ok(())
            }
        }
    }
}

fn sums(
    remote: &Remote,
    by: &str,
    from: Option<&str>,
    to: Option<&str>,
    tenant: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    let mut query = vec![format!("by={by}")];
    for (name, day) in [("from_ms", from), ("to_ms", to)] {
        let Some(day) = day else { continue };
        let at = metering::day_start_utc(day)
            .ok_or_else(|| Failure::Usage(format!("`{day}` is no day; write it as 2026-11-01")))?;
        query.push(format!("{name}={at}"));
    }
    query.extend(tenant.map(|tenant| format!("tenant={tenant}")));
    let answer = remote.call("GET", &format!("usage?{}", query.join("&")), None)?;
    Ok(answer["data"].as_array().cloned().unwrap_or_default())
}

fn number(row: &Value, name: &str) -> i128 {
    row[name].as_i64().map(i128::from).or_else(|| row[name].to_string().parse().ok()).unwrap_or(0)
}

/// A sum as one row: its group, then what was used and spent.
fn flat(row: &Value) -> Value {
    let mut flat = row["group"].clone();
    let usage = &row["usage"];
    flat["requests"] = row["entries"].clone();
    flat["cached"] = row["cached_entries"].clone();
    flat["prompt_tokens"] = usage["prompt_tokens"].clone();
    flat["completion_tokens"] = usage["completion_tokens"].clone();
    flat["roubles"] = json!(format_nanos(number(row, "cost_nanos")));
    flat
}

fn csv(rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else { return String::new() };
    let columns: Vec<&String> = first.keys().collect();
    let quoted = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // A leading sign would be a formula to a spreadsheet.
        let text = if text.starts_with(['=', '+', '@']) { format!("'{text}") } else { text };
        if text.contains(['"', ',', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    };
    let mut text = columns.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
    text.push('\n');
    for row in rows {
        let cells: Vec<String> =
            columns.iter().map(|column| quoted(&row[column.as_str()])).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// One model for everything, to compare with.
struct Baseline {
    prompt: Nanos,
    completion: Nanos,
    running_costs: Nanos,
}

impl Baseline {
    fn compare(&self, rows: &[Value]) -> String {
        let mut text = String::from(
            "what the same tokens would have cost at the baseline, and what they did cost (roubles)\n\n",
        );
        let (mut baseline, mut spent) = (0i128, 0i128);
        let per_million =
            |tokens: i128, price: Nanos| divide_half_even(tokens * i128::from(price.0), 1_000_000);
        for row in rows {
            let usage = &row["usage"];
            let (prompt, completion) =
                (number(usage, "prompt_tokens"), number(usage, "completion_tokens"));
            let would = per_million(prompt, self.prompt) + per_million(completion, self.completion);
            let did = number(row, "cost_nanos");
            _ = writeln!(
                text,
                "{}: {prompt} x {} / 1000000 + {completion} x {} / 1000000 = {}; spent {}",
                row["group"]["model"].as_str().unwrap_or_default(),
                self.prompt,
                self.completion,
                format_nanos(would),
                format_nanos(did),
            );
            baseline += would;
            spent += did;
        }
        let total = spent + i128::from(self.running_costs.0);
        let saved = baseline - total;
        let permille = if baseline == 0 { 0 } else { divide_half_even(saved * 1000, baseline) };
        _ = writeln!(
            text,
            "\nbaseline {} - spent {} - running costs {} = saved {} ({}.{} %)",
            format_nanos(baseline),
            format_nanos(spent),
            self.running_costs,
            format_nanos(saved),
            permille / 10,
            permille.abs() % 10,
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, prompt: u64, completion: u64, cost_nanos: i64) -> Value {
        json!({
            "group": {"model": model},
            "entries": 1,
            "cached_entries": 0,
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
            "cost_nanos": cost_nanos,
        })
    }

    #[test]
    fn savings_show_their_arithmetic() {
        let baseline = Baseline {
            prompt: Nanos::parse("200").unwrap(),
            completion: Nanos::parse("800").unwrap(),
            running_costs: Nanos::parse("10").unwrap(),
        };
        let text = baseline.compare(&[row("m", 1_000_000, 500_000, 142_000_000_000)]);
        assert!(text.contains("= 600.00; spent 142.00"), "{text}");
        assert!(text.contains("= saved 448.00 (74.7 %)"), "{text}");
    }

    #[test]
    fn cells_of_csv_are_quoted_and_no_formulas() {
        let text = csv(&[json!({"tenant": "ООО \"Ромашка\", Москва", "key": "=1+1"})]);
        assert!(text.contains("\"ООО \"\"Ромашка\"\", Москва\""), "{text}");
        assert!(text.contains("'=1+1"), "{text}");
    }
}
