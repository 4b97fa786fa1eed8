//! Whatever dies under load: nothing is lost, and nothing is in `project_actions` twice.

use scratch::Server;
use tests::{Outage, Random, Trial, break_server, kill_sidecars};

async fn trial() -> Trial {
    Trial::prepare(Server::builder().fast(), Random::from_environment()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_committed_transaction_gives_exactly_its_actions_and_deliveries() {
    let mut trial = trial().await;
    let _sidecar = trial.stage.run().await;
    let load = trial.load().await;
    load.until_more(400).await;
    let expected = load.stop().await;
    let audit = trial.audit(&expected).await;
    audit.assert_clean();
    assert_eq!(audit.deliveries_repeated, 0, "nothing went wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_of_the_sidecar_lose_nothing_and_repeat_nothing() {
    let mut trial = trial().await;
    let sidecar = trial.stage.run().await;
    let load = trial.load().await;
    let (sidecar, _) = kill_sidecars(&trial.stage, sidecar, &load, &mut trial.random, 20).await;
    let expected = load.stop().await;
    trial.audit(&expected).await.assert_clean();
    assert!(!sidecar.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_and_killed_under_load_loses_nothing_and_repeats_nothing() {
    let mut trial = trial().await;
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for outage in [Outage::Restart, Outage::Kill9] {
        break_server(&mut trial.stage, &load, &mut trial.random, outage, 3).await;
    }
    let expected = load.stop().await;
    trial.audit(&expected).await.assert_clean();
    assert!(sidecar.is_running() && !sidecar.log().contains("panicked"));
}
