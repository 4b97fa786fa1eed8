//! Images: where old values come from, and what is said where there are none.

use connect::Target;
use serde_json::json;
use store::images::{self, Wanted};
use store::{Purpose, Session};
use tests::{Sidecar, Stage};

const ENDPOINT: &str = r#"[{"method": "GET", "path": "/"}]"#;

/// A sidecar that may not read the worker's tables, so that rows from before have no image.
async fn run_without_reading(stage: &Stage) -> Sidecar {
    stage.tidings(["setup"]).await.success();
    stage
        .execute("revoke select on projects, databases from tidings")
        .await;
    stage.resume().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_an_image_fills_it_and_rules_that_need_old_stay_silent() {
    let stage = Stage::start().await;
    let before = "insert into projects (project_id, name, status) values ('p', 'old', 'active');
                  insert into databases (database_id, name, query_count) values ('d', 'old', 3)";
    stage.execute(before).await;
    let _sidecar = run_without_reading(&stage).await;
    stage
        .execute(&format!("update projects set endpoints = '{ENDPOINT}'"))
        .await;
    stage.execute("update databases set query_count = 5").await;
    let images = "(select count(*) = 2 from tidings.images)";
    stage.until(images).await;
    assert_eq!(stage.sentences().await, [""; 0]);

    let more = r#"'[{"method": "GET", "path": "/"}, {"method": "GET", "path": "/new"}]'"#;
    stage
        .execute(&format!("update projects set endpoints = {more}"))
        .await;
    stage.execute("update databases set query_count = 6").await;
    stage.until_actions(2).await;
    let said = ["Added 1 endpoint: GET /new", "Executed 1 query"];
    assert_eq!(stage.sentences().await, said);
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.quarantine")
            .await,
        0
    );
}

/// Endpoints that Postgres stores out of line: an update that leaves them alone does not carry them.
async fn with_large_endpoints() -> Stage {
    let stage = Stage::start().await;
    stage
        .execute("alter table projects alter column endpoints set storage external")
        .await;
    stage
}

/// As jsonb, of more than 8 kB that do not compress: three hundred endpoints, the last of them given.
fn large(last: &str) -> String {
    format!(
        "(select jsonb_agg(jsonb_build_object('method', 'GET', 'path', '/' || md5(n::text)))
            || '[{last}]' from generate_series(1, 300) n)"
    )
}

async fn is_out_of_line(stage: &Stage) -> bool {
    let toast: String = stage
        .value(
            "select reltoastrelid::regclass::text from pg_class where oid = 'projects'::regclass",
        )
        .await;
    stage
        .value::<i64>(&format!("select count(*) from {toast}"))
        .await
        > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_that_an_update_left_alone_is_taken_from_the_image() {
    let stage = with_large_endpoints().await;
    let _sidecar = stage.run().await;
    let first = r#"{"method": "GET", "path": "/a"}"#;
    let insert = format!(
        "insert into projects (project_id, name, status, endpoints)
         values ('p', 'x', 'creating', {})",
        large(first)
    );
    stage.execute(&insert).await;
    assert!(is_out_of_line(&stage).await);
    // Does not carry the endpoints, and needs none.
    stage.execute("update projects set status = 'active'").await;
    // Compares with what the update before did not carry.
    let changed =
        r#"{"method": "GET", "path": "/a", "change": "Faster"}, {"method": "PUT", "path": "/b"}"#;
    stage
        .execute(&format!(
            "update projects set endpoints = {}",
            large(changed)
        ))
        .await;
    stage.until_actions(4).await;
    let said = stage.sentences().await;
    assert!(said[0].starts_with("Added 301 endpoints: "), "{}", said[0]);
    assert_eq!(
        said[1..],
        [
            "Project 'x' created",
            "Added 1 endpoint: PUT /b",
            "Modified GET /a: Faster"
        ]
    );
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.quarantine")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_older_than_the_sidecar_is_quarantined_once_under_the_default_pack() {
    let stage = with_large_endpoints().await;
    let insert = format!(
        "insert into projects (project_id, name, status, endpoints)
         values ('p', 'x', 'creating', {})",
        large(r#"{"method": "GET", "path": "/a"}"#)
    );
    stage.execute(&insert).await;
    let _sidecar = run_without_reading(&stage).await;
    for status in ["creating", "active", "creating"] {
        stage
            .execute(&format!("update projects set status = '{status}'"))
            .await;
    }
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'y', 'active')")
        .await;
    stage
        .until("exists (select from project_actions where project_id = 'q')")
        .await;
    let told: String = stage
        .value("select string_agg(table_name || ' ' || key || ' ' || reason, '; ') from tidings.quarantine")
        .await;
    let expected = r#"public.projects ["p"] column "endpoints" was not sent"#;
    assert!(told.starts_with(expected) && !told.contains(';'), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_older_than_the_sidecar_is_read_from_its_table() {
    let stage = with_large_endpoints().await;
    let insert = format!(
        "insert into projects (project_id, name, status, endpoints)
         values ('p', 'x', 'creating', {})",
        large(r#"{"method": "GET", "path": "/a"}"#)
    );
    stage.execute(&insert).await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute("update projects set status = 'active'").await;
    let changed = large(r#"{"method": "GET", "path": "/a", "change": "Faster"}"#);
    stage
        .execute(&format!("update projects set endpoints = {changed}"))
        .await;
    stage.until_actions(2).await;
    let said = ["Project 'x' created", "Modified GET /a: Faster"];
    assert_eq!(stage.sentences().await, said);
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.quarantine")
            .await,
        0
    );
}

/// Tells of every update, by the new row alone.
const COUNTING_PACK: &str = r#"
[pack]
name = "counts"
[tables.projects]
[[rules]]
name = "counted"
table = "projects"
on = ["update"]
action_details = "{{ new.name }} has {{ new.endpoints | count('endpoint') }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_that_nobody_knows_is_quarantined_by_table_and_key_and_others_go_on() {
    let mut stage = with_large_endpoints().await;
    let insert = format!(
        "insert into projects (project_id, name, status, endpoints)
         values ('p', 'x', 'creating', {})",
        large(r#"{"method": "GET", "path": "/a"}"#)
    );
    stage.execute(&insert).await;
    assert!(is_out_of_line(&stage).await);
    let pack = stage.file("counts.toml", COUNTING_PACK);
    let rules = vec!["reference".to_owned(), pack.display().to_string()];
    stage.settings.set("capture.rules", rules);
    let _sidecar = run_without_reading(&stage).await;
    stage.execute("update projects set status = 'active'").await;
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'y', 'active')")
        .await;
    stage
        .until("exists (select from project_actions where project_id = 'q')")
        .await;
    let quarantined: serde_json::Value = stage
        .value("select jsonb_agg(jsonb_build_object('kind', kind, 'table', table_name, 'key', key)) from tidings.quarantine")
        .await;
    let expected = json!({"kind": "rule", "table": "public.projects", "key": r#"["p"]"#});
    let quarantined = quarantined.as_array().expect("something is in quarantine");
    assert!(
        quarantined.iter().all(|fault| *fault == expected),
        "{quarantined:?}"
    );
    let reason: String = stage
        .value("select reason from tidings.quarantine limit 1")
        .await;
    assert!(reason.contains("endpoints"), "{reason}");
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["quarantine"], json!(quarantined.len()));
    let failing = |rule: &serde_json::Value| {
        rule["state"] == "failing" && rule["reason"].as_str().unwrap().contains("endpoints")
    };
    assert!(
        status["rules"].as_array().unwrap().iter().any(failing),
        "{status:#}"
    );

    // Once it is sent again it is known.
    stage
        .execute(&format!(
            "update projects set endpoints = '{ENDPOINT}' where project_id = 'p'"
        ))
        .await;
    let two = r#"'[{"method": "GET", "path": "/"}, {"method": "GET", "path": "/new"}]'"#;
    stage
        .execute(&format!(
            "update projects set endpoints = {two} where project_id = 'p'"
        ))
        .await;
    stage.until("exists (select from project_actions where action_details = 'Added 1 endpoint: GET /new')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_replica_identity_full_needs_no_image() {
    let stage = with_large_endpoints().await;
    stage
        .execute("alter table projects replica identity full")
        .await;
    let insert = format!(
        "insert into projects (project_id, name, status, endpoints)
         values ('p', 'x', 'creating', {})",
        large(r#"{"method": "GET", "path": "/a"}"#)
    );
    stage.execute(&insert).await;
    let _sidecar = stage.run().await;
    stage.execute("update projects set status = 'active'").await;
    let changed = r#"{"method": "GET", "path": "/a", "change": "Faster"}"#;
    stage
        .execute(&format!(
            "update projects set endpoints = {}",
            large(changed)
        ))
        .await;
    stage
        .execute("update projects set project_id = 'q', container_id = 'late'")
        .await;
    stage.execute("delete from projects").await;
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'again', 'active')")
        .await;
    stage.until_actions(3).await;
    let said = [
        "Project 'x' created",
        "Modified GET /a: Faster",
        "Project 'again' created",
    ];
    assert_eq!(stage.sentences().await, said);
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.quarantine")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_images_goes_by_statements_that_each_go_through_a_bounded_number() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    // Each look at an image is noted under the statement that it was part of. Only the last lacks a column.
    let looks = r#"
        insert into tidings.image_tables (schema_name, table_name) values ('public', 'many');
        insert into tidings.images (table_id, key, generation, xid, row)
          select table_id, '["' || lpad(n::text, 5, '0') || '"]', 0, 1,
            case n when 60000 then '{}' else '{"a": null}' end::jsonb
          from tidings.image_tables, generate_series(1, 60000) n where table_name = 'many';
        analyze tidings.images;
        create table tidings.looks (at timestamptz);
        create function tidings.look() returns boolean language plpgsql cost 0.0001 as
          'begin insert into tidings.looks values (statement_timestamp()); return true; end';
        alter table tidings.images rename to looked_at;
        create view tidings.images as select * from tidings.looked_at where tidings.look()"#;
    stage.execute(looks).await;
    let target = Target::parse(&stage.server.url("app")).unwrap();
    let session = Session::open(&target, "tidings", Purpose::Admin)
        .await
        .unwrap();
    // As with a table that is large beside a span.
    let large = "set enable_seqscan = off; set enable_bitmapscan = off";
    session.batch_execute(large).await.unwrap();
    let id = "select table_id from tidings.image_tables where table_name = 'many'";
    let id: i32 = stage.value(id).await;
    let gaps = Wanted::Gaps {
        columns: vec!["a".to_owned()],
        untold: false,
    };
    let found = images::keys(&session, id, None, &gaps, 10).await.unwrap();
    let found: Vec<&str> = found.iter().map(activity::Key::as_str).collect();
    assert_eq!(found, [r#"["60000"]"#]);
    let after = Some(found[0]);
    assert_eq!(
        images::keys(&session, id, after, &gaps, 10).await.unwrap(),
        []
    );
    // A span is left for the next statement once there are enough.
    let all = images::keys(&session, id, Some(r#"["30000"]"#), &Wanted::All, 25_000).await;
    let all = all.unwrap();
    assert_eq!(all.len(), 25_000);
    assert_eq!(all[24_999].as_str(), r#"["55000"]"#);
    let most = "select max(n) from (select count(*) n from tidings.looks group by at) s";
    let most: i64 = stage.value(most).await;
    assert!(most <= 20_000, "{most}");
}
