use std::io::IsTerminal;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Starts the log on standard error: human on a terminal, JSON otherwise.
pub fn start(log: &Log) -> anyhow::Result<()> {
    // What libraries say of their own work is noise below a warning, unless it is asked for.
    let quiet = format!("refinery_core=warn,tokio_postgres=warn,{}", log.level);
    let filter = EnvFilter::builder()
        .parse(quiet)
        .map_err(|error| anyhow!("log.level is no level or filter: {error}"))?;
    let human = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if human {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow!("the log is started already: {error}"))
}
