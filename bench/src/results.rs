//! Results as a JSON file that machines read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::compare::{Findings, Sample};
use crate::error::{Doing, Result};
use crate::report::Row;
use crate::scenario::{Effort, OPEN_RATE};
use crate::systems::Kind;

#[derive(Serialize)]
struct Machine {
    cores: usize,
    cpu: Option<String>,
    kernel: Option<String>,
}

#[derive(Serialize)]
struct Settings {
    run_s: f64,
    warm_up_s: f64,
    repeat: u32,
    open_rate: f64,
    held_streams: usize,
}

#[derive(Serialize)]
struct Results<'a> {
    /// Seconds since 1970.
    finished_at: u64,
    machine: Machine,
    settings: Settings,
    versions: &'a BTreeMap<Kind, String>,
    table: &'a [Row],
    samples: &'a [Sample],
}

/// Writes a file named after the time into the directory and returns its path.
pub(crate) fn write(
    directory: &Path,
    effort: &Effort,
    findings: &Findings,
    table: &[Row],
) -> Result<PathBuf> {
    let finished_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let results = Results {
        finished_at,
        machine: machine(),
        settings: Settings {
            run_s: effort.run.as_secs_f64(),
            warm_up_s: effort.warm_up.as_secs_f64(),
            repeat: effort.repeat,
            open_rate: OPEN_RATE,
            held_streams: effort.held_streams,
        },
        versions: &findings.versions,
        table,
        samples: &findings.samples,
    };
    fs::create_dir_all(directory).doing(|| format!("creating {}", directory.display()))?;
    let path = directory.join(format!("{finished_at}.json"));
    let text = serde_json::to_vec_pretty(&results)?;
    fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu: model.and_then(|line| line.split_once(": ")).map(|(_, name)| name.to_owned()),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .ok()
            .map(|release| release.trim().to_owned()),
    }
}
