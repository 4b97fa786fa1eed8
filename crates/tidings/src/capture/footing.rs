//! What a session of capture stands on: both connections, the slot's lock, and positions that hold.

use std::sync::Arc;
use std::time::Duration;

use activity::Lsn;
use rules::Rules;
use store::catalog::{self, Server};
use store::progress::{self, Lineage, Progress};
use store::{Purpose, Session, attributes, gaps, images, reconcile};
use wal::Connection;

use super::committed::Ends;
use super::guard::Guard;
use super::lineage::{Found, Verdict, judge};
use super::{Context, Fault, rebuild, session::in_time};

/// How often the catalog is looked at while images get an index, and how long that may take.
const LOOK_PERIOD: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(15);

pub struct Footing {
    pub session: Session,
    /// Holds the slot's lock: while it lives no other sidecar touches the slot.
    pub connection: Connection,
    pub server: Server,
    pub rules: Arc<Rules>,
    pub guard: Guard,
    /// Under an epoch of this session's.
    pub progress: Progress,
    pub lineage: Lineage,
    /// Where the slot is.
    pub confirmed: Lsn,
    /// Why no stream leads on from here, until there is a new slot.
    pub broken: Option<String>,
}

/// Looks whether the stored positions may be used, and takes the epoch. The connection holds the slot's lock.
pub async fn find(
    context: &Context,
    session: Session,
    mut connection: Connection,
) -> Result<Footing, Fault> {
    let publication = &context.settings.capture.publication;
    let server = catalog::server(&session).await?;
    if server.in_recovery {
        return Err(Fault::Passing(
            "this server is a standby: capture waits until it is promoted. With all hosts in database.url \
             and target_session_attrs=read-write the primary is found by itself"
                .to_owned(),
        ));
    }
    let stored = progress::read(&session).await?.ok_or_else(not_set_up)?;
    progress::end_last_writer(&session).await?;
    // Before anything that may fail: the server's disk is at stake.
    rebuild::relieve(context, &session, &mut connection, &server, &stored).await?;
    let rules = context.rules.borrow().clone();
    let guard = Guard::establish(&session, &rules, publication, server.version).await?;
    let oid = guard.publication_oid();
    let found = look(&session, &mut connection, &server, &stored, oid).await?;
    if let Verdict::Refuse(text) = judge(&stored, &found) {
        return Err(Fault::Operator(text));
    }
    let progress = progress::take_over(&session, connection.pid()).await?;
    // The last session may have committed meanwhile: what is judged is what it left.
    let mut found = look(&session, &mut connection, &server, &progress, oid).await?;
    found.committed = context.committed.ends();
    found.confirmed_by_us = context.committed.succeed(progress.epoch);
    if let Some((from, until)) = found.never_had() {
        tracing::warn!(
            wal.from = %from, wal.until = %until,
            "what was told of transactions in this range is not in this database: the standby that was \
             promoted never had them"
        );
    }
    let mut broken = None;
    match judge(&progress, &found) {
        Verdict::Refuse(text) => return Err(Fault::Operator(text)),
        Verdict::Rebuild(why) => broken = Some(why),
        Verdict::Resume => {}
        Verdict::Follow { compare } => {
            follow(&session, &progress, &found, compare).await?;
        }
    }
    // A new slot that was made before a crash counts only with the commit that begins at it.
    if let Some(gap) = gaps::unfinished(&session).await? {
        broken = Some(gap.reason);
    }
    Ok(Footing {
        confirmed: found.slot.and_then(|s| s.confirmed).unwrap_or_default(),
        lineage: found.lineage,
        session,
        connection,
        server,
        rules,
        guard,
        progress,
        broken,
    })
}

/// What there is to be judged.
pub async fn look(
    session: &Session,
    connection: &mut Connection,
    server: &Server,
    stored: &Progress,
    publication_oid: u32,
) -> Result<Found, Fault> {
    let identity = connection.identify_system().await?;
    let known = stored.lineage.timeline;
    let is_elsewhere = identity.system_id == stored.lineage.system_id && identity.timeline != known;
    let mut branch = None;
    if is_elsewhere && identity.timeline > 1 {
        branch = match connection.timeline_history(identity.timeline).await {
            Ok(history) => history.left(known),
            Err(wal::Error::Server(error)) => {
                tracing::warn!(%error, "the server can not tell where its timeline comes from");
                None
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(Found {
        lineage: Lineage {
            system_id: identity.system_id,
            timeline: identity.timeline,
            publication_oid,
        },
        database: server.database.clone(),
        slot: catalog::slot(session, &stored.slot).await?,
        flushed: Some(identity.flush_lsn),
        branch,
        committed: Ends::default(),
        confirmed_by_us: None,
    })
}

/// Goes on on another timeline.
async fn follow(
    session: &Session,
    progress: &Progress,
    found: &Found,
    compare: bool,
) -> Result<(), Fault> {
    if compare {
        for table in reconcile::tables(session).await? {
            reconcile::unobserved(session, &table).await?;
        }
    }
    let timeline = found.lineage.timeline;
    progress::adopt(session, progress.epoch, timeline).await?;
    tracing::warn!(
        timeline.before = progress.lineage.timeline,
        timeline.now = timeline,
        tables.compared = compare,
        "a standby was promoted: its slot leads on from where we are"
    );
    Ok(())
}

/// Makes the indexes that lookups by a column go by. Over many images that takes longer than any answer, and
/// nobody captures meanwhile. Hence a session of its own: that of the writer is ended by whoever comes next,
/// who would begin at nothing again. The catalog is guarded meanwhile. Ends when it is dropped.
pub async fn index(context: &Context, footing: &Footing) -> Result<(), Fault> {
    let used = footing.rules.tables();
    let wanted: Vec<_> = used
        .flat_map(|used| used.unique.iter().map(|column| (&used.table, column)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (target, schema) = (&context.target, &context.settings.database.schema);
    let (session, guard) = (&footing.session, &footing.guard);
    let build = async {
        let mut builder =
            Session::open_at(target, schema, Purpose::Write, session.server()).await?;
        // A table that was renamed has its number, and with it its indexes, under its former name.
        for (before, now) in attributes::follow(&mut builder, guard.tables()).await? {
            tracing::info!(table.before = %before, table.now = %now, "a renamed table keeps its images");
        }
        for (table, column) in &wanted {
            images::index(&builder, table, column).await?;
        }
        Ok(())
    };
    tokio::pin!(build);
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            built = &mut build => return built,
            () = tokio::time::sleep(LOOK_PERIOD) => {}
        }
        let look = async {
            guard.check(session).await?;
            if !std::mem::replace(&mut told, true) {
                let text = "images get an index that lookups by a column go by. Capture begins once it is there";
                tracing::warn!("{text}");
                let fault = Fault::Waiting(text.to_owned());
                context.health.capture.down(fault.trouble());
                progress::troubled(session, footing.progress.epoch, text).await?;
            }
            Ok(())
        };
        in_time(LOOK_MAX, look).await?;
    }
}

pub fn not_set_up() -> Fault {
    Fault::Operator("the progress row is missing: run `tidings setup`".to_owned())
}
