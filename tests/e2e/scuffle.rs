//! Reconcile beside eight writers that fight over rows, kills, and commits that wait for a standby.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Random, Stage, commits_wait_for};
use tokio::task::JoinSet;

use crate::reconcile::{images_that_differ, insert, quarantined};

/// Writers that insert, update, delete and move keys in a small key space.
struct Scuffle {
    stop: Arc<AtomicBool>,
    writers: JoinSet<()>,
}

impl Scuffle {
    async fn start(stage: &Stage, random: &mut Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for _ in 0..8 {
            let client = stage.connect().await;
            let (stop, mut random) = (stop.clone(), random.fork());
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut sql = "begin;".to_owned();
                    for _ in 0..=random.below(3) {
                        sql += &change(&mut random);
                    }
                    sql += if random.once_in(8) {
                        "rollback"
                    } else {
                        "commit"
                    };
                    // A duplicate key or a deadlock ends the transaction, as it would the worker's.
                    if client.batch_execute(&sql).await.is_err() {
                        client.batch_execute("rollback").await.ok();
                    }
                }
            });
        }
        Self { stop, writers }
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.writers.join_next().await.is_some() {}
    }
}

fn change(random: &mut Random) -> String {
    let key = random.below(60);
    let name = random.below(1 << 60);
    match random.below(6) {
        0 | 1 => format!(
            "insert into projects (project_id, name, status) values ('k{key}', 'n{name}', 'active')
               on conflict (project_id) do update set name = excluded.name;"
        ),
        2 => format!("update projects set name = 'n{name}' where project_id = 'k{key}';"),
        3 => format!("update projects set updated_at = {name} where project_id = 'k{key}';"),
        4 => format!("delete from projects where project_id = 'k{key}';"),
        _ => {
            let to = random.below(60);
            format!(
                "update projects set project_id = 'k{to}' where project_id = 'k{key}'
                   and not exists (select from projects where project_id = 'k{to}');"
            )
        }
    }
}

/// Tells each name that a row had, and each end of a row.
const NAMES: &str = r#"
[pack]
name = "names"
[tables.projects]
[[rules]]
name = "had"
table = "projects"
on = ["insert", "update"]
when = "changed('name') or old.project_id is none"
project_id = "{{ new.project_id }}"
action_details = "{{ new.name }} {{ new.status }} {{ new.container_id }}"
"#;

/// Reconciles a table that eight writers scuffle over, in which some rows are from before, and during
/// which the sidecar is killed; then looks whether anything was lost or told twice.
async fn scuffle(stage: &mut Stage, kills: usize) {
    let mut random = Random::from_environment();
    let file = stage.file("names.toml", NAMES);
    stage
        .settings
        .set("capture.rules", vec![file.display().to_string()]);
    // Rows enough for many chunks, before and between the keys that are fought over.
    let rows = "insert into projects (project_id, name, status)
                select 'j' || n, 'old', 'active' from generate_series(1, 10000) n
                union all select 'k' || n || 'x', 'old', 'active' from generate_series(1, 10000) n
                union all select 'k' || n, 'first' || n, 'active' from generate_series(0, 59, 2) n";
    stage.execute(rows).await;
    let scuffle = Scuffle::start(stage, &mut random).await;
    let mut sidecar = stage.run().await;
    // The first kills meet the fill, the others what was asked for.
    for purpose in [&[][..], &["reconcile"], &["reconcile", "--backfill"]] {
        let asked = async {
            if !purpose.is_empty() {
                // Without a sidecar at this moment it ends with 3, and what it asked for stays.
                let outcome = stage.tidings(purpose).await;
                assert!([0, 3].contains(&outcome.code()), "{outcome:?}");
            }
        };
        let killed = async {
            for _ in 0..kills {
                // Waits for nothing: the kill is to fall at any moment of the work.
                tokio::time::sleep(Duration::from_millis(50 + random.below(600) as u64)).await;
                sidecar.kill9().await;
                sidecar = stage.resume().await;
            }
            sidecar
        };
        ((), sidecar) = tokio::join!(asked, killed);
        stage.until_compared().await;
    }
    scuffle.stop().await;
    stage.execute(&insert("last")).await;
    stage
        .until("exists (select from project_actions where project_id = 'last')")
        .await;
    assert_eq!(images_that_differ(stage).await, 0);
    // Every name is drawn once, so it is told once: in the stream, or by the backfill where it is from
    // before.
    let twice = "select count(*) from (select action_details from project_actions
                   where action_details like 'n%' or action_details like 'first%'
                   group by action_details having count(*) > 1) as twice";
    // A key that moved takes its name along, and a name is drawn for one row alone.
    assert_eq!(stage.value::<i64>(twice).await, 0);
    let untold = "select count(*) from projects p where not exists (
                    select from project_actions a where a.action_details like p.name || ' %')";
    assert_eq!(stage.value::<i64>(untold).await, 0);
    assert_eq!(quarantined(stage).await, 0);
    assert!(!sidecar.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_and_kills_beside_a_reconcile_lose_nothing_and_repeat_nothing() {
    let mut stage = Stage::start().await;
    scuffle(&mut stage, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_for_a_standby_are_not_taken_for_newer_or_older_ones() {
    let mut stage = Stage::start().await;
    let admin = stage.connect().await;
    let over = Cell::new(false);
    let held = async {
        // No such standby: every commit waits until the setting is taken back.
        while !over.get() {
            for standby in ["nobody", ""] {
                commits_wait_for(&admin, standby).await;
                // How long commits are held, and let go again: the disturbance itself.
                tokio::time::sleep(Duration::from_millis(120)).await;
            }
        }
    };
    let scuffled = async {
        scuffle(&mut stage, 2).await;
        over.set(true);
    };
    tokio::join!(held, scuffled);
}
