//! What the tables that have images are, whatever they and their columns are called.

use std::collections::{BTreeMap, HashMap};

use activity::TableName;
use serde_json::Value;

use crate::images::ImageTables;
use crate::{Error, Session};

/// For each column of a table that was renamed, the names that it had before.
pub type FormerNames = BTreeMap<String, Vec<String>>;

/// Gives tables that were renamed since a session last looked their images, and what the quarantine
/// holds of them, back under their new names. Returns old and new names.
pub async fn follow(
    session: &mut Session,
    names: &[TableName],
) -> Result<Vec<(TableName, TableName)>, Error> {
    let (schemas, tables): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    // A name that had images of its own keeps them: that is another table under a used name.
    let renamed = session
        .query(
            "select i.table_id, i.schema_name, i.table_name, n.nspname::text, c.relname::text
             from image_tables i
             join pg_class c on c.oid = i.oid
             join pg_namespace n on n.oid = c.relnamespace
             join unnest($1::text[], $2::text[]) as named (s, t)
               on named.s = n.nspname and named.t = c.relname
             where (i.schema_name, i.table_name) <> (n.nspname::text, c.relname::text)
               and not exists (select from image_tables other
                 where other.schema_name = n.nspname and other.table_name = c.relname)",
            &[&schemas, &tables],
        )
        .await?;
    let mut followed = Vec::new();
    for row in renamed {
        let name = |place: usize| {
            TableName::new(row.get::<_, String>(place), row.get::<_, String>(place + 1))
        };
        let (before, now) = (name(1), name(3));
        let transaction = session.transaction().await?;
        transaction
            .execute(
                "update image_tables set schema_name = $2, table_name = $3 where table_id = $1",
                &[&row.get::<_, i32>(0), &now.schema, &now.name],
            )
            .await?;
        transaction
            .execute(
                "update quarantine set table_name = $2 where table_name = $1",
                &[&before.to_string(), &now.to_string()],
            )
            .await?;
        transaction.commit().await?;
        followed.push((before, now));
    }
    Ok(followed)
}

/// What the tables among `names` that had images, and are not found under their names, are called now.
pub async fn called_now(
    session: &Session,
    names: &[&TableName],
) -> Result<HashMap<TableName, TableName>, Error> {
    let (schemas, tables): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    let rows = session
        .query(
            "select i.schema_name, i.table_name, n.nspname::text, c.relname::text
             from image_tables i
             join unnest($1::text[], $2::text[]) as named (s, t)
               on named.s = i.schema_name and named.t = i.table_name
             join pg_class c on c.oid = i.oid
             join pg_namespace n on n.oid = c.relnamespace
             where (n.nspname::text, c.relname::text) <> (i.schema_name, i.table_name)",
            &[&schemas, &tables],
        )
        .await?;
    let name = |row: &tokio_postgres::Row, place: usize| {
        TableName::new(row.get::<_, String>(place), row.get::<_, String>(place + 1))
    };
    Ok(rows
        .iter()
        .map(|row| (name(row, 0), name(row, 2)))
        .collect())
}

/// Keeps the tables' OIDs and the numbers of their columns, and learns which columns were renamed.
/// Writes only where something differs.
pub async fn remember(session: &Session, tables: &mut ImageTables) -> Result<(), Error> {
    session
        .execute(
            "update image_tables i set oid = now.oid,
               attributes = case when i.oid = now.oid then i.attributes || now.attributes
                 else now.attributes end
             from (
               select c.oid, n.nspname::text as s, c.relname::text as t,
                 jsonb_object_agg(a.attname, a.attnum) as attributes
               from pg_class c
               join pg_namespace n on n.oid = c.relnamespace
               join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
               where exists (select from image_tables w
                   where w.watched and w.schema_name = n.nspname and w.table_name = c.relname)
                 and c.relkind in ('r', 'p')
               group by c.oid, n.nspname, c.relname) as now
             where i.watched and i.schema_name = now.s and i.table_name = now.t
               and (i.oid is distinct from now.oid or not i.attributes @> now.attributes)",
            &[],
        )
        .await?;
    let rows = session
        .query(
            "select i.schema_name, i.table_name, i.attributes,
               (select coalesce(array_agg(a.attname::text), '{}') from pg_attribute a
                where a.attrelid = i.oid and a.attnum > 0 and not a.attisdropped)
             from image_tables i where i.watched",
            &[],
        )
        .await?;
    let former = rows.iter().map(|row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let columns: Vec<String> = row.get(3);
        (table, former_names(&row.get(2), &columns))
    });
    tables.1 = former.filter(|(_, names)| !names.is_empty()).collect();
    Ok(())
}

impl ImageTables {
    /// `None` where no column of the table was renamed.
    pub fn former_names(&self, table: &TableName) -> Option<&FormerNames> {
        self.1.get(table)
    }
}

/// `attributes` has a number for each name; `columns` are those that the table has now.
fn former_names(attributes: &Value, columns: &[String]) -> FormerNames {
    let Value::Object(attributes) = attributes else {
        return FormerNames::new();
    };
    let names = columns.iter().filter_map(|now| {
        let number = attributes.get(now)?;
        let before = attributes
            .iter()
            .filter(|(name, other)| *other == number && *name != now)
            .map(|(name, _)| name.clone());
        let mut before: Vec<String> = before.collect();
        before.sort();
        (!before.is_empty()).then(|| (now.clone(), before))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_number_are_one_column() {
        let attributes =
            serde_json::json!({"id": 1, "state": 2, "phase": 2, "gone": 3, "stage": 2});
        let columns = ["id", "phase"].map(str::to_owned);
        let names = former_names(&attributes, &columns);
        let expected = [(
            "phase".to_owned(),
            vec!["stage".to_owned(), "state".to_owned()],
        )];
        assert_eq!(names, FormerNames::from(expected));
    }
}
