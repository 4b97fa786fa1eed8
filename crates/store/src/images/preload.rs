//! Reading images without a hand in them: nothing is registered, nothing is voided.

use std::collections::HashMap;

use activity::{Key, Lsn, TableName};
use postgres_types::PgLsn;

use super::{ImageTable, ImageTables, RowJson};
use crate::{Error, Session};

/// The tables that have images now.
pub async fn known(session: &Session) -> Result<ImageTables, Error> {
    let rows = session
        .query(
            "select schema_name, table_name, table_id, generation from image_tables where watched",
            &[],
        )
        .await?;
    let known = rows.iter().map(|row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let (id, generation) = (row.get(2), row.get(3));
        let known = ImageTable {
            id,
            generation,
            keeps_deletes: false,
            follows_a_gap: false,
        };
        (table, known)
    });
    Ok(ImageTables(known.collect(), HashMap::new()))
}

/// All images, with the last transaction that they hold; `None` where they are more than `limit`.
pub async fn all(
    session: &mut Session,
    limit: usize,
) -> Result<Option<(Lsn, Vec<(TableName, Key, RowJson)>)>, Error> {
    let transaction = session
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let at = transaction
        .query_opt("select commit_lsn from progress", &[])
        .await?;
    let rows = transaction
        .query(
            "select t.schema_name, t.table_name, i.key, i.row::text
             from images i join image_tables t on t.table_id = i.table_id
               and t.generation = i.generation and t.watched
             where i.row is not null
             limit $1",
            &[&(i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)],
        )
        .await?;
    transaction.commit().await?;
    if rows.len() > limit {
        return Ok(None);
    }
    let at = at.map_or(Lsn::MAX, |row| Lsn::new(u64::from(row.get::<_, PgLsn>(0))));
    let image = |row: &tokio_postgres::Row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (table, Key::from_stored(row.get(2)), row.get(3))
    };
    Ok(Some((at, rows.iter().map(image).collect())))
}
