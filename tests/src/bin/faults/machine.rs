//! What the matrix was played on.

use std::fs;
use std::thread::available_parallelism;

use scratch::Binaries;

/// Of the servers that are tried, if there are any.
pub(crate) fn postgres_major() -> u16 {
    Binaries::find().map_or(0, |binaries| binaries.version.major)
}

pub(crate) fn describe() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("MemTotal:")?.split_whitespace().next()?;
        Some(kilobytes.parse::<u64>().ok()? >> 20)
    });
    let memory = memory.map_or_else(String::new, |gigabytes| {
        format!(", {gigabytes} GB of memory")
    });
    let postgres =
        Binaries::find().map_or_else(|error| error.to_string(), |b| b.version.to_string());
    let build = match cfg!(debug_assertions) {
        true => "debug",
        false => "release",
    };
    format!("{cores} cores{memory}, Postgres {postgres}, {build} build")
}
