//! The progress row: what is committed, what is half done, and who may write.

use activity::{Lsn, Position, Seq};
use postgres_types::PgLsn;
use tokio_postgres::Row;

use crate::{Error, Session, images};

/// Everything a new session needs to go on where the last one stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub epoch: i64,
    pub slot: String,
    pub publication: String,
    pub lineage: Lineage,
    /// The last transaction that is committed whole.
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    /// No position beyond this one has been confirmed.
    pub confirm_limit: Lsn,
    pub seq: Seq,
    pub half: Option<Half>,
}

/// Which cluster, timeline and publication the positions belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    pub system_id: String,
    pub timeline: u32,
    pub publication_oid: u32,
}

/// A transaction that is committed in part.
#[derive(Clone, Debug, PartialEq)]
pub struct Half {
    pub commit_lsn: Lsn,
    /// Its last change that is in.
    pub position: Position,
    pub next_ordinal: u32,
    /// The packs that it is finished under, as the caller stored them.
    pub packs: serde_json::Value,
}

const COLUMNS: &str = "epoch, slot, publication, system_id, timeline, publication_oid, commit_lsn, \
    end_lsn, confirm_limit, seq, half_commit_lsn, half_lsn, half_index, half_ordinal, half_packs";

/// The progress row as it is; `None` before the first setup.
pub async fn read(session: &Session) -> Result<Option<Progress>, Error> {
    let statement = format!("select {COLUMNS} from progress");
    session
        .query_opt(&statement, &[])
        .await?
        .map(|row| from_row(&row))
        .transpose()
}

/// Whether the progress table is there at all, that is, whether somebody ran `setup`.
pub async fn exists(session: &Session) -> Result<bool, Error> {
    let row = session
        .query_one(
            "select to_regclass(quote_ident($1) || '.progress') is not null",
            &[&session.schema()],
        )
        .await?;
    Ok(row.get(0))
}

/// A slot that has just been created, and what reads it.
#[derive(Clone, Copy, Debug)]
pub struct NewSlot<'a> {
    pub slot: &'a str,
    pub publication: &'a str,
    pub lineage: &'a Lineage,
    pub at: Lsn,
    /// Whose epoch it has to be; `None` where nobody captures.
    pub epoch: Option<i64>,
}

/// Begins at a slot, once no image is of a cluster that progress was not made on: [`begin`] after [`age`].
pub async fn init(session: &Session, new: NewSlot<'_>) -> Result<(), Error> {
    age(session, new.lineage, new.at).await?;
    begin(session, new).await
}

/// An image written under an id that this cluster has not reached counts as old from here on. There can be
/// such images only where the schema came from elsewhere, as a dump: images and WAL of one cluster travel
/// together, also to a standby that is promoted. So elsewhere no image is looked at: there may be many.
/// Goes by small statements, which may be repeated.
pub async fn age(session: &Session, lineage: &Lineage, at: Lsn) -> Result<(), Error> {
    let came_from_elsewhere = session
        .query_opt(
            "select from progress where system_id <> $1 or timeline > $2 or end_lsn > $3",
            &[
                &lineage.system_id,
                &i64::from(lineage.timeline),
                &PgLsn::from(at.get()),
            ],
        )
        .await?;
    match came_from_elsewhere {
        Some(_) => images::age(session).await,
        None => Ok(()),
    }
}

/// Begins: the positions of a slot that has just been created. What happened before it was not seen:
/// tables whose images are complete are to be reconciled, other images are void. The gap that
/// is open is over, and a notice tells of it. All of this or nothing; fenced by an epoch, where there is one.
///
/// A transaction whose commit record begins where the slot does is still to come: `commit_lsn` is before that.
pub async fn begin(session: &Session, new: NewSlot<'_>) -> Result<(), Error> {
    let NewSlot {
        slot,
        publication,
        lineage,
        at,
        epoch,
    } = new;
    let begun = session
        .query_one(
            "with begun as (
               insert into progress
                 (slot, publication, system_id, timeline, publication_oid,
                  commit_lsn, end_lsn, confirm_limit)
               values ($1, $2, $3, $4, $5, $8, $6, $6)
               on conflict (one_row) do update set
                 epoch = progress.epoch + 1, slot = excluded.slot,
                 publication = excluded.publication, system_id = excluded.system_id,
                 timeline = excluded.timeline, publication_oid = excluded.publication_oid,
                 commit_lsn = excluded.commit_lsn, end_lsn = excluded.end_lsn,
                 confirm_limit = excluded.confirm_limit, half_commit_lsn = null, half_lsn = null,
                 half_index = null, half_ordinal = null, half_packs = null,
                 stop_reason = null, stopped_at = null
               where $7::bigint is null or progress.epoch = $7
               returning one_row
             ), now as (
               select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xid from begun
             ), void as (
               update image_tables set generation = generation + 1 from begun where columns is null
               returning table_id
             ), restarted as (
               update reconcile set request = request + 1, pass = 'rows', round = 0, cursor = null,
                 step = 0, started_at = null, not_before_xid = now.xid
               from void, now where reconcile.table_id = void.table_id and finished_at is null
             ), asked as (
               insert into reconcile (table_id, purpose, not_before_xid)
               select table_id, 'reconcile', now.xid from image_tables, now
               where columns is not null and watched
               on conflict (table_id) do update set request = reconcile.request + 1,
                 purpose = case when reconcile.finished_at is null and reconcile.purpose = 'backfill'
                   then 'backfill' else 'reconcile' end,
                 since = case when reconcile.finished_at is null and reconcile.purpose = 'backfill'
                   then reconcile.since end,
                 pass = 'rows', round = 0, cursor = null, step = 0,
                 not_before_xid = excluded.not_before_xid, rows_done = 0, actions = 0,
                 estimated_rows = null, requested_at = now(), started_at = null,
                 finished_at = null, seen_at = null, trouble = null
             ), closed as (
               update gaps set until_lsn = $6, rebuilt_at = now() from begun where until_lsn is null
               returning reason, from_lsn, until_lsn, noticed_at, rebuilt_at
             ), told as (
               insert into outbox (kind, payload)
               select 'capture_gap', jsonb_build_object('reason', reason, 'slot', $1::text,
                 'from_lsn', from_lsn::text, 'until_lsn', until_lsn::text,
                 'noticed_at', noticed_at, 'rebuilt_at', rebuilt_at)
               from closed
             )
             select count(*) from begun",
            &[
                &slot,
                &publication,
                &lineage.system_id,
                &i64::from(lineage.timeline),
                &lineage.publication_oid,
                &PgLsn::from(at.get()),
                &epoch,
                &PgLsn::from(at.get().saturating_sub(1)),
            ],
        )
        .await?;
    match begun.get::<_, i64>(0) {
        1 => Ok(()),
        _ => Err(Error::Fenced(epoch.unwrap_or_default())),
    }
}

/// The same cluster on another timeline: the positions hold there. Fenced.
pub async fn adopt(session: &Session, epoch: i64, timeline: u32) -> Result<(), Error> {
    let adopted = session
        .execute(
            "update progress set timeline = $2 where epoch = $1",
            &[&epoch, &i64::from(timeline)],
        )
        .await?;
    match adopted {
        1 => Ok(()),
        _ => Err(Error::Fenced(epoch)),
    }
}

/// Takes the epoch and reads where to go on, in one statement: it waits for a commit of the last
/// owner that is still under way, and sees what it wrote.
pub async fn take_over(session: &Session, owner_pid: i32) -> Result<Progress, Error> {
    let statement = format!(
        "update progress set epoch = epoch + 1, owner_pid = $1,
           owner_backend_start = (select backend_start from pg_stat_activity where pid = $1),
           writer_pid = pg_backend_pid(), writer_backend_start = (
             select backend_start from pg_stat_activity where pid = pg_backend_pid())
         returning {COLUMNS}"
    );
    match session.query_opt(&statement, &[&owner_pid]).await? {
        Some(row) => from_row(&row),
        None => Err(Error::NotReady(
            "the progress row is missing: run `tidings setup`".to_owned(),
        )),
    }
}

/// Ends the session that wrote for the last owner, where it is still there: its process may stand still in the
/// middle of a transaction, or be out of reach. The caller holds the slot's lock, so what that session had to
/// do is over. Leaves anybody else's alone.
pub async fn end_last_writer(session: &Session) -> Result<(), Error> {
    session
        .execute(
            "select pg_terminate_backend(last.pid) from progress join pg_stat_activity last
               on last.pid = writer_pid and last.backend_start = writer_backend_start
             where last.usename = current_user and last.pid <> pg_backend_pid()",
            &[],
        )
        .await?;
    Ok(())
}

/// Raises the limit below which positions may be confirmed. Fenced.
pub async fn lease(session: &Session, epoch: i64, limit: Lsn) -> Result<(), Error> {
    let raised = session
        .execute(
            "update progress set confirm_limit = $2 where epoch = $1 and confirm_limit < $2",
            &[&epoch, &PgLsn::from(limit.get())],
        )
        .await?;
    if raised == 1 {
        Ok(())
    } else {
        Err(Error::Fenced(epoch))
    }
}

/// A clean stop: everything up to `confirmed` was confirmed and nothing beyond it. Fenced.
pub async fn stop(session: &Session, epoch: i64, confirmed: Lsn) -> Result<(), Error> {
    session
        .execute(
            "update progress set confirm_limit = greatest($2, end_lsn), owner_pid = null,
               owner_backend_start = null, writer_pid = null, writer_backend_start = null
             where epoch = $1",
            &[&epoch, &PgLsn::from(confirmed.get())],
        )
        .await?;
    Ok(())
}

/// Says why capture does not run, for `status`. Writes only where the reason is new, and not where another
/// process captures, which knows better than one that waits. `epoch` is the last one that the caller had: the server
/// may hold the caller's own last stream for a moment yet.
pub async fn stopped(session: &Session, epoch: i64, reason: &str) -> Result<(), Error> {
    session
        .execute(
            "update progress set stop_reason = $2, stopped_at = now()
             where stop_reason is distinct from $2 and (epoch = $1 or not exists (
               select from pg_stat_activity owner join pg_replication_slots s on s.active_pid = owner.pid
               where owner.pid = owner_pid and owner.backend_start = owner_backend_start
                 and s.slot_name = progress.slot))",
            &[&epoch, &reason],
        )
        .await?;
    Ok(())
}

/// The same of capture that runs and does not get on. Fenced: what a later session says stands.
pub async fn troubled(session: &Session, epoch: i64, reason: &str) -> Result<(), Error> {
    session
        .execute(
            "update progress set stop_reason = $2, stopped_at = now()
             where epoch = $1 and stop_reason is distinct from $2",
            &[&epoch, &reason],
        )
        .await?;
    Ok(())
}

/// Says why the rules of the settings are not those in force, or that they are. Writes only where that is
/// new.
pub async fn rules_refused(session: &Session, reason: Option<&str>) -> Result<(), Error> {
    session
        .execute(
            "update progress set rules_error = $1 where rules_error is distinct from $1",
            &[&reason],
        )
        .await?;
    Ok(())
}

/// The stream flows again: takes back what [`stopped`] said. Writes only where that is anything.
pub async fn resumed(session: &Session, epoch: i64) -> Result<(), Error> {
    session
        .execute(
            "update progress set stop_reason = null, stopped_at = null
             where epoch = $1 and stop_reason is not null",
            &[&epoch],
        )
        .await?;
    Ok(())
}

fn from_row(row: &Row) -> Result<Progress, Error> {
    let lsn = |name: &str| Lsn::new(u64::from(row.get::<_, PgLsn>(name)));
    let half = match row.get::<_, Option<PgLsn>>("half_commit_lsn") {
        None => None,
        Some(commit_lsn) => Some(Half {
            commit_lsn: Lsn::new(u64::from(commit_lsn)),
            position: Position {
                lsn: lsn("half_lsn"),
                index: number(row, "half_index")?,
            },
            next_ordinal: number(row, "half_ordinal")?,
            packs: row.get("half_packs"),
        }),
    };
    Ok(Progress {
        epoch: row.get("epoch"),
        slot: row.get("slot"),
        publication: row.get("publication"),
        lineage: Lineage {
            system_id: row.get("system_id"),
            timeline: number(row, "timeline")?,
            publication_oid: row.get("publication_oid"),
        },
        commit_lsn: lsn("commit_lsn"),
        end_lsn: lsn("end_lsn"),
        confirm_limit: lsn("confirm_limit"),
        seq: Seq::new(row.get("seq")),
        half,
    })
}

fn number(row: &Row, name: &str) -> Result<u32, Error> {
    let stored: i64 = row.get(name);
    u32::try_from(stored).map_err(|_| Error::Unreadable(format!("progress.{name} holds {stored}")))
}
