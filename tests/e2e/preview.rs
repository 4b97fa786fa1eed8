//! `tidings rules preview`: packs on live traffic, with nothing written and nothing left behind.

use std::process::Stdio;

use tests::{Program, Stage, eventually};
use tokio::io::{AsyncBufReadExt, BufReader};

const SLOTS: &str =
    "select count(*) from pg_replication_slots where slot_name like 'tidings_preview%'";
const INSERT: &str = "insert into projects (project_id, name, status) values";

/// A preview that runs, line by line.
struct Preview {
    child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Preview {
    /// Returns when its slot streams.
    async fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let mut command = Program::command(&stage.config());
        command.args(["rules", "preview"]).args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // By then it has read the images of a sidecar, which streams, too.
        stage
            .until(
                "(select count(*) = 1 from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
                  where slot_name like 'tidings_preview%' and temporary and state in ('streaming', 'catchup'))",
            )
            .await;
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(tests::PATIENCE, self.lines.next_line()).await;
        line.expect("a line in time")
            .unwrap()
            .expect("a further line")
    }

    async fn kill9(mut self) {
        self.child.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_prints_what_would_be_written_and_leaves_nothing_behind() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let before: String = stage.value(TRACES).await;
    let mut preview = Preview::start(&stage, &["reference"]).await;
    stage
        .execute(&format!("{INSERT} ('p', 'x', 'creating')"))
        .await;
    stage.execute("update projects set status = 'active'").await;
    let line = preview.line().await;
    assert!(
        line.contains("project_created  success  Project 'x' created"),
        "{line}"
    );
    stage
        .execute(&format!("{INSERT} ('q', 'y', 'active')"))
        .await;
    assert!(preview.line().await.contains("Project 'y' created"));

    preview.kill9().await;
    eventually("the slot is gone with its process", async || {
        stage.value::<i64>(SLOTS).await == 0
    })
    .await;
    let after: String = stage.value(TRACES).await;
    assert_eq!(before, after);
    let actions: i64 = stage.value("select count(*) from project_actions").await;
    assert_eq!(actions, 0);
}

/// What a preview could have written.
const TRACES: &str = "select concat((select count(*) from tidings.actions), ' ',
    (select count(*) from tidings.images), ' ', (select count(*) from tidings.image_tables), ' ',
    (select count(*) from tidings.quarantine), ' ', (select p::text from tidings.progress p), ' ',
    (select confirmed_flush_lsn from pg_replication_slots where slot_name = 'tidings'))";

#[tokio::test(flavor = "multi_thread")]
async fn recent_wal_is_previewed_without_confirming_it_and_ends_by_itself() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute(&format!("{INSERT} ('p', 'x', 'active')"))
        .await;
    let before: String = stage.value(TRACES).await;
    let told = stage
        .tidings(["rules", "preview", "reference", "--recent", "--json"])
        .await
        .success();
    let line: serde_json::Value =
        serde_json::from_str(told.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(line["action"]["action_details"], "Project 'x' created");
    assert_eq!(line["rule"], "reference/project_created");
    assert!(
        told.stderr.contains("1 actions and 0 faults"),
        "{}",
        told.stderr
    );
    stage.until(&format!("({SLOTS}) = 0")).await;
    let after: String = stage.value(TRACES).await;
    assert_eq!(before, after);

    // The sidecar finds everything where it was.
    let _sidecar = stage.resume().await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_sidecar_old_values_come_from_its_images() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage
        .execute(&format!("{INSERT} ('p', 'x', 'creating')"))
        .await;
    stage
        .until("(select count(*) = 1 from tidings.images)")
        .await;
    let pack = include_str!("../../config/rules/reference.toml");
    let pack = pack.replace("Project '{{ new.name }}' created", "Here is {{ new.name }}");
    let path = stage.file("mine.toml", &pack).display().to_string();
    let mut preview = Preview::start(&stage, &[&path]).await;
    stage.execute("update projects set status = 'active'").await;
    assert!(preview.line().await.contains("Here is x"));
    stage.until_actions(1).await;
    assert_eq!(stage.sentences().await, ["Project 'x' created"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_publication_does_not_send_is_said_and_nothing_is_changed() {
    let stage = Stage::start().await;
    let refused = stage.tidings(["rules", "preview", "reference"]).await;
    assert_eq!(refused.code(), 3);
    assert!(
        refused
            .stderr
            .contains("publication tidings does not exist"),
        "{}",
        refused.stderr
    );
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter publication tidings drop table databases")
        .await;
    let refused = stage
        .tidings(["rules", "preview", "reference", "--seconds", "1"])
        .await;
    assert_eq!(refused.code(), 3);
    assert!(
        refused
            .stderr
            .contains("table public.databases is not in it"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_ends_after_its_seconds() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let ended = stage
        .tidings(["rules", "preview", "reference", "--seconds", "1"])
        .await
        .success();
    assert!(
        ended.stderr.contains("nothing was written"),
        "{}",
        ended.stderr
    );
    stage.until(&format!("({SLOTS}) = 0")).await;
}
