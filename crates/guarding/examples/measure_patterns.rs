//! What the built-in patterns find in labelled texts.
//!
//! ```text
//! cargo run --release -p guarding --example measure_patterns -- DATA [RULE]
//! ```
//!
//! Reads `DATA/injection/*.jsonl`, objects with `text` and `label` (1 attack, 0 benign). Prints for each file
//! and label the share of rows with a hit of at least medium and of at least high severity, with Wilson
//! intervals of 95 %, and the rules that alarm on most benign rows. With `RULE` also beginnings of benign rows
//! on which that rule alarms; with a name of a file for `RULE`, attacks of it that nothing finds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use guarding::Channel;
use guarding::normalise::{Options, Views};
use guarding::patterns::{PatternSet, Severity, built_in};

type Failure = Box<dyn std::error::Error>;

/// So many rules and rows are listed.
const LISTED: usize = 40;
/// Texts that come as documents and not from a user.
const DOCUMENTS: [&str; 2] = ["bipia_indirect", "ru_benign_documents"];
/// Requests for harmful content: families of moderation count, families of attacks do as well.
const MODERATION: [&str; 2] = ["hivetrace_harmful_ru", "hivetrace_ru_llm_rewritten_jailbreaks"];

#[derive(serde::Deserialize)]
struct Row {
    text: String,
    label: u8,
}

#[derive(Default)]
struct Counts {
    rows: u32,
    medium: u32,
    high: u32,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("usage: measure_patterns DATA [RULE]")?;
    let shown = arguments.next().unwrap_or_default();
    let set = PatternSet::compile(&built_in()?)?;
    let mut files: Vec<_> = fs::read_dir(Path::new(&data).join("injection"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    // Rows with a hit of the rule, and those where it was of high severity.
    let mut alarms: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    println!("{} rules", set.rules());
    println!("{:<40} label  rows   >= medium (95 %)            >= high (95 %)", "file");
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let channel = if DOCUMENTS.contains(&&*name) { Channel::Document } else { Channel::User };
        let mut labels: BTreeMap<u8, Counts> = BTreeMap::new();
        let mut listed = 0;
        for line in fs::read_to_string(&path)?.lines() {
            let row: Row = serde_json::from_str(line)?;
            let found = rules(&set, &row.text, channel);
            let worst = found.values().max().copied();
            let counts = labels.entry(row.label).or_default();
            counts.rows += 1;
            counts.medium += u32::from(worst >= Some(Severity::Medium));
            counts.high += u32::from(worst >= Some(Severity::High));
            let missed = shown == name && row.label == 1 && worst < Some(Severity::Medium);
            if listed < LISTED && (missed || row.label == 0 && found.contains_key(&shown)) {
                listed += 1;
                println!("  {:?}", row.text.chars().take(300).collect::<String>());
            }
            if row.label == 0 {
                for (rule, severity) in found {
                    let alarm = alarms.entry(rule).or_default();
                    alarm.0 += 1;
                    alarm.1 += u32::from(severity >= Severity::High);
                }
            }
        }
        for (label, Counts { rows, medium, high }) in labels {
            let note = if MODERATION.contains(&&*name) { "  (moderation)" } else { "" };
            let (medium, high) = (share(medium, rows), share(high, rows));
            println!("{name:<40} {label:>5} {rows:>5}   {medium:<26} {high}{note}");
        }
    }
    println!("\nrule, benign rows with a hit, of them with high severity");
    let mut alarms: Vec<_> = alarms.into_iter().collect();
    alarms.sort_by_key(|(_, (all, high))| std::cmp::Reverse((*high, *all)));
    for (rule, (all, high)) in alarms.iter().take(LISTED) {
        println!("{rule:<40} {all:>6} {high:>6}");
    }
    Ok(())
}

/// The rules that find something in any view of a text, each with its highest severity.
fn rules(set: &PatternSet, text: &str, channel: Channel) -> BTreeMap<String, Severity> {
    let mut matches = Vec::new();
    for (view, _) in Views::of(text, &Options::default()).iter() {
        set.find(view.text(), channel, &mut matches);
    }
    let mut found = BTreeMap::new();
    for hit in matches {
        let severity = found.entry(hit.rule.to_string()).or_insert(hit.severity);
        *severity = (*severity).max(hit.severity);
    }
    found
}

/// A share in percent with the interval of Wilson at 95 %.
fn share(hits: u32, rows: u32) -> String {
    let (n, z) = (f64::from(rows.max(1)), 1.96_f64);
    let p = f64::from(hits) / n;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    let percent = |value: f64| 100.0 * value.clamp(0.0, 1.0);
    let (low, high) = (percent((centre - half) / scale), percent((centre + half) / scale));
    format!("{:>6.2} [{low:.2}, {high:.2}]", 100.0 * p)
}
