//! Measures how well names of persons are found.
//!
//! `cargo run --release -p guarding --example measure_names -- DATA [--cross] [--errors N]` prints
//! recall and precision with 95 % intervals: on NEREL, which nothing is learned from, and on held-out
//! sentences of the grammar; with `--cross` also on the sets that are learned from, each fifth of
//! their texts by weights from the rest.

#[path = "../train_names/data.rs"]
mod data;
#[path = "../train_names/grammar.rs"]
mod grammar;
#[path = "../train_names/templates.rs"]
mod templates;
#[path = "../train_names/train.rs"]
mod train;

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use guarding::names::tagger::Tagger;
use guarding::names::{self, Prepared};

use crate::data::Counts;
use crate::grammar::Row;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("give the folder of the labelled data")?);
    let errors = arguments
        .iter()
        .position(|argument| argument == "--errors")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(0);
    let mut nerel = data::read(&folder.join("pii_nerel_ru_train.jsonl"))?;
    nerel.extend(data::read(&folder.join("pii_nerel_ru_dev.jsonl"))?);
    let forms = data::generated(&[templates::HELD_OUT], 40, 99);
    for (title, rows) in [("NEREL", &nerel), ("held-out forms", &forms)] {
        // Errors on NEREL are not told: nothing may be learned from it, by people either.
        let errors = if title == "NEREL" { 0 } else { errors };
        measure(title, rows, errors, |text| {
            let mut findings = Vec::new();
            names::find(text, &mut findings);
            findings.into_iter().map(|finding| finding.span).collect()
        });
    }
    speed(&nerel);
    if arguments.iter().any(|argument| argument == "--cross") {
        let news = data::read(&folder.join("pii_factrueval2016_ru_devset.jsonl"))?;
        let english = data::read(&folder.join("pii_presidio_synth_en.jsonl"))?;
        cross(news, english, errors)?;
    }
    Ok(())
}

fn measure(title: &str, rows: &[Row], errors: usize, find: impl Fn(&str) -> Vec<Range<usize>>) {
    let mut counts = Counts::default();
    let mut told = [Vec::new(), Vec::new()];
    for row in rows {
        counts.add(row, &find(&row.text), |wrong, name, around| {
            told[usize::from(wrong)].push(format!("{name}  <  {around}"));
        });
    }
    counts.print(title);
    for (list, what) in told.iter().zip(["overlooked", "wrong"]) {
        let every = (list.len() / errors.max(1)).max(1);
        for line in list.iter().step_by(every).take(errors) {
            println!("    {what}: {line}");
        }
    }
}

fn speed(rows: &[Row]) {
    let text: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let bytes: usize = text.iter().map(|text| text.len()).sum();
    let from = Instant::now();
    let mut findings = Vec::new();
    for text in &text {
        findings.clear();
        names::find(text, &mut findings);
    }
    println!("speed {:.1} MB/s", bytes as f64 / 1e6 / from.elapsed().as_secs_f64());
}

/// Takes every fifth text for measuring, the others for learning, five times.
fn cross(news: Vec<Row>, english: Vec<Row>, errors: usize) -> Result<(), Box<dyn Error>> {
    let made = train::made(1);
    let mut counts = [Counts::default(), Counts::default()];
    for fold in 0..5 {
        let part = |rows: &[Row], held: bool| -> Vec<Row> {
            let rows = rows.iter().enumerate().filter(|(at, _)| (at % 5 == fold) == held);
            rows.map(|(_, row)| Row { text: row.text.clone(), names: row.names.clone() }).collect()
        };
        let (some_news, some_english) = (part(&news, false), part(&english, false));
        let sets = train::sets(&some_news, &some_english, &made);
        let tagger = Tagger::read(&train::train(&sets, train::BIAS, 1)).ok_or("bad weights")?;
        for (counts, rows) in counts.iter_mut().zip([part(&news, true), part(&english, true)]) {
            for row in rows {
                let prepared = Prepared::new(&row.text);
                let found: Vec<Range<usize>> = prepared
                    .names(&tagger)
                    .into_iter()
                    .map(|(name, _)| {
                        prepared.tokens[name.start].start..prepared.tokens[name.end - 1].end
                    })
                    .collect();
                let mut left = if fold == 0 { errors } else { 0 };
                counts.add(&row, &found, |wrong, name, around| {
                    if left > 0 {
                        left -= 1;
                        println!(
                            "    {} {name}  <  {around}",
                            if wrong { "wrong:" } else { "overlooked:" }
                        );
                    }
                });
            }
        }
    }
    for (counts, title) in counts.iter().zip(["factRuEval, five folds", "presidio, five folds"]) {
        counts.print(title);
    }
    Ok(())
}
