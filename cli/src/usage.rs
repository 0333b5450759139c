//! What processes used: CPU time and peak memory, from `/proc` (nothing where there is none).

/// What one process used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// Seconds of CPU, user and system.
    pub(crate) cpu_s: f64,
    /// Peak resident memory in MiB.
    pub(crate) peak_rss_mb: f64,
}

/// Reads what a process used so far; none when it is gone or the system has no `/proc`.
pub(crate) fn of(pid: u32) -> Option<Used> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Used { cpu_s: ticks(&stat)? / ticks_per_second(), peak_rss_mb: peak_kb(&status)? / 1024.0 })
}

/// Seconds of CPU that all processes of this machine used since it was started; none where there is no `/proc`.
pub(crate) fn machine_busy_s() -> Option<f64> {
    Some(busy_ticks(&std::fs::read_to_string("/proc/stat").ok()?)? / ticks_per_second())
}

/// All fields of the first line but the idle ones (idle, waiting for the disk) and those that are counted twice (guests) or
/// are not ours (stolen).
fn busy_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<f64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let [user, nice, system, _idle, _disk, interrupt, soft_interrupt, ..] = fields[..] else { return None };
    Some(user + nice + system + interrupt + soft_interrupt)
}

fn ticks_per_second() -> f64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|t| i32::try_from(t).ok()).map_or(100.0, f64::from)
}

/// User and system time: the 14th and 15th field, counted after the name, which may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn peak_kb(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 200";
        assert_eq!(ticks(stat), Some(300.0));
    }

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(peak_kb("Name:\tx\nVmHWM:\t   2048 kB\n"), Some(2048.0));
    }

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  10 2 30 400 50 6 7 8 9 0\ncpu0 1 1 1 1"), Some(55.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_something() {
        assert!(of(std::process::id()).unwrap().peak_rss_mb > 0.0);
    }
}
