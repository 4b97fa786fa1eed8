//! The table, on a terminal and as docs/faults.md.

use std::fmt::Write;
use std::time::Duration;

use tests::{Audit, Scenario, Tally};

use crate::{Line, machine};

const INTRODUCTION: &str = "\
# What was broken, and what it did

`make faults` writes this page. Each scenario is done to real processes on loopback while a worker writes and
subscribers listen, at moments that a seed decides. The worker keeps an account of what it committed; when all is
over, `project_actions`, the action log and what the subscribers accepted are compared with it.

- **runs**: how often it was done. **actions**: those that the committed transactions must give. Where the slot
  itself is lost, every row's final state is told once, and this counts what is there in the end: projects and
  their endpoints, several of which one action may tell of.
- **lost** and **twice** are actions, **undelivered** notifications that a subscriber never accepted. They are 0,
  or this page is not written. **repeated** notifications came again under the same webhook-id, as they may
  (at least once). `-` where nobody subscribes.
- **unobserved**: what came while there was no slot and went again, which nobody can know and nobody claims.
- **recovery**: from the fault (of a server: from its return) to the first new action; for a process that only
  delivers until all shards have an owner, for a lost slot until all tables are compared, for a subscriber from the
  end of its misbehaviour to the next delivery. Rounds run two at once.

A round that fails prints how to play it again. `make test` plays a short cut of every scenario but `large-*`.
";

pub(crate) fn heading() -> String {
    format!(
        "{:<22} {:>5} {:>9} {:>5} {:>6} {:>11} {:>9} {:>10} {:>9} {:>9}",
        "scenario",
        "runs",
        "actions",
        "lost",
        "twice",
        "undelivered",
        "repeated",
        "unobserved",
        "p50",
        "max"
    )
}

pub(crate) fn line(scenario: &Scenario, tally: &Tally) -> String {
    let audit = &tally.audit;
    let mut line = format!(
        "{:<22} {:>5} {:>9} {:>5} {:>6} {:>11} {:>9} {:>10} {:>9} {:>9}",
        scenario.name,
        tally.runs,
        audit.expected,
        audit.lost,
        audit.duplicated,
        of_deliveries(audit, audit.deliveries_lost),
        of_deliveries(audit, audit.deliveries_repeated),
        tally.unobserved,
        seconds(tally.recovery(50)),
        seconds(tally.recovery(100)),
    );
    if let Some(peak) = tally.peak_bytes {
        let _ = write!(line, "\n    peak memory of the sidecar: {} MB", peak >> 20);
    }
    line
}

/// A number that says nothing where nobody subscribed.
fn of_deliveries(audit: &Audit, number: usize) -> String {
    match audit.subscribers {
        0 => "-".to_owned(),
        _ => number.to_string(),
    }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| format!("{:.2} s", time.as_secs_f64()),
    )
}

pub(crate) fn render(lines: &[Line], unplayed: &[&Scenario], seed: u64, took: Duration) -> String {
    let mut page = INTRODUCTION.to_owned();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let (machine, minutes) = (machine::describe(), took.as_secs() / 60);
    let _ = writeln!(
        page,
        "\nOn {today}: {machine}, seed {seed}, {minutes} minutes.\n"
    );
    page += "| scenario | what is done | runs | actions | lost | twice | undelivered | repeated | unobserved | \
             recovery p50 | max |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for (scenario, tally) in lines {
        let audit = &tally.audit;
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            scenario.name,
            scenario.what,
            tally.runs,
            audit.expected,
            audit.lost,
            audit.duplicated,
            of_deliveries(audit, audit.deliveries_lost),
            of_deliveries(audit, audit.deliveries_repeated),
            tally.unobserved,
            seconds(tally.recovery(50)),
            seconds(tally.recovery(100)),
        );
    }
    for scenario in unplayed {
        let (name, since) = (scenario.name, scenario.since());
        let _ = writeln!(
            page,
            "\n`{name}` was not played: it needs Postgres {since}."
        );
    }
    page += &hits(lines);
    page
}

/// Where the seed chose among several things: which, and how often.
fn hits(lines: &[Line]) -> String {
    let mut text = String::new();
    for (scenario, tally) in lines {
        if tally.hits.is_empty() {
            continue;
        }
        let hits = tally.hits.iter();
        let hits: Vec<String> = hits
            .map(|(what, times)| format!("{what} ({times})"))
            .collect();
        let _ = writeln!(text, "- **{}**: {}", scenario.name, hits.join(", "));
    }
    for (scenario, tally) in lines {
        if let Some(peak) = tally.peak_bytes {
            let peak = peak >> 20;
            let _ = writeln!(text, "- **{}**: at most {peak} MB of memory", scenario.name);
        }
    }
    match text.is_empty() {
        true => text,
        false => format!(
            "\n## What was hit, and how often\n\nBetween two messages: the one that came next, `>` from the \
             sidecar, `<` from Postgres.\n\n{text}"
        ),
    }
}
