//! Tables that are dropped, swapped, given another key or other partitions while capture runs: named at
//! once, in nobody's way, and compared with their images once they can be.

use std::time::{Duration, Instant};

use scratch::Server;
use tests::{Sidecar, Stage};

/// Twice what is promised: this machine may be busy.
const NAMED_MAX: Duration = Duration::from_secs(6);

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
[[rules]]
name = "gone"
table = "projects"
on = ["delete"]
action_details = "Gone {{ old.name }}"
"#;

const LEAVES: &str = "alter table projects rename to former; set role worker;
    create table projects (like former including all) partition by range (project_id);
    create table leaf_a partition of projects for values from ('a') to ('b');
    create table leaf_b partition of projects for values from ('b') to ('c')";

async fn stage() -> Stage {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage.file("mine.toml", PACK);
    stage.settings.set("capture.rules", vec!["mine.toml"]);
    stage
}

/// Runs a sidecar whose images are complete.
async fn run(stage: &Stage) -> Sidecar {
    let sidecar = stage.run().await;
    stage.until_compared().await;
    sidecar
}

async fn insert(stage: &Stage, name: &str) {
    stage
        .execute(&format!(
            "insert into projects (project_id, name) values ('{name}', '{name}')"
        ))
        .await;
}

/// Waits until the log says this, in time.
async fn named(sidecar: &Sidecar, says: &str) {
    let began = Instant::now();
    while !sidecar.log().contains(says) {
        assert!(began.elapsed() < NAMED_MAX, "not named in time: {says}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until these and no others were told, each once, in any order.
async fn told(stage: &Stage, expected: &[&str]) {
    stage.until_actions(expected.len() as i64).await;
    let mut said = stage.sentences().await;
    let mut expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
    said.sort();
    expected.sort();
    assert_eq!(said, expected);
}

/// A copy of `projects` that differs from it, under the name `fresh`.
const FRESH: &str = "set role worker; create table fresh (like projects including all);
    insert into fresh select * from projects where name <> 'two';
    update fresh set name = 'uno' where name = 'one';
    insert into fresh (project_id, name) values ('three', 'three')";
const SWAP: &str = "alter table projects rename to former; alter table fresh rename to projects";

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_table_is_named_and_compared_once_it_is_published() {
    let stage = stage().await;
    let sidecar = run(&stage).await;
    insert(&stage, "one").await;
    insert(&stage, "two").await;
    told(&stage, &["Made one", "Made two"]).await;
    stage.execute(&format!("{FRESH}; {SWAP}")).await;
    named(&sidecar, "was swapped").await;
    insert(&stage, "four").await;
    stage
        .execute("update projects set name = 'vier' where project_id = 'four'")
        .await;
    insert(&stage, "five").await;
    stage
        .execute("delete from projects where project_id = 'five'")
        .await;
    stage.tidings(["setup"]).await.success();
    // Final states: what came and went meanwhile is not known.
    let expected = [
        "Made one",
        "Made two",
        "one is called uno",
        "Gone two",
        "Made three",
        "Made vier",
    ];
    told(&stage, &expected).await;
    insert(&stage, "last").await;
    stage.until_actions(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_swapped_for_one_that_is_published_already_is_compared_by_itself() {
    let stage = stage().await;
    let sidecar = run(&stage).await;
    insert(&stage, "one").await;
    insert(&stage, "two").await;
    told(&stage, &["Made one", "Made two"]).await;
    stage
        .execute(&format!(
            "{FRESH}; grant select on fresh to tidings; reset role; alter publication tidings add table fresh"
        ))
        .await;
    stage.execute(SWAP).await;
    named(&sidecar, "was swapped").await;
    let expected = [
        "Made one",
        "Made two",
        "one is called uno",
        "Gone two",
        "Made three",
    ];
    told(&stage, &expected).await;
    stage
        .execute("update projects set name = 'drei' where project_id = 'three'")
        .await;
    stage.until_actions(6).await;
    assert_eq!(stage.sentences().await[5], "three is called drei");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_named_and_compared_once_it_is_there_again() {
    let stage = stage().await;
    let sidecar = run(&stage).await;
    insert(&stage, "one").await;
    insert(&stage, "two").await;
    told(&stage, &["Made one", "Made two"]).await;
    stage
        .execute(
            "set role worker; create table kept (like projects including all);
             insert into kept select * from projects where name = 'one'; drop table projects",
        )
        .await;
    named(&sidecar, "table public.projects does not exist").await;
    stage
        .execute("set role worker; alter table kept rename to projects")
        .await;
    insert(&stage, "three").await;
    stage.tidings(["setup"]).await.success();
    let expected = ["Made one", "Made two", "Gone two", "Made three"];
    told(&stage, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_named_and_the_worker_and_capture_go_on_with_it() {
    let stage = stage().await;
    let sidecar = run(&stage).await;
    insert(&stage, "one").await;
    told(&stage, &["Made one"]).await;
    stage
        .execute(
            "alter table projects add column number bigint generated always as identity;
             alter table projects drop constraint projects_pkey, add primary key (number)",
        )
        .await;
    named(&sidecar, "the key of table public.projects").await;
    insert(&stage, "two").await;
    stage
        .execute("delete from projects where project_id = 'two'")
        .await;
    // It may not read the new column yet.
    stage.tidings(["setup"]).await.success();
    stage
        .until(
            "(select max(request) > 1 and bool_and(finished_at is not null) from tidings.reconcile)",
        )
        .await;
    stage
        .execute("update projects set name = 'uno' where project_id = 'one'")
        .await;
    stage
        .until("exists (select from project_actions where action_details = 'one is called uno')")
        .await;
    let made = "select count(*) from project_actions where action_details like 'Made %'";
    assert_eq!(stage.value::<i64>(made).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_and_go_with_a_partition_are_told() {
    const SAYS: &str = "partitions were attached, detached or dropped";
    let stage = stage().await;
    stage.execute(LEAVES).await;
    let sidecar = run(&stage).await;
    for name in ["a1", "b1"] {
        insert(&stage, name).await;
    }
    told(&stage, &["Made a1", "Made b1"]).await;
    stage
        .execute(
            "set role worker; create table leaf_c (like projects including all);
             insert into leaf_c (project_id, name) values ('c1', 'c1');
             alter table projects attach partition leaf_c for values from ('c') to ('d')",
        )
        .await;
    named(&sidecar, SAYS).await;
    let mut expected = vec!["Made a1", "Made b1", "Made c1"];
    told(&stage, &expected).await;

    stage
        .execute("alter table projects detach partition leaf_b")
        .await;
    expected.push("Gone b1");
    told(&stage, &expected).await;
    // One that is dropped while nobody runs is found as well.
    assert!(sidecar.terminate(tests::PATIENCE).await.success());
    stage.execute("drop table leaf_a").await;
    let sidecar = stage.resume().await;
    expected.push("Gone a1");
    told(&stage, &expected).await;

    // A new one that is empty costs no comparison: what it gets is in the stream.
    let asked = "select sum(request)::bigint from tidings.reconcile";
    let before: i64 = stage.value(asked).await;
    stage
        .execute(
            "set role worker;
             create table leaf_d partition of projects for values from ('d') to ('e')",
        )
        .await;
    stage
        .until("(select parts @> array['leaf_d'::regclass::oid] from tidings.image_tables where watched)")
        .await;
    insert(&stage, "d1").await;
    stage
        .execute("update projects set name = 'd2' where name = 'd1'")
        .await;
    expected.extend(["Made d1", "d1 is called d2"]);
    told(&stage, &expected).await;
    assert_eq!(stage.value::<i64>(asked).await, before);

    // One whose updates would fail takes its table out of the publication.
    stage
        .execute(
            "set role worker;
             create table leaf_e partition of projects for values from ('e') to ('f');
             alter table leaf_e replica identity nothing;
             insert into projects (project_id, name) values ('e1', 'e1')",
        )
        .await;
    named(&sidecar, "public.leaf_e has REPLICA IDENTITY NOTHING").await;
    for sql in [
        "update projects set name = 'e2' where name = 'e1'",
        "update projects set name = 'd3' where name = 'd2'",
        "delete from projects where name = 'c1'",
        "alter table leaf_e replica identity default",
    ] {
        stage.execute(sql).await;
    }
    stage.tidings(["setup"]).await.success();
    stage
        .until(
            "(select array_agg(action_details::text) @> array['d2 is called d3', 'Gone c1']
              from project_actions)",
        )
        .await;
}
