//! A new slot in place of one that leads nowhere.
//!
//! The order is what makes a crash harmless. First the gap is opened in the database: from then on no
//! slot counts. Then the old slot goes, then a new one comes; both over the connection that holds the
//! slot's lock, so a process that has lost the lock can do neither. Last one commit, under our epoch,
//! begins at the new slot, asks for every table to be compared, closes the gap and leaves the notice.
//! Whoever finds the gap open begins again at the second step.

use std::time::Duration;

use activity::Lsn;
use store::catalog::{self, Server};
use store::progress::{self, NewSlot, Progress};
use store::{Session, actions_table, gaps, reconcile};
use wal::Connection;

use super::footing::Footing;
use super::guard::Guard;
use super::{Context, Fault, budget, session::in_time};
use crate::failure::chain;

/// How long the database may take for one step.
const STEP_MAX: Duration = Duration::from_secs(15);
/// How long the note of why a slot is given up may take: the disk does not wait for it.
const NOTE_MAX: Duration = Duration::from_secs(3);
/// How long images of another cluster may be looked for.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// How often transactions and the catalog are looked at while a new slot waits.
const WAIT_PERIOD: Duration = Duration::from_secs(1);
/// How long the first try to create the slot may hold its snapshot.
const CREATION_MAX: Duration = Duration::from_secs(60);
/// Tries until nobody uses the old slot.
const DROP_TRIES: u32 = 20;
const DROP_PAUSE: Duration = Duration::from_millis(100);

/// Makes a new slot. Waits for every transaction that is open, however long that takes. Not cancel safe: the
/// next session goes on.
pub async fn rebuild(context: &Context, footing: &mut Footing, why: &str) -> Result<(), Fault> {
    let settings = &context.settings.capture;
    let (slot, epoch) = (&settings.slot, footing.progress.epoch);
    let begin = async {
        if let Some(text) = refusal(&footing.session, settings.rebuilds_per_hour, why).await? {
            return Err(Fault::Operator(text));
        }
        let gap = gaps::open(&footing.session, Some(epoch), why, false).await?;
        tracing::warn!(
            gap.from = %gap.from,
            "{why}. A new slot is made, and tables are compared with images"
        );
        drop_slot(
            &footing.session,
            &mut footing.connection,
            slot,
            &footing.server,
        )
        .await?;
        let table = &settings.actions_table;
        match actions_table::writable(&footing.session, table)
            .await
            .map_err(Fault::from)
        {
            // It would only keep back WAL.
            Err(Fault::Passing(error) | Fault::Waiting(error) | Fault::Lost(error)) => {
                Err(Fault::Passing(format!(
                    "{why}. A new slot is made once table {table} can be written to: {error}"
                )))
            }
            // The writer says what lacks.
            Ok(()) | Err(Fault::Operator(_)) => Ok(()),
        }
    };
    in_time(STEP_MAX, begin).await?;
    let at = create(context, footing, why).await?;
    let (session, connection) = (&footing.session, &footing.connection);
    let new = NewSlot {
        slot,
        publication: &settings.publication,
        lineage: &footing.lineage,
        at,
        epoch: Some(epoch),
    };
    in_time(AGE_MAX, async {
        Ok(progress::age(session, new.lineage, at).await?)
    })
    .await?;
    let commit = async {
        progress::begin(session, new).await?;
        Ok(progress::take_over(session, connection.pid()).await?)
    };
    let before = std::mem::replace(&mut footing.progress, in_time(STEP_MAX, commit).await?);
    footing.confirmed = at;
    tracing::warn!(
        gap.from = %before.end_lsn, gap.until = %at,
        "there is a new slot. What changed in between is found by comparing tables with images"
    );
    Ok(())
}

/// Gives the slot up where it keeps more WAL than it may. The connection holds the slot's lock.
pub async fn relieve(
    context: &Context,
    session: &Session,
    connection: &mut Connection,
    server: &Server,
    stored: &Progress,
) -> Result<(), Fault> {
    let settings = &context.settings.capture;
    if settings.max_retained_wal.is_none() {
        return Ok(());
    }
    let Some(slot) = catalog::slot(session, &settings.slot).await? else {
        return Ok(());
    };
    let Some(why) = budget::excess(settings, &slot).filter(|_| slot.is_ours(&server.database))
    else {
        return Ok(());
    };
    if connection.identify_system().await?.system_id != stored.lineage.system_id {
        return Ok(());
    }
    let note = async {
        let progress = progress::take_over(session, connection.pid()).await?;
        gaps::open(session, Some(progress.epoch), &why, false).await
    };
    let noted = tokio::time::timeout(NOTE_MAX, note).await;
    drop_slot(session, connection, &settings.slot, server).await?;
    tracing::error!("{why}: it is given up, so that the server can free that WAL");
    match noted {
        Ok(Ok(_)) => Ok(()),
        // The slot is gone, which the next session finds.
        Ok(Err(error)) => Err(Fault::Passing(chain(&error))),
        Err(_) => Err(Fault::Passing(format!("{why}: it was given up"))),
    }
}

/// Why there may be no new slot by itself, and what to do.
pub async fn refusal(session: &Session, limit: u32, why: &str) -> Result<Option<String>, Fault> {
    let renew = "`tidings setup --new-slot` makes a new one and goes on from now; of what was committed in \
                 between it finds final states";
    if limit == 0 {
        return Ok(Some(format!("{why}. {renew}")));
    }
    let until = gaps::exhausted_until(session, limit).await?;
    Ok(until.map(|until| {
        format!(
            "{why}. Capture has made {limit} new slots within an hour, as many as capture.rebuilds_per_hour \
             allows: find out what takes them away. It makes the next one at {until:.0}. At once: {renew}"
        )
    }))
}

async fn drop_slot(
    session: &Session,
    connection: &mut Connection,
    name: &str,
    server: &Server,
) -> Result<(), Fault> {
    for _ in 0..DROP_TRIES {
        let Some(slot) = catalog::slot(session, name).await? else {
            return Ok(());
        };
        if !slot.is_ours(&server.database) {
            return Err(Fault::Operator(format!(
                "replication slot {name} belongs to somebody else: choose another name in capture.slot and run \
                 `tidings setup --new-slot`"
            )));
        }
        match (slot.active_pid, connection.drop_slot(name).await) {
            (_, Ok(())) => return Ok(()),
            // A session of a sidecar that is gone: its creation of a slot may wait for hours.
            (Some(pid), Err(error)) if error.code() == Some("55006") => {
                catalog::end_leftover(session, pid).await?;
            }
            (_, Err(error)) if matches!(error.code(), Some("55006" | "42704")) => {}
            (_, Err(error)) => return Err(error.into()),
        }
        tokio::time::sleep(DROP_PAUSE).await;
    }
    Err(Fault::Passing(format!(
        "replication slot {name} is to be replaced, and another client reads it"
    )))
}

/// Creates the slot, and says whom that waits for. The catalog is guarded meanwhile.
///
/// The creation holds a snapshot until every transaction that it has met is over, and the worker's `create
/// index concurrently` would wait for that. So those that are open now are waited for first, by looking from
/// time to time, and a creation that meets a long one after all is given up.
async fn create(context: &Context, footing: &mut Footing, why: &str) -> Result<Lsn, Fault> {
    let settings = &context.settings.capture;
    let failover = footing.server.version >= 170_000;
    let mut waiting = Waiting {
        context,
        why,
        epoch: footing.progress.epoch,
        told: None,
    };
    let mut limit = CREATION_MAX;
    loop {
        let (session, guard) = (&footing.session, &footing.guard);
        let below = in_time(STEP_MAX, async { Ok(reconcile::boundary(session).await?) }).await?;
        let mut period = period();
        while !in_time(STEP_MAX, async {
            Ok(reconcile::is_over(session, below).await?)
        })
        .await?
        {
            period.tick().await;
            // With the connection the slot's lock would be gone: somebody else's turn.
            let connection = &mut footing.connection;
            in_time(STEP_MAX, async { Ok(connection.query("select 1").await?) }).await?;
            waiting.look(session, guard, below).await?;
        }
        let below = in_time(STEP_MAX, async { Ok(reconcile::boundary(session).await?) }).await?;
        let connection = &mut footing.connection;
        let creation = connection.create_slot_within(limit, &settings.slot, failover);
        tokio::pin!(creation);
        let created = loop {
            tokio::select! {
                biased;
                created = &mut creation => break created?,
                _ = period.tick() => {}
            }
            waiting.look(session, guard, below).await?;
        };
        if let Some(at) = created {
            return Ok(at);
        }
        // Where one long transaction follows the other, no moment is without: it must outlast one.
        limit *= 2;
    }
}

fn period() -> tokio::time::Interval {
    let begin = tokio::time::Instant::now() + WAIT_PERIOD;
    let mut period = tokio::time::interval_at(begin, WAIT_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    period
}

/// What goes on while a new slot waits.
struct Waiting<'a> {
    context: &'a Context,
    why: &'a str,
    epoch: i64,
    told: Option<String>,
}

impl Waiting<'_> {
    /// Guards the catalog and the disk, and names the transactions below `below` where they are others than
    /// before.
    async fn look(&mut self, session: &Session, guard: &Guard, below: u64) -> Result<(), Fault> {
        let settings = &self.context.settings.capture;
        let waits_for = in_time(STEP_MAX, async {
            guard.check(session).await?;
            if let Some(slot) = catalog::slot(session, &settings.slot).await?
                && let Some(why) = budget::excess(settings, &slot)
            {
                return Err(Fault::Passing(why));
            }
            Ok(reconcile::open_below(session, below).await?)
        })
        .await?;
        let text = format!(
            "{}. The new slot waits for transactions that are open: {}",
            self.why,
            waits_for.join(", ")
        );
        if waits_for.is_empty() || self.told.as_ref() == Some(&text) {
            return Ok(());
        }
        tracing::warn!("{text}");
        let fault = Fault::Waiting(text.clone());
        self.context.health.capture.down(fault.trouble());
        in_time(STEP_MAX, async {
            Ok(progress::troubled(session, self.epoch, &text).await?)
        })
        .await?;
        self.told = Some(text);
        Ok(())
    }
}
