use super::*;
use activity::Lsn;

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
        identity: ReplicaIdentity::Default,
        key: vec!["project_id".into()],
        columns: vec!["project_id".into(), "name".into(), "secret".into()],
        owner: "app".into(),
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
        }),
        schema_exists: false,
        actions_table_exists: false,
        may_insert: false,
        tables: HashMap::from([(TableName::new("public", "projects"), table)]),
        publication: None,
        slot: None,
    }
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
    found.publication = Some(Publication {
        oid: 9,
        owner: "tidings".into(),
        via_root: true,
        all_tables: false,
        tables: vec![(TableName::new("public", "projects"), None)],
    });
    found.slot = Some(Slot {
        plugin: Some("pgoutput".into()),
        database: Some("app".into()),
        active_pid: None,
        confirmed: None,
        wal_status: None,
        lag_bytes: 0,
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
    });
    found.tables.values_mut().for_each(|t| t.key.clear());
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
