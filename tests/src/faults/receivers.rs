//! Subscribers misbehave, in every way that one can.

use std::time::{Duration, Instant};

use scratch::Server;

use super::{Tally, calm};
use crate::{Behaviour, Random, Trial, eventually};

/// So many requests are treated that way before the subscriber is well again.
const TREATED: usize = 5;

pub(super) async fn misbehave(random: Random, runs: usize) -> Tally {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    // A hanging subscriber is left sooner, and one that is well again is noticed sooner.
    trial
        .stage
        .settings
        .set("webhooks.timeout", "1s")
        .set("webhooks.breaker_cooldown", "1s")
        .set("webhooks.breaker_cooldown_max", "2s");
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for _ in 0..runs {
        calm(&mut trial.random).await;
        let behaviour = draw(&mut trial.random);
        tally.hit(name(&behaviour));
        let refuses = behaviour == Behaviour::Refuse;
        let before = trial.all().requested();
        trial.all().behave(behaviour).await;
        if refuses {
            // Nothing arrives there meanwhile, so what the other one is told shows that time goes by.
            load.until_more(TREATED).await;
        } else {
            let treated = before + TREATED;
            eventually("it is asked meanwhile", async || {
                trial.all().requested() >= treated
            })
            .await;
        }
        trial.all().behave(Behaviour::Status(200)).await;
        let (well, known) = (Instant::now(), trial.all().accepted_count());
        eventually("it is told again", async || {
            trial.all().accepted_count() > known
        })
        .await;
        tally.recovered(well.elapsed());
    }
    trial.close(load, tally, [&mut sidecar]).await
}

fn draw(random: &mut Random) -> Behaviour {
    match random.below(9) {
        0 => Behaviour::Status(500),
        1 => Behaviour::Status(429),
        2 => Behaviour::RetryAfter(503, "1".to_owned()),
        3 => Behaviour::Slow(200, Duration::from_millis(300)),
        4 => Behaviour::OneIn(2, 502),
        5 => Behaviour::Redirect("http://127.0.0.1:1/".to_owned()),
        6 => Behaviour::Hang,
        7 => Behaviour::Endless,
        _ => Behaviour::Refuse,
    }
}

fn name(behaviour: &Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Status(429) => "429",
        Behaviour::Status(_) => "500",
        Behaviour::RetryAfter(..) => "503 with Retry-After",
        Behaviour::Slow(..) => "slow",
        Behaviour::OneIn(..) => "every other request fails",
        Behaviour::Pick(..) => "some fail",
        Behaviour::Redirect(_) => "redirects",
        Behaviour::Hang => "never answers",
        Behaviour::Endless => "answers without end",
        Behaviour::Refuse => "port closed",
    }
}
