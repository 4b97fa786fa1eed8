//! How much WAL the slot may keep back: watched while capture works and while it can not.

use std::time::Duration;

use store::catalog::{self, Slot};
use store::{Purpose, Session, retention};
use tokio::sync::watch;

use super::Context;
use crate::failure::chain;
use crate::settings::Capture;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(2);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// In percent of what may be kept.
pub const WARN: u64 = 50;
const TELL: u64 = 80;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    #[default]
    Fine,
    /// The log tells of it.
    Warn,
    /// So does a notice.
    Tell,
    /// The slot is to be given up.
    Over,
}

/// Where a slot stands. One that the server itself will give up before the budget is used up is told of as
/// early, but given up by the budget alone: the server's disk is safe.
pub fn stage(slot: &Slot, budget: u64) -> Stage {
    let kept = slot.retained_bytes.unsigned_abs();
    if kept >= budget {
        return Stage::Over;
    }
    match percent(slot, budget) {
        ..WARN => Stage::Fine,
        WARN..TELL => Stage::Warn,
        TELL.. => Stage::Tell,
    }
}

/// Of the budget, or of what the server allows, whichever ends first.
pub fn percent(slot: &Slot, budget: u64) -> u64 {
    let kept = slot.retained_bytes.unsigned_abs();
    let server = slot
        .safe_bytes
        .map(|safe| kept.saturating_add(safe.max(0).unsigned_abs()));
    let most = server.unwrap_or(u64::MAX).min(budget).max(1);
    kept.saturating_mul(100) / most
}

/// Why a slot is to be given up, where it keeps more than it may.
pub fn excess(settings: &Capture, slot: &Slot) -> Option<String> {
    let budget = settings.max_retained_wal?;
    (stage(slot, budget.as_u64()) == Stage::Over).then(|| {
        format!(
            "replication slot {} kept back {} of WAL, and capture.max_retained_wal is {budget}",
            settings.slot,
            size(slot.retained_bytes)
        )
    })
}

/// Looks for as long as capture runs, on a connection of its own: the writer may be waiting for a lock.
pub async fn watch(context: &Context, stages: watch::Sender<Stage>) {
    let Some(budget) = context.settings.capture.max_retained_wal else {
        return std::future::pending().await;
    };
    let mut session = None;
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let look = look(context, &mut session, budget.as_u64(), &stages);
        let looked = tokio::time::timeout(LOOK_MAX, look).await;
        if let Ok(Err(error)) = &looked {
            tracing::debug!(error = chain(error), "retained WAL can not be seen or told");
        }
        if !matches!(looked, Ok(Ok(()))) {
            session = None;
        }
    }
}

/// Waits until the slot is seen to keep too much, from now on. Cancel safe.
pub async fn over(stages: &mut watch::Receiver<Stage>) {
    stages.mark_unchanged();
    while stages.changed().await.is_ok() {
        if *stages.borrow_and_update() == Stage::Over {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn look(
    context: &Context,
    session: &mut Option<Session>,
    budget: u64,
    stages: &watch::Sender<Stage>,
) -> Result<(), store::Error> {
    let schema = &context.settings.database.schema;
    let session = match session {
        Some(session) => session,
        None => session.insert(Session::open(&context.target, schema, Purpose::Write).await?),
    };
    session.check_timeline()?;
    let name = &context.settings.capture.slot;
    let slot = catalog::slot(session, name).await?;
    let stage = slot
        .as_ref()
        .map_or(Stage::Fine, |slot| stage(slot, budget));
    let before = stages.send_replace(stage);
    let Some(slot) = slot else {
        return retention::recovered(session).await;
    };
    metrics::gauge!("tidings_slot_retained_bytes").set(slot.retained_bytes as f64);
    let percent = percent(&slot, budget);
    if stage > before {
        tracing::warn!(
            slot.retained_bytes,
            slot.safe_bytes,
            slot.budget_bytes = budget,
            "replication slot {name} keeps back {}, {percent} % of what it may: capture does not keep up",
            size(slot.retained_bytes)
        );
    }
    match stage {
        Stage::Fine => retention::recovered(session).await,
        Stage::Warn => Ok(()),
        Stage::Tell | Stage::Over => {
            let payload = serde_json::json!({
                "slot": name, "retained_bytes": slot.retained_bytes, "budget_bytes": budget,
                "safe_bytes": slot.safe_bytes, "percent": percent,
            });
            retention::tell(session, &payload).await
        }
    }
}

/// Bytes in words.
pub fn size(bytes: i64) -> bytesize::ByteSize {
    bytesize::ByteSize(bytes.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(retained: i64, safe: Option<i64>) -> Slot {
        Slot {
            plugin: None,
            database: None,
            active_pid: None,
            confirmed: None,
            wal_status: None,
            invalidation: None,
            lag_bytes: 0,
            retained_bytes: retained,
            safe_bytes: safe,
        }
    }

    #[test]
    fn a_slot_passes_a_warning_and_a_notice_before_it_is_given_up() {
        for (retained, expected) in [
            (0, Stage::Fine),
            (499, Stage::Fine),
            (500, Stage::Warn),
            (799, Stage::Warn),
            (800, Stage::Tell),
            (999, Stage::Tell),
            (1000, Stage::Over),
            (i64::MAX, Stage::Over),
        ] {
            assert_eq!(stage(&slot(retained, None), 1000), expected, "{retained}");
        }
    }

    #[test]
    fn what_the_server_will_take_is_told_and_left_to_it() {
        assert_eq!(stage(&slot(100, Some(100)), 1000), Stage::Warn);
        assert_eq!(stage(&slot(100, Some(20)), 1000), Stage::Tell);
        assert_eq!(stage(&slot(100, Some(-5000)), 1000), Stage::Tell);
        assert_eq!(stage(&slot(100, Some(5000)), 1000), Stage::Fine);
    }

    proptest! {
        #[test]
        fn more_wal_never_means_less_alarm(a in 0..i64::MAX, b in 0..i64::MAX, budget in 1..u64::MAX) {
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(stage(&slot(less, None), budget) <= stage(&slot(more, None), budget));
        }
    }
}
