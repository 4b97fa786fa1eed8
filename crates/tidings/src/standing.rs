//! How capture stands, by what Postgres says of it: for `tidings status` and for a process that waits.

use std::time::Duration;

use api::standing::{Facts, Standing, Stream, judge};
use store::status::{Capture, Reader};

use crate::settings;

/// A sidecar asks the database something twice a second, but while it works out a large group.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How it stands for everybody.
pub fn of_slot(settings: &settings::Capture, seen: &Capture) -> Standing {
    let missing = (!seen.has_slot).then(|| no_slot(settings));
    judge(&Facts {
        slot: &settings.slot,
        stream: seen.reader.as_ref().map(stream),
        waits: seen.standbys > 0,
        trouble: seen.stop_reason.as_deref(),
        missing: missing.as_deref(),
    })
}

/// For how long the sidecar may hear nothing from the server: a status update that asks for an answer may go
/// out as late as two spacings after the last word.
pub fn patience(sender_timeout: Option<Duration>) -> Duration {
    wal::spacing(sender_timeout) * 5 / 2
}

fn stream(reader: &Reader) -> Stream {
    Stream {
        pid: Some(reader.pid),
        silent: reader.silent,
        patience: SILENCE_MAX,
    }
}

/// What to say where the slot is gone: what `run` does about it.
pub fn no_slot(settings: &settings::Capture) -> String {
    let slot = &settings.slot;
    match settings.rebuilds_per_hour {
        0 => format!("replication slot {slot} does not exist: run `tidings setup --new-slot`"),
        _ => format!(
            "replication slot {slot} does not exist: start `tidings run`, which makes a new one and compares \
             tables with images"
        ),
    }
}
