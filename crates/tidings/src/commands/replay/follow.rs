//! Tells how a replay goes until it is over.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use store::Session;
use store::replays::{self, Replay};
use store::span::Span;

use super::{gone, list};
use crate::Failure;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// How often a line is written where there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Ends when the replay is over and nothing of it is parked any more. It may be interrupted: the replay
/// goes on.
///
/// # Errors
/// Where it was cancelled, or some of it failed for the last time.
pub async fn follow(session: &Session, id: &str, span: Span, as_json: bool) -> Result<(), Failure> {
    let is_terminal = stderr().is_terminal();
    let mut told = String::new();
    let mut next_line = Instant::now();
    let replay = loop {
        let replay = replays::find(session, id).await?.ok_or_else(|| gone(id))?;
        if replay.state != "running" && replay.parked == 0 {
            break replay;
        }
        let line = line(&replay, span);
        if is_terminal {
            // A terminal that went away is no reason to end.
            let _ = write!(stderr(), "\r\x1b[2K{} {line}", bar(&replay, span));
            let _ = stderr().flush();
        } else if line != told && next_line <= Instant::now() {
            eprintln!("{line}");
            next_line = Instant::now() + LINE_PERIOD;
            told = line;
        }
        tokio::time::sleep(PERIOD).await;
    };
    if is_terminal {
        let _ = write!(stderr(), "\r\x1b[2K");
    }
    if as_json {
        println!("{:#}", list::described(&replay));
    } else {
        println!(
            "replay {id} is {}, {} attempted",
            replay.state, replay.attempted
        );
    }
    match (replay.state.as_str(), replay.dead) {
        ("cancelled", _) => Err(Failure::Failed(anyhow!(
            "replay {id} was cancelled meanwhile"
        ))),
        (_, 0) => Ok(()),
        (_, dead) => Err(Failure::Failed(anyhow!(
            "{dead} of it failed for the last time: `tidings deliveries list --endpoint {} --state dead`",
            replay.endpoint
        ))),
    }
}

/// How many seqs of the span it has passed.
fn passed(replay: &Replay, span: Span) -> i64 {
    (replay.cursor.get() - span.first.get() + 1).clamp(0, span.len())
}

fn line(replay: &Replay, span: Span) -> String {
    let mut line = format!(
        "{}: {} of {} actions passed, {} attempted, {} parked",
        replay.state,
        passed(replay, span),
        span.len(),
        replay.attempted,
        replay.parked
    );
    if replay.endpoint_state != "enabled" {
        line += &format!("; waits: the endpoint is {}", replay.endpoint_state);
    }
    line
}

/// Forty places; full at the end of the span.
fn bar(replay: &Replay, span: Span) -> String {
    const PLACES: i64 = 40;
    let filled = passed(replay, span) * PLACES / span.len().max(1);
    let filled = usize::try_from(filled.clamp(0, PLACES)).unwrap_or(0);
    format!(
        "[{}{}]",
        "#".repeat(filled),
        "-".repeat(PLACES as usize - filled)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use activity::Seq;
    use jiff::Timestamp;

    fn replay(cursor: i64) -> Replay {
        Replay {
            id: "rp_1".to_owned(),
            endpoint_id: "ep_1".to_owned(),
            endpoint: "ops".to_owned(),
            endpoint_state: "enabled".to_owned(),
            types: Vec::new(),
            projects: Vec::new(),
            cursor: Seq::new(cursor),
            until: Seq::new(200),
            per_second: None,
            state: "running".to_owned(),
            attempted: 0,
            created_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
            parked: 0,
            dead: 0,
        }
    }

    #[test]
    fn a_bar_shows_the_part_of_the_span_that_is_passed() {
        let span = Span {
            first: Seq::new(101),
            last: Seq::new(200),
        };
        let filled = |cursor| bar(&replay(cursor), span).matches('#').count();
        assert_eq!([filled(100), filled(150), filled(200)], [0, 20, 40]);
        assert_eq!([filled(0), filled(900)], [0, 40]);
    }
}
