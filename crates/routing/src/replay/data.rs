use std::collections::BTreeMap;

use serde::Deserialize;

use super::scan::scan;
use crate::memory::DecisionRecord;
use crate::request::PromptFeatures;

/// What a deployment's answer to a prompt was like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// From 0 to 1.
    pub quality: f64,
    /// In the unit of the file.
    pub cost: f64,
    /// Tokens of the prompt, as this deployment counts.
    pub prompt_tokens: f64,
}

/// A prompt and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What the prompt is like: all that a policy sees of it.
    pub features: PromptFeatures,
    /// By deployment, in the order of [`Table::deployments`]; `None`: it was not asked.
    pub cells: Vec<Option<Cell>>,
}

/// Prompts that several deployments answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Their names.
    pub deployments: Vec<String>,
    /// The prompts.
    pub rows: Vec<Row>,
}

/// Decisions with known quality, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    /// Names of the deployments that were chosen.
    pub deployments: Vec<String>,
    /// The decisions.
    pub records: Vec<DecisionRecord>,
    /// Lines left out, because nothing came of the request or nobody could tell its quality.
    pub left_out: usize,
}

/// Past outcomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Past {
    /// Each deployment's answer is known.
    Table(Table),
    /// Only the chosen deployment's.
    Log(Log),
}

impl Past {
    /// Requests that can be replayed.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Table(table) => table.rows.len(),
            Self::Log(log) => log.records.len(),
        }
    }
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// It is no such record.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is of the other kind than the lines before.
    #[error("tables (`outcomes`) and logs (`chosen`) cannot be in one file")]
    Mixed,
    /// A value is out of its bounds.
    #[error("{0}")]
    Value(String),
}

#[derive(Deserialize)]
struct TableLine {
    prompt: String,
    outcomes: BTreeMap<String, CellLine>,
}

#[derive(Deserialize)]
struct CellLine {
    correct: Option<bool>,
    quality: Option<f64>,
    #[serde(default)]
    prompt_tokens: f64,
    #[serde(alias = "cost")]
    cost_usd: f64,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    outcomes: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    chosen: Option<serde::de::IgnoredAny>,
}

/// Reads past outcomes line by line.
#[derive(Debug, Default)]
pub struct PastReader {
    past: Option<Past>,
}

impl PastReader {
    /// Reads a line: a row of a table or a decision. Blank lines say nothing.
    pub fn line(&mut self, line: &str) -> Result<(), LineFault> {
        if line.trim().is_empty() {
            return Ok(());
        }
        let kind: Kind = serde_json::from_str(line)?;
        match (kind.outcomes.is_some(), kind.chosen.is_some()) {
            (true, false) => self.row(serde_json::from_str(line)?),
            (false, true) => self.record(serde_json::from_str(line)?),
            _ => Err(LineFault::Value(
                "expected `prompt` and `outcomes` (a table) or a decision with `chosen`".to_owned(),
            )),
        }
    }

    fn row(&mut self, line: TableLine) -> Result<(), LineFault> {
        let past = self.past.get_or_insert_with(|| Past::Table(Table::default()));
        let Past::Table(table) = past else { return Err(LineFault::Mixed) };
        if line.outcomes.is_empty() {
            return Err(LineFault::Value("`outcomes` is empty".to_owned()));
        }
        let features = scan(&line.prompt);
        let mut cells = vec![None; table.deployments.len()];
        for (name, cell) in line.outcomes {
            let quality = cell
                .quality
                .or_else(|| cell.correct.map(|correct| f64::from(u8::from(correct))))
                .filter(|quality| (0.0..=1.0).contains(quality))
                .ok_or_else(|| wrong(&name, "`correct`, or `quality` from 0 to 1, is missing"))?;
            let sound = |value: f64| value.is_finite() && value >= 0.0;
            if !sound(cell.cost_usd) || !sound(cell.prompt_tokens) {
                return Err(wrong(&name, "`cost_usd` and `prompt_tokens` cannot be negative"));
            }
            let prompt_tokens = if cell.prompt_tokens > 0.0 {
                cell.prompt_tokens
            } else {
                f64::from(features.log_tokens).exp_m1().max(1.0)
            };
            let at = position(&mut table.deployments, &name);
            if cells.len() <= at {
                cells.resize(at + 1, None);
            }
            if let Some(place) = cells.get_mut(at) {
                *place = Some(Cell { quality, cost: cell.cost_usd, prompt_tokens });
            }
        }
        table.rows.push(Row { features, cells });
        Ok(())
    }

    fn record(&mut self, record: DecisionRecord) -> Result<(), LineFault> {
        let past = self.past.get_or_insert_with(|| Past::Log(Log::default()));
        let Past::Log(log) = past else { return Err(LineFault::Mixed) };
        if !(record.propensity > 0.0 && record.propensity <= 1.0) {
            return Err(LineFault::Value("`propensity` must be above 0 and at most 1".to_owned()));
        }
        let quality = record.outcome.as_ref().and(record.quality());
        if quality.is_some_and(|quality| !(0.0..=1.0).contains(&quality)) {
            return Err(LineFault::Value("`quality` must be from 0 to 1".to_owned()));
        }
        position(&mut log.deployments, &record.chosen);
        if quality.is_some() {
            log.records.push(record);
        } else {
            log.left_out += 1;
        }
        Ok(())
    }

    /// What was read; `None`: nothing.
    #[must_use]
    pub fn finish(self) -> Option<Past> {
        let mut past = self.past?;
        if let Past::Table(table) = &mut past {
            for row in &mut table.rows {
                row.cells.resize(table.deployments.len(), None);
            }
        }
        Some(past)
    }
}

fn wrong(name: &str, what: &str) -> LineFault {
    LineFault::Value(format!("outcomes.{name}: {what}"))
}

fn position(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}
