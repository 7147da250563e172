//! Whether looking for patterns is linear in the length of what is looked through.
//!
//! ```text
//! cargo run --release -p guarding --example pattern_scaling
//! ```
//!
//! For each built-in rule the words of its first phrase, or of its first example, are repeated to 50 KB and
//! to 100 KB, which makes every window of the rule open. Prints the rules that cost most, in milliseconds for
//! 100 KB, and ends with an error if twice the text costs more than 3.5 times as long in the sum of all.

use std::time::{Duration, Instant};

use guarding::Channel;
use guarding::patterns::{BUILT_IN, PatternSet, built_in};

type Failure = Box<dyn std::error::Error>;

const SHORT: usize = 50_000;
const LONG: usize = 100_000;
/// Of the run times of the long and the short text; two is linear.
const WORST_RATIO: f64 = 3.5;
/// So many rules are listed.
const LISTED: usize = 15;

#[derive(serde::Deserialize)]
struct File {
    rules: Vec<Rule>,
}

#[derive(serde::Deserialize)]
struct Rule {
    id: String,
    #[serde(default)]
    channels: Vec<Channel>,
    #[serde(default)]
    any: Vec<String>,
    examples: Examples,
}

#[derive(serde::Deserialize)]
struct Examples {
    #[serde(rename = "match")]
    matching: Vec<String>,
}

fn main() -> Result<(), Failure> {
    let set = PatternSet::compile(&built_in()?)?;
    let mut costs = Vec::new();
    let (mut short, mut long) = (Duration::ZERO, Duration::ZERO);
    for (_, text) in BUILT_IN {
        let file: File = serde_saphyr::from_str(text)?;
        for rule in file.rules {
            let channel = rule.channels.first().copied().unwrap_or(Channel::User);
            let of_rule = rule.any.first().into_iter().chain(rule.examples.matching.first());
            let mut cost = Duration::ZERO;
            for written in of_rule {
                short += time(&set, &repeated(written, SHORT), channel);
                cost += time(&set, &repeated(written, LONG), channel);
            }
            long += cost;
            costs.push((cost, rule.id));
        }
    }
    costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
    for (cost, id) in costs.iter().take(LISTED) {
        println!("{id:<36} {:>8.1} ms", cost.as_secs_f64() * 1_000.0);
    }
    let ratio = long.as_secs_f64() / short.as_secs_f64();
    println!("50 KB {short:?}, 100 KB {long:?}: ratio {ratio:.2}");
    if ratio > WORST_RATIO {
        return Err(format!("ratio {ratio:.2} is more than {WORST_RATIO}").into());
    }
    Ok(())
}

/// The words without what is notation, again and again.
fn repeated(written: &str, length: usize) -> String {
    let words: Vec<&str> = written
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '-')))
        .filter(|word| !word.is_empty())
        .collect();
    let once = words.join(" ") + " ";
    once.repeat(length / once.len() + 1)
}

fn time(set: &PatternSet, text: &str, channel: Channel) -> Duration {
    let mut found = Vec::new();
    let begun = Instant::now();
    set.find(text, channel, &mut found);
    begun.elapsed()
}
