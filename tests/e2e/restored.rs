//! A database that is not the one that progress was made on: its own past, or a copy of it in another cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use scratch::{Server, StopMode};
use tests::{PATIENCE, Sidecar, Stage, eventually};
use tokio::task::block_in_place;

const NOTICES: &str = "(select count(*) from tidings.actions where action_type = 'capture_gap')";

fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active')")
}

/// Everything that a server has on disk, as it was.
struct Copy(PathBuf);

impl Copy {
    /// Of a server that is down.
    fn take(server: &Server) -> Self {
        let copy = beside(server, "copy");
        run(Command::new("cp")
            .arg("-a")
            .args([&server.data_dir(), &copy]));
        Self(copy)
    }

    /// Puts it in the place of what the server, which is down, has by now. Returns where that is.
    fn put_back(self, server: &Server) -> PathBuf {
        let later = beside(server, "later");
        std::fs::rename(server.data_dir(), &later).unwrap();
        std::fs::rename(self.0, server.data_dir()).unwrap();
        later
    }
}

/// Goes with the server.
fn beside(server: &Server, name: &str) -> PathBuf {
    server.data_dir().with_file_name(name)
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// An empty file of the owner of the others.
fn touch(data: &Path, name: &str) {
    let file = data.join(name);
    std::fs::write(&file, "").unwrap();
    let model = format!("--reference={}", data.join("PG_VERSION").display());
    run(Command::new("chown").arg(model).arg(file));
}

fn kill(stage: &mut Stage) {
    block_in_place(|| stage.server.kill9()).unwrap();
}

fn stop(stage: &mut Stage) {
    block_in_place(|| stage.server.stop(StopMode::Fast, PATIENCE)).unwrap();
}

fn start(stage: &mut Stage) {
    block_in_place(|| stage.server.start_again()).unwrap();
}

/// The one that has lived through it, or another one.
async fn go_on(stage: &Stage, sidecar: Sidecar, lives: bool) -> Sidecar {
    match lives {
        true => sidecar,
        false => {
            sidecar.kill9().await;
            stage.resume().await
        }
    }
}

async fn created(stage: &Stage) -> Vec<String> {
    let said = stage.sentences().await;
    let name = |said: &String| said.split('\'').nth(1).unwrap_or_default().to_owned();
    said.iter().map(name).collect()
}

/// Log, table and images say the same as the worker's rows.
async fn assert_whole(stage: &Stage) {
    stage.tidings(["verify"]).await.success();
    stage
        .until("(select stop_reason is null from tidings.progress)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_set_back_to_an_earlier_state_of_itself_is_told_of_from_there_on() {
    for lives in [true, false] {
        let mut stage = Stage::on(Server::builder().fast()).await;
        let ops = stage.subscribe("ops").await;
        let sidecar = stage.run().await;
        stage.until_compared().await;
        stage.execute(&insert("before")).await;
        ops.until(1).await;
        // In the copy, and not told of yet.
        sidecar.freeze();
        stage.execute(&insert("unseen")).await;
        kill(&mut stage);
        let copy = Copy::take(&stage.server);
        start(&mut stage);
        sidecar.thaw();
        stage.execute(&insert("undone")).await;
        ops.until(3).await;
        let undone: String = stage
            .value("select action_id from project_actions where project_id = 'undone'")
            .await;

        kill(&mut stage);
        copy.put_back(&stage.server);
        start(&mut stage);
        let _sidecar = go_on(&stage, sidecar, lives).await;
        stage.until_actions(2).await;
        stage.execute(&insert("after")).await;
        stage.until_actions(3).await;
        assert_eq!(created(&stage).await, ["before", "unseen", "after"]);
        // It has the seq of what is undone, and is another action all the same.
        let after: String = stage
            .value("select action_id from project_actions where project_id = 'after'")
            .await;
        assert_ne!(after, undone);
        eventually("subscribers are told of it", async || {
            ops.accepted().contains_key(&after)
        })
        .await;
        assert_eq!(
            stage.value::<i64>(&format!("select {NOTICES}")).await,
            0,
            "no stream is missing anything of what is there"
        );
        assert_whole(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restored_to_a_point_in_time_is_compared_and_the_gap_is_told_once() {
    for lives in [true, false] {
        // All WAL stays where the archive would be.
        let server = Server::builder().fast().setting("wal_keep_size", "256MB");
        let mut stage = Stage::on(server).await;
        let sidecar = stage.run().await;
        stage.until_compared().await;
        stage.execute(&insert("before")).await;
        stage.until_actions(1).await;
        stop(&mut stage);
        let backup = Copy::take(&stage.server);
        start(&mut stage);
        stage.execute(&insert("replayed")).await;
        stage.until_actions(2).await;
        // Up to here it will come back.
        sidecar.freeze();
        stage.execute(&insert("unseen")).await;
        stage
            .execute("select pg_create_restore_point('here')")
            .await;
        sidecar.thaw();
        stage.execute(&insert("undone")).await;
        stage.until_actions(4).await;

        kill(&mut stage);
        let later = backup.put_back(&stage.server);
        recover(&mut stage, &later);
        start(&mut stage);
        stage.until("not pg_is_in_recovery()").await;
        let sidecar = go_on(&stage, sidecar, lives).await;
        stage.until_actions(3).await;
        stage.until(&format!("{NOTICES} = 1")).await;
        stage.execute(&insert("after")).await;
        stage.until_actions(4).await;
        let said = ["before", "replayed", "unseen", "after"];
        assert_eq!(created(&stage).await, said);
        let origins = "select string_agg(origin, ' ' order by seq) from tidings.actions
                       where action_type <> 'capture_gap'";
        assert_eq!(
            stage.value::<String>(origins).await,
            "stream stream reconciled stream"
        );
        let reason: String = stage.value("select reason from tidings.gaps").await;
        assert!(reason.contains("on timeline 2"), "{reason}");
        if lives {
            let log = sidecar.log();
            assert!(log.contains("is not in this database"), "{log}");
        }
        assert_whole(&stage).await;
    }
}

/// Has the server, which is down, recover to the restore point from the WAL that it had later. As with most backups
/// no slot comes along.
fn recover(stage: &mut Stage, later: &Path) {
    let data = stage.server.data_dir();
    for slot in std::fs::read_dir(data.join("pg_replslot")).unwrap() {
        std::fs::remove_dir_all(slot.unwrap().path()).unwrap();
    }
    let wal = later.join("pg_wal").display().to_string();
    for (setting, value) in [
        ("restore_command", format!("cp '{wal}/%f' '%p'")),
        ("recovery_target_name", "here".to_owned()),
        ("recovery_target_action", "promote".to_owned()),
    ] {
        stage.server.set(setting, &value).unwrap();
    }
    touch(&data, "recovery.signal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_leads_to_a_copy_in_another_cluster_is_refused_and_nothing_is_made_there() {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute(&insert("before")).await;
    stage.until_actions(1).await;
    let progress: String = stage
        .value("select to_jsonb(p)::text from tidings.progress p")
        .await;
    assert!(sidecar.terminate(PATIENCE).await.success());

    // As a dump brings it: the schema, its progress, and no slot.
    let other = Stage::on(Server::builder().fast().own_identity()).await;
    other.tidings(["setup"]).await.success();
    let copied = format!(
        "select pg_drop_replication_slot('tidings');
         delete from tidings.progress;
         insert into tidings.progress
         select * from jsonb_populate_record(null::tidings.progress, '{progress}')"
    );
    other.execute(&copied).await;
    other.execute(&insert("theirs")).await;
    let own = stage.server.url_as("tidings", "app");
    let theirs = other.server.url_as("tidings", "app");
    stage.settings.set("database.url", theirs);
    let elsewhere = stage.spawn(&[]);
    eventually("status refuses it, with the command", async || {
        let status = stage.tidings(["status", "--json"]).await.json();
        let reason = status["reason"].as_str().unwrap_or_default();
        status["state"] == "stopped"
            && reason.contains("this is another cluster")
            && reason.contains("--new-slot")
    })
    .await;
    for table in ["pg_replication_slots", "tidings.gaps", "project_actions"] {
        let rows = format!("select count(*) from {table}");
        assert_eq!(other.value::<i64>(&rows).await, 0, "{table}");
    }
    elsewhere.kill9().await;

    stage.settings.set("database.url", own);
    let _sidecar = stage.resume().await;
    stage.execute(&insert("after")).await;
    stage.until_actions(2).await;
    assert_eq!(created(&stage).await, ["before", "after"]);
}
