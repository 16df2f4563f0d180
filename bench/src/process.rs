//! What processes take, as the system counts it (`/proc`): processor time and memory. Watches only.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// Processor time, user and system, that process `pid` has used so far. As fine as the system's ticks, mostly 10 ms.
///
/// # Errors
/// There is no such process, or this system has no `/proc`.
pub(super) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is a name in parentheses that may hold blanks; counting starts behind it.
    let (_, fields) = stat.rsplit_once(')').with_context(|| format!("{path} names no command"))?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else {
        anyhow::bail!("{path} has no processor times");
    };
    Ok(Duration::from_secs_f64((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Memory of process `pid` that is in RAM, in bytes.
///
/// # Errors
/// As [`cpu_time`].
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} does not say VmRSS"))? * 1024)
}

/// Processor time that this process has used so far.
pub(super) fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Processor times at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    server: Option<Duration>,
    own: Duration,
}

impl Times {
    /// Now, with those of the server if its process is known.
    pub(super) fn now(pid: Option<u32>) -> anyhow::Result<Self> {
        Ok(Self { server: pid.map(cpu_time).transpose()?, own: own_cpu_time() })
    }

    /// What passed since `earlier`: of the server and of this process.
    pub(super) fn since(&self, earlier: &Self) -> (Option<Duration>, Duration) {
        let server = self.server.zip(earlier.server).map(|(now, then)| now.saturating_sub(then));
        (server, self.own.saturating_sub(earlier.own))
    }
}
