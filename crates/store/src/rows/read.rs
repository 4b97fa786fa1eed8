//! Rows by their keys, as they are now.

use activity::{Key, Row, TableName, Value};
use serde_json::Map;
use tokio_postgres::SimpleQueryMessage;

use super::{Readable, key_texts};
use crate::images::RowJson;
use crate::{Error, Session};

/// Reads the rows of a worker's table that have these keys, as they are at this moment; keys without
/// a row are left out, and so are those that are kept as a hash. `key` is the table's key and
/// `columns` are those wanted of it: the ones that it lacks are missing in the answer.
///
/// The session must not be inside a transaction. It needs SELECT on the key and on those columns.
pub async fn by_key(
    session: &Session,
    table: &TableName,
    key: &[String],
    columns: &[String],
    keys: &[Key],
) -> Result<Vec<(Key, RowJson)>, Error> {
    let texts: Vec<Vec<String>> = keys.iter().filter_map(key_texts).collect();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let readable = Readable::describe(session, table, key, columns).await?;
    let statements = format!(
        "begin isolation level read committed read only; set local row_security = off; {lock}; \
         select {list} from {table} where {among}; commit",
        lock = readable.lock(),
        list = readable.select_list(),
        among = readable.among(&texts),
    );
    let answer = match session.simple_query(&statements).await {
        Ok(answer) => answer,
        Err(error) => {
            session.batch_execute("rollback").await?;
            return Err(error.into());
        }
    };
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(readable.row(row, 0)),
        _ => None,
    });
    let found = rows.map(|row| (readable.key(&row).0, json(&row)));
    // An operator may find more than the same text: `1` where it was asked for `1.0`.
    Ok(found.filter(|(key, _)| keys.contains(key)).collect())
}

fn json(row: &Row) -> RowJson {
    let columns = row.relation.columns.iter().zip(&row.values);
    let columns = columns.map(|(column, value)| {
        let value = match value {
            Value::Text(text) => serde_json::Value::from(&**text),
            Value::Null | Value::Unchanged => serde_json::Value::Null,
        };
        (column.name.clone(), value)
    });
    serde_json::Value::Object(columns.collect::<Map<_, _>>()).to_string()
}
