use std::time::{Duration, Instant};

/// Long enough for a busy machine: whoever waits for this long has found a fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns once the fact holds; panics, naming it, when it still does not after [`PATIENCE`].
pub async fn eventually(fact: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(
            begun.elapsed() < PATIENCE,
            "not so after {PATIENCE:?}: {fact}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
