//! What a process has used, and what the machine is.

use std::{fs, time::Duration};

use anyhow::Context;

/// Ticks of `/proc/PID/stat` a second: the same on every Linux that we know.
const TICKS: u64 = 100;

/// Processor time and memory of a process.
pub(crate) struct Usage {
    /// User and system.
    cpu: Duration,
    pub(crate) rss_mib: f64,
    /// Of that, what is no file's: heap and stacks. Pages of programs and libraries can be dropped and are shared.
    pub(crate) own_mib: f64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| format!("{path}: isa has ended"))
        };
        let stat = read("stat")?;
        // The name in parentheses may hold spaces. Fields after it begin with the third.
        let (_, rest) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
        let field = |number: usize| {
            rest.split(' ')
                .nth(number - 3)
                .and_then(|text| text.parse::<u64>().ok())
        };
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        let status = read("status")?;
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
            kib.map(|kib| kib / 1024.0)
                .with_context(|| format!("/proc/PID/status: {name}"))
        };
        Ok(Self {
            cpu: Duration::from_millis(ticks.context("/proc/PID/stat")? * 1000 / TICKS),
            rss_mib: mib("VmRSS:")?,
            own_mib: mib("RssAnon:")?,
        })
    }

    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        self.cpu.saturating_sub(earlier.cpu)
    }
}

/// One line about the machine.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {cores} cores, {:.0} GiB, Linux {}",
        kib.unwrap_or_default() / 1024.0 / 1024.0,
        kernel.trim()
    )
}
