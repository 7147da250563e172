//! CPU time and memory of processes, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// What a process and all its descendants have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time, that of descendants that have ended included.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes, added up over the processes: shared pages count once for each.
    pub(crate) resident: u64,
}

/// Time all processors have spent since boot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MachineTime {
    pub(crate) busy: Duration,
    pub(crate) total: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct ProcessStat {
    parent: u32,
    ticks: u64,
    resident_pages: u64,
}

/// Usage of the process `root` and its descendants.
pub(crate) fn usage_of_tree(root: u32) -> io::Result<Usage> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(stat) = parse_stat(&stat) {
            processes.insert(pid, stat);
        }
    }
    if !processes.contains_key(&root) {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {root} is gone")));
    }
    let page = rustix::param::page_size() as u64;
    let mut usage = Usage::default();
    for (pid, stat) in &processes {
        if is_within(*pid, root, &processes) {
            usage.cpu += ticks_to_time(stat.ticks);
            usage.resident += stat.resident_pages * page;
        }
    }
    Ok(usage)
}

/// CPU time of this process alone, its children not included.
pub(crate) fn own_cpu() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = fields_after_name(&stat);
    let ticks = fields.and_then(|fields| Some(number(&fields, 11)? + number(&fields, 12)?));
    ticks.map(ticks_to_time).ok_or_else(|| io::Error::other("unreadable /proc/self/stat"))
}

/// Busy and total time of the whole machine.
pub(crate) fn machine_time() -> io::Result<MachineTime> {
    let stat = fs::read_to_string("/proc/stat")?;
    parse_machine(&stat).ok_or_else(|| io::Error::other("unreadable /proc/stat"))
}

fn is_within(pid: u32, root: u32, processes: &BTreeMap<u32, ProcessStat>) -> bool {
    let mut at = pid;
    // Bounded by the number of processes: the listing is not atomic and might hold a cycle.
    for _ in 0..=processes.len() {
        if at == root {
            return true;
        }
        match processes.get(&at) {
            Some(stat) => at = stat.parent,
            None => return false,
        }
    }
    false
}

/// Fields from the third on; the second is the name, which may hold spaces and brackets.
fn fields_after_name(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().collect())
}

fn number(fields: &[&str], index: usize) -> Option<u64> {
    fields.get(index)?.parse().ok()
}

fn parse_stat(stat: &str) -> Option<ProcessStat> {
    let fields = fields_after_name(stat)?;
    let ticks = (11..=14).map(|index| number(&fields, index)).sum::<Option<u64>>()?;
    Some(ProcessStat {
        parent: u32::try_from(number(&fields, 1)?).ok()?,
        ticks,
        resident_pages: number(&fields, 21)?,
    })
}

fn parse_machine(stat: &str) -> Option<MachineTime> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    let total: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(MachineTime { busy: ticks_to_time(total - idle), total: ticks_to_time(total) })
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_whose_name_looks_like_fields() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 200 0 0 3 4 5 6 20 0 2 0 9 1000 77 \
                    18446744073709551615 1 1 0 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, ProcessStat { parent: 7, ticks: 18, resident_pages: 77 });
        assert_eq!(parse_stat("42 (cut) S 7"), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let ticks = rustix::param::clock_ticks_per_second();
        let line = format!("cpu  {ticks} 0 {ticks} {ticks} {ticks} 0 0 {ticks} 50 0\ncpu0 1 1\n");
        let time = parse_machine(&line).unwrap();
        assert_eq!(time.busy, Duration::from_secs(3));
        assert_eq!(time.total, Duration::from_secs(5));
    }

    #[test]
    fn descendants_are_found_through_their_parents() {
        let stat = |parent| ProcessStat { parent, ticks: 0, resident_pages: 0 };
        let processes = BTreeMap::from([(1, stat(0)), (5, stat(1)), (6, stat(5)), (7, stat(1))]);
        assert!(is_within(6, 5, &processes));
        assert!(!is_within(7, 5, &processes));
        let cycle = BTreeMap::from([(8, stat(9)), (9, stat(8))]);
        assert!(!is_within(8, 5, &cycle));
    }

    #[test]
    fn this_process_uses_memory_and_the_machine_time() {
        assert!(usage_of_tree(std::process::id()).unwrap().resident > 100_000);
        assert!(machine_time().unwrap().total > Duration::ZERO);
        own_cpu().unwrap();
    }
}
