//! Which actions go to which endpoint.

use tests::{Receiver, Stage};

use super::add;

/// One transaction: two projects, the second with an endpoint, a database, three deployments.
const PLAY: &str = r#"
    insert into projects (project_id, status, environment)
      values ('p', 'active', 'production'), ('q', 'active', 'development');
    insert into databases (database_id, project_id, environment) values ('d', 'p', 'production');
    update projects set endpoints = '[{"method": "GET", "path": "/"}]' where project_id = 'q';
    insert into deployments (deployment_id, project_id, status, environment) values
      ('1', 'p', 'in_progress', 'production'), ('2', 'q', 'failed', 'production'), ('3', null, 'failed', null)"#;

#[tokio::test(flavor = "multi_thread")]
async fn filters_route_by_type_project_environment_and_status() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let wanted: [(&str, &[&str], &[i64]); 8] = [
        ("all", &[], &[1, 2, 3, 4, 5, 6, 7]),
        ("star", &["--types", "*"], &[1, 2, 3, 4, 5, 6, 7]),
        (
            "types",
            &["--types", "project_*,endpoints_added"],
            &[1, 2, 3],
        ),
        ("exact", &["--types", "project"], &[]),
        ("project", &["--projects", "p"], &[1, 4, 5]),
        (
            "environment",
            &["--environments", "production,staging"],
            &[1, 4, 5, 6],
        ),
        ("status", &["--statuses", "failed,in_progress"], &[5, 6, 7]),
        (
            "joined",
            &[
                "--statuses",
                "failed",
                "--projects",
                "p,q",
                "--types",
                "deployment",
            ],
            &[6],
        ),
    ];
    let mut receivers = Vec::new();
    for (name, filter, _) in wanted {
        let receiver = Receiver::open().await;
        add(&stage, name, &receiver, filter).await;
        receivers.push(receiver);
    }
    stage.execute(PLAY).await;
    stage.until("(select seq = 7 from tidings.progress)").await;
    // Everything is settled for everybody: nothing more will come.
    for ((name, _, seqs), receiver) in wanted.iter().zip(&receivers) {
        receiver.until(seqs.len()).await;
        stage.until(&format!(
            "(select case when e.behind then e.cursor_seq else greatest(e.cursor_seq, d.seq) end = 7
              from tidings.endpoints e join tidings.delivery_progress d using (shard) where e.name = '{name}')"
        )).await;
        let mut got: Vec<i64> = receiver
            .requests()
            .iter()
            .map(|request| request.json()["data"]["seq"].as_i64().unwrap())
            .collect();
        got.sort_unstable();
        assert_eq!(got, *seqs, "{name}");
    }
}
