//! What the figures were measured on.

use std::fs;
use std::thread::available_parallelism;

use scratch::{Binaries, Builder, Server};

/// Of every server here: durable as it comes, with room enough that checkpoints stay out of the way.
const SETTINGS: [(&str, &str); 3] = [
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "30min"),
];

pub(crate) fn server() -> Builder {
    let builder = Server::builder();
    SETTINGS.iter().fold(builder, |builder, (name, value)| {
        builder.setting(name, *value)
    })
}

pub(crate) fn print(seed: u64) {
    let cores = available_parallelism().map_or(0, usize::from);
    let model = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = line("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let postgres = Binaries::find().expect("make bench has looked for them");
    let settings = SETTINGS.map(|(name, value)| format!("{name} {value}"));
    let build = if cfg!(debug_assertions) {
        "DEBUG, which says nothing about speed"
    } else {
        "release"
    };
    println!("machine   {cores} cores, {model}, memory {memory}, load {load} before the run");
    println!(
        "postgres  {}, fsync on, {}",
        postgres.version,
        settings.join(", ")
    );
    println!("build     {build}, Tidings {}", env!("CARGO_PKG_VERSION"));
    println!("seed      {seed}");
}

/// The value of the first line `NAME : VALUE`.
fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) = text
        .lines()
        .find(|line| line.starts_with(name))?
        .split_once(':')?;
    Some(value.trim().to_owned())
}
