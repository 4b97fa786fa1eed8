//! Whether the stream carries what rules need, and nothing of ours. Pure.

use std::collections::HashMap;

use activity::TableName;
use store::catalog::{Publication, Published, Table};
use store::doctor::{OwnTable, Through};
use store::quote_identifier;
use store::setup::{Found, Wanted, as_published, danger, publication_steps};

use super::check::{Check, Complaint};
use super::role::sql;
use crate::finding::{Finding, Weight};

/// `missing`: what the publication lacks of what rules need.
pub fn publication(wanted: &Wanted, found: &Found, missing: &[String], is_set_up: bool) -> Check {
    const NAME: &str = "publication";
    let name = &wanted.publication;
    let Some(publication) = &found.publication else {
        return match is_set_up {
            false => Check::skipped(NAME, "nothing was set up yet; setup makes it"),
            true => Check::fail(
                NAME,
                format!(
                    "publication {name} is gone: what is committed until it is there again is not in the \
                     stream; `tidings run` then finds final states by itself"
                ),
                "tidings setup",
            ),
        };
    };
    if publication.sweeping {
        return Check::fail(
            NAME,
            format!("publication {name} is FOR ALL TABLES or IN SCHEMA and not ours"),
            "capture.publication: another name; then: tidings setup --new-slot",
        );
    }
    let complete = wanted
        .tables
        .iter()
        .all(|wanted| found.tables.contains_key(&wanted.table));
    let steps = match complete {
        true => sql(&publication_steps(wanted, found)),
        false => Vec::new(),
    };
    let mend = match steps.as_slice() {
        [] => "tidings setup".to_owned(),
        steps => steps.join("\n"),
    };
    let complaint = match (missing, steps.as_slice()) {
        ([], []) => None,
        ([], _) => Some(Complaint::warn(
            format!("publication {name} is not as `tidings setup` would make it"),
            mend,
        )),
        (missing, _) => Some(Complaint::fail(
            format!(
                "publication {name} does not send what rules need: {}",
                missing.join("; ")
            ),
            mend,
        )),
    };
    let count = publication.tables.len();
    Check::of(
        NAME,
        format!("{name} sends {count} tables, as rules need them"),
        complaint,
    )
}

/// Whether the server would refuse the worker's UPDATE and DELETE of a published table.
pub fn replica_identity(
    wanted: &Wanted,
    tables: &HashMap<TableName, Table>,
    publication: Option<&Publication>,
) -> Check {
    const NAME: &str = "replica_identity";
    let mut complaints = Vec::new();
    let mut full = Vec::new();
    for wanted in &wanted.tables {
        let name = &wanted.table;
        let Some(table) = tables.get(name) else {
            continue;
        };
        let published = publication.and_then(|publication| publication.find(name));
        complaints.extend(in_danger(table, published, &as_published(wanted, table)));
        if table.key.is_empty() && table.unidentified.is_none() {
            complaints.push(Complaint::fail(
                format!("table {name} has no primary key to tell its rows apart"),
                format!("alter table {name} add primary key (…);"),
            ));
        }
        full.extend(table.full.as_ref().map(ToString::to_string));
    }
    let well = match full.as_slice() {
        [] => "every table of the rules tells its rows apart".to_owned(),
        full => format!(
            "every table of the rules tells its rows apart ({} by whole rows: REPLICA IDENTITY FULL)",
            full.join(", ")
        ),
    };
    Check::of(NAME, well, complaints)
}

fn in_danger(
    table: &Table,
    published: Option<&Published>,
    planned: &Published,
) -> Option<Complaint> {
    let now = published.and_then(|published| danger(table, published));
    if let Some(danger) = now {
        return Some(Complaint::fail(
            format!(
                "{}: every UPDATE and DELETE on it fails while it is published",
                danger.what
            ),
            danger.command,
        ));
    }
    let danger = danger(table, planned)?;
    Some(Complaint::fail(
        format!(
            "{}: once published, every UPDATE and DELETE on it would fail",
            danger.what
        ),
        danger.command,
    ))
}

/// Publications that send our own tables, for whatever subscribes to them. `others`: what such a publication
/// would name instead, as SQL writes it.
pub fn own_tables(own: &[OwnTable], schema: &str, others: &str) -> Check {
    let complaint = |own: &OwnTable| {
        let publication = quote_identifier(&own.publication);
        let harm =
            "what subscribes there gets whatever we write, and stops where it lacks the table";
        match (own.through, &own.table) {
            (Through::Name, Some(table)) => Complaint::warn(
                format!("publication {publication} sends our table {table}: {harm}"),
                format!("alter publication {publication} drop table {table}; -- as its owner"),
            ),
            (Through::Schema, _) => Complaint::warn(
                format!("publication {publication} sends our whole schema: {harm}"),
                format!(
                    "alter publication {publication} drop tables in schema {}; -- as its owner",
                    quote_identifier(schema)
                ),
            ),
            (Through::AllTables | Through::Name, _) => Complaint::warn(
                format!("publication {publication} is FOR ALL TABLES, ours among them: {harm}"),
                // Its subscribers lose their place by it, which is theirs to decide.
                format!(
                    "-- drop publication {publication}; create publication {publication} for {others};\n\
                     -- the above if whoever subscribes agrees: with the options that it has, as a superuser; each subscriber needs a new slot after it"
                ),
            ),
        }
    };
    Check::of(
        "own_tables",
        "no publication sends tables of ours",
        own.iter().map(complaint),
    )
}

/// What `rules check --live` says; its notes are for who writes rules.
pub fn findings(name: &'static str, well: String, findings: &[Finding]) -> Check {
    let told = |finding: &Finding| {
        let rule = finding.rule.as_ref().map(|rule| format!("rule {rule}: "));
        let what = format!("{}{}", rule.unwrap_or_default(), finding.message);
        let mend = finding.hint.clone().unwrap_or_default();
        match finding.level {
            Weight::Error => Some(Complaint::fail(what, mend)),
            Weight::Warning => Some(Complaint::warn(what, mend)),
            Weight::Note => None,
        }
    };
    Check::of(name, well, findings.iter().filter_map(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;
    use activity::ReplicaIdentity;
    use store::setup::WantedTable;

    fn table(unidentified: Option<ReplicaIdentity>) -> Table {
        let name = TableName::new("public", "projects");
        Table {
            oid: 1,
            key: vec!["id".to_owned()],
            columns: vec!["id".to_owned(), "name".to_owned()],
            types: vec![25, 25],
            generated: Vec::new(),
            version: 170_010,
            unidentified: unidentified.map(|identity| (name, identity)),
            parts: Vec::new(),
            full: None,
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            schema: "tidings".to_owned(),
            slot: "tidings".to_owned(),
            publication: "tidings".to_owned(),
            role: "tidings".to_owned(),
            actions_table: TableName::new("public", "project_actions"),
            tables: vec![WantedTable {
                table: TableName::new("public", "projects"),
                columns: vec!["name".to_owned()],
                listed: false,
            }],
        }
    }

    #[test]
    fn a_table_that_nothing_identifies_is_named_with_the_statement_that_mends_it() {
        let name = TableName::new("public", "projects");
        let well = HashMap::from([(name.clone(), table(None))]);
        assert_eq!(replica_identity(&wanted(), &well, None).status, Status::Ok);
        let spoilt = HashMap::from([(name, table(Some(ReplicaIdentity::Nothing)))]);
        let check = replica_identity(&wanted(), &spoilt, None);
        assert_eq!(check.status, Status::Fail);
        assert_eq!(
            check.mend.as_deref(),
            Some("alter table public.projects replica identity default;")
        );
    }

    #[test]
    fn each_way_into_a_publication_has_a_way_out() {
        let own = |through, table: Option<&str>| OwnTable {
            publication: "mirror".to_owned(),
            through,
            table: table.map(|name| TableName::new("tidings", name)),
        };
        assert_eq!(own_tables(&[], "tidings", "").status, Status::Ok);
        let check = own_tables(
            &[
                own(Through::Name, Some("actions")),
                own(Through::Schema, None),
                own(Through::AllTables, None),
            ],
            "tidings",
            "table public.projects",
        );
        assert_eq!(check.status, Status::Warn);
        let mend = check.mend.unwrap();
        for part in [
            "alter publication \"mirror\" drop table tidings.actions;",
            "drop tables in schema \"tidings\";",
            "create publication \"mirror\" for table public.projects;",
        ] {
            assert!(mend.contains(part), "{mend}");
        }
        let drops = mend.lines().find(|line| line.contains("drop publication"));
        assert!(drops.unwrap().starts_with("-- "), "{mend}");
    }

    #[test]
    fn notes_of_a_rules_check_are_no_complaints() {
        let finding = |level, hint: Option<&str>| Finding {
            level,
            file: String::new(),
            line: None,
            rule: None,
            key: None,
            message: "a column".to_owned(),
            hint: hint.map(str::to_owned),
            mark: None,
        };
        let told = |list: &[Finding]| findings("rules", "well".to_owned(), list);
        assert_eq!(told(&[finding(Weight::Note, None)]).status, Status::Ok);
        assert_eq!(told(&[finding(Weight::Warning, None)]).status, Status::Warn);
        let check = told(&[finding(Weight::Error, Some("do this"))]);
        assert_eq!(
            (check.status, check.mend.as_deref()),
            (Status::Fail, Some("do this"))
        );
    }
}
