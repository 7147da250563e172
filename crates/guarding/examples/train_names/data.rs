//! Labelled texts, and how well names are found in them.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use crate::grammar::{Grammar, Row};

/// Reads a set of JSON lines; offsets there are in characters.
pub(crate) fn read(file: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        let text = value["text"].as_str().unwrap_or_default().to_owned();
        let mut places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        places.push(text.len());
        let mut names: Vec<Range<usize>> = Vec::new();
        for span in value["spans"].as_array().into_iter().flatten() {
            let at = |key: &str| {
                let place = span[key].as_u64().unwrap_or(0) as usize;
                places.get(place).copied().unwrap_or(text.len())
            };
            if span["type"] == "PERSON" {
                names.push(at("start")..at("end"));
            }
        }
        names.sort_by_key(|name| (name.start, name.end));
        rows.push(Row { text, names });
    }
    Ok(rows)
}

/// Sentences of the grammar: each template this many times.
pub(crate) fn generated(templates: &[&[&str]], times: usize, seed: u64) -> Vec<Row> {
    let mut grammar = Grammar::new(seed);
    let mut rows = Vec::new();
    for template in templates.iter().flat_map(|list| list.iter()) {
        for time in 0..times {
            rows.push(grammar.sentence(template, time % 3 == 0));
        }
    }
    rows
}

/// What was found and what should have been.
#[derive(Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) gold: usize,
    pub(crate) covered: usize,
    pub(crate) found: usize,
    pub(crate) right: usize,
}

impl Counts {
    /// Adds a text: a name counts as found when 80 % of its characters are covered, a finding as
    /// right when half of it lies in names.
    pub(crate) fn add(
        &mut self,
        row: &Row,
        found: &[Range<usize>],
        mut tell: impl FnMut(bool, &str, &str),
    ) {
        let mut in_gold = vec![false; row.text.len()];
        let mut in_found = vec![false; row.text.len()];
        for (spans, marks) in [(row.names.as_slice(), &mut in_gold), (found, &mut in_found)] {
            for span in spans {
                marks[span.clone()].fill(true);
            }
        }
        let share = |span: &Range<usize>, marks: &[bool]| {
            let inside = marks[span.clone()].iter().filter(|mark| **mark).count();
            inside as f64 / span.len().max(1) as f64
        };
        let around = |span: &Range<usize>| {
            let mut from = span.start.saturating_sub(60);
            while !row.text.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (span.end + 40).min(row.text.len());
            while !row.text.is_char_boundary(to) {
                to += 1;
            }
            row.text[from..to].replace('\n', "/")
        };
        for name in &row.names {
            self.gold += 1;
            let good = share(name, &in_found) >= 0.8;
            self.covered += usize::from(good);
            if !good {
                tell(false, &row.text[name.clone()], &around(name));
            }
        }
        for name in found {
            self.found += 1;
            let good = share(name, &in_gold) >= 0.5;
            self.right += usize::from(good);
            if !good {
                tell(true, &row.text[name.clone()], &around(name));
            }
        }
    }

    pub(crate) fn print(&self, title: &str) {
        let (low, high) = wilson(self.covered, self.gold);
        let (low2, high2) = wilson(self.right, self.found);
        println!(
            "{title:32} recall {:.2} % [{low:.2}, {high:.2}] of {}; precision {:.2} % [{low2:.2}, {high2:.2}] of {}",
            percent(self.covered, self.gold),
            self.gold,
            percent(self.right, self.found),
            self.found
        );
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Bounds of a share with 95 % confidence, in per cent.
fn wilson(part: usize, whole: usize) -> (f64, f64) {
    let (z, n) = (1.96_f64, whole.max(1) as f64);
    let share = part as f64 / n;
    let middle = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let by = 1.0 + z * z / n;
    (100.0 * (middle - spread) / by, 100.0 * (middle + spread) / by)
}
