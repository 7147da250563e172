//! Runs the comparison: every system up at once, runs interleaved, one sample a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Doing, Error, Result};
use crate::load::{self, Outcome, Plan};
use crate::procfs;
use crate::readings::Readings;
use crate::scenario::{self, Effort, Scenario};
use crate::systems::{self, Kind, Places, Providers, System};
use crate::workload::Exchange;

/// Set when the process is asked to end; looked at between runs.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

/// Pause after the start before idle memory is read.
const SETTLE: Duration = Duration::from_millis(500);

/// One run against one system.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) system: Kind,
    pub(crate) scenario: &'static str,
    pub(crate) outcome: Outcome,
    /// CPU seconds of the system; of `direct`, none.
    pub(crate) system_cpu_s: f64,
    pub(crate) providers_cpu_s: f64,
    pub(crate) generator_cpu_s: f64,
    /// Share of the machine that was taken by processes outside the comparison, 0 to 1.
    pub(crate) foreign_share: f64,
}

/// What a comparison has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) samples: Vec<Sample>,
    pub(crate) readings: Readings,
    pub(crate) versions: BTreeMap<Kind, String>,
}

#[derive(Clone, Copy)]
struct CpuMark {
    system: Duration,
    providers: Duration,
    generator: Duration,
    machine: procfs::MachineTime,
}

/// Compares the systems; `progress` is told what is going on.
pub(crate) fn compare(
    kinds: &[Kind],
    effort: &Effort,
    places: &Places,
    mut progress: impl FnMut(&str),
) -> Result<Findings> {
    let mut findings = Findings::default();
    progress("starting the providers");
    let providers = Providers::start(places)?;
    let mut systems = Vec::new();
    for kind in kinds {
        check_stop()?;
        progress(&format!("starting {}", kind.name()));
        systems.push(start(*kind, effort, places, &providers, &mut findings)?);
    }
    for round in 0..effort.repeat {
        for scenario in scenario::all(effort) {
            // Another system goes first each time, so that none always follows a quiet machine.
            let first = 1.min(systems.len());
            systems.rotate_left(first);
            for system in &systems {
                check_stop()?;
                progress(&format!("round {} {} {}", round + 1, scenario.id, system.kind.name()));
                if let Some(sample) = measure(round, &scenario, system, &providers, effort)? {
                    findings.readings.take(&sample);
                    findings.samples.push(sample);
                }
            }
        }
    }
    for system in &systems {
        check_stop()?;
        progress(&format!("{} open streams {}", effort.held_streams, system.kind.name()));
        let resident = usage(system, &providers)?.resident;
        findings.readings.insert("loaded_mb", system.kind, 0, megabytes(resident));
        hold_streams(system, &providers, effort, &mut findings.readings)?;
    }
    Ok(findings)
}

fn check_stop() -> Result<()> {
    if STOP.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

fn start(
    kind: Kind,
    effort: &Effort,
    places: &Places,
    providers: &Providers,
    findings: &mut Findings,
) -> Result<System> {
    let starts = if kind.is_quick_to_start() { effort.repeat.max(3) } else { 1 };
    let mut system = systems::start(kind, places, providers)?;
    for round in 0..starts {
        if round > 0 {
            drop(system);
            system = systems::start(kind, places, providers)?;
        }
        let ready_ms = system.ready_in.as_secs_f64() * 1e3;
        findings.readings.insert("ready_ms", kind, round, ready_ms);
    }
    thread::sleep(SETTLE);
    let resident = usage(&system, providers)?.resident;
    findings.readings.insert("idle_mb", kind, 0, megabytes(resident));
    findings.versions.insert(kind, system.version.clone());
    Ok(system)
}

/// Of `direct`, the simulator's.
fn usage(system: &System, providers: &Providers) -> Result<procfs::Usage> {
    system.server.as_ref().unwrap_or(&providers.simulator).usage()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn mark(system: &System, providers: &Providers) -> Result<CpuMark> {
    let system = match &system.server {
        Some(server) => server.usage()?.cpu,
        None => Duration::ZERO,
    };
    Ok(CpuMark {
        system,
        providers: providers.cpu()?,
        generator: procfs::own_cpu().doing(|| "reading own CPU time".to_owned())?,
        machine: procfs::machine_time().doing(|| "reading /proc/stat".to_owned())?,
    })
}

fn measure(
    round: u32,
    scenario: &Scenario,
    system: &System,
    providers: &Providers,
    effort: &Effort,
) -> Result<Option<Sample>> {
    let request = system.request(scenario.exchange, &scenario.prompt, scenario.streamed)?;
    let Some(request) = request else { return Ok(None) };
    let doing = || format!("driving {}", system.kind.name());
    let warm_up = Plan { duration: effort.warm_up, ..scenario.plan };
    load::run(request.clone(), &warm_up).doing(doing)?;
    let before = mark(system, providers)?;
    let outcome = load::run(request, &scenario.plan).doing(doing)?;
    let after = mark(system, providers)?;
    let own = (after.system - before.system)
        + (after.providers - before.providers)
        + (after.generator - before.generator);
    let busy = after.machine.busy.saturating_sub(before.machine.busy);
    let total = after.machine.total.saturating_sub(before.machine.total);
    let foreign = busy.saturating_sub(own).as_secs_f64() / total.as_secs_f64().max(1e-3);
    Ok(Some(Sample {
        round,
        system: system.kind,
        scenario: scenario.id,
        outcome,
        system_cpu_s: (after.system - before.system).as_secs_f64(),
        providers_cpu_s: (after.providers - before.providers).as_secs_f64(),
        generator_cpu_s: (after.generator - before.generator).as_secs_f64(),
        foreign_share: foreign,
    }))
}

fn hold_streams(
    system: &System,
    providers: &Providers,
    effort: &Effort,
    readings: &mut Readings,
) -> Result<()> {
    let prompt = scenario::held_stream_prompt();
    let Some(request) = system.request(Exchange::SameDialect, &prompt, true)? else {
        return Ok(());
    };
    let patience = Duration::from_secs(60);
    let held =
        load::hold_streams(request, effort.held_streams, patience, || usage(system, providers))
            .doing(|| format!("holding streams at {}", system.kind.name()))?;
    readings.insert("held_open", system.kind, 0, held.open as f64);
    readings.insert("held_opening_s", system.kind, 0, held.opened_in.as_secs_f64());
    readings.insert("held_mb", system.kind, 0, megabytes(held.reading?.resident));
    Ok(())
}
