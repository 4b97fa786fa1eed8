//! What a process has taken of the processor and of memory, as Linux tells it.

use std::fs;

use tests::Sidecar;

/// The unit of processor time in `/proc`: USER_HZ, which Linux keeps at this on the usual machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of a running sidecar, in seconds.
pub(crate) fn cpu_seconds(sidecar: &Sidecar) -> f64 {
    let pid = sidecar.pid().expect("the sidecar is running");
    seconds(&pid.to_string(), 14)
}

/// Processor time of the children of this process that have ended, in seconds.
pub(crate) fn ended_children_cpu_seconds() -> f64 {
    seconds("self", 16)
}

/// Lets [`Sidecar::peak_bytes`] begin anew.
pub(crate) fn forget_peak(sidecar: &Sidecar) {
    let pid = sidecar.pid().expect("the sidecar is running");
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("Linux 4 or later");
}

/// The sum of field `first` of `/proc/PID/stat`, counted from 1 as in proc(5), and the one after it.
fn seconds(pid: &str, first: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // The second field, a name in parentheses, may hold blanks.
    let (_, rest) = stat.rsplit_once(')').expect("the name is in parentheses");
    let fields = rest.split_whitespace().skip(first - 3).take(2);
    let ticks: f64 = fields
        .map(|field| field.parse::<f64>().expect("a count of ticks"))
        .sum();
    ticks / TICKS_PER_SECOND
}
