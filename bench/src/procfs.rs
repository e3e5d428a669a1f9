//! What the kernel says about processes and the machine.
//! Not a general reader of `/proc`: only what a report needs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Where a report was made.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// The kind of file system that servers keep their data on. On a `tmpfs` nothing is durable.
    pub(crate) file_system: String,
}

/// Nanoseconds of the clock that all processes of a machine share and nobody sets.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(Duration::try_from(now).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU time of each live thread of a process, in nanoseconds.
#[derive(Debug)]
pub(crate) struct CpuTimes(BTreeMap<OsString, u64>);

impl CpuTimes {
    /// Of the process `pid`, until this moment.
    ///
    /// # Errors
    ///
    /// The process has ended, or the kernel keeps no scheduler statistics.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(&tasks).with_context(|| format!("process {pid} has ended"))? {
            let task = task?;
            let path = task.path().join("schedstat");
            // A thread may end between the two reads; what it used is lost.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let on_cpu_ns = text.split_whitespace().next().and_then(|field| field.parse().ok());
            let on_cpu_ns = on_cpu_ns.with_context(|| format!("{} is odd", path.display()))?;
            threads.insert(task.file_name(), on_cpu_ns);
        }
        Ok(Self(threads))
    }

    /// What was used after `earlier`, by the threads that are still there. One that has ended takes
    /// nothing away from what the others have used.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let used = |(thread, now): (&OsString, &u64)| {
            now.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0))
        };
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

/// The CPU time that all live threads of a process have used.
///
/// # Errors
///
/// As for [`CpuTimes::of`].
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    Ok(Duration::from_nanos(CpuTimes::of(pid)?.0.values().sum()))
}

/// The resident memory of a process in bytes (VmRSS).
///
/// # Errors
///
/// The process has ended.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS")
}

/// The most resident memory that a process ever had, in bytes (VmHWM).
///
/// # Errors
///
/// The process has ended.
pub(crate) fn peak_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM")
}

fn memory(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("process {pid} has ended"))?;
    let kib = value_of(&text, field).and_then(|value| value.split(' ').next()?.parse().ok());
    let kib: u64 = kib.with_context(|| format!("{path} has no {field}"))?;
    Ok(kib * 1024)
}

/// Describes this machine, as far as it tells; servers keep their data in `data_dir`.
pub(crate) fn machine(data_dir: &Path) -> Machine {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    Machine {
        cpu: value_of(&cpu, "model name").unwrap_or("unknown").to_owned(),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        file_system: file_system(&read("/proc/mounts"), data_dir).unwrap_or("unknown").to_owned(),
    }
}

/// The kind of the file system that `dir` is on, by lines of `device place kind options`.
fn file_system<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let dir = dir.canonicalize().ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let holds_dir = mounts.filter(|(place, _)| dir.starts_with(place));
    // Of two on the same place, the later one hides the earlier.
    holds_dir.max_by_key(|(place, _)| place.components().count()).map(|(_, kind)| kind)
}

/// The value of the first `key : value` line.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let is_key = |(name, _): &(&str, &str)| name.trim() == key;
    text.lines().filter_map(|line| line.split_once(':')).find(is_key).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_has_memory_and_has_used_time() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 0);
        assert!(peak_bytes(pid).unwrap() >= resident_bytes(pid).unwrap() / 2);
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
    }

    #[test]
    fn thread_that_has_ended_takes_no_time_away() {
        let times = |threads: &[(&str, u64)]| {
            CpuTimes(threads.iter().map(|&(name, used)| (name.into(), used)).collect())
        };
        let (before, after) = (times(&[("1", 10), ("2", 500)]), times(&[("1", 40), ("3", 7)]));
        assert_eq!(after.since(&before), Duration::from_nanos(37));
    }

    #[test]
    fn deepest_mount_tells_the_file_system() {
        let mounts = "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\nnone /proc tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/proc/self/fd")), Some("tmpfs"));
    }
}
