//! What about a published table makes the worker's UPDATE and DELETE fail.

use activity::{ReplicaIdentity, TableName};

use super::generated;
use crate::catalog::{Published, Table};

/// One reason, in two halves of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Danger {
    /// What is wrong with which table.
    pub what: String,
    /// What mends it, before `tidings setup` can publish the table again.
    pub mend: String,
    /// The same as a statement or a command alone.
    pub command: String,
}

/// Whether a table, published like this, would make the server refuse the worker's UPDATE and
/// DELETE (`CheckCmdReplicaIdentity` of Postgres).
pub fn danger(table: &Table, published: &Published) -> Option<Danger> {
    let name = &published.table;
    if let Some((part, identity)) = &table.unidentified {
        return Some(unidentified(part, *identity));
    }
    if let (Some(part), Some(_)) = (&table.full, &published.columns) {
        return Some(Danger {
            what: format!("table {part} has REPLICA IDENTITY FULL, but a column list"),
            mend: format!(
                "Set capture.columns = \"whole\" for table {name}, or run \
                 `alter table {part} replica identity default;`"
            ),
            command: format!("alter table {part} replica identity default;"),
        });
    }
    if let Some(column) = generated::unpublished(table, published) {
        let part = table.full.as_ref().unwrap_or(name);
        return Some(Danger {
            what: format!(
                "the replica identity of table {part} reaches generated column {column}, which is not \
                 published"
            ),
            mend: match &table.full {
                Some(_) => format!("Run `alter table {part} replica identity default;`"),
                None => format!("Set capture.columns = \"listed\" for table {name}"),
            },
            command: match &table.full {
                Some(_) => format!("alter table {part} replica identity default;"),
                None => "tidings setup".to_owned(),
            },
        });
    }
    let unlisted = published
        .columns
        .as_ref()
        .and_then(|list| table.key.iter().find(|column| !list.contains(column)));
    if let Some(column) = unlisted {
        return Some(Danger {
            what: format!(
                "column {column} of table {name} is part of its replica identity, but not of its \
                 column list"
            ),
            mend: "The column list is made anew by setup".to_owned(),
            command: "tidings setup".to_owned(),
        });
    }
    let foreign = published
        .filter
        .as_ref()
        .filter(|_| table.full.is_none())
        .and_then(|filter| filter.iter().find(|column| !table.key.contains(column)));
    foreign.map(|column| Danger {
        what: format!(
            "table {name} has a row filter on column {column}, which is not part of its replica \
             identity"
        ),
        mend: "Setup publishes it without a filter".to_owned(),
        command: "tidings setup".to_owned(),
    })
}

fn unidentified(part: &TableName, identity: ReplicaIdentity) -> Danger {
    let key = format!("alter table {part} add primary key (…);");
    let index = format!("alter table {part} replica identity using index …;");
    let default = format!("alter table {part} replica identity default;");
    let (what, mend, command) = match identity {
        ReplicaIdentity::Nothing => (
            "has REPLICA IDENTITY NOTHING",
            format!("Run `{default}`"),
            default,
        ),
        ReplicaIdentity::Index => (
            "has lost the index that is its replica identity",
            format!("Run `{index}`, or `{default}` where it has a primary key"),
            index,
        ),
        ReplicaIdentity::Default | ReplicaIdentity::Full => (
            "has no primary key as its replica identity (a deferrable one is none)",
            format!("Run `{key}` or `{index}`"),
            key,
        ),
    };
    Danger {
        what: format!("table {part} {what}"),
        mend,
        command,
    }
}
