use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Target, client};

/// Meets every host of a target that answers within `patience`, so that the newest timeline is known
/// before one of them is chosen. Of one host there is nothing to learn.
pub async fn survey(target: &Target, patience: Duration) {
    if target.hosts().len() < 2 {
        return;
    }
    let mut meetings = JoinSet::new();
    for one in target.each_host() {
        meetings.spawn(async move {
            // What it tells is kept by the target; who does not answer is tried again by whoever needs it.
            let _ = timeout(patience, client(&one, "tidings")).await;
        });
    }
    while meetings.join_next().await.is_some() {}
}
