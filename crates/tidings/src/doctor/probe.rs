//! A logical message, sent and seen back through a temporary slot, and nothing left behind.

use std::time::Duration;

use activity::{Lsn, Operation, Part};
use store::catalog::{self, OpenTransaction};
use store::{Session, doctor};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wal::{Confirm, Connection, Event, Limits, Resume, Start};

use super::check::{Check, Complaint};
use super::slot::open_transactions;
use crate::commands::describe;
use crate::failure::chain;

const NAME: &str = "probe";
/// Not that of messages which rules hear: a sidecar that runs passes it over.
const PREFIX: &str = "tidings_doctor";
/// A slot's creation waits for every open transaction.
const CREATION_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(15);
const GOODBYE_MAX: Duration = Duration::from_secs(3);
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Longer than this is worth a look at the server.
const SLOW: Duration = Duration::from_secs(1);
const EVENTS_MAX: usize = 4;

/// What came of it.
#[derive(Debug)]
enum Outcome {
    Seen(Duration),
    /// The slot could not be made in time.
    Waits(Vec<OpenTransaction>),
    /// The message did not come back in time.
    Silent,
    Refused(String),
}

/// Uses up the connection. The slot dies with it; where it does not in time, its session is ended.
pub async fn probe(session: &Session, connection: Connection, publication: &str) -> Check {
    let pid = connection.pid();
    let slot = format!("{PREFIX}_{pid}");
    let outcome = send(session, connection, &slot, publication).await;
    let left = !is_gone(session, &slot, pid).await;
    verdict(outcome, left.then_some(slot.as_str()))
}

async fn send(
    session: &Session,
    mut connection: Connection,
    slot: &str,
    publication: &str,
) -> Outcome {
    let pid = connection.pid();
    // From Postgres 18 on a lost publication is told by a warning alone.
    if let Err(error) = connection.query("set client_min_messages = notice").await {
        return Outcome::Refused(chain(&error));
    }
    match timeout(CREATION_MAX, connection.create_temporary_slot(slot)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Outcome::Refused(chain(&error)),
        Err(_) => {
            let open = catalog::open_transactions(session)
                .await
                .unwrap_or_default();
            // The server goes on creating for a client that is gone.
            let _ = doctor::terminate(session, pid).await;
            return Outcome::Waits(open);
        }
    }
    let start = Start {
        slot: slot.to_owned(),
        publication: publication.to_owned(),
        from: Lsn::ZERO,
        resume: Resume::default(),
        patience: 1,
        limits: Limits {
            changes: 2048,
            bytes: 4 << 20,
        },
    };
    let stream = match connection.stream(&start).await {
        Ok(stream) => stream,
        Err(error) => return Outcome::Refused(chain(&error)),
    };
    let (events, mut received) = mpsc::channel(EVENTS_MAX);
    let (_confirms, confirmed) = watch::channel(Confirm::default());
    let ending = CancellationToken::new();
    let mut stream =
        AbortOnDropHandle::new(tokio::spawn(stream.run(events, confirmed, ending.clone())));
    let content = format!("{:032x}", rand::random::<u128>());
    let begun = Instant::now();
    if let Err(error) = doctor::emit(session, PREFIX, &content).await {
        return Outcome::Refused(chain(&error));
    }
    let outcome = match timeout(ANSWER_MAX, until_seen(&mut received, content.as_bytes())).await {
        Ok(true) => Outcome::Seen(begun.elapsed()),
        // Its error says why it ended.
        Ok(false) => match (&mut stream).await {
            Ok(Err(error)) => Outcome::Refused(chain(&error)),
            Ok(Ok(_)) => Outcome::Refused("the stream was let go".to_owned()),
            Err(error) => Outcome::Refused(error.to_string()),
        },
        Err(_) => Outcome::Silent,
    };
    ending.cancel();
    drop(received);
    if !stream.is_finished() {
        // The server drops the slot before it closes its side.
        let _ = timeout(GOODBYE_MAX, &mut stream).await;
    }
    outcome
}

/// False where the stream ended before.
async fn until_seen(received: &mut mpsc::Receiver<Event>, content: &[u8]) -> bool {
    while let Some(event) = received.recv().await {
        match event {
            Event::Part(part) if holds(&part, content) => return true,
            Event::Part(_) | Event::Mark(_) => {}
        }
    }
    false
}

fn holds(part: &Part, wanted: &[u8]) -> bool {
    part.changes.iter().any(|change| {
        matches!(&change.operation, Operation::Message { prefix, content }
            if prefix == PREFIX && content == wanted)
    })
}

/// Waits until the slot is gone; ends its session where that takes too long.
async fn is_gone(session: &Session, slot: &str, pid: i32) -> bool {
    let gone = async || matches!(catalog::slot(session, slot).await, Ok(None));
    for ends_session in [false, true] {
        if ends_session {
            let _ = doctor::terminate(session, pid).await;
        }
        let begun = Instant::now();
        while begun.elapsed() < GOODBYE_MAX {
            if gone().await {
                return true;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }
    false
}

/// `left`: the slot that is still there.
fn verdict(outcome: Outcome, left: Option<&str>) -> Check {
    let mut complaints: Vec<Complaint> = left
        .into_iter()
        .map(|slot| {
            Complaint::warn(
                format!("temporary slot {slot} is still there; it goes with its session"),
                format!("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}';"),
            )
        })
        .collect();
    let mut well = String::new();
    match outcome {
        Outcome::Seen(after) => {
            well = format!("a logical message came back after {:.1} ms", after.as_secs_f64() * 1000.0);
            if after > SLOW {
                complaints.push(Complaint::warn(format!("{well}: the server decodes slowly"), ""));
            }
        }
        Outcome::Waits(open) => {
            let whom: Vec<String> = open.iter().map(describe).collect();
            complaints.push(Complaint::fail(
                format!(
                    "no slot could be made within {} s; it waits for {}",
                    CREATION_MAX.as_secs(),
                    if whom.is_empty() { "the server".to_owned() } else { whom.join(", ") }
                ),
                open_transactions(&open).mend.unwrap_or_else(|| ends(&open)),
            ));
        }
        Outcome::Silent => complaints.push(Complaint::fail(
            format!("a logical message did not come back within {} s", ANSWER_MAX.as_secs()),
            "select slot_name, active_pid, wal_status from pg_replication_slots; -- the server may be decoding what others have written since",
        )),
        Outcome::Refused(text) => complaints.push(Complaint::fail(
            format!("the probe was refused: {text}"),
            "-- it needs a free slot and a WAL sender of its own: see slots_left and senders_left, and the server's log",
        )),
    }
    Check::of(NAME, well, complaints)
}

fn ends(open: &[OpenTransaction]) -> String {
    let pids: Vec<i32> = open.iter().filter_map(|open| open.pid).collect();
    let statements: Vec<String> = pids
        .iter()
        .map(|pid| format!("select pg_terminate_backend({pid}); -- rolls its transaction back"))
        .collect();
    statements.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn what_came_of_a_probe_is_told_with_its_time_or_with_whom_it_waits_for() {
        let seen = verdict(Outcome::Seen(Duration::from_micros(3450)), None);
        assert_eq!(seen.status, Status::Ok);
        assert!(
            seen.message.ends_with("after 3.5 ms") || seen.message.ends_with("after 3.4 ms"),
            "{}",
            seen.message
        );
        let slow = verdict(Outcome::Seen(SLOW * 2), None);
        assert_eq!(slow.status, Status::Warn);
        let open = OpenTransaction {
            pid: Some(7),
            age_seconds: Some(3),
            what: "idle in transaction".to_owned(),
            database: Some("app".to_owned()),
        };
        let waits = verdict(Outcome::Waits(vec![open]), None);
        assert_eq!(waits.status, Status::Fail);
        assert!(waits.message.contains("process 7"), "{}", waits.message);
        assert!(waits.mend.unwrap().contains("pg_terminate_backend(7);"));
        let silent = verdict(Outcome::Silent, None);
        assert_eq!(silent.status, Status::Fail);
        // A temporary slot waits for no standby.
        assert!(!silent.mend.unwrap().contains("standby"));
        let refused = verdict(Outcome::Refused("all slots are in use".to_owned()), None);
        assert!(refused.mend.unwrap().contains("slots_left"));
        let left = verdict(Outcome::Seen(Duration::ZERO), Some("tidings_doctor_1"));
        assert_eq!(left.status, Status::Warn);
    }
}
