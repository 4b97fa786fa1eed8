//! Partitions made ahead of need: of the action log by seq, of attempts by day.

use activity::Seq;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::{Error, Session};

/// Actions in one partition of the log.
pub const ACTIONS_PER_PARTITION: i64 = 1_000_000;
/// Days of attempts that have a partition before they begin.
const DAYS_AHEAD: i32 = 2;

/// Makes sure that actions up to `to` have a partition. Returns the last seq that has one.
pub async fn cover_actions(session: &Session, to: Seq) -> Result<Seq, Error> {
    let last = (to.get() - 1).max(0) / ACTIONS_PER_PARTITION + 1;
    let existing = session
        .query_one(
            "select count(*) from pg_inherits where inhparent = 'actions'::regclass",
            &[],
        )
        .await?
        .get::<_, i64>(0);
    for number in (0..=last).skip(usize::try_from(existing.clamp(0, last)).unwrap_or(0)) {
        let from = number * ACTIONS_PER_PARTITION + 1;
        let until = from + ACTIONS_PER_PARTITION;
        session
            .batch_execute(&format!(
                "create table if not exists actions_{number} partition of actions \
                 for values from ({from}) to ({until})"
            ))
            .await?;
    }
    Ok(Seq::new((last + 1) * ACTIONS_PER_PARTITION))
}

/// Makes sure that attempts of today and the next days have a partition, and drops partitions of
/// days that ended more than `keep_days` ago. Returns the day up to which there are partitions.
pub async fn cover_attempts(
    session: &Session,
    now: Timestamp,
    keep_days: i32,
) -> Result<Date, Error> {
    let today = now.to_zoned(TimeZone::UTC).date();
    // Yesterday too: a clock that was set back must not refuse an attempt.
    for ahead in -1..=DAYS_AHEAD {
        let day = today.saturating_add(ahead.days());
        let next = day.saturating_add(1.day());
        let name = partition_name(day);
        session
            .batch_execute(&format!(
                "create table if not exists {name} partition of attempts \
                 for values from ('{day} 00:00:00+00') to ('{next} 00:00:00+00')"
            ))
            .await?;
    }
    let oldest = partition_name(today.saturating_sub(keep_days.days()));
    let expired = session
        .query(
            "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'attempts'::regclass and c.relname < $1",
            &[&oldest],
        )
        .await?;
    for row in expired {
        let name: &str = row.get(0);
        session
            .batch_execute(&format!("drop table if exists {name}"))
            .await?;
        tracing::info!(partition = name, "attempts past their retention dropped");
    }
    Ok(today.saturating_add(DAYS_AHEAD.days()))
}

fn partition_name(day: Date) -> String {
    format!("attempts_{}", day.strftime("%Y%m%d"))
}
