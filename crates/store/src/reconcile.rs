//! What is compared with its images, and how far that has come. All of it is durable.
//!
//! A request is taken up by the writer ([`open`]), which from then on keeps tombstones for the table.
//! Only after that its rows are read. Each chunk moves the request on in the commit that applies it.

use activity::TableName;
use tokio_postgres::{Row, Transaction};

use crate::{Error, Session, images};

/// Why a table is compared. Each does what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Images are filled, nothing is told.
    Fill,
    /// What happened while nobody watched becomes actions.
    Reconcile,
    /// So do rows from before Tidings that nothing has told of.
    Backfill,
}

impl Purpose {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Reconcile => "reconcile",
            Self::Backfill => "backfill",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let all = [Self::Fill, Self::Reconcile, Self::Backfill];
        let found = all.into_iter().find(|purpose| purpose.as_str() == text);
        found.ok_or_else(|| Error::Unreadable(format!("reconcile.purpose holds {text}")))
    }
}

/// What is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The table's rows.
    Rows,
    /// The images: their rows may be gone.
    Images,
    /// The images that lack a column.
    Gaps,
}

impl Pass {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Images => "images",
            Self::Gaps => "gaps",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let all = [Self::Rows, Self::Images, Self::Gaps];
        let found = all.into_iter().find(|pass| pass.as_str() == text);
        found.ok_or_else(|| Error::Unreadable(format!("reconcile.pass holds {text}")))
    }
}

/// What images of a table must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    pub table: TableName,
    /// In the key's order.
    pub key: Vec<String>,
    /// Those that rules name and the table has.
    pub columns: Vec<String>,
}

/// A request that is not finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    pub table_id: i32,
    pub table: TableName,
    pub request: i32,
    pub purpose: Purpose,
    /// Unix seconds.
    pub since: Option<i64>,
    /// Whether every row had its image before: one without is new.
    pub complete: bool,
    pub pass: Pass,
    pub round: i32,
    pub cursor: Option<Vec<String>>,
    pub step: i64,
    pub not_before_xid: u64,
    pub key: Vec<String>,
    pub columns: Vec<String>,
}

/// Where a request stands once a chunk is applied.
#[derive(Clone, Debug)]
pub struct Advance {
    pub table_id: i32,
    pub request: i32,
    /// Before the chunk.
    pub step: i64,
    pub pass: Pass,
    pub round: i32,
    pub cursor: Option<Vec<String>>,
    pub finished: bool,
    pub rows: i64,
    pub actions: i64,
}

/// Makes sure that images will hold what is needed, and asks for a fill where they do not. Images
/// whose key is another one now are void. Writes only where something differs.
pub async fn require(session: &Session, needed: &[Needed]) -> Result<(), Error> {
    for Needed {
        table,
        key,
        columns,
    } in needed
    {
        let rekeyed = session
            .query_opt(
                "update image_tables set key = $3,
                   generation = generation + case when key <> '{}' then 1 else 0 end,
                   columns = case when key <> '{}' then null else columns end
                 where schema_name = $1 and table_name = $2 and key <> $3
                 returning columns is null",
                &[&table.schema, &table.name, key],
            )
            .await?;
        if rekeyed.is_some_and(|row| row.get(0)) {
            restart(session, table).await?;
        }
        // A column that no rule names is left out of images from here on.
        session
            .execute(
                "update image_tables set columns = array(
                   select c from unnest(columns) c where c = any($3) order by c)
                 where schema_name = $1 and table_name = $2 and not columns <@ $3",
                &[&table.schema, &table.name, columns],
            )
            .await?;
        session
            .execute(
                "insert into reconcile (table_id, purpose, not_before_xid)
                 select table_id, 'fill', pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                 from image_tables
                 where schema_name = $1 and table_name = $2 and (columns @> $3) is not true
                 on conflict (table_id) do update set request = reconcile.request + 1,
                   purpose = excluded.purpose, since = null, pass = 'rows', round = 0, cursor = null,
                   step = 0, not_before_xid = excluded.not_before_xid, rows_done = 0, actions = 0,
                   estimated_rows = null, requested_at = now(), started_at = null, finished_at = null,
                   seen_at = null, trouble = null
                 where reconcile.finished_at is not null",
                &[&table.schema, &table.name, columns],
            )
            .await?;
        // Nor does what is under way bring it.
        session
            .execute(
                "update reconcile as r set columns = $3 from image_tables i
                 where i.table_id = r.table_id and i.schema_name = $1 and i.table_name = $2
                   and r.finished_at is null and r.started_at is not null
                   and r.columns @> $3 and not r.columns <@ $3",
                &[&table.schema, &table.name, columns],
            )
            .await?;
        // What is under way begins anew where more is needed than it brings, and waits anew where it
        // has not begun: the table may have left the publication meanwhile.
        session
            .execute(
                "update reconcile as r set pass = 'rows', round = 0, cursor = null,
                   started_at = case when r.started_at is not null and r.columns @> $3 then r.started_at end,
                   not_before_xid = pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                 from image_tables i
                 where i.table_id = r.table_id and i.schema_name = $1 and i.table_name = $2
                   and r.finished_at is null
                   and (r.started_at is null or r.step = 0 or not r.columns @> $3)",
                &[&table.schema, &table.name, columns],
            )
            .await?;
    }
    Ok(())
}

/// Asks for tables to be compared. What is under way goes on if it does as much, else begins anew. A
/// reconcile of a table whose images were never complete is a fill: of a row without an image nobody
/// knows whether it is new.
pub async fn request(
    session: &Session,
    tables: &[TableName],
    purpose: Purpose,
    since: Option<i64>,
) -> Result<(), Error> {
    let (schemas, names): (Vec<_>, Vec<_>) = tables
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    images::register(session, tables).await?;
    session
        .execute(
            "insert into reconcile (table_id, purpose, since, not_before_xid)
             select i.table_id,
               case when $3 = 'reconcile' and i.columns is null then 'fill' else $3 end, $4,
               pg_snapshot_xmax(pg_current_snapshot())::text::bigint
             from unnest($1::text[], $2::text[]) as named (s, t)
             join image_tables i on i.schema_name = named.s and i.table_name = named.t
             on conflict (table_id) do update set request = reconcile.request + 1,
               purpose = excluded.purpose, since = excluded.since, pass = 'rows', round = 0,
               cursor = null, step = 0, not_before_xid = excluded.not_before_xid, rows_done = 0,
               actions = 0, estimated_rows = null, requested_at = now(), started_at = null,
               finished_at = null, seen_at = null, trouble = null
             where reconcile.finished_at is not null
               or array_position(array['fill', 'reconcile', 'backfill'], excluded.purpose)
                 > array_position(array['fill', 'reconcile', 'backfill'], reconcile.purpose)
               or (excluded.purpose = 'backfill' and excluded.since is distinct from reconcile.since)",
            &[&schemas, &names, &purpose.as_str(), &since],
        )
        .await?;
    Ok(())
}

/// The same for one table whose changes were not seen for a while, where its images were complete; else
/// they are void and filled anew.
pub async fn unobserved(session: &Session, table: &TableName) -> Result<(), Error> {
    session
        .execute(
            "update image_tables set generation = generation + 1
             where schema_name = $1 and table_name = $2 and columns is null
               and exists (select from images i where i.table_id = image_tables.table_id
                             and i.generation = image_tables.generation)",
            &[&table.schema, &table.name],
        )
        .await?;
    let known = session
        .query_opt(
            "select from image_tables where schema_name = $1 and table_name = $2 and columns is not null",
            &[&table.schema, &table.name],
        )
        .await?;
    if known.is_some() {
        let table = std::slice::from_ref(table);
        request(session, table, Purpose::Reconcile, None).await?;
    }
    restart(session, table).await
}

/// What is under way for a table begins anew: its images are void, or their rows changed unseen. Writes
/// only where it has begun.
async fn restart(session: &Session, table: &TableName) -> Result<(), Error> {
    session
        .execute(
            "update reconcile r set request = request + 1, pass = 'rows', round = 0, cursor = null,
               step = 0, started_at = null
             from image_tables i where i.table_id = r.table_id and r.finished_at is null
               and i.schema_name = $1 and i.table_name = $2
               and (r.started_at is not null or r.step > 0)",
            &[&table.schema, &table.name],
        )
        .await?;
    Ok(())
}

/// Takes up what was asked for and gives everything that is not finished. From when this returns the
/// caller must keep tombstones for these tables. What no rule needs any more is dropped.
pub async fn open(session: &Session, needed: &[Needed]) -> Result<Vec<Work>, Error> {
    let unfinished = work(session, false).await?;
    let mut open = Vec::new();
    for mut work in unfinished {
        let Some(needed) = needed.iter().find(|needed| needed.table == work.table) else {
            session
                .execute(
                    "delete from reconcile where table_id = $1 and request = $2",
                    &[&work.table_id, &work.request],
                )
                .await?;
            continue;
        };
        let taken = session
            .execute(
                "update reconcile set started_at = now(), columns = $3
                 where table_id = $1 and request = $2 and started_at is null",
                &[&work.table_id, &work.request, &needed.columns],
            )
            .await?;
        if taken > 0 {
            work.columns.clone_from(&needed.columns);
        }
        open.push(work);
    }
    Ok(open)
}

/// What is taken up and not finished, the oldest request first.
pub async fn under_way(session: &Session) -> Result<Vec<Work>, Error> {
    work(session, true).await
}

async fn work(session: &Session, started: bool) -> Result<Vec<Work>, Error> {
    let rows = session
        .query(
            "select r.table_id, i.schema_name, i.table_name, r.request, r.purpose, r.since,
               i.columns is not null, r.pass, r.round, r.cursor, r.step, r.not_before_xid, i.key, r.columns
             from reconcile r join image_tables i using (table_id)
             where r.finished_at is null and (r.started_at is not null or not $1)
             order by r.requested_at, r.table_id",
            &[&started],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<Work, Error> {
    Ok(Work {
        table_id: row.get(0),
        table: TableName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        request: row.get(3),
        purpose: Purpose::parse(row.get(4))?,
        since: row.get(5),
        complete: row.get(6),
        pass: Pass::parse(row.get(7))?,
        round: row.get(8),
        cursor: row.get(9),
        step: row.get(10),
        not_before_xid: row.get::<_, i64>(11).unsigned_abs(),
        key: row.get(12),
        columns: row.get(13),
    })
}

/// The tables whose rows all have their images.
pub async fn complete(session: &Session) -> Result<Vec<TableName>, Error> {
    let rows = session
        .query(
            "select schema_name, table_name from image_tables where columns is not null",
            &[],
        )
        .await?;
    let name = |row: &Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(name).collect())
}

/// The tables that have images.
pub async fn tables(session: &Session) -> Result<Vec<TableName>, Error> {
    let rows = session
        .query(
            "select schema_name, table_name from image_tables where watched",
            &[],
        )
        .await?;
    let name = |row: &Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(name).collect())
}

/// Whether every transaction below this one is over.
pub async fn is_over(session: &Session, xid: u64) -> Result<bool, Error> {
    let row = session
        .query_one(
            "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1",
            &[&(xid as i64)],
        )
        .await?;
    Ok(row.get(0))
}

/// The id of the next transaction: every one that is open now is below it.
pub async fn boundary(session: &Session) -> Result<u64, Error> {
    let row = session
        .query_one(
            "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
            &[],
        )
        .await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Who has a transaction below this one open, or prepared, in whatever database; the oldest first.
pub async fn open_below(session: &Session, xid: u64) -> Result<Vec<String>, Error> {
    let rows = session
        .query(
            "with open (xid) as (
               select x::text::bigint from pg_snapshot_xip(pg_current_snapshot()) x
               where x::text::bigint < $1)
             select coalesce('process ' || (
                 select min(pid) from pg_stat_activity
                 where backend_xid::text::bigint = open.xid & 4294967295),
               'prepared transaction ' || quote_literal((
                 select min(gid) from pg_prepared_xacts
                 where transaction::text::bigint = open.xid & 4294967295)))
             from open order by open.xid",
            &[&(xid as i64)],
        )
        .await?;
    // A subtransaction has a process by its top-level one alone.
    Ok(rows.iter().filter_map(|row| row.get(0)).collect())
}

/// A small durable write: the stream then shows a position past what was read, also where nobody
/// else writes.
pub async fn seen(session: &Session, table_id: i32, estimated_rows: i64) -> Result<(), Error> {
    session
        .execute(
            "update reconcile set seen_at = now(), trouble = null,
               estimated_rows = greatest(estimated_rows, $2, rows_done) where table_id = $1",
            &[&table_id, &estimated_rows],
        )
        .await?;
    Ok(())
}

/// Says what keeps a table from being read. Writes only where that is new.
pub async fn trouble(session: &Session, table_id: i32, what: &str) -> Result<(), Error> {
    session
        .execute(
            "update reconcile set trouble = $2 where table_id = $1 and trouble is distinct from $2",
            &[&table_id, &what],
        )
        .await?;
    Ok(())
}

/// In the commit that applies the chunk. Where the request was replaced meanwhile nothing moves: what
/// the chunk found is right all the same.
pub(crate) async fn advance(transaction: &Transaction<'_>, advance: &Advance) -> Result<(), Error> {
    let Advance {
        table_id,
        request,
        step,
        pass,
        round,
        cursor,
        finished,
        rows,
        actions,
    } = advance;
    transaction
        .execute(
            "with moved as (
               update reconcile set pass = $4, round = $5, cursor = $6, step = step + 1,
                 rows_done = rows_done + $8, actions = actions + $9,
                 finished_at = case when $7 then now() end
               where table_id = $1 and request = $2 and step = $3 and finished_at is null
                 and started_at is not null
               returning table_id, columns, finished_at
             ), swept as (
               delete from images using moved where moved.finished_at is not null
                 and images.table_id = moved.table_id and images.row is null
             )
             update image_tables as i set columns = moved.columns from moved
             where moved.finished_at is not null and i.table_id = moved.table_id",
            &[
                table_id,
                request,
                step,
                &pass.as_str(),
                round,
                cursor,
                finished,
                rows,
                actions,
            ],
        )
        .await?;
    Ok(())
}

/// A request as `status` tells of it.
#[derive(Clone, Debug)]
pub struct Standing {
    pub table: TableName,
    pub request: i32,
    pub purpose: Purpose,
    pub state: &'static str,
    pub rows_done: i64,
    pub estimated_rows: Option<i64>,
    pub actions: i64,
    pub trouble: Option<String>,
    /// Transactions that were open when it was asked for are still open.
    pub waits: bool,
}

pub async fn standings(session: &Session) -> Result<Vec<Standing>, Error> {
    let there = session
        .query_one("select to_regclass('reconcile') is not null", &[])
        .await?;
    // A sidecar of an earlier version set this schema up and has not been started anew.
    if !there.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = session
        .query(
            "select i.schema_name, i.table_name, r.request, r.purpose,
               case when r.finished_at is not null then 'done'
                 when r.started_at is null or r.seen_at is null then 'waiting' else 'running' end,
               r.rows_done, r.estimated_rows, r.actions, r.trouble,
               r.finished_at is null
                 and pg_snapshot_xmin(pg_current_snapshot())::text::bigint < r.not_before_xid
             from reconcile r join image_tables i using (table_id)
             order by r.requested_at, r.table_id",
            &[],
        )
        .await?;
    let standing = |row: &Row| {
        Ok(Standing {
            table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            request: row.get(2),
            purpose: Purpose::parse(row.get(3))?,
            state: match row.get(4) {
                "done" => "done",
                "running" => "running",
                _ => "waiting",
            },
            rows_done: row.get(5),
            estimated_rows: row.get(6),
            actions: row.get(7),
            trouble: row.get(8),
            waits: row.get(9),
        })
    };
    rows.iter().map(standing).collect()
}
