use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Target, client};

/// Meets every host of a target that answers within `patience`, so that the newest timeline is known
/// before one of them is chosen, and one that takes writes is tried first. Of one host there is nothing to
/// learn.
pub async fn survey(target: &Target, patience: Duration) {
    if target.hosts().len() < 2 {
        return;
    }
    let mut meetings = JoinSet::new();
    for one in target.each_host() {
        let target = target.clone();
        meetings.spawn(async move {
            // Who does not answer is tried again by whoever needs it.
            let met = timeout(patience, client(&one, "tidings")).await;
            let takes_writes = met.is_ok_and(|client| {
                client.is_ok_and(|client| client.server().is_some_and(|s| s.timeline.is_some()))
            });
            if takes_writes && let [host] = one.hosts() {
                target.found(host);
            }
        });
    }
    while meetings.join_next().await.is_some() {}
}
