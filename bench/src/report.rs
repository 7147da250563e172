//! The one table: figures by row, systems by column, and which goals were reached.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::readings::Readings;
use crate::systems::Kind;

/// A goal of the gateway.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    None,
    /// At most so many times the control's.
    TimesControl(f64),
    AtMost(f64),
}

/// Whether a row shows the figure itself or what it has more than `direct`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Itself,
    Added,
}

struct RowSpec {
    label: &'static str,
    metric: &'static str,
    /// Multiplies what is shown, for another unit.
    scale: f64,
    shown: Shown,
    goal: Goal,
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) metric: &'static str,
    /// Medians; of a row of added time the column `direct` holds the time itself.
    pub(crate) cells: BTreeMap<Kind, f64>,
    /// What the gateway is to reach, in words.
    pub(crate) goal: Option<String>,
    /// How many times the control's the gateway's figure is.
    pub(crate) times_control: Option<f64>,
    pub(crate) reached: Option<bool>,
}

const fn row(label: &'static str, metric: &'static str, goal: Goal) -> RowSpec {
    RowSpec { label, metric, scale: 1.0, shown: Shown::Itself, goal }
}

const fn added(label: &'static str, metric: &'static str, goal: Goal) -> RowSpec {
    RowSpec { label, metric, scale: 1.0, shown: Shown::Added, goal }
}

const ROWS: &[RowSpec] = &[
    row("CPU per request, us", "saturation.cpu_us", Goal::TimesControl(2.5)),
    row("CPU per request, fixed answer, us", "ceiling.cpu_us", Goal::None),
    row("CPU per request at 500/s, us", "steady.cpu_us", Goal::None),
    row("requests/s, 64 connections", "saturation.rate", Goal::None),
    row("requests/s, fixed answer", "ceiling.rate", Goal::None),
    added("p50 added at 500/s, us", "steady.p50_us", Goal::None),
    added("p95 added at 500/s, us", "steady.p95_us", Goal::None),
    added("p99 added at 500/s, us", "steady.p99_us", Goal::None),
    added("p50 added, 1 connection, us", "alone.p50_us", Goal::None),
    added("p99 added, 1 connection, us", "alone.p99_us", Goal::None),
    RowSpec {
        scale: 1e-3,
        ..added("1 MB prompt, p50 added, ms", "long_prompt.p50_us", Goal::AtMost(5.0))
    },
    row("1 MB prompt, CPU, us", "long_prompt.cpu_us", Goal::None),
    added("first token p50 added at 500/s, us", "first_token.first_p50_us", Goal::AtMost(200.0)),
    added("first token p99 added at 500/s, us", "first_token.first_p99_us", Goal::AtMost(1_000.0)),
    row("CPU per chunk, unpaced, us", "burst.cpu_us_per_event", Goal::AtMost(3.0)),
    row("chunks/s, unpaced", "burst.event_rate", Goal::None),
    row("CPU per chunk, 10 ms apart, us", "paced.cpu_us_per_event", Goal::None),
    added("chunk gap p99 added, 10 ms apart, us", "paced.gap_p99_us", Goal::None),
    row("to GigaChat: CPU per request, us", "gigachat_saturation.cpu_us", Goal::TimesControl(4.0)),
    row("to GigaChat: requests/s", "gigachat_saturation.rate", Goal::None),
    added("to GigaChat: p50 added at 500/s, us", "gigachat_steady.p50_us", Goal::None),
    added("to GigaChat: p99 added at 500/s, us", "gigachat_steady.p99_us", Goal::None),
    added(
        "to GigaChat: first token p50 added, us",
        "gigachat_first_token.first_p50_us",
        Goal::None,
    ),
    added(
        "to GigaChat: first token p99 added, us",
        "gigachat_first_token.first_p99_us",
        Goal::None,
    ),
    row("to GigaChat: CPU per chunk, unpaced, us", "gigachat_burst.cpu_us_per_event", Goal::None),
    row("to GigaChat: chunks/s, unpaced", "gigachat_burst.event_rate", Goal::None),
    row(
        "to GigaChat: CPU per chunk, 10 ms apart, us",
        "gigachat_paced.cpu_us_per_event",
        Goal::None,
    ),
    row(
        "from Anthropic: CPU per request, us",
        "anthropic_saturation.cpu_us",
        Goal::TimesControl(4.0),
    ),
    row("from Anthropic: requests/s", "anthropic_saturation.rate", Goal::None),
    added("from Anthropic: p50 added at 500/s, us", "anthropic_steady.p50_us", Goal::None),
    added("from Anthropic: p99 added at 500/s, us", "anthropic_steady.p99_us", Goal::None),
    row(
        "from Anthropic: CPU per chunk, unpaced, us",
        "anthropic_burst.cpu_us_per_event",
        Goal::None,
    ),
    row("from Anthropic: chunks/s, unpaced", "anthropic_burst.event_rate", Goal::None),
    row("memory idle, MB", "idle_mb", Goal::AtMost(40.0)),
    row("memory after the runs, MB", "loaded_mb", Goal::None),
    row("memory under open streams, MB", "held_mb", Goal::None),
    row("open streams held", "held_open", Goal::None),
    row("start to ready, ms", "ready_ms", Goal::AtMost(300.0)),
    row("generator: CPU per request, us", "saturation.generator_cpu_us", Goal::None),
    row("simulator: CPU per request, us", "saturation.providers_cpu_us", Goal::None),
];

/// Works the readings out into rows; rows nobody has a figure for are left out.
pub(crate) fn rows(readings: &Readings, systems: &[Kind]) -> Vec<Row> {
    ROWS.iter()
        .map(|spec| work_out(spec, readings, systems))
        .filter(|row| !row.cells.is_empty())
        .collect()
}

fn work_out(spec: &RowSpec, readings: &Readings, systems: &[Kind]) -> Row {
    let figure = |kind| {
        let value = match spec.shown {
            Shown::Added if kind != Kind::Direct => readings.median_added(spec.metric, kind),
            _ => readings.median(spec.metric, kind),
        };
        value.map(|value| value * spec.scale)
    };
    let cells: BTreeMap<Kind, f64> =
        systems.iter().filter_map(|kind| Some((*kind, figure(*kind)?))).collect();
    let own = cells.get(&Kind::Gateway).copied();
    let times_control = match spec.shown {
        Shown::Itself => readings.median_ratio(spec.metric, Kind::Gateway),
        Shown::Added => None,
    };
    let (goal, reached) = match spec.goal {
        Goal::None => (None, None),
        Goal::AtMost(limit) => (Some(format!("<= {limit}")), own.map(|own| own <= limit)),
        Goal::TimesControl(limit) => {
            (Some(format!("<= {limit} x nginx")), times_control.map(|times| times <= limit))
        }
    };
    Row { label: spec.label, metric: spec.metric, cells, goal, times_control, reached }
}

/// The table as Markdown, its columns aligned.
pub(crate) fn table(rows: &[Row], systems: &[Kind]) -> String {
    let mut lines = vec![heading(systems)];
    lines.extend(rows.iter().map(|row| line(row, systems)));
    let columns = lines[0].len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (index, cells) in lines.iter().enumerate() {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            // Words to the left, figures to the right.
            let _ = if column == 0 || column == columns - 1 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

fn heading(systems: &[Kind]) -> Vec<String> {
    let mut cells = vec!["median".to_owned()];
    cells.extend(systems.iter().map(|kind| kind.name().to_owned()));
    cells.push("gateway / nginx".to_owned());
    cells.push("goal".to_owned());
    cells
}

fn line(row: &Row, systems: &[Kind]) -> Vec<String> {
    let mut cells = vec![row.label.to_owned()];
    cells.extend(
        systems.iter().map(|kind| row.cells.get(kind).map_or("-".to_owned(), |v| figure(*v))),
    );
    cells.push(row.times_control.map_or_else(String::new, |times| format!("{times:.2}")));
    cells.push(match (&row.goal, row.reached) {
        (None, _) => String::new(),
        (Some(goal), None) => goal.clone(),
        (Some(goal), Some(true)) => format!("{goal}: reached"),
        (Some(goal), Some(false)) => format!("{goal}: missed"),
    });
    cells
}

/// Three significant digits, no more.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings() -> Readings {
        let mut readings = Readings::default();
        for (metric, direct, nginx, gateway) in [
            ("saturation.cpu_us", 20.0, 17.0, 34.0),
            ("gigachat_saturation.cpu_us", 20.0, 17.0, 85.0),
            ("long_prompt.p50_us", 1_000.0, 1_500.0, 4_000.0),
            ("idle_mb", 10.0, 5.0, 41.0),
        ] {
            readings.insert(metric, Kind::Direct, 0, direct);
            readings.insert(metric, Kind::Nginx, 0, nginx);
            readings.insert(metric, Kind::Gateway, 0, gateway);
        }
        readings
    }

    const SYSTEMS: [Kind; 3] = [Kind::Direct, Kind::Nginx, Kind::Gateway];

    #[test]
    fn goals_are_judged_by_ratio_or_by_size() {
        let rows = rows(&readings(), &SYSTEMS);
        let by_metric = |metric| rows.iter().find(|row| row.metric == metric).unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(by_metric("saturation.cpu_us").times_control, Some(2.0));
        assert_eq!(by_metric("saturation.cpu_us").reached, Some(true));
        assert_eq!(by_metric("gigachat_saturation.cpu_us").reached, Some(false));
        assert_eq!(by_metric("idle_mb").reached, Some(false));
        let long = by_metric("long_prompt.p50_us");
        assert_eq!(long.reached, Some(true));
        assert_eq!((long.cells[&Kind::Direct], long.cells[&Kind::Gateway]), (1.0, 3.0));
    }

    #[test]
    fn a_goal_without_a_figure_is_neither_reached_nor_missed() {
        let mut readings = Readings::default();
        readings.insert("saturation.cpu_us", Kind::Gateway, 0, 34.0);
        let rows = rows(&readings, &SYSTEMS);
        assert_eq!((rows.len(), rows[0].reached), (1, None));
        assert!(table(&rows, &SYSTEMS).contains("| <= 2.5 x nginx "));
    }

    #[test]
    fn the_table_is_aligned_markdown() {
        let table = table(&rows(&readings(), &SYSTEMS), &SYSTEMS);
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
        assert!(table.contains("<= 2.5 x nginx: reached"), "{table}");
        assert!(table.contains("<= 40: missed"), "{table}");
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(figure(12_345.6), "12346");
        assert_eq!(figure(12.345), "12.3");
        assert_eq!(figure(-1.234), "-1.23");
    }
}
