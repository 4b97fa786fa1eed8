mod dry_run;

use std::collections::HashMap;
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use activity::TableName;
use store::reconcile::{self, Purpose, Standing};
use store::{Session, catalog, status};
use tokio::time::Instant;

use super::set_up_session;
use crate::cli::Reconcile;
use crate::settings::Settings;
use crate::{Failure, packs};

const PERIOD: Duration = Duration::from_millis(300);
/// Between two lines where nobody looks at a terminal.
const LINE_PERIOD: Duration = Duration::from_secs(2);
/// How long no sidecar may be there before that is a failure: it may be reconnecting.
const ABSENCE_MAX: Duration = Duration::from_secs(15);

pub async fn reconcile(settings: &Settings, arguments: &Reconcile) -> Result<(), Failure> {
    let rules = packs::load(settings)?;
    let mut session = set_up_session(settings).await?;
    let tables: Vec<TableName> = rules.tables().map(|used| used.table.clone()).collect();
    let purpose = match arguments.backfill {
        true => Purpose::Backfill,
        false => Purpose::Reconcile,
    };
    store::migrate(&mut session).await?;
    if arguments.dry_run {
        return dry_run::dry_run(settings, &rules, purpose, arguments.since).await;
    }
    reconcile::request(&session, &tables, purpose, arguments.since).await?;
    for standing in of_tables(&session, &tables).await? {
        if purpose == Purpose::Reconcile && standing.purpose == Purpose::Fill {
            let table = standing.table;
            println!(
                "{table}: not every row has its image yet; they are filled, and nothing is told"
            );
        }
    }
    if !is_captured(&session).await? {
        return Err(absent());
    }
    follow(&session, &tables).await
}

async fn of_tables(session: &Session, tables: &[TableName]) -> Result<Vec<Standing>, Failure> {
    let mut standings = reconcile::standings(session).await?;
    standings.retain(|standing| tables.contains(&standing.table));
    Ok(standings)
}

async fn is_captured(session: &Session) -> Result<bool, Failure> {
    let capture = status::capture(session).await?;
    Ok(capture.is_some_and(|capture| capture.reader.is_some()))
}

fn absent() -> Failure {
    Failure::NotReady(
        "no sidecar runs: start `tidings run`. What was asked for stays, and is taken up then"
            .to_owned(),
    )
}

/// Tells how it goes until everything is done.
async fn follow(session: &Session, tables: &[TableName]) -> Result<(), Failure> {
    let mut teller = Teller::new();
    let mut seen = Instant::now();
    loop {
        let standings = of_tables(session, tables).await?;
        if standings.iter().all(|standing| standing.state == "done") {
            teller.end();
            for standing in &standings {
                println!("{}", summary(standing));
            }
            return Ok(());
        }
        if is_captured(session).await? {
            seen = Instant::now();
        } else if seen.elapsed() > ABSENCE_MAX {
            teller.end();
            return Err(absent());
        }
        let waits = standings.iter().any(|standing| standing.waits);
        let waits_for = match waits {
            true => catalog::open_transactions(session).await?,
            false => Vec::new(),
        };
        let waits_for = waits_for.iter().map(super::describe).next();
        teller.tell(&standings, waits_for.as_deref());
        tokio::time::sleep(PERIOD).await;
    }
}

fn summary(standing: &Standing) -> String {
    let Standing {
        table,
        purpose,
        rows_done,
        actions,
        ..
    } = standing;
    let purpose = purpose.as_str();
    format!("{table}: {purpose} is done, {rows_done} rows, {actions} actions")
}

/// A bar on a terminal, lines elsewhere.
struct Teller {
    is_terminal: bool,
    told: HashMap<TableName, String>,
    next: Instant,
}

impl Teller {
    fn new() -> Self {
        Self {
            is_terminal: stderr().is_terminal(),
            told: HashMap::new(),
            next: Instant::now(),
        }
    }

    fn tell(&mut self, standings: &[Standing], waits_for: Option<&str>) {
        if self.is_terminal {
            let done = standings.iter().filter(|s| s.state == "done").count();
            if let Some(current) = standings.iter().find(|s| s.state != "done") {
                let bar = bar(current);
                let line = line(current, waits_for);
                let tables = standings.len();
                // A terminal that went away is no reason to end.
                let _ = write!(
                    stderr(),
                    "\r\x1b[2K{bar} {line} (table {} of {tables})",
                    done + 1
                );
                let _ = stderr().flush();
            }
            return;
        }
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + LINE_PERIOD;
        for standing in standings {
            let line = line(standing, waits_for);
            if self.told.get(&standing.table) != Some(&line) {
                eprintln!("{line}");
                self.told.insert(standing.table.clone(), line);
            }
        }
    }

    fn end(&self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}

fn line(standing: &Standing, waits_for: Option<&str>) -> String {
    let Standing {
        table,
        purpose,
        state,
        rows_done,
        actions,
        ..
    } = standing;
    let purpose = purpose.as_str();
    let mut line = format!("{table}: {purpose} {state}, {rows_done} rows, {actions} actions");
    let why = standing.trouble.as_deref();
    let waits_for = waits_for.filter(|_| standing.waits);
    if let Some(why) = why.or(waits_for).filter(|_| *state != "done") {
        line += &format!("; waits: {why}");
    }
    line
}

/// Forty places; full at the end of the estimate, which is one.
fn bar(standing: &Standing) -> String {
    const PLACES: i64 = 40;
    let estimate = standing.estimated_rows.unwrap_or(0).max(standing.rows_done);
    let filled = standing.rows_done * PLACES / estimate.max(1);
    let filled = usize::try_from(filled.clamp(0, PLACES)).unwrap_or(0);
    let rest = PLACES as usize - filled;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_part_of_the_estimate_that_is_done() {
        let standing = |rows_done, estimated_rows| Standing {
            table: TableName::new("public", "t"),
            request: 1,
            purpose: Purpose::Fill,
            state: "running",
            rows_done,
            estimated_rows,
            actions: 0,
            trouble: None,
            waits: false,
        };
        let filled = |standing| bar(&standing).matches('#').count();
        assert_eq!(filled(standing(50, Some(100))), 20);
        assert_eq!(filled(standing(0, None)), 0);
        assert_eq!(filled(standing(500, Some(100))), 40);
    }
}
