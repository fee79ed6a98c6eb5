//! The machine that is measured on: how it is named in a table, and how busy it is.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::BenchError;

/// Processors that this process may use.
pub fn n_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time that all processes together have taken since the machine started.
pub fn busy_time() -> Result<Duration, BenchError> {
    busy_ticks(&fs::read_to_string("/proc/stat")?)
        .map(|ticks| Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
        .ok_or_else(|| "/proc/stat has no line that counts all processors".into())
}

/// Everything but idling and waiting for devices; guests are counted in user time already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _io_wait, irq, soft_irq, steal, ..] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + irq + soft_irq + steal)
}

/// Memory that can be taken without pushing anything out.
pub fn available_bytes() -> Result<u64, BenchError> {
    memory_bytes("MemAvailable:")
}

fn memory_bytes(name: &str) -> Result<u64, BenchError> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    value.map(|kibibytes| kibibytes << 10).ok_or_else(|| format!("/proc/meminfo has no {name}").into())
}

/// One line for the head of a table: processor, memory, kernel, date.
pub fn description() -> Result<String, BenchError> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let gibibytes = memory_bytes("MemTotal:")? as f64 / f64::from(1 << 30);
    let date = Command::new("date").arg("+%Y-%m-%d").output()?;
    Ok(format!(
        "{} × {model}, {gibibytes:.0} GiB, Linux {}, {}",
        n_processors(),
        kernel.trim(),
        String::from_utf8(date.stdout)?.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_is_not_being_busy() {
        let stat = "cpu  1 2 3 1000 2000 4 5 6 7 8\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(21));
        assert_eq!(busy_ticks("intr 1\n"), None);
    }

    #[test]
    fn this_machine_describes_itself() {
        let line = description().unwrap();
        assert!(line.contains("GiB, Linux ") && !line.contains('\n'), "{line}");
    }
}
