use super::*;
use activity::{Lsn, ReplicaIdentity};

use crate::catalog::{Generated, Published};

fn wanted() -> Wanted {
    let table = TableName::new("public", "projects");
    Wanted {
        schema: "tidings".into(),
        slot: "tidings".into(),
        publication: "tidings".into(),
        role: "tidings".into(),
        actions_table: TableName::new("public", "project_actions"),
        tables: vec![WantedTable {
            table,
            columns: vec!["name".into()],
            listed: false,
        }],
    }
}

fn found() -> Found {
    let table = Table {
        oid: 1,
        key: vec!["project_id".into()],
        columns: vec!["project_id".into(), "name".into(), "secret".into()],
        types: vec![25, 25, 25],
        generated: Vec::new(),
        version: 150_018,
        unidentified: None,
        full: None,
        parts: Vec::new(),
    };
    Found {
        server: Server {
            version: 150_018,
            wal_level: "logical".into(),
            user: "app".into(),
            database: "app".into(),
            superuser: false,
            replication: false,
            in_recovery: false,
            flush_lsn: Some(Lsn::ZERO),
            next_xid: 700,
        },
        role: Some(Role {
            superuser: false,
            replication: true,
            member: true,
        }),
        schema_exists: false,
        actions_table_exists: false,
        may_insert: false,
        unreadable: Vec::new(),
        sequences: Vec::new(),
        tables: HashMap::from([(TableName::new("public", "projects"), table)]),
        publication: None,
        slot: None,
    }
}

fn publication() -> Publication {
    Publication {
        oid: 9,
        owner: "tidings".into(),
        owned: true,
        via_root: true,
        every_change: true,
        sweeping: false,
        tables: vec![published(None)],
    }
}

fn published(columns: Option<&[&str]>) -> Published {
    Published {
        table: TableName::new("public", "projects"),
        columns: columns.map(|list| list.iter().map(ToString::to_string).collect()),
        filter: None,
    }
}

/// The statements that make of this publication the wanted one.
fn altered(publication: Publication) -> String {
    let found = Found {
        schema_exists: true,
        actions_table_exists: true,
        may_insert: true,
        publication: Some(publication),
        ..found()
    };
    let steps = plan(&wanted(), &found).unwrap();
    sql(&steps[..steps.len() - 1])
}

fn sql(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|s| s.sql.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_first_setup_makes_the_publication_before_the_slot() {
    let steps = plan(&wanted(), &found()).unwrap();
    let sql = sql(&steps);
    let place = |needle: &str| {
        sql.find(needle)
            .unwrap_or_else(|| panic!("{needle}: {sql}"))
    };
    assert!(place("create publication") < place("pg_create_logical_replication_slot"));
    assert!(sql.contains("grant insert on table public.project_actions to \"tidings\""));
    assert_eq!(steps.last().unwrap().kind, StepKind::Slot);
}

#[test]
fn what_is_there_already_is_left_alone() {
    let mut found = found();
    found.schema_exists = true;
    found.actions_table_exists = true;
    found.may_insert = true;
    found.server.user = "tidings".into();
    found.publication = Some(publication());
    found.slot = Some(Slot {
        plugin: Some("pgoutput".into()),
        database: Some("app".into()),
        active_pid: None,
        confirmed: None,
        wal_status: None,
        invalidation: None,
        lag_bytes: 0,
        retained_bytes: 0,
        safe_bytes: None,
    });
    assert_eq!(plan(&wanted(), &found).unwrap(), []);
}

#[test]
fn a_listed_table_publishes_its_key_and_the_named_columns_only() {
    let mut wanted = wanted();
    wanted.tables[0].listed = true;
    let sql = sql(&plan(&wanted, &found()).unwrap());
    assert!(
        sql.contains("public.projects (\"project_id\", \"name\")"),
        "{sql}"
    );
    assert!(!sql.contains("secret"));
}

#[test]
fn every_obstacle_is_told_with_what_mends_it() {
    let mut found = found();
    found.server.wal_level = "replica".into();
    found.role = Some(Role {
        superuser: false,
        replication: false,
        member: true,
    });
    for (name, table) in &mut found.tables {
        table.unidentified = Some((name.clone(), ReplicaIdentity::Default));
    }
    let told = plan(&wanted(), &found).unwrap_err().join("\n");
    for mend in [
        "alter system set wal_level",
        "alter role \"tidings\" replication",
        "add primary key",
    ] {
        assert!(told.contains(mend), "{told}");
    }
}

#[test]
fn a_missing_role_is_printed_and_never_made() {
    let mut found = found();
    found.role = None;
    let steps = plan(&wanted(), &found).unwrap();
    assert_eq!(steps[0].kind, StepKind::Role);
    assert_eq!(steps[0].sql, "create role \"tidings\" login replication;");
}

#[test]
fn a_publication_with_other_options_gets_ours() {
    let set = "alter publication \"tidings\" set (publish_via_partition_root = true, \
               publish = 'insert, update, delete, truncate');";
    let by_leaf = Publication {
        via_root: false,
        ..publication()
    };
    assert_eq!(altered(by_leaf), set);
    let inserts = Publication {
        every_change: false,
        ..publication()
    };
    assert_eq!(altered(inserts), set);
}

#[test]
fn a_row_filter_goes_with_the_table_that_has_it() {
    let mut filtered = publication();
    filtered.tables[0].filter = Some(vec!["name".into()]);
    assert_eq!(
        altered(filtered),
        "alter publication \"tidings\" drop table public.projects; \
         alter publication \"tidings\" add table public.projects;"
    );
}

#[test]
fn a_publication_of_more_than_named_tables_is_not_ours() {
    let mut found = found();
    found.publication = Some(Publication {
        sweeping: true,
        ..publication()
    });
    let told = plan(&wanted(), &found).unwrap_err().join("\n");
    assert!(
        told.contains("choose another name in capture.publication"),
        "{told}"
    );
}

#[test]
fn the_sequences_of_an_actions_table_are_granted_with_it() {
    let mut found = found();
    found.actions_table_exists = true;
    found.sequences = vec![TableName::new("numbers", "project_actions_id_seq")];
    let sql = sql(&plan(&wanted(), &found).unwrap());
    for grant in [
        "grant usage on schema \"numbers\" to \"tidings\";",
        "grant usage on sequence numbers.project_actions_id_seq to \"tidings\";",
    ] {
        assert!(sql.contains(grant), "{sql}");
    }
}

#[test]
fn a_table_is_dangerous_exactly_where_the_server_would_refuse_its_updates() {
    let table = found().tables.into_values().next().unwrap();
    let name = TableName::new("public", "projects");
    let is_dangerous = |table: &Table, published: Published| danger(table, &published).is_some();
    let (listed, keyless) = (Some(&["project_id"][..]), Some(&["name"][..]));
    assert!(!is_dangerous(&table, published(None)));
    assert!(!is_dangerous(&table, published(listed)));
    assert!(is_dangerous(&table, published(keyless)));
    let filtered = |column: &str| Published {
        filter: Some(vec![column.into()]),
        ..published(None)
    };
    assert!(!is_dangerous(&table, filtered("project_id")));
    assert!(is_dangerous(&table, filtered("name")));
    let full = Table {
        full: Some(name.clone()),
        ..table.clone()
    };
    assert!(!is_dangerous(&full, published(None)));
    assert!(!is_dangerous(&full, filtered("name")));
    assert!(is_dangerous(&full, published(listed)));
    let generated = |generated: &str, version: u32, full: bool| Table {
        generated: vec![(generated.into(), Generated::Stored)],
        full: full.then(|| name.clone()),
        version,
        ..table.clone()
    };
    for (column, version, full, dangerous) in [
        ("name", 180_000, false, false),
        ("name", 180_000, true, true),
        ("name", 170_010, true, false),
        ("project_id", 180_000, false, true),
        ("project_id", 170_010, false, false),
    ] {
        let table = generated(column, version, full);
        assert_eq!(is_dangerous(&table, published(None)), dangerous);
    }
    let table_of_18 = generated("project_id", 180_000, false);
    assert!(!is_dangerous(&table_of_18, published(listed)));
    for identity in [
        ReplicaIdentity::Default,
        ReplicaIdentity::Index,
        ReplicaIdentity::Nothing,
    ] {
        let bare = Table {
            unidentified: Some((name.clone(), identity)),
            ..table.clone()
        };
        assert!(is_dangerous(&bare, published(None)));
        assert!(
            danger(&bare, &published(None))
                .unwrap()
                .mend
                .contains("alter table")
        );
    }
}

#[test]
fn an_owner_who_may_not_hand_over_is_told_the_membership_that_lacks() {
    let mut found = found();
    found.role = Some(Role {
        superuser: false,
        replication: true,
        member: false,
    });
    let steps = plan(&wanted(), &found).unwrap();
    assert_eq!(steps[0].kind, StepKind::Role);
    assert_eq!(steps[0].sql, "grant \"tidings\" to \"app\";");
    found.server.superuser = true;
    let steps = plan(&wanted(), &found).unwrap();
    assert!(steps.iter().all(|step| step.kind != StepKind::Role));
}

#[test]
fn the_run_role_is_let_read_the_key_and_the_columns_that_rules_name() {
    let table = TableName::new("public", "projects");
    let found = Found {
        unreadable: vec![(table.clone(), "project_id".into()), (table, "name".into())],
        ..found()
    };
    let sql = sql(&plan(&wanted(), &found).unwrap());
    let grant = r#"grant select ("project_id", "name") on table public.projects to "tidings";"#;
    assert!(sql.contains(grant), "{sql}");
}

#[test]
fn a_generated_column_that_rules_need_is_an_obstacle_unless_it_is_listed_on_18() {
    let named = |listed: bool, version: u32| {
        let (mut wanted, mut found) = (wanted(), found());
        wanted.tables[0].listed = listed;
        found.server.version = version;
        let table = found.tables.values_mut().next().unwrap();
        table.version = version;
        table.generated = vec![("name".into(), Generated::Stored)];
        plan(&wanted, &found).err().unwrap_or_default()
    };
    assert!(named(false, 150_018)[0].contains("before Postgres 18"));
    assert!(named(false, 180_000)[0].contains("capture.columns = \"listed\""));
    assert_eq!(named(true, 180_000), [""; 0]);
}
