//! One life of the replication connection, from connecting to letting go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Lsn;
use api::Pulse;
use api::standing::waiting as waiting_for;
use store::commit::Batch;
use store::progress::{self, Progress};
use store::{Purpose, Session, status};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wal::{Confirm, Connection, Ended, Event, Limits, Resume, Start, Stream};

use super::advance::Advance;
use super::budget::{self, Stage};
use super::footing::{self, Footing};
use super::group::Group;
use super::rebuild::rebuild;
use super::reconcile::{Desk, desk};
use super::writer::Writer;
use super::{Context, Fault};
use crate::backoff::Backoff;
use crate::standing;

/// Events between the socket and the writer.
const EVENTS_MAX: usize = 4;
/// Where a large transaction is cut.
const PART_CHANGES_MAX: usize = 2048;
const PART_BYTES_MAX: usize = 4 << 20;
/// How often the catalog is compared with what rules need.
const GUARD_PERIOD: Duration = Duration::from_secs(2);
/// How often the writer looks what is to be done beside the stream: changes of the quarantine that are to be
/// tried again, runs that are overdue.
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// The same while there is something, so that the stream has its turns too.
const RETRY_SPACING: Duration = Duration::from_millis(20);
/// How long the database may take to answer before it counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The same for all the work of one group. Its commit has its own, shorter patience; only finding
/// rows at fault may take longer.
const GROUP_MAX: Duration = Duration::from_secs(75);
/// How often a standby asks whether it may take over.
const STANDBY_PERIOD: Duration = Duration::from_millis(500);
/// How often it looks whether the one that it waits for gets on: so many times it asks in between.
const STANDBY_LOOKS: u32 = 4;
/// How long leaving a reason behind may take.
const SAY_MAX: Duration = Duration::from_secs(5);

/// Captures until `stop` (then the answer is `Ok`) or until something breaks.
///
/// The writer is connected first: the stream lives only while the writer can commit.
pub async fn live(
    context: &Context,
    stop: &CancellationToken,
    backoff: &mut Backoff,
    stages: &mut watch::Receiver<Stage>,
) -> Result<(), Fault> {
    let Some(connected) = unless(stop, connect(context)).await else {
        return Ok(());
    };
    let (session, mut connection) = connected?;
    if !stand_by(context, &session, &mut connection, stop).await? {
        return Ok(());
    }
    let finding = in_time(ANSWER_MAX, footing::find(context, session, connection));
    let Some(footing) = unless(stop, finding).await else {
        return Ok(());
    };
    let mut footing = footing?;
    if let Some(why) = footing.broken.take() {
        let Some(rebuilt) = unless(stop, rebuild(context, &mut footing, &why)).await else {
            return Ok(());
        };
        rebuilt?;
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        () = budget::over(stages) => {
            return Err(Fault::Passing("the slot keeps back more WAL than it may".to_owned()));
        }
        indexed = footing::index(context, &footing) => indexed?,
    }
    let beginning = in_time(ANSWER_MAX, begin(context, footing));
    let Some(begun) = unless(stop, beginning).await else {
        return Ok(());
    };
    let (writer, stream, found, patience) = begun?;
    let heard = stream.progress();
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let (confirms, confirmed) = watch::channel(Confirm::default());
    let stream_stop = CancellationToken::new();
    let stream = tokio::spawn(stream.run(events, confirmed, stream_stop.clone()));
    let mut stream = AbortOnDropHandle::new(stream);
    let pulse = Arc::clone(&heard);
    context.health.capture.streams(Pulse {
        silent: Arc::new(move || pulse.silent()),
        patience,
    });
    let (desk, reader) = desk(context);
    let writer = tokio::select! {
        biased;
        () = budget::over(stages) => {
            return Err(Fault::Passing("the slot keeps back more WAL than it may".to_owned()));
        }
        writer = write(writer, received, &confirms, desk, &heard, backoff, stop) => writer?,
        () = reader.run() => None,
        ended = &mut stream => return Err(ended_early(context, ended)),
    };
    let Some(writer) = writer else {
        // The stream ended and closed the channel: its error says why.
        return Err(ended_early(context, stream.await));
    };
    stream_stop.cancel();
    let ended = stream
        .await
        .map_err(|error| Fault::Passing(error.to_string()))??;
    // A session that confirmed nothing found the slot where an earlier one had confirmed to.
    let stopping = in_time(ANSWER_MAX, writer.stop(ended.confirmed.max(found)));
    // A commit may wait for a standby for ever. Without it the lease stands, as after a crash.
    if let Err(error) = stopping.await {
        tracing::warn!(%error, "the exact position could not be stored");
    }
    tracing::info!(wal.confirmed = %ended.confirmed, "capture stopped");
    Ok(())
}

/// Both connections, neither of them at work yet. Each address of the URL has a limit of its own, and there may be
/// many before one answers.
async fn connect(context: &Context) -> Result<(Session, Connection), Fault> {
    let schema = &context.settings.database.schema;
    let session = Session::open(&context.target, schema, Purpose::Write).await?;
    let mut connection = Connection::open(&context.target).await?;
    // From Postgres 18 on a lost publication is told by a warning alone, which a role may have silenced.
    let notice = connection.query("set client_min_messages = notice");
    in_time(ANSWER_MAX, async { Ok(notice.await?) }).await?;
    // A host of the URL may have come or gone in between.
    let servers = session.server().zip(connection.server());
    if servers.is_some_and(|(sql, replication)| !sql.is_same_server(replication)) {
        return Err(wal::Error::from(connect::Error::Elsewhere).into());
    }
    Ok((session, connection))
}

/// Opens the stream where progress stands. Also says where the slot was, and how long the server may be silent.
async fn begin(
    context: &Context,
    footing: Footing,
) -> Result<(Writer<'_>, Stream, Lsn, Duration), Fault> {
    let Footing {
        session,
        connection,
        server,
        rules,
        guard,
        progress,
        lineage,
        confirmed,
        ..
    } = footing;
    tracing::info!(
        capture.epoch = progress.epoch, wal.lsn = %progress.end_lsn, capture.seq = %progress.seq,
        "capture begins"
    );
    let start = start(context, &progress);
    context
        .committed
        .begin(lineage.timeline, &progress, confirmed);
    status::announce(&session, connection.pid()).await?;
    let writer = Writer::begin(context, rules, session, guard, progress, server.next_xid).await?;
    let patience = standing::patience(connection.sender_timeout());
    let stream = connection.stream(&start).await?;
    Ok((writer, stream, confirmed, patience))
}

/// The outcome of `work`; `None` where `stop` came first.
async fn unless<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        done = work => Some(done),
    }
}

/// The loop: gather, commit, confirm. Gives the writer back on `stop`; `None` where the stream ended.
///
/// What arrives while a commit runs is the next group, so groups grow with load.
async fn write<'a>(
    mut writer: Writer<'a>,
    mut received: mpsc::Receiver<Event>,
    confirms: &watch::Sender<Confirm>,
    mut desk: Desk,
    heard: &wal::Progress,
    backoff: &mut Backoff,
    stop: &CancellationToken,
) -> Result<Option<Writer<'a>>, Fault> {
    let mut guard = tokio::time::interval(GUARD_PERIOD);
    guard.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut retry = tokio::time::interval(RETRY_PERIOD);
    retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut next = Group::default();
    let mut open = true;
    let (begun, context) = (Instant::now(), writer.context);
    let mut advance = Advance::begin(begun);
    loop {
        if desk.can_apply(&writer) {
            in_time(GROUP_MAX, desk.apply(&mut writer)).await?;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Some(writer)),
            () = writer.lost() => return Err(Fault::Passing("the writer's connection is lost".to_owned())),
            _ = guard.tick() => {
                in_time(ANSWER_MAX, writer.check()).await?;
                in_time(ANSWER_MAX, writer.watch_stream(heard, &mut advance)).await?;
                continue;
            }
            _ = retry.tick() => {
                let tried = in_time(GROUP_MAX, writer.retry()).await?;
                let watched = in_time(GROUP_MAX, writer.watch()).await?;
                if in_time(GROUP_MAX, writer.notice()).await? || watched || tried {
                    retry.reset_after(RETRY_SPACING);
                }
                continue;
            }
            due = desk.due() => {
                in_time(ANSWER_MAX, desk.tend(due, &mut writer)).await?;
                continue;
            }
            event = received.recv(), if next.is_empty() => match event {
                Some(event) => next.push(event),
                None => return Ok(None),
            },
            () = std::future::ready(()), if !next.is_empty() => {}
        }
        while !next.is_full(&context.group_size)
            && let Ok(event) = received.try_recv()
        {
            next.push(event);
        }
        let group = std::mem::take(&mut next);
        let commit = in_time(GROUP_MAX, writer.commit(group));
        tokio::pin!(commit);
        let confirm = loop {
            tokio::select! {
                biased;
                committed = &mut commit => break committed?,
                event = received.recv(), if open && !next.is_full(&context.group_size) => match event {
                    Some(event) => next.push(event),
                    None => open = false,
                },
            }
        };
        // What makes every session break at its beginning must not be tried as fast as chance is.
        backoff.reset();
        advance.moved(Instant::now());
        if let Some(confirm) = confirm {
            context.silences.outlived(begun, Instant::now());
            context.committed.confirm(confirm.position);
            confirms.send_replace(confirm);
        }
        if !open && next.is_empty() {
            return Ok(None);
        }
    }
}

/// The database's answer; one that does not come at all must not keep the stream open either.
pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::Passing(format!(
            "the database has not answered for {} s",
            limit.as_secs()
        ))),
    }
}

fn ended_early(
    context: &Context,
    ended: Result<Result<Ended, wal::Error>, tokio::task::JoinError>,
) -> Fault {
    if let Ok(Err(wal::Error::Silent(_))) = &ended {
        context.silences.another();
    }
    match ended {
        Ok(Ok(_)) => Fault::Passing("the stream was let go".to_owned()),
        Ok(Err(error)) => error.into(),
        Err(error) => Fault::Passing(error.to_string()),
    }
}

/// Waits until this is the one sidecar of the slot. False where `stop` came first.
async fn stand_by(
    context: &Context,
    session: &Session,
    connection: &mut Connection,
    stop: &CancellationToken,
) -> Result<bool, Fault> {
    let slot = &context.settings.capture.slot;
    let (mut waiting, mut asked) = (false, 0);
    loop {
        if in_time(ANSWER_MAX, async { Ok(try_lock(connection, slot).await?) }).await? {
            if waiting {
                in_time(ANSWER_MAX, async {
                    connection.query(&status::stop_waiting(slot)).await?;
                    connection.query("set application_name = 'tidings'").await?;
                    Ok(())
                })
                .await?;
                tracing::info!("standby takes over");
            }
            return Ok(true);
        }
        if !waiting {
            waiting = true;
            in_time(ANSWER_MAX, async {
                connection
                    .query("set application_name = 'tidings standby'")
                    .await?;
                connection.query(&status::start_waiting(slot)).await?;
                Ok(())
            })
            .await?;
            tracing::info!("another sidecar reads slot {slot}: standing by");
        }
        if asked % STANDBY_LOOKS == 0 {
            let look = async { Ok(status::capture(session).await?) };
            if let Some(seen) = in_time(ANSWER_MAX, look).await? {
                let leader = standing::of_slot(&context.settings.capture, &seen);
                context.health.capture.wait(waiting_for(leader));
            }
        }
        asked += 1;
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(STANDBY_PERIOD) => {}
        }
    }
}

/// Tries to become the one sidecar of a slot: an advisory lock that lives as long as the connection.
pub async fn try_lock(connection: &mut Connection, slot: &str) -> Result<bool, wal::Error> {
    let slot = store::quote_literal(slot);
    let sql =
        format!("select pg_try_advisory_lock(hashtextextended('tidings capture ' || {slot}, 0))");
    let rows = connection.query(&sql).await?;
    Ok(rows.first().and_then(|row| row.first()) == Some(&Some("t".to_owned())))
}

fn start(context: &Context, progress: &Progress) -> Start {
    Start {
        slot: context.settings.capture.slot.clone(),
        publication: context.settings.capture.publication.clone(),
        from: progress.end_lsn,
        resume: Resume {
            commit_lsn: progress.commit_lsn,
            half: progress
                .half
                .as_ref()
                .map(|half| (half.commit_lsn, half.position)),
        },
        patience: context.silences.patience(),
        limits: Limits {
            changes: PART_CHANGES_MAX.min(context.group_size.get()),
            bytes: PART_BYTES_MAX,
        },
    }
}

/// Leaves the reason where `status` reads it. Best effort: the database may be what is wrong.
pub async fn say_stopped(context: &Context, reason: &str) {
    let schema = &context.settings.database.schema;
    let say = async {
        // It waits for no standby, nor for long for whoever holds the row.
        let session = Session::open(&context.target, schema, Purpose::Read).await?;
        progress::stopped(&session, context.committed.epoch(), reason).await
    };
    match tokio::time::timeout(SAY_MAX, say).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the reason could not be stored"),
        Err(_) => tracing::debug!("the reason could not be stored in time"),
    }
}

pub fn count(batch: &Batch) {
    metrics::counter!("tidings_actions_total").increment(batch.actions.len() as u64);
    metrics::counter!("tidings_quarantined_total").increment(batch.faults.len() as u64);
    metrics::counter!("tidings_commits_total").increment(1);
}
