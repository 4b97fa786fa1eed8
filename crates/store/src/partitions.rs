//! Partitions made ahead of need: of the action log by seq, of attempts by day.
//!
//! A partition is made as a table of its own and attached: `create table … partition of` and
//! `drop table` lock the parent against its readers, and would first wait for those that are
//! reading it, as pg_dump does for hours. What is not needed yet waits for nobody, and its failure
//! is no error.

use activity::Seq;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::{Error, Session};

/// Actions in one partition of the log.
pub const ACTIONS_PER_PARTITION: i64 = 1_000_000;
/// Actions until a partition that could not be made ahead of need is tried again.
const ACTIONS_UNTIL_RETRY: i64 = 10_000;
/// Days of attempts that have a partition before they begin.
const DAYS_AHEAD: i32 = 2;

/// One partition: a name, and the values that it is for, as `for values` has them.
struct Partition {
    parent: &'static str,
    name: String,
    from: String,
    to: String,
}

/// Makes sure that actions up to `to` have a partition, and from the middle of one on, that there is
/// a next one. Returns the seq up to which there is nothing to be done.
pub async fn cover_actions(session: &Session, to: Seq) -> Result<Seq, Error> {
    let needed = number_of(to);
    let mut next = attached(session, "actions")
        .await?
        .iter()
        .filter_map(|name| name.strip_prefix("actions_")?.parse::<i64>().ok())
        .max()
        .map_or(0, |last| last + 1);
    while next <= needed {
        actions(next).make(session).await?;
        next += 1;
    }
    let first_half =
        |number: i64| Seq::new(number * ACTIONS_PER_PARTITION + ACTIONS_PER_PARTITION / 2 - 1);
    if to <= first_half(needed) {
        return Ok(first_half(needed));
    }
    if next == needed + 1
        && let Err(error) = actions(next).make_ahead(session).await
    {
        tracing::warn!(%error, "the next partition of the action log can not be made yet");
        let end = (needed + 1) * ACTIONS_PER_PARTITION;
        return Ok(Seq::new(end.min(to.get() + ACTIONS_UNTIL_RETRY)));
    }
    Ok(first_half(needed + 1))
}

fn number_of(seq: Seq) -> i64 {
    (seq.get() - 1).max(0) / ACTIONS_PER_PARTITION
}

fn actions(number: i64) -> Partition {
    let from = number * ACTIONS_PER_PARTITION + 1;
    Partition {
        parent: "actions",
        name: format!("actions_{number}"),
        from: from.to_string(),
        to: (from + ACTIONS_PER_PARTITION).to_string(),
    }
}

/// Makes sure that attempts of today have a partition, those of the next days too if that can be,
/// and drops, if that can be, partitions of days that ended more than `keep_days` ago. Returns the
/// day on which to call this again.
pub async fn cover_attempts(
    session: &Session,
    now: Timestamp,
    keep_days: i32,
) -> Result<Date, Error> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let existing = attached(session, "attempts").await?;
    let is_missing = |partition: &Partition| !existing.contains(&partition.name);
    let needed = attempts(today);
    if is_missing(&needed) {
        needed.make(session).await?;
    }
    // Yesterday too: a clock that was set back must not refuse an attempt.
    for day in [-1].into_iter().chain(1..=DAYS_AHEAD) {
        let ahead = attempts(today.saturating_add(day.days()));
        if is_missing(&ahead)
            && let Err(error) = ahead.make_ahead(session).await
        {
            tracing::warn!(partition = ahead.name, %error, "a partition can not be made yet");
        }
    }
    let oldest = attempts(today.saturating_sub(keep_days.days())).name;
    for name in existing.iter().filter(|name| **name < oldest) {
        match session
            .batch_execute(&format!("{BRIEFLY}; drop table if exists {name}"))
            .await
            .map_err(Error::from)
        {
            Ok(()) => {
                tracing::info!(partition = name, "attempts past their retention dropped");
            }
            Err(error) => {
                tracing::warn!(partition = name, %error, "attempts past their retention stay for now");
            }
        }
    }
    Ok(today.saturating_add(1.day()))
}

fn attempts(day: Date) -> Partition {
    let next = day.saturating_add(1.day());
    Partition {
        parent: "attempts",
        name: format!("attempts_{}", day.strftime("%Y%m%d")),
        from: format!("'{day} 00:00:00+00'"),
        to: format!("'{next} 00:00:00+00'"),
    }
}

/// For what is not needed yet: others are held up for no longer than this.
const BRIEFLY: &str = "set local lock_timeout = '100ms'";

impl Partition {
    async fn make(&self, session: &Session) -> Result<(), Error> {
        self.execute(session, &self.statements()).await
    }

    async fn make_ahead(&self, session: &Session) -> Result<(), Error> {
        let statements = format!("{BRIEFLY}; {}", self.statements());
        self.execute(session, &statements).await
    }

    /// Sent together they are one transaction. A table of this name may stand alone all the same,
    /// where somebody detached it.
    fn statements(&self) -> String {
        let Self {
            parent,
            name,
            from,
            to,
        } = self;
        format!(
            "create table if not exists {name} (like {parent} including all); \
             alter table {parent} attach partition {name} for values from ({from}) to ({to})"
        )
    }

    async fn execute(&self, session: &Session, statements: &str) -> Result<(), Error> {
        let Err(error) = session.batch_execute(statements).await else {
            return Ok(());
        };
        // Another process that delivers may have been quicker.
        if attached(session, self.parent).await?.contains(&self.name) {
            return Ok(());
        }
        Err(error.into())
    }
}

/// The names of a table's partitions.
async fn attached(session: &Session, parent: &str) -> Result<Vec<String>, Error> {
    let rows = session
        .query(
            "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = $1::text::regclass order by 1",
            &[&parent],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_the_log_meet_without_gap_or_overlap() {
        assert_eq!(number_of(Seq::ZERO), 0);
        assert_eq!(number_of(Seq::new(1_000_000)), 0);
        assert_eq!(number_of(Seq::new(1_000_001)), 1);
        assert_eq!(actions(0).from, "1");
        assert_eq!(actions(0).to, actions(1).from);
    }

    #[test]
    fn names_of_days_sort_as_the_days_do() {
        let days = [Date::constant(2024, 9, 30), Date::constant(2024, 10, 1)];
        let [first, second] = days.map(attempts);
        assert!(first.name < second.name);
        assert_eq!(first.to, second.from);
    }
}
