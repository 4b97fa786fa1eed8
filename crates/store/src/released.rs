//! Columns that were taken out of a publication's list before the worker migrates them.

use std::collections::{BTreeSet, HashMap};

use activity::TableName;

use crate::{Error, Session};

pub type Released = HashMap<TableName, BTreeSet<String>>;

/// Remembers a column, so that the guard does not miss it in the publication.
pub async fn remember(session: &Session, table: &TableName, column: &str) -> Result<(), Error> {
    session
        .execute(
            "insert into image_tables as i (schema_name, table_name, released)
             values ($1, $2, array[$3::text])
             on conflict on constraint image_table_is_named_once do update
             set released = array(select distinct unnest(i.released || excluded.released) order by 1)",
            &[&table.schema, &table.name, &column],
        )
        .await?;
    Ok(())
}

/// Forgets a column that could not be released after all.
pub async fn forget(session: &Session, table: &TableName, column: &str) -> Result<(), Error> {
    session
        .execute(
            "update image_tables set released = array_remove(released, $3::text)
             where schema_name = $1 and table_name = $2",
            &[&table.schema, &table.name, &column],
        )
        .await?;
    Ok(())
}

pub async fn released(session: &Session) -> Result<Released, Error> {
    let rows = session
        .query(
            "select schema_name, table_name, released from image_tables where released <> '{}'",
            &[],
        )
        .await?;
    let of = |row: &tokio_postgres::Row| {
        let columns: Vec<String> = row.get(2);
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (table, columns.into_iter().collect())
    };
    Ok(rows.iter().map(of).collect())
}

/// Forgets all of them: setup has listed again whatever rules name.
pub async fn clear(session: &Session) -> Result<(), Error> {
    session
        .execute(
            "update image_tables set released = '{}' where released <> '{}'",
            &[],
        )
        .await?;
    Ok(())
}
