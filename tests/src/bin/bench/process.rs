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

/// Processor time of a server: of its postmaster and of all its processes, those that have ended included, in
/// seconds.
pub(crate) fn server_cpu_seconds(postmaster: u32) -> f64 {
    let own = postmaster.to_string();
    let entries = fs::read_dir("/proc").expect("Linux tells of processes");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let processes = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    // One that ends meanwhile counts among those that have ended the next time.
    let of_children = processes.filter_map(|pid| {
        let fields = fields(&pid)?;
        (fields.get(1)? == &own).then(|| sum(&fields, 14))
    });
    of_children.sum::<f64>() + seconds(&own, 14) + seconds(&own, 16)
}

/// Lets [`Sidecar::peak_bytes`] begin anew.
pub(crate) fn forget_peak(sidecar: &Sidecar) {
    let pid = sidecar.pid().expect("the sidecar is running");
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("Linux 4 or later");
}

/// The sum of field `first` of `/proc/PID/stat`, counted from 1 as in proc(5), and the one after it.
fn seconds(pid: &str, first: usize) -> f64 {
    sum(&fields(pid).expect("the process is there"), first)
}

fn sum(fields: &[String], first: usize) -> f64 {
    let ticks = fields.iter().skip(first - 3).take(2);
    let ticks: f64 = ticks
        .map(|field| field.parse::<f64>().expect("a count of ticks"))
        .sum();
    ticks / TICKS_PER_SECOND
}

/// Of `/proc/PID/stat`, from the third on: the process's state, its parent, …
fn fields(pid: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, a name in parentheses, may hold blanks.
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
