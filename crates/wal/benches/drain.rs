//! The replication client as a program that drains a slot to nothing, as `pg_recvlogical -f
//! /dev/null` does: `make bench` runs one after the other on the same WAL and compares.
//!
//! In: `WAL_DRAIN_URL`, `WAL_DRAIN_SLOT`, `WAL_DRAIN_PUBLICATION`, `WAL_DRAIN_UNTIL` (an LSN) and
//! `WAL_DRAIN_ROWS`. Fails unless exactly so many row changes come before that position.
#![expect(
    clippy::unwrap_used,
    reason = "a program of a benchmark fails by panicking"
)]

use activity::{Lsn, Part};
use connect::Target;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wal::{Confirm, Connection, Event, Limits, Resume, Start};

/// As capture has them.
const EVENTS_MAX: usize = 4;
const LIMITS: Limits = Limits {
    changes: 2048,
    bytes: 4 << 20,
};

#[tokio::main]
async fn main() {
    let target = Target::parse(&variable("WAL_DRAIN_URL")).unwrap();
    let until: Lsn = variable("WAL_DRAIN_UNTIL").parse().unwrap();
    let rows: usize = variable("WAL_DRAIN_ROWS").parse().unwrap();
    let start = Start {
        slot: variable("WAL_DRAIN_SLOT"),
        publication: variable("WAL_DRAIN_PUBLICATION"),
        from: Lsn::ZERO,
        resume: Resume::default(),
        patience: 1,
        limits: LIMITS,
    };
    let connection = Connection::open(&target).await.unwrap();
    let stream = connection.stream(&start).await.unwrap();
    let (events, mut received) = mpsc::channel(EVENTS_MAX);
    let (confirms, confirmed) = watch::channel(Confirm::default());
    let stop = CancellationToken::new();
    let stream = tokio::spawn(stream.run(events, confirmed, stop.clone()));

    let mut drained = Drained::default();
    while drained.reached <= until {
        let Some(event) = received.recv().await else {
            break;
        };
        drained.take(event, until);
    }
    // Once, as the other program does in a run this short: a confirm is a wake-up of the stream.
    confirms.send_replace(Confirm {
        position: drained.reached,
        gate: Lsn::ZERO,
    });
    stop.cancel();
    stream.await.unwrap().unwrap();
    assert_eq!(drained.rows, rows, "rows of the slot");
}

#[derive(Default)]
struct Drained {
    rows: usize,
    /// The highest end of a transaction, or mark.
    reached: Lsn,
}

impl Drained {
    fn take(&mut self, event: Event, until: Lsn) {
        let end = match event {
            Event::Part(Part {
                begin,
                changes,
                end,
                ..
            }) => {
                if begin.commit_lsn < until {
                    self.rows += changes.len();
                }
                end.unwrap_or_default()
            }
            Event::Mark(mark) => mark,
        };
        self.reached = self.reached.max(end);
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
