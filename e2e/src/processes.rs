//! What the kernel says of processes: memory and time on a core. Read from outside, like everything.

use std::{collections::BTreeMap, fs, ops::Range, time::Duration};

use anyhow::Context as _;

/// What `/proc/<pid>/stat` counts in, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Of the fields behind the name's closing bracket: time in user mode, and the next, in the kernel.
const USER_TIME: usize = 11;

/// In MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Shared pages divided among those who share them.
    pub proportional: f64,
    pub resident: f64,
}

impl Memory {
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("read the memory of {pid}"))?;
        let field = |name| Ok::<_, anyhow::Error>(kilobytes(&rollup, name)? as f64 / 1024.0);
        Ok(Self {
            proportional: field("Pss:")?,
            resident: field("Rss:")?,
        })
    }
}

/// How long a process has been on a core, in all its threads.
pub fn time_on_cores(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("read the times of {pid}"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
        .with_context(|| format!("understand the times of {pid}"))
}

fn ticks(stat: &str) -> Option<f64> {
    // The name may have spaces and brackets in it.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(field(USER_TIME)? + field(USER_TIME + 1)?)
}

/// Resident kilobytes of all processes of users in this range, by user.
pub fn kilobytes_by_user(users: &Range<u32>) -> anyhow::Result<BTreeMap<u32, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("list processes")?.flatten() {
        let path = entry.path().join("status");
        // One that has ended meanwhile takes nothing; the kernel's own threads have no memory.
        let Ok(status) = fs::read_to_string(path) else {
            continue;
        };
        let user = number(&status, "Uid:").and_then(|uid| u32::try_from(uid).ok());
        if let Some(user) = user.filter(|user| users.contains(user)) {
            *found.entry(user).or_default() += number(&status, "VmRSS:").unwrap_or(0);
        }
    }
    Ok(found)
}

/// Of the whole machine.
pub fn kilobytes_available() -> anyhow::Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo").context("read the machine's memory")?;
    kilobytes(&memory, "MemAvailable:")
}

/// From a line such as `Pss:    1234 kB`.
fn kilobytes(text: &str, name: &str) -> anyhow::Result<u64> {
    number(text, name).with_context(|| format!("find {name}"))
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read() {
        let rollup = "00400000-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    20 kB\nPss:    14 kB\n";
        assert_eq!(kilobytes(rollup, "Pss:").unwrap(), 14);
        assert!(kilobytes(rollup, "Swap:").is_err());
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 123 456 789";
        assert_eq!(ticks(stat), Some(300.0));
    }

    #[test]
    fn our_own_memory_is_found_by_our_user() {
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let uid = u32::try_from(number(&own, "Uid:").unwrap()).unwrap();
        let found = kilobytes_by_user(&(uid..uid + 1)).unwrap();
        assert!(found[&uid] > 0);
        assert!(kilobytes_by_user(&(uid + 1..uid + 1)).unwrap().is_empty());
    }
}
