//! What the tables that have images were when they were last looked at: which table bore the name, and which
//! partitions held its rows. What was swapped, attached, detached or dropped is in no stream.

use std::collections::HashMap;

use activity::TableName;

use crate::{Error, Session};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `None` before a session of capture has begun with it.
    pub oid: Option<u32>,
    /// In ascending order; `None` where nobody has looked yet.
    pub parts: Option<Vec<u32>>,
}

/// Of each table that has images and is watched.
pub async fn known(session: &Session) -> Result<HashMap<TableName, Known>, Error> {
    let rows = session
        .query(
            "select schema_name, table_name, oid, parts from image_tables where watched",
            &[],
        )
        .await?;
    let known = rows.iter().map(|row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let known = Known {
            oid: row.get(2),
            parts: row.get(3),
        };
        (table, known)
    });
    Ok(known.collect())
}

/// Writes only where something differs.
pub async fn remember(session: &Session, table: &TableName, parts: &[u32]) -> Result<(), Error> {
    session
        .execute(
            "update image_tables set parts = $3
             where schema_name = $1 and table_name = $2 and parts is distinct from $3",
            &[&table.schema, &table.name, &parts],
        )
        .await?;
    Ok(())
}

/// Whether nothing was ever written to any of these partitions. One that is locked counts as written to.
pub async fn are_empty(session: &Session, parts: &[u32]) -> bool {
    let sizes = session
        .query_one(
            "select coalesce(sum(pg_relation_size(oid)), 0)::bigint = 0 from unnest($1::oid[]) as part (oid)",
            &[&parts],
        )
        .await;
    sizes.is_ok_and(|row| row.get(0))
}
