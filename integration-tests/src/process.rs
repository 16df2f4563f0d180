//! What Linux tells of processes, and signals to them. Owns nothing; reads `/proc` anew each time.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Linux reports in hundredths of a second on every architecture we build for.
const TICK: Duration = Duration::from_millis(10);

/// Where `/proc/…/stat` holds the parent, counted behind the command's name.
const PARENT: usize = 1;
/// Where user time begins: user, system, and both again of children that have ended.
const TIMES: usize = 11;
const TIMES_OF_CHILDREN: usize = TIMES + 2;

/// Processor time that a process has used so far, user and system, without its children.
///
/// # Errors
/// There is no such process, or this system has no `/proc`.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let fields = stat(pid)?;
    Ok(ticks(&fields, TIMES, 2))
}

/// As [`cpu_time`], with all children that live or have ended.
///
/// # Errors
/// As [`cpu_time`].
pub fn cpu_time_of_family(pid: u32) -> anyhow::Result<Duration> {
    let own = ticks(&stat(pid)?, TIMES, 4);
    // A child that has just ended is counted with its parent next time.
    Ok(own + children(pid)?.into_iter().filter_map(|child| cpu_time(child).ok()).sum::<Duration>())
}

/// Processor time of our own children that have ended, and of theirs.
///
/// # Errors
/// This system has no `/proc`.
pub fn cpu_time_of_ended_children() -> anyhow::Result<Duration> {
    Ok(ticks(&stat(std::process::id())?, TIMES_OF_CHILDREN, 2))
}

/// Memory of a process that is resident, in bytes; nothing of one that has ended and is not collected yet.
///
/// # Errors
/// There is no such process, or this system has no `/proc`.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm.split_whitespace().nth(1).context("/proc/…/statm tells what is resident")?.parse::<u64>()?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// The direct children of a process.
///
/// # Errors
/// This system has no `/proc`.
pub fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended since it was listed.
        let Ok(fields) = stat(pid) else { continue };
        if fields.get(PARENT).and_then(|field| field.parse().ok()) == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Waits until a process that is no child of ours is gone, or only waits to be collected. For `drop`, which can't wait
/// otherwise.
pub fn wait_for_end(pid: u32, limit: Duration) {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline && stat(pid).is_ok_and(|fields| fields.first().is_some_and(|state| state != "Z")) {
        std::thread::sleep(TICK);
    }
}

/// Sends a signal.
///
/// # Errors
/// There is no such process, or the system refuses.
pub fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = numbered(pid)?;
    kill_process(pid, signal).with_context(|| format!("send {signal:?} to process {}", pid.as_raw_nonzero()))
}

/// The process with this number.
///
/// # Errors
/// No process can have it.
pub fn numbered(pid: u32) -> anyhow::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process has a number")
}

/// The fields of `/proc/…/stat` behind the command's name, which stands in parentheses and may hold blanks.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/…/stat names the command")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], first: usize, count: usize) -> Duration {
    let ticks: u32 = fields.iter().skip(first).take(count).map(|ticks| ticks.parse::<u32>().unwrap_or(0)).sum();
    TICK * ticks
}
