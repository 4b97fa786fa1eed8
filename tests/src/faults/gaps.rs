//! The slot is lost, and with it what it had not told. Every row's final state must become known, once;
//! what came and went meanwhile can not be, and is counted.

use std::time::Instant;

use scratch::Server;

use super::{Tally, calm};
use crate::{Growth, PATIENCE, Random, Receiver, Sidecar, Stage, eventually};

const DROP: &str = "select pg_drop_replication_slot('tidings')";
const IS_OPEN: &str = "exists (select from tidings.gaps where until_lsn is null)";
/// What one rebuild may be interrupted by, at most.
const KILLS_MAX: usize = 3;
const UNOBSERVED: usize = 10_000;

/// A stage whose worker's account is of final states.
struct Field {
    stage: Stage,
    random: Random,
    all: Receiver,
    growth: Growth,
    tally: Tally,
    gaps: i64,
}

impl Field {
    /// The sidecar runs, has compared all tables, and the worker is at work.
    async fn prepare(mut random: Random) -> (Self, Sidecar) {
        let server = Server::builder().fast();
        let mut stage = Stage::on(server.setting("max_slot_wal_keep_size", "64MB")).await;
        let all = stage.subscribe("all").await;
        stage.settings.set("capture.rebuilds_per_hour", 100_000);
        let sidecar = stage.run().await;
        stage.until_compared().await;
        let growth = Growth::start(&stage, "g", &mut random).await;
        growth.until_more(10).await;
        let field = Self {
            stage,
            random,
            all,
            growth,
            tally: Tally::default(),
            gaps: 0,
        };
        (field, sidecar)
    }

    /// The slot is gone since then. Kills the sidecar some times before it lets it come through.
    async fn heal(&mut self, mut sidecar: Sidecar, lost: Instant) -> Sidecar {
        for _ in 0..self.random.below(KILLS_MAX + 1) {
            calm(&mut self.random).await;
            sidecar.kill9().await;
            sidecar = self.stage.spawn(&[]);
        }
        self.gaps += 1;
        self.until_healed().await;
        self.tally.recovered(lost.elapsed());
        sidecar
    }

    /// All tables are compared, the gap is closed and told of once.
    async fn until_healed(&self) {
        let gaps = self.gaps;
        self.stage
            .until(&format!(
                "(select count(*) >= {gaps} from tidings.gaps) and not {IS_OPEN}
                 and (select bool_and(finished_at is not null) from tidings.reconcile)
                 and (select count(*) from tidings.actions where action_type = 'capture_gap')
                   = (select count(*) from tidings.gaps)"
            ))
            .await;
    }

    async fn close(self, sidecar: &mut Sidecar) -> Tally {
        let Self {
            mut stage,
            all,
            growth,
            mut tally,
            gaps,
            ..
        } = self;
        let grown = growth.stop().await;
        let account = grown.audit(&stage, &all).await;
        tally.audit.add(account.audit);
        tally.unobserved += account.unobserved;
        let told: i64 = stage.value("select count(*) from tidings.gaps").await;
        if told != gaps {
            let fault = format!("{gaps} gaps were made, and {told} are told of");
            tally.audit.faults.push(fault);
        }
        tally.outlived(sidecar);
        tally.keep(&mut stage);
        tally
    }
}

/// Of a sidecar that is dead, has ended in good order, or runs.
pub(super) async fn slot_dropped(random: Random, runs: usize) -> Tally {
    let (mut field, mut sidecar) = Field::prepare(random).await;
    for _ in 0..runs {
        calm(&mut field.random).await;
        let how = field.random.below(3);
        let lost = match how {
            0 => {
                field.tally.hit("while it runs");
                field.take_slot().await
            }
            _ => {
                if how == 1 {
                    field.tally.hit("after a kill");
                    sidecar.kill9().await;
                } else {
                    field.tally.hit("after a stop");
                    sidecar.terminate(PATIENCE).await;
                }
                field.growth.until_more(5).await;
                let lost = field.take_slot().await;
                field.growth.until_more(5).await;
                sidecar = field.stage.spawn(&[]);
                lost
            }
        };
        sidecar = field.heal(sidecar, lost).await;
    }
    field.close(&mut sidecar).await
}

impl Field {
    /// Drops the slot, ending whoever reads it as often as it takes.
    async fn take_slot(&self) -> Instant {
        let admin = self.stage.connect().await;
        let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where active";
        eventually("the slot is dropped", async || {
            let ended = admin.batch_execute(end).await;
            ended.expect("a superuser may end sessions");
            admin.batch_execute(DROP).await.is_ok()
        })
        .await;
        Instant::now()
    }
}

pub(super) async fn slot_invalidated(random: Random, runs: usize) -> Tally {
    let (mut field, mut sidecar) = Field::prepare(random).await;
    for _ in 0..runs {
        calm(&mut field.random).await;
        let runs_on = field.random.once_in(2);
        if runs_on {
            sidecar.freeze();
        } else {
            sidecar.kill9().await;
            sidecar = field.stage.spawn(&["--roles", "deliver"]);
        }
        field.growth.until_more(5).await;
        field.stage.grow_wal(8).await;
        eventually("the slot's WAL is removed", async || {
            field.stage.execute("checkpoint").await;
            let lost =
                "select wal_status = 'lost' from pg_replication_slots where slot_name = 'tidings'";
            field.stage.value(lost).await
        })
        .await;
        let lost = Instant::now();
        field.growth.until_more(5).await;
        if runs_on {
            field.tally.hit("of one that stood still");
            sidecar.thaw();
        } else {
            field.tally.hit("of one that was dead");
            sidecar.kill9().await;
            sidecar = field.stage.spawn(&[]);
        }
        sidecar = field.heal(sidecar, lost).await;
    }
    field.close(&mut sidecar).await
}

/// With the tables it had, and the same owner.
pub(super) async fn publication_recreated(random: Random, runs: usize) -> Tally {
    const RECREATE: &str = "drop publication tidings;
        create publication tidings for table projects, databases, deployments
          with (publish_via_partition_root);
        alter publication tidings owner to tidings";
    let (mut field, mut sidecar) = Field::prepare(random).await;
    for _ in 0..runs {
        calm(&mut field.random).await;
        field.stage.execute(RECREATE).await;
        let lost = Instant::now();
        sidecar = field.heal(sidecar, lost).await;
    }
    field.close(&mut sidecar).await
}

/// Every action of what happened meanwhile is marked.
pub(super) async fn ten_thousand(random: Random, _runs: usize) -> Tally {
    let (mut field, mut sidecar) = Field::prepare(random).await;
    sidecar.terminate(PATIENCE).await;
    let seq: i64 = field.stage.value("select seq from tidings.progress").await;
    field.take_slot().await;
    field.growth.hurry();
    field.growth.until_more(UNOBSERVED).await;
    field.growth.rest().await;
    sidecar = field.stage.spawn(&[]);
    let lost = Instant::now();
    field.gaps += 1;
    field.until_healed().await;
    field.tally.recovered(lost.elapsed());
    let unmarked = "select count(*) from tidings.actions where origin = 'stream' and seq > ";
    let unmarked: i64 = field.stage.value(&format!("{unmarked}{seq}")).await;
    if unmarked > 0 {
        let fault = format!("{unmarked} actions of the gap are not marked as reconciled");
        field.tally.audit.faults.push(fault);
    }
    field.close(&mut sidecar).await
}
