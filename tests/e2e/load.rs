//! A load that nothing happens to; what the fault matrix does to it is in faults.rs.

use scratch::Server;
use tests::{Random, Trial};

#[tokio::test(flavor = "multi_thread")]
async fn every_committed_transaction_gives_exactly_its_actions_and_deliveries() {
    let mut trial = Trial::prepare(Server::builder().fast(), Random::from_environment()).await;
    let _sidecar = trial.stage.run().await;
    let load = trial.load().await;
    load.until_more(400).await;
    let expected = load.stop().await;
    let audit = trial.audit(&expected).await;
    audit.assert_clean();
    assert_eq!(audit.deliveries_repeated, 0, "nothing went wrong");
}
