//! While it runs, the sidecar takes out of its publication what would make the worker's statements
//! fail, and names what else has become of tables and publication.

use std::time::{Duration, Instant};

use scratch::Server;
use tests::{Stage, commits_wait_for, eventually};

/// What is promised from an ALTER that harms the worker to its next UPDATE, and to the reason.
const NAMED_MAX: Duration = Duration::from_secs(3);
/// A machine that runs many tests at once is given this many times as long.
const BUSY: u32 = 2;

const UPDATE: &str = "update projects set name = 'y'";

async fn stage() -> Stage {
    Stage::on(Server::builder().fast()).await
}

async fn insert(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', '{id}', 'active')"))
        .await;
}

async fn until_reason(stage: &Stage, says: &[&str]) {
    eventually(&format!("status says {says:?}"), async || {
        let status = stage.tidings(["status", "--json"]).await.success().json();
        let reason = status["reason"].as_str().unwrap_or_default();
        says.iter().all(|text| reason.contains(text))
    })
    .await;
}

const PUBLISHED: &str = "exists (select from pg_publication_tables
                         where pubname = 'tidings' and tablename = 'projects')";

/// Does this to the table, and holds the guard to its promise: the table leaves the publication, `update` goes
/// through again, and `status` says why.
async fn spoil(stage: &Stage, alter: &str, update: &str, says: &[&str]) {
    let begun = Instant::now();
    stage.execute(alter).await;
    stage.until(&format!("not {PUBLISHED}")).await;
    stage.execute(update).await;
    until_reason(stage, says).await;
    let took = begun.elapsed();
    println!("from the ALTER to the reason: {took:?}");
    assert!(took < NAMED_MAX * BUSY, "named after {took:?}: {alter}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_updates_would_fail_leaves_the_publication_and_is_named() {
    let keyless = "alter table projects drop constraint projects_pkey";
    let deferrable = "alter table projects drop constraint projects_pkey,
                      add primary key (project_id) deferrable";
    let nothing = "alter table projects replica identity nothing";
    let lost = "create unique index other on projects (project_id);
                alter table projects replica identity using index other; drop index other";
    let again = "alter table projects drop constraint if exists projects_pkey,
                 add primary key (project_id), replica identity default";
    for (alter, says) in [
        (keyless, "has no primary key as its replica identity"),
        (deferrable, "has no primary key as its replica identity"),
        (nothing, "has REPLICA IDENTITY NOTHING"),
        (lost, "has lost the index that is its replica identity"),
    ] {
        let stage = stage().await;
        let _sidecar = stage.run().await;
        insert(&stage, "p").await;
        stage.until_actions(1).await;
        let says_all = ["public.projects", says, "tidings setup"];
        spoil(&stage, alter, UPDATE, &says_all).await;
        let refused = stage.tidings(["setup"]).await;
        assert_eq!(refused.code(), 3);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        stage.execute(again).await;
        stage.tidings(["setup"]).await.success();
        insert(&stage, "q").await;
        stage.until_actions(2).await;
        stage.execute(UPDATE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_an_identity_takes_its_table_out_of_the_publication() {
    let stage = stage().await;
    let partitioned = "alter table projects rename to old; set role worker;
        create table projects (like old including all) partition by hash (project_id);
        create table projects_0 partition of projects for values with (modulus 1, remainder 0)";
    stage.execute(partitioned).await;
    let _sidecar = stage.run().await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
    let alter = "alter table projects_0 replica identity nothing";
    let says = "public.projects_0 has REPLICA IDENTITY NOTHING";
    spoil(&stage, alter, UPDATE, &[says]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_table_is_out_of_the_publication_is_told_once_it_is_mended() {
    let full = "alter table projects replica identity full";
    let default = "alter table projects replica identity default";
    let keyless = "alter table projects drop constraint projects_pkey";
    let keyed = "alter table projects add primary key (project_id)";
    for (columns, alter, says, mend) in [
        ("listed", full, "has REPLICA IDENTITY FULL", default),
        ("whole", keyless, "has no primary key", keyed),
    ] {
        let mut stage = stage().await;
        if columns == "listed" && stage.server.version().major < 15 {
            continue;
        }
        stage.settings.set("capture.columns", columns);
        let _sidecar = stage.run().await;
        stage.until_compared().await;
        insert(&stage, "p").await;
        stage.until_actions(1).await;
        let as_worker = |sql: &str| format!("set role worker; {sql}");
        let endpoints = |paths: &str| {
            let paths = paths.split(' ');
            let each = paths.map(|path| format!(r#"{{"method": "GET", "path": "{path}"}}"#));
            let list = each.collect::<Vec<_>>().join(", ");
            as_worker(&format!("update projects set endpoints = '[{list}]'"))
        };
        let says = ["public.projects", says, "tidings setup"];
        spoil(&stage, &as_worker(alter), &endpoints("/unseen"), &says).await;

        stage.execute(&as_worker(mend)).await;
        stage.tidings(["setup"]).await.success();
        stage.until_actions(2).await;
        stage.execute(&endpoints("/unseen /seen")).await;
        stage.until_actions(3).await;
        let said = [
            "Added 1 endpoint: GET /unseen",
            "Added 1 endpoint: GET /seen",
        ];
        assert_eq!(stage.sentences().await[1..], said);
        let origins = "select string_agg(origin, ' ' order by seq) from tidings.actions";
        let expected = "stream reconciled stream";
        assert_eq!(stage.value::<String>(origins).await, expected, "{alter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_row_as_identity_is_harmless_unless_columns_are_listed() {
    let stage = stage().await;
    if stage.server.version().major < 15 {
        return;
    }
    let _sidecar = stage.run().await;
    stage
        .execute("alter table projects replica identity full")
        .await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
    stage.execute(UPDATE).await;
    let listed = "alter publication tidings drop table projects;
        alter publication tidings add table projects
          (project_id, user_id, request_id, name, container_id, endpoints, status, environment)";
    spoil(
        &stage,
        listed,
        UPDATE,
        &["public.projects", "tidings setup"],
    )
    .await;
    stage.tidings(["setup"]).await.success();
    insert(&stage, "q").await;
    stage.until_actions(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyless_table_that_no_rule_names_leaves_the_publication_and_capture_goes_on() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage
        .execute("create table other (id int); alter publication tidings add table other")
        .await;
    let published = "exists (select from pg_publication_tables where tablename = 'other')";
    stage.until(&format!("not {published}")).await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
    assert!(sidecar.log().contains("public.other"), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_publication_that_hide_changes_are_named_and_set_right_by_setup() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    let leaf = "alter publication tidings set (publish_via_partition_root = false)";
    let inserts = "alter publication tidings set (publish = 'insert, delete')";
    let owner = "alter publication tidings owner to postgres";
    let filter = "alter publication tidings drop table projects;
                  alter publication tidings add table projects where (project_id <> 'q')";
    let mut cases = vec![
        (leaf, "publish_via_partition_root"),
        (inserts, "does not publish every"),
        (owner, "belongs to role postgres"),
    ];
    if stage.server.version().major >= 15 {
        cases.push((filter, "row filter for table public.projects"));
    }
    for (place, (spoil, says)) in cases.into_iter().enumerate() {
        stage.execute(spoil).await;
        until_reason(&stage, &[says, "tidings setup"]).await;
        stage.tidings(["setup"]).await.success();
        let dry = stage.tidings(["setup", "--dry-run"]).await.success();
        assert_eq!(dry.stdout, "-- nothing to do\n");
        insert(&stage, &format!("p{place}")).await;
        stage.until_actions(place as i64 + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_other_columns_than_the_key_is_taken_out_with_its_table() {
    let stage = stage().await;
    if stage.server.version().major < 15 {
        return;
    }
    let _sidecar = stage.run().await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
    let filter = "alter publication tidings drop table projects;
                  alter publication tidings add table projects where (status <> 'q')";
    let says = ["row filter on column status", "tidings setup"];
    spoil(&stage, filter, UPDATE, &says).await;
    stage.tidings(["setup"]).await.success();
    insert(&stage, "q").await;
    stage.until_actions(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_a_rule_names_and_nobody_has_any_more_is_named_and_the_others_go_on() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage
        .execute("alter table databases rename column query_count to queries")
        .await;
    eventually("the log names it", async || {
        let log = sidecar.log();
        log.contains("public.databases") && log.contains("query_count")
    })
    .await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
    let told = sidecar.log().matches("names a column").count();
    assert_eq!(told, 1, "{}", sidecar.log());
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["state"], "active", "{status}");
}

const PACK: &str = r#"
[pack]
name = "mine"
[tables.projects]
[[rules]]
name = "made"
table = "projects"
on = ["insert"]
action_details = "Made {{ new.name }}"
[[rules]]
name = "called"
table = "projects"
on = ["update"]
action_details = "{{ old.name }} is called {{ new.name }}"
"#;

/// A stage whose pack is a file, so that it can be mended.
async fn own_pack() -> Stage {
    let mut stage = stage().await;
    stage.file("mine.toml", PACK);
    stage.settings.set("capture.rules", vec!["mine.toml"]);
    stage
}

fn mend_pack(stage: &Stage) {
    let mended = PACK.replace(
        "[tables.projects]",
        "[tables.projects]\ntable = \"ventures\"",
    );
    stage.file("mine.toml", &mended);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_renamed_table_is_passed_and_its_images_are_carried_along() {
    let stage = own_pack().await;
    let sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name) values ('p', 'one')")
        .await;
    stage.until_actions(1).await;
    stage
        .execute("alter table projects rename to ventures; update ventures set name = 'two'")
        .await;
    stage
        .execute("insert into ventures (project_id, name) values ('q', 'other')")
        .await;
    until_reason(
        &stage,
        &["public.projects", "is now called public.ventures", "reload"],
    )
    .await;
    assert_eq!(stage.sentences().await, ["Made one"]);
    mend_pack(&stage);
    sidecar.hang_up();
    stage.until_actions(3).await;
    let expected = ["Made one", "one is called two", "Made other"];
    assert_eq!(stage.sentences().await, expected);
    stage
        .execute("update ventures set name = 'last' where project_id = 'q'")
        .await;
    stage.until_actions(4).await;
    assert_eq!(stage.sentences().await[3], "other is called last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_nobody_sees_yet_is_told_like_one_that_everybody_sees() {
    let stage = own_pack().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter role tidings set synchronous_commit = local")
        .await;
    let _sidecar = stage.resume().await;
    stage
        .execute("insert into projects (project_id, name) values ('p', 'one')")
        .await;
    stage.until_actions(1).await;
    let admin = stage.connect().await;
    // No such standby: the rename is in the WAL, and no catalog shows it.
    commits_wait_for(&admin, "nobody").await;
    let worker = stage.connect().await;
    let rename = "alter table projects rename to ventures; update ventures set name = 'two'";
    let commit = tokio::spawn(async move { worker.batch_execute(rename).await });
    let waits = "exists (select from pg_stat_activity where usename = 'tidings'
                   and query like 'select pg_current_snapshot()%')";
    let told = "(select count(*) from project_actions) > 1";
    stage.until(&format!("{waits} or {told}")).await;
    commits_wait_for(&admin, "").await;
    commit.await.unwrap().unwrap();
    until_reason(
        &stage,
        &["public.projects", "is now called public.ventures"],
    )
    .await;
    assert_eq!(stage.sentences().await, ["Made one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_under_a_former_name_is_told_under_the_new_one() {
    let stage = own_pack().await;
    let sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name) values ('p', 'one')")
        .await;
    stage.until_actions(1).await;
    sidecar.terminate(std::time::Duration::from_secs(20)).await;
    stage.execute("update projects set name = 'two'").await;
    stage
        .execute("alter table projects rename to ventures")
        .await;
    stage.execute("update ventures set name = 'three'").await;
    mend_pack(&stage);
    let _sidecar = stage.resume().await;
    stage.until_actions(3).await;
    let expected = ["Made one", "one is called two", "two is called three"];
    assert_eq!(stage.sentences().await, expected);
}
