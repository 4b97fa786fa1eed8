use activity::TableName;
use tokio_postgres::Row;

use crate::{Error, Session};

/// How a table got into a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// It is named there.
    Name,
    /// FOR TABLES IN SCHEMA.
    Schema,
    /// FOR ALL TABLES.
    AllTables,
}

/// A table of ours that a publication sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTable {
    pub publication: String,
    pub through: Through,
    /// `None` where all of the schema's are meant.
    pub table: Option<TableName>,
}

/// Which publications send tables of the sidecar's own schema.
pub async fn own_tables(session: &Session, version: u32) -> Result<Vec<OwnTable>, Error> {
    let schemas = match version {
        150_000.. => {
            "union all
             select p.pubname::text, 's', null from pg_publication p
             join pg_publication_namespace m on m.pnpubid = p.oid
             join pg_namespace n on n.oid = m.pnnspid where n.nspname = $1"
        }
        _ => "",
    };
    let statement = format!(
        "select p.pubname::text, 'a', null::text from pg_publication p
         where p.puballtables and exists (select from pg_namespace where nspname = $1)
         {schemas}
         union all
         select p.pubname::text, 'n', c.relname::text from pg_publication p
         join pg_publication_rel m on m.prpubid = p.oid
         join pg_class c on c.oid = m.prrelid
         join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1
         order by 1, 2, 3"
    );
    let rows = session.query(&statement, &[&session.schema()]).await?;
    let one = |row: &Row| OwnTable {
        publication: row.get(0),
        through: match row.get(1) {
            "a" => Through::AllTables,
            "s" => Through::Schema,
            _ => Through::Name,
        },
        table: row
            .get::<_, Option<String>>(2)
            .map(|name| TableName::new(session.schema(), name)),
    };
    Ok(rows.iter().map(one).collect())
}

/// Schemas with tables of the worker's.
pub async fn other_schemas(session: &Session) -> Result<Vec<String>, Error> {
    let rows = session
        .query(
            "select distinct n.nspname::text from pg_class c
             join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p') and c.relpersistence = 'p' and n.nspname <> $1
               and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
             order by 1",
            &[&session.schema()],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The tables of those schemas; partitions are meant by their roots.
pub async fn other_tables(session: &Session) -> Result<Vec<TableName>, Error> {
    let rows = session
        .query(
            "select n.nspname::text, c.relname::text from pg_class c
             join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
               and n.nspname <> $1
               and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
             order by 1, 2",
            &[&session.schema()],
        )
        .await?;
    let table = |row: &Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(table).collect())
}
