//! A secret in a column that no rule names stays in its table, whatever goes wrong around it.

use tests::{Receiver, Sidecar, Stage};

const MARKER: &str = "m4rk3r-0f-a-s3cr3t";

/// Every text of every table of schema tidings that holds the marker, by table.
async fn tables_with_marker(stage: &Stage) -> Vec<String> {
    let client = stage.connect().await;
    let tables = "select c.oid::regclass::text from pg_class c
                  where c.relnamespace = 'tidings'::regnamespace and c.relkind = 'r' order by 1";
    let mut found = Vec::new();
    for table in client.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let query = format!("select count(*) from {table} t where t::text like '%{MARKER}%'");
        if client
            .query_one(&query, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
        {
            found.push(table);
        }
    }
    found
}

/// The reference tables with a secret column, a rule that fails on some rows, and a table of actions
/// that refuses some.
async fn stage() -> (Stage, Receiver) {
    let mut stage = Stage::start().await;
    let pack = stage.file("fails.toml", FAILING_PACK);
    let rules = vec!["reference".to_owned(), pack.display().to_string()];
    stage
        .settings
        .set("capture.rules", rules)
        .set("log.level", "trace");
    stage
        .execute("alter table projects add column api_token text")
        .await;
    let ops = stage.subscribe("ops").await;
    (stage, ops)
}

const FAILING_PACK: &str = r#"
[pack]
name = "fails"
[tables.projects]
[[rules]]
name = "number"
table = "projects"
on = ["update"]
action_details = "{{ new.container_id + 1 }}"
"#;

/// Rows that pass, rows on which a rule fails, and rows that project_actions refuses: each with
/// the marker.
async fn play(stage: &Stage) {
    let refuse = "create function refuse() returns trigger language plpgsql security definer as $$
                  begin
                    if new.project_id = 'q' then
                      raise exception 'not %', (select api_token from public.projects limit 1)
                        using errcode = 'check_violation',
                              detail = (select api_token from public.projects limit 1);
                    end if;
                    return new;
                  end $$;
                  create trigger refuse before insert on project_actions for each row
                  execute function refuse();";
    stage.execute(refuse).await;
    for project in ["p", "q"] {
        let insert = format!(
            "insert into projects (project_id, name, status, api_token)
             values ('{project}', 'x', 'active', '{MARKER}');"
        );
        stage.execute(&insert).await;
    }
    let update = format!("update projects set api_token = '{MARKER} too', container_id = 'c'");
    stage.execute(&update).await;
    stage
        .execute("update projects set project_id = 'r' where project_id = 'p'")
        .await;
    stage
        .execute("delete from projects where project_id = 'r'")
        .await;
    stage
        .execute("insert into projects (project_id, name, status) values ('z', 'last', 'active')")
        .await;
    stage
        .until("exists (select from project_actions where project_id = 'z')")
        .await;
    stage
        .until("exists (select from tidings.quarantine where kind = 'rule')")
        .await;
    stage
        .until("exists (select from tidings.quarantine where kind = 'refused')")
        .await;
}

async fn assert_kept(stage: &Stage, sidecar: &Sidecar, ops: &Receiver) {
    assert_eq!(tables_with_marker(stage).await, [""; 0]);
    let leaked = |text: &str| {
        text.lines()
            .find(|line| line.contains(MARKER))
            .map(str::to_owned)
    };
    assert_eq!(leaked(&sidecar.log()), None);
    for request in ops.requests() {
        assert_eq!(leaked(&String::from_utf8_lossy(&request.body)), None);
    }
    for arguments in [
        &["status", "--json"][..],
        &["status"],
        &["endpoints", "list"],
        &["setup"],
    ] {
        let outcome = stage.tidings(arguments).await.success();
        assert_eq!(leaked(&(outcome.stdout + &outcome.stderr)), None);
    }
    let actions = format!("select count(*) from project_actions a where a::text like '%{MARKER}%'");
    assert_eq!(stage.value::<i64>(&actions).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_column_that_no_rule_names_is_in_no_table_log_error_or_webhook() {
    let (stage, ops) = stage().await;
    let sidecar = stage.run().await;
    play(&stage).await;
    ops.until(2).await;
    assert_kept(&stage, &sidecar, &ops).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_holds_no_value_and_no_secret_even_at_its_finest() {
    let (stage, ops) = stage().await;
    let sidecar = stage.run().await;
    let insert = format!(
        "insert into projects (project_id, name, status, user_id) values ('p', '{MARKER}', 'active', '{MARKER}');
         insert into deployments (deployment_id, status, error) values ('d', 'failed', '{MARKER}')"
    );
    stage.execute(&insert).await;
    ops.until(2).await;
    stage
        .until("(select count(*) > 0 from tidings.attempts)")
        .await;
    sidecar.terminate(tests::PATIENCE).await;
    let sidecar = stage.resume().await;
    let log = sidecar.log();
    let leak = log
        .lines()
        .find(|line| line.contains(MARKER) || line.contains("whsec_"));
    assert_eq!(leak, None);
}

/// Whether the bytes of a slot's stream, through our publication, hold the marker.
async fn is_in_the_stream(stage: &Stage) -> bool {
    let query = format!(
        "select coalesce(bool_or(position('{MARKER}'::bytea in data) > 0), false)
         from pg_logical_slot_peek_binary_changes('second', null, null,
           'proto_version', '1', 'publication_names', 'tidings')"
    );
    stage.value(&query).await
}

async fn version(stage: &Stage) -> i32 {
    stage
        .value("select current_setting('server_version_num')::int")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_listed_columns_the_secret_is_not_in_the_stream_either() {
    let (mut stage, ops) = stage().await;
    stage.settings.set("capture.columns", "listed");
    if version(&stage).await < 150_000 {
        let refused = stage.tidings(["setup"]).await;
        assert_eq!(refused.code(), 3);
        assert!(refused.stderr.contains("Postgres 15"), "{}", refused.stderr);
        return;
    }
    let sidecar = stage.run().await;
    stage
        .execute("select pg_create_logical_replication_slot('second', 'pgoutput')")
        .await;
    play(&stage).await;
    ops.until(2).await;
    assert_kept(&stage, &sidecar, &ops).await;
    assert!(!is_in_the_stream(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_whole_rows_the_secret_is_in_the_stream() {
    let (stage, ops) = stage().await;
    let _sidecar = stage.run().await;
    stage
        .execute("select pg_create_logical_replication_slot('second', 'pgoutput')")
        .await;
    play(&stage).await;
    ops.until(2).await;
    assert!(is_in_the_stream(&stage).await);
}
