//! What lies between the sidecar and Postgres fails; the process lives.

use std::time::{Duration, Instant};

use scratch::Server;

use super::{CAPTURE, Tally, calm, owner, until_it_recovers};
use crate::{Fate, Load, Proxy, Random, Sidecar, Trial};

/// What each message is delayed by at most.
const DELAY_MAX: Duration = Duration::from_millis(2);

/// A running sidecar that reaches Postgres through a proxy alone.
struct Wired {
    trial: Trial,
    proxy: Proxy,
    sidecar: Sidecar,
    load: Load,
}

impl Wired {
    async fn prepare(random: Random) -> Self {
        // So that silence is noticed within seconds on the stream too.
        let server = Server::builder().fast().setting("wal_sender_timeout", "2s");
        let mut trial = Trial::prepare(server, random).await;
        let proxy = Proxy::open(&trial.stage).await;
        trial.stage.settings.set("database.url", proxy.url());
        let sidecar = trial.stage.run().await;
        let load = trial.load().await;
        Self {
            trial,
            proxy,
            sidecar,
            load,
        }
    }

    /// So often, ends every connection in the way that is drawn.
    async fn meet(mut self, runs: usize, fate: impl Fn(&mut Random) -> Fate) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..runs {
            calm(&mut self.trial.random).await;
            let fate = fate(&mut self.trial.random);
            let before = owner(&self.trial.stage, CAPTURE).await;
            self.proxy.end(fate);
            let met = Instant::now();
            until_it_recovers(&self.trial.stage, &self.load, CAPTURE, before).await;
            tally.recovered(met.elapsed());
            tally.hit(format!("{fate:?}"));
        }
        let sidecar = [&mut self.sidecar];
        self.trial.close(self.load, tally, sidecar).await
    }
}

pub(super) async fn cut(random: Random, runs: usize) -> Tally {
    Wired::prepare(random).await.meet(runs, |_| Fate::Cut).await
}

pub(super) async fn half_closed(random: Random, runs: usize) -> Tally {
    let either = |random: &mut Random| match random.once_in(2) {
        true => Fate::ServerHasEnded,
        false => Fate::SidecarHasEnded,
    };
    Wired::prepare(random).await.meet(runs, either).await
}

pub(super) async fn silent(random: Random, runs: usize) -> Tally {
    let wired = Wired::prepare(random).await;
    wired.meet(runs, |_| Fate::Silence).await
}

pub(super) async fn slow(random: Random, runs: usize) -> Tally {
    let mut wired = Wired::prepare(random).await;
    wired.proxy.delay(DELAY_MAX, &mut wired.trial.random);
    wired.meet(runs, |_| Fate::Cut).await
}
