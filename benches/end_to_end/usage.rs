//! What processes used, as `/proc` tells it.

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of one tick of `/proc`: USER_HZ is 100 on every Linux that postrider runs on.
const TICK_MS: u64 = 10;

/// Processor time and peak memory of one process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time so far.
    pub(crate) cpu_ms: u64,
    /// The most memory it ever had.
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// # Errors
    /// When there is no such process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            cpu_ms: cpu_ms(&stat).context("/proc/PID/stat has utime and stime")?,
            peak_kib: peak_kib(&status).context("/proc/PID/status has VmHWM")?,
        })
    }

    /// The time of all of them together, and the peak of the largest.
    ///
    /// # Errors
    /// When one of them is no more.
    pub(crate) fn of_all(pids: &[u32]) -> Result<Self> {
        pids.iter().try_fold(Self::default(), |all, pid| {
            let one = Self::of(*pid)?;
            Ok(Self {
                cpu_ms: all.cpu_ms + one.cpu_ms,
                peak_kib: all.peak_kib.max(one.peak_kib),
            })
        })
    }
}

/// The name in parentheses may hold anything, so fields are counted from its end.
fn cpu_ms(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_MS)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Time that all processors of the machine were busy so far.
///
/// # Errors
/// When `/proc/stat` cannot be read.
pub(crate) fn machine_ms() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().context("/proc/stat has a line")?;
    let ticks = first.split_whitespace().skip(1).map(str::parse::<u64>);
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal; guest times are in user already.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum::<u64>();
    Ok(busy * TICK_MS)
}

/// Nanoseconds of the clock that all processes of a machine share and nobody sets.
pub(crate) fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
