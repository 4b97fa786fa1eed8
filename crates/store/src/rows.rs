//! Rows of the worker's tables, read beside the worker, with the texts that the stream would send.
//!
//! The simple query protocol gives what a type's output function prints, as the stream does; a cast
//! to text does not (`true` where the stream says `t`). Only the key and the columns asked for are
//! read. A table is locked (ACCESS SHARE, as any SELECT does) before the snapshot is taken: a snapshot
//! from before a TRUNCATE or a rewrite sees the table empty.

mod chunk;
mod read;

use std::sync::Arc;

use activity::{Column, Key, Relation, ReplicaIdentity, Row, TableName, Value};
use bytestring::ByteString;
use tokio_postgres::SimpleQueryRow;

pub use chunk::{Limits, Seen, Span, chunk};
pub use read::by_key;

use crate::{Error, Session, quote_identifier, quote_literal};

/// A table of the worker's as it can be read: the key, and those of the wanted columns that it has.
#[derive(Clone, Debug)]
pub struct Readable {
    /// The columns that are read, in the table's order.
    pub relation: Arc<Relation>,
    /// As the server's statistics guess it.
    pub estimated_rows: i64,
    key: Vec<KeyColumn>,
}

/// One column of the key, with the operators of the index that holds it: names are looked up in
/// `pg_catalog` only, and a type of an extension has its own.
#[derive(Clone, Debug)]
struct KeyColumn {
    /// In the relation.
    position: usize,
    /// The quoted name, with the index's collation where that is not the column's.
    expression: String,
    schema: String,
    less: String,
    equal: String,
    greater: String,
}

impl Readable {
    /// What the catalog says of the table. `key` is its key, as [`crate::catalog::Table`] has it.
    pub async fn describe(
        session: &Session,
        table: &TableName,
        key: &[String],
        columns: &[String],
    ) -> Result<Self, Error> {
        let rows = session
            .query(
                "with named as (
                   select c.oid, c.reltuples from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')
                 ), index as (
                   select i.* from pg_index i join named on named.oid = i.indrelid
                   where i.indisunique and i.indisvalid and i.indpred is null
                     and (select array_agg(a.attname::text order by k.place)
                          from unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
                          join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                          where k.place <= i.indnkeyatts) = $3::text[]
                   order by i.indisprimary desc limit 1
                 ), part as (
                   select k.* from index
                   cross join unnest(index.indkey::int2[], index.indclass::oid[], index.indcollation::oid[])
                     with ordinality as k (attnum, class, collation_oid, place)
                   where k.place <= index.indnkeyatts
                 )
                 select a.attname::text, a.atttypid, a.atttypmod, part.place,
                   operators.schema, operators.less, operators.equal, operators.greater,
                   sort.schema, sort.name, named.reltuples::bigint
                 from named
                 join pg_attribute a on a.attrelid = named.oid and a.attnum > 0 and not a.attisdropped
                 left join part on part.attnum = a.attnum
                 left join lateral (
                   select n.nspname::text as schema,
                     max(o.oprname::text) filter (where m.amopstrategy = 1) as less,
                     max(o.oprname::text) filter (where m.amopstrategy = 3) as equal,
                     max(o.oprname::text) filter (where m.amopstrategy = 5) as greater
                   from pg_opclass c
                   join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype
                     and m.amoprighttype = c.opcintype and m.amopstrategy in (1, 3, 5)
                   join pg_operator o on o.oid = m.amopopr
                   join pg_namespace n on n.oid = o.oprnamespace
                   where c.oid = part.class
                   group by n.nspname) as operators on true
                 left join lateral (
                   select n.nspname::text as schema, l.collname::text as name
                   from pg_collation l join pg_namespace n on n.oid = l.collnamespace
                   where l.oid = part.collation_oid and l.oid <> a.attcollation) as sort on true
                 where part.place is not null
                   or a.attname::text = any($4::text[]) and a.attgenerated <> 'v'
                 order by a.attnum",
                &[&table.schema, &table.name, &key, &columns],
            )
            .await?;
        let mut read = Vec::new();
        let mut parts = Vec::new();
        for (position, row) in rows.iter().enumerate() {
            let name: String = row.get(0);
            let place: Option<i64> = row.get(3);
            if let Some(place) = place {
                let mut expression = quote_identifier(&name);
                if let (Some(schema), Some(sort)) = (row.get(8), row.get(9)) {
                    let (schema, sort) = (quote_identifier(schema), quote_identifier(sort));
                    expression = format!("{expression} collate {schema}.{sort}");
                }
                let operator =
                    |place: usize| row.get::<_, Option<String>>(place).unwrap_or_default();
                let part = KeyColumn {
                    position,
                    expression,
                    schema: quote_identifier(&operator(4)),
                    less: operator(5),
                    equal: operator(6),
                    greater: operator(7),
                };
                parts.push((place, part));
            }
            read.push(Column {
                name,
                type_oid: row.get(1),
                type_modifier: row.get(2),
                key: place.is_some(),
            });
        }
        parts.sort_by_key(|(place, _)| *place);
        let key_columns: Vec<KeyColumn> = parts.into_iter().map(|(_, part)| part).collect();
        if key_columns.is_empty() || key_columns.len() != key.len() {
            return Err(Error::NotReady(format!(
                "table {table} has no key to read its rows by: it was dropped or is being changed"
            )));
        }
        Ok(Self {
            relation: Arc::new(Relation {
                oid: 0,
                table: table.clone(),
                identity: ReplicaIdentity::Default,
                columns: read,
            }),
            estimated_rows: rows.first().map_or(0, |row| row.get::<_, i64>(10).max(0)),
            key: key_columns,
        })
    }

    /// The names of the columns that are read.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.relation
            .columns
            .iter()
            .map(|column| column.name.as_str())
    }

    /// The key of a row, and its parts as a cursor.
    pub fn key(&self, row: &Row) -> (Key, Vec<String>) {
        let text = |column: &KeyColumn| match row.values.get(column.position) {
            Some(Value::Text(text)) => text.to_string(),
            // A key column holds no null.
            _ => String::new(),
        };
        let texts: Vec<String> = self.key.iter().map(text).collect();
        (Key::new(texts.iter().map(String::as_str)), texts)
    }

    /// One row from the columns after the first `skipped` of an answer.
    fn row(&self, answer: &SimpleQueryRow, skipped: usize) -> Row {
        let value = |place: usize| match answer.get(place) {
            Some(text) => Value::Text(ByteString::from(text)),
            None => Value::Null,
        };
        let places = skipped..skipped + self.relation.columns.len();
        Row {
            relation: Arc::clone(&self.relation),
            values: places.map(value).collect(),
        }
    }

    fn select_list(&self) -> String {
        let names: Vec<String> = self.columns().map(quote_identifier).collect();
        names.join(", ")
    }

    /// Takes the lock that the reading statement will hold anyway.
    fn lock(&self) -> String {
        format!("select from {} limit 0", self.relation.table)
    }

    fn order(&self) -> String {
        let parts = self.key.iter().map(|column| {
            let KeyColumn {
                expression,
                schema,
                less,
                ..
            } = column;
            format!("{expression} using operator({schema}.{less})")
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// What comes after `cursor` in the order of the key.
    fn beyond(&self, cursor: &[String]) -> String {
        let operator = |c: &KeyColumn, name: &str| format!("operator({}.{name})", c.schema);
        let first = self.key.first();
        let alike = |c: &KeyColumn| {
            first.is_some_and(|first| (&c.schema, &c.greater) == (&first.schema, &first.greater))
        };
        let literals: Vec<String> = cursor.iter().map(|text| quote_literal(text)).collect();
        if let Some(first) = first.filter(|_| self.key.iter().all(alike)) {
            // As one comparison of rows, which an index can be entered by.
            let names: Vec<&str> = self.key.iter().map(|c| c.expression.as_str()).collect();
            let greater = operator(first, &first.greater);
            return format!("({}) {greater} ({})", names.join(", "), literals.join(", "));
        }
        let alternatives = self.key.iter().enumerate().map(|(place, column)| {
            let equal = self
                .key
                .iter()
                .zip(&literals)
                .take(place)
                .map(|(c, literal)| {
                    format!("{} {} {literal}", c.expression, operator(c, &c.equal))
                });
            let greater = operator(column, &column.greater);
            let literal = literals.get(place).map_or("null", String::as_str);
            let last = format!("{} {greater} {literal}", column.expression);
            let all: Vec<String> = equal.chain([last]).collect();
            format!("({})", all.join(" and "))
        });
        let alternatives: Vec<String> = alternatives.collect();
        format!("({})", alternatives.join(" or "))
    }

    /// The rows with these keys: an index is entered once for each of them.
    fn among(&self, keys: &[Vec<String>]) -> String {
        if let ([column], false) = (self.key.as_slice(), keys.is_empty())
            && (column.schema.as_str(), column.equal.as_str()) == ("\"pg_catalog\"", "=")
        {
            let texts = keys.iter().flatten().map(|text| quote_literal(text));
            let texts: Vec<String> = texts.collect();
            return format!("{} in ({})", column.expression, texts.join(", "));
        }
        let alternatives = keys.iter().map(|texts| {
            let equal = self.key.iter().zip(texts).map(|(c, text)| {
                let operator = format!("operator({}.{})", c.schema, c.equal);
                format!("{} {operator} {}", c.expression, quote_literal(text))
            });
            format!("({})", equal.collect::<Vec<_>>().join(" and "))
        });
        let alternatives: Vec<String> = alternatives.collect();
        if alternatives.is_empty() {
            return "false".to_owned();
        }
        format!("({})", alternatives.join(" or "))
    }
}

/// The key columns' texts of a stored key; `None` for one that is stored as a hash.
pub fn key_texts(key: &Key) -> Option<Vec<String>> {
    serde_json::from_str(key.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(position: usize, name: &str, schema: &str) -> KeyColumn {
        KeyColumn {
            position,
            expression: quote_identifier(name),
            schema: quote_identifier(schema),
            less: "<".into(),
            equal: "=".into(),
            greater: ">".into(),
        }
    }

    fn readable(key: Vec<KeyColumn>) -> Readable {
        let columns = ["Id", "tenant"].map(|name| Column {
            name: name.into(),
            type_oid: 25,
            type_modifier: -1,
            key: true,
        });
        Readable {
            relation: Arc::new(Relation {
                oid: 0,
                table: TableName::new("My App", "order"),
                identity: ReplicaIdentity::Default,
                columns: columns.into(),
            }),
            estimated_rows: 0,
            key,
        }
    }

    #[test]
    fn names_and_values_are_quoted_wherever_they_stand() {
        let table = readable(vec![column(0, "Id", "pg_catalog")]);
        assert_eq!(table.lock(), r#"select from "My App"."order" limit 0"#);
        assert_eq!(table.select_list(), r#""Id", "tenant""#);
        let it = vec!["it's".to_owned()];
        let beyond = r#"("Id") operator("pg_catalog".>) ('it''s')"#;
        assert_eq!(table.beyond(&it), beyond);
        assert_eq!(
            table.among(std::slice::from_ref(&it)),
            r#""Id" in ('it''s')"#
        );
        let foreign = readable(vec![column(0, "Id", "public")]);
        let among = r#"(("Id" operator("public".=) 'it''s'))"#;
        assert_eq!(foreign.among(&[it]), among);
        assert_eq!(table.among(&[]), "false");
    }

    #[test]
    fn keys_of_several_columns_are_compared_as_rows_where_one_operator_serves_all() {
        let cursor = ["1".to_owned(), "b".to_owned()];
        let table = readable(vec![
            column(1, "tenant", "pg_catalog"),
            column(0, "Id", "pg_catalog"),
        ]);
        assert_eq!(
            table.beyond(&cursor),
            r#"("tenant", "Id") operator("pg_catalog".>) ('1', 'b')"#
        );
        let mixed = readable(vec![
            column(1, "tenant", "pg_catalog"),
            column(0, "Id", "public"),
        ]);
        assert_eq!(
            mixed.beyond(&cursor),
            r#"(("tenant" operator("pg_catalog".>) '1') or ("tenant" operator("pg_catalog".=) '1' and "Id" operator("public".>) 'b'))"#
        );
    }

    #[test]
    fn a_row_tells_its_key_in_the_keys_order() {
        let table = readable(vec![
            column(1, "tenant", "pg_catalog"),
            column(0, "Id", "pg_catalog"),
        ]);
        let row = Row {
            relation: Arc::clone(&table.relation),
            values: vec![Value::Text("7".into()), Value::Text("eu".into())],
        };
        let (key, cursor) = table.key(&row);
        assert_eq!(key, Key::new(["eu", "7"]));
        assert_eq!(key_texts(&key), Some(cursor));
        assert_eq!(key_texts(&Key::from_stored("sha256:00".into())), None);
    }
}
