//! A chunk: some rows of one table in one snapshot.

use std::collections::HashMap;

use activity::{Key, Row};
use jiff::Timestamp;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::Readable;
use crate::snapshot::Snapshot;
use crate::{Error, Session};

/// Rows fetched before it is known how large they are.
const FIRST_FETCH: usize = 16;
/// A name that no column of the worker's has.
const NUMBER: &str = "\"tidings: row number\"";
/// Columns of the answer before those of the row.
const HEAD: usize = 4;

/// How much one chunk takes at most; a single row is always taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows: usize,
    pub bytes: usize,
}

/// Which rows.
#[derive(Clone, Debug)]
pub enum Span {
    /// Those after the cursor, in key order; from the first one on where there is none.
    After(Option<Vec<String>>),
    /// Those with these keys, by the texts of their columns.
    Of(Vec<Vec<String>>),
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub rows: Vec<(Key, Row)>,
    pub snapshot: Snapshot,
    /// Of the table's images, in the same snapshot.
    pub generation: i32,
    /// The server's time.
    pub at: Timestamp,
    /// The key of the last row, where there may be more after it.
    pub cursor: Option<Vec<String>>,
    /// Not all rows of [`Span::Of`] fit: ask for fewer.
    pub cut: bool,
}

/// Reads a chunk in a transaction of its own, which is over when this returns. The session must not
/// be inside one. `table_id` is that of `image_tables`.
pub async fn chunk(
    session: &Session,
    table: &Readable,
    table_id: i32,
    span: &Span,
    limits: Limits,
) -> Result<Seen, Error> {
    let read = read(session, table, table_id, span, limits).await;
    let end = session.batch_execute("rollback").await;
    let seen = read?;
    end?;
    Ok(seen)
}

async fn read(
    session: &Session,
    table: &Readable,
    table_id: i32,
    span: &Span,
    limits: Limits,
) -> Result<Seen, Error> {
    let (place, limit) = match span {
        Span::After(None) => ("true".to_owned(), limits.rows),
        Span::After(Some(cursor)) => (table.beyond(cursor), limits.rows),
        // One row for each key, and one more to find that these were all.
        Span::Of(keys) => (table.among(keys), keys.len() + 1),
    };
    let order = match span {
        Span::After(_) => format!("order by {}", table.order()),
        Span::Of(_) => String::new(),
    };
    let list = table.select_list();
    // One statement, so one snapshot, taken after the lock. What it says of itself comes with the
    // first row, or alone where there is no row.
    let open = format!(
        "begin isolation level read committed read only; {lock}; \
         declare chunk no scroll cursor for \
         select case when coalesce({NUMBER}, 1) = 1 then pg_current_snapshot() end, \
           case when coalesce({NUMBER}, 1) = 1 then \
             (select i.generation from image_tables i where i.table_id = {table_id}) end, \
           case when coalesce({NUMBER}, 1) = 1 then (extract(epoch from now()) * 1000000)::bigint end, \
           {NUMBER}, {list} \
         from (select) as once left join \
           (select row_number() over () as {NUMBER}, {list} from \
             (select {list} from {name} where {place} {order} limit {limit}) as found) as numbered \
         on true",
        lock = table.lock(),
        name = table.relation.table,
    );
    session.batch_execute(&open).await?;
    let mut seen = None;
    let (mut bytes, mut fetch, mut done) = (0, FIRST_FETCH, false);
    let mut rows = Vec::new();
    let mut cursor = None;
    while !done && rows.len() < limit && (rows.is_empty() || bytes < limits.bytes) {
        let answer = session
            .simple_query(&format!("fetch {fetch} from chunk"))
            .await?;
        let fetched = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let mut got = 0;
        for row in fetched {
            got += 1;
            if seen.is_none() {
                seen = Some(head(row)?);
            }
            let Some(number) = row.get(HEAD - 1) else {
                continue;
            };
            if number != (rows.len() + 1).to_string() {
                let what = "rows of a chunk came out of order".to_owned();
                return Err(Error::Unreadable(what));
            }
            bytes += (HEAD..row.len())
                .filter_map(|p| row.get(p))
                .map(str::len)
                .sum::<usize>();
            let row = table.row(row, HEAD);
            let (key, texts) = table.key(&row);
            cursor = Some(texts);
            rows.push((key, row));
        }
        done = got < fetch;
        let each = (bytes / rows.len().max(1)).max(1);
        let room = limits.bytes.saturating_sub(bytes) / each;
        fetch = room.clamp(1, limit.saturating_sub(rows.len()).max(1));
    }
    let (snapshot, generation, at) =
        seen.ok_or_else(|| Error::Unreadable("a chunk came without its snapshot".to_owned()))?;
    if let Span::Of(keys) = span {
        let wanted: HashMap<&[String], ()> = keys.iter().map(|k| (k.as_slice(), ())).collect();
        rows.retain(|(_, row)| wanted.contains_key(table.key(row).1.as_slice()));
    }
    Ok(Seen {
        cut: matches!(span, Span::Of(_)) && !done,
        cursor: cursor.filter(|_| matches!(span, Span::After(_)) && !done),
        rows,
        snapshot,
        generation,
        at,
    })
}

fn head(row: &SimpleQueryRow) -> Result<(Snapshot, i32, Timestamp), Error> {
    let unreadable = |what: &str| Error::Unreadable(format!("a chunk came without its {what}"));
    let snapshot = row.get(0).and_then(|text| text.parse().ok());
    let generation = row.get(1).and_then(|text| text.parse().ok());
    let at = row.get(2).and_then(|text| text.parse().ok());
    let at = at.and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok());
    Ok((
        snapshot.ok_or_else(|| unreadable("snapshot"))?,
        generation.ok_or_else(|| unreadable("generation"))?,
        at.ok_or_else(|| unreadable("time"))?,
    ))
}
