use activity::TableName;
use store::catalog::{self, Published};
use store::setup::without_column;
use store::{Purpose, Session, released};

use super::set_up_session;
use crate::Failure;
use crate::cli::Columns;
use crate::settings::{Settings, parse_table};

pub async fn columns(settings: &Settings, arguments: &Columns) -> Result<(), Failure> {
    let Columns::Release { column } = arguments;
    release(settings, column).await
}

/// Takes a column out of the publication's list, so that the worker can drop or retype it.
async fn release(settings: &Settings, text: &str) -> Result<(), Failure> {
    let Some((table, column)) = parse_column(text) else {
        return Err(Failure::Settings(anyhow::anyhow!(
            "{text:?} names no column: write schema.table.column as SQL writes it, such as \
             public.projects.name or '\"MyWorker\".projects.\"Odd name\"'"
        )));
    };
    let session = set_up_session(settings).await?;
    let server = catalog::server(&session).await?;
    let name = &settings.capture.publication;
    let publication = catalog::publication(&session, server.version, name).await?;
    let Some(publication) = publication else {
        return Err(Failure::NotReady(format!(
            "publication {name} does not exist: run `tidings setup` first"
        )));
    };
    let Some(published) = publication.find(&table) else {
        return Err(Failure::NotReady(format!(
            "table {table} is not in publication {name}: nothing of it stands in the way of a migration"
        )));
    };
    let known = catalog::tables(&session, std::slice::from_ref(&table)).await?;
    let Some(list) = listed(published, &column) else {
        println!(
            "column {column} of table {table} is not in a column list: it can be dropped and retyped as it is"
        );
        return Ok(());
    };
    if known
        .get(&table)
        .is_some_and(|known| known.key.contains(&column))
    {
        return Err(Failure::NotReady(format!(
            "column {column} is part of the key of table {table}: without it in the list, every UPDATE and \
             DELETE there would fail. Publish the table whole for this migration: capture.tables.\"{table}\" \
             columns = \"whole\", then `tidings setup`"
        )));
    }
    let sql = without_column(name, &table, list, &column);
    // First, or the guard would call it a fault.
    released::remember(&session, &table, &column).await?;
    if let Err(failure) = alter(settings, &sql).await {
        if matches!(failure, Failure::Failed(_)) {
            released::forget(&session, &table, &column).await?;
        }
        return Err(failure);
    }
    println!(
        "column {column} of table {table} is released: the worker's migration can run. Until the packs fit \
         again, changes that rules need it for go to quarantine. `tidings setup` lists it again"
    );
    Ok(())
}

fn listed<'a>(published: &'a Published, column: &String) -> Option<&'a [String]> {
    let list = published.columns.as_deref()?;
    list.contains(column).then_some(list)
}

async fn alter(settings: &Settings, sql: &str) -> Result<(), Failure> {
    let admin = settings.database.admin().map_err(Failure::Settings)?;
    let admin = Session::open(&admin, &settings.database.schema, Purpose::Admin).await?;
    let limited = format!("set lock_timeout = '1s'; {sql}");
    let Err(error) = admin
        .batch_execute(&limited)
        .await
        .map_err(store::Error::from)
    else {
        return Ok(());
    };
    match error
        .sqlstate()
        .map(|state| state.code().to_owned())
        .as_deref()
    {
        // The guard knows of it already: whoever may can run this.
        Some("42501") => Err(Failure::NotReady(format!(
            "this role may not do that: {error}\nSet database.admin_url to the owner of the worker's \
             tables, or have the owner run this, which is expected now:\n  {sql}"
        ))),
        Some("55P03") => Err(Failure::Failed(anyhow::anyhow!(
            "the table is locked by somebody else (a VACUUM, an index build, an open ALTER): try again later"
        ))),
        _ => Err(Failure::Failed(
            anyhow::Error::new(error).context(sql.to_owned()),
        )),
    }
}

/// `schema.table.column` or `table.column`, as SQL reads it.
fn parse_column(text: &str) -> Option<(TableName, String)> {
    // The column is what stands behind the last dot outside of quotes.
    let mut quoted = false;
    let dot = text.char_indices().filter(|(_, character)| {
        if *character == '"' {
            quoted = !quoted;
        }
        *character == '.' && !quoted
    });
    let dot = dot.last()?.0;
    let table = parse_table(text.get(..dot)?)?;
    // A lone name reads as a table of schema public.
    let column = parse_table(text.get(dot + 1..)?)?;
    Some((table, column.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_reads_as_sql_reads_it() {
        let column = |schema: &str, table: &str, column: &str| {
            Some((TableName::new(schema, table), column.to_owned()))
        };
        assert_eq!(
            parse_column("public.Projects.Name"),
            column("public", "projects", "name")
        );
        assert_eq!(
            parse_column("projects.name"),
            column("public", "projects", "name")
        );
        assert_eq!(
            parse_column("\"My.Worker\".\"T\".\"a.b\""),
            column("My.Worker", "T", "a.b")
        );
        for text in ["name", "", "a.", ".a", "a.b.c.d", "a.\"b"] {
            assert_eq!(parse_column(text), None, "{text}");
        }
    }
}
