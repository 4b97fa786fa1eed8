//! A publication, with everything that decides what the stream tells.

use activity::TableName;

use crate::{Error, Session};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub oid: u32,
    pub owner: String,
    /// Whether the session's role may alter it.
    pub owned: bool,
    /// Whether partitions are published under the name of their root.
    pub via_root: bool,
    /// Whether inserts, updates, deletes and truncates all are published.
    pub every_change: bool,
    /// FOR ALL TABLES or TABLES IN SCHEMA: publishes more than the tables that it names.
    pub sweeping: bool,
    pub tables: Vec<Published>,
}

impl Publication {
    pub fn find(&self, table: &TableName) -> Option<&Published> {
        self.tables
            .iter()
            .find(|published| published.table == *table)
    }
}

/// A table as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub table: TableName,
    /// The column list, where there is one.
    pub columns: Option<Vec<String>>,
    /// The columns that it depends on, where it has a row filter.
    pub filter: Option<Vec<String>>,
}

pub async fn publication(
    session: &Session,
    version: u32,
    name: &str,
) -> Result<Option<Publication>, Error> {
    // Column lists, row filters and whole schemas exist from Postgres 15 on.
    let since_15 = |sql: &'static str, before: &'static str| {
        if version >= 150_000 { sql } else { before }
    };
    let schemas = since_15(
        "exists (select from pg_publication_namespace n where n.pnpubid = p.oid)",
        "false",
    );
    let statement = format!(
        "select p.oid, pg_get_userbyid(p.pubowner)::text, pg_has_role(p.pubowner, 'usage'),
           p.pubviaroot, p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate,
           p.puballtables or {schemas}
         from pg_publication p where p.pubname = $1"
    );
    let Some(found) = session.query_opt(&statement, &[&name]).await? else {
        return Ok(None);
    };
    let oid: u32 = found.get(0);
    Ok(Some(Publication {
        oid,
        owner: found.get(1),
        owned: found.get(2),
        via_root: found.get(3),
        every_change: found.get(4),
        sweeping: found.get(5),
        tables: published(session, oid, since_15).await?,
    }))
}

async fn published(
    session: &Session,
    publication: u32,
    since_15: impl Fn(&'static str, &'static str) -> &'static str,
) -> Result<Vec<Published>, Error> {
    let columns = since_15(
        "(select array_agg(a.attname::text order by a.attnum) from pg_attribute a
          where a.attrelid = r.prrelid and a.attnum = any(r.prattrs::int2[]))",
        "null::text[]",
    );
    let filter = since_15(
        "case when r.prqual is not null then
           (select coalesce(array_agg(distinct a.attname::text), '{}')
            from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
            where d.classid = 'pg_publication_rel'::regclass and d.objid = r.oid
              and d.refclassid = 'pg_class'::regclass and d.refobjid = r.prrelid
              and d.refobjsubid > 0)
         end",
        "null::text[]",
    );
    let statement = format!(
        "select n.nspname::text, c.relname::text, {columns}, {filter}
         from pg_publication_rel r join pg_class c on c.oid = r.prrelid
         join pg_namespace n on n.oid = c.relnamespace
         where r.prpubid = $1 order by 1, 2"
    );
    let rows = session.query(&statement, &[&publication]).await?;
    let published = rows.iter().map(|row| Published {
        table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        columns: row.get(2),
        filter: row.get(3),
    });
    Ok(published.collect())
}
