//! `tidings rules preview`: packs on the live stream, and nothing written.
//!
//! A temporary slot on a replication connection of its own gives committed transactions; it dies with
//! the connection, however that ends. Positions are confirmed on it alone, so that it holds no WAL
//! that was seen. The sidecar's tables are only read.

mod memory;
mod shown;
mod uncovered;

use std::time::Duration;

use activity::{Lsn, Part};
use anyhow::Context as _;
use rules::{Derivation, Rules, Shape, Shapes};
use store::catalog::{self, OpenTransaction, Server};
use store::progress;
use store::{Purpose, Session};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wal::{Confirm, Connection, Event, Limits, Resume, Start};

use crate::Failure;
use crate::settings::Settings;
use memory::Memory;
use shown::Shown;

pub use uncovered::uncovered;

const EVENTS_MAX: usize = 4;
const PART_CHANGES_MAX: usize = 2048;
const PART_BYTES_MAX: usize = 4 << 20;
/// Chains of lookups are shorter.
const ROUNDS_MAX: usize = 16;
/// How long the server may take to let go of the slot; it does so without us, too.
const GOODBYE_MAX: Duration = Duration::from_secs(3);
/// How often a slot creation that waits says whom it waits for.
const WAIT_NOTICE: Duration = Duration::from_secs(2);

pub struct Wish {
    /// Ends by itself after this long.
    pub seconds: Option<u64>,
    /// Begins with the WAL that the sidecar has not confirmed yet.
    pub recent: bool,
    pub json: bool,
}

/// What a preview came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub transactions: u64,
    pub actions: u64,
    pub faults: u64,
}

/// Runs until `stop`, the time is over, or, of recent WAL alone, its end is reached.
pub async fn run(
    settings: &Settings,
    rules: &Rules,
    wish: &Wish,
    stop: &CancellationToken,
) -> Result<Seen, Failure> {
    let target = settings.database.target().map_err(Failure::Settings)?;
    let schema = &settings.database.schema;
    let mut session = Session::open(&target, schema, Purpose::Admin).await?;
    let server = catalog::server(&session).await?;
    let shapes = shapes(settings, rules, &session, &server).await?;
    let mut connection = Connection::open(&target).await.context(
        "no replication connection; pg_hba.conf must let this role in, as for the database",
    )?;
    connection
        .query("set client_min_messages = notice")
        .await
        .map_err(anyhow::Error::from)?;
    let slot = format!("tidings_preview_{}", connection.pid());
    let end = begin(settings, &session, &mut connection, &slot, wish, stop).await?;
    let Some(end) = end else {
        return Ok(Seen::default());
    };
    let set_up = progress::exists(&session).await?;
    let memory = Memory::of(&mut session, set_up).await?;
    let start = Start {
        slot,
        publication: settings.capture.publication.clone(),
        from: Lsn::ZERO,
        resume: Resume::default(),
        patience: 1,
        limits: Limits {
            changes: PART_CHANGES_MAX,
            bytes: PART_BYTES_MAX,
        },
    };
    let stream = connection
        .stream(&start)
        .await
        .map_err(anyhow::Error::from)?;
    eprintln!(
        "previewing {} rules on publication {}; nothing is written. Ctrl-C ends it",
        rules.rules().count(),
        settings.capture.publication
    );
    let preview = Preview {
        rules,
        shapes,
        session,
        memory,
        shown: Shown { json: wish.json },
        seen: Seen::default(),
    };
    let until = end.filter(|_| wish.seconds.is_none());
    let deadline = wish.seconds.map(Duration::from_secs);
    preview.follow(stream, until, deadline, stop).await
}

/// The keys and types of the tables, once the publication is known to send what rules need.
async fn shapes(
    settings: &Settings,
    rules: &Rules,
    session: &Session,
    server: &Server,
) -> Result<Shapes, Failure> {
    let name = &settings.capture.publication;
    let publication = catalog::publication(session, server.version, name).await?;
    let Some(publication) = publication else {
        return Err(Failure::NotReady(format!(
            "publication {name} does not exist, and a preview makes none: run `tidings setup` first"
        )));
    };
    let tables: Vec<_> = rules.tables().map(|used| used.table.clone()).collect();
    let known = catalog::tables(session, &tables).await?;
    let missing = uncovered(rules.tables(), &known, &publication);
    if !missing.is_empty() {
        return Err(Failure::NotReady(format!(
            "publication {name} does not send what these packs need:\n  - {}\nA preview changes no \
             publication: name the packs in capture.rules and run `tidings setup`",
            missing.join("\n  - ")
        )));
    }
    let shape = |(name, table): (_, catalog::Table)| {
        let types = table.columns.into_iter().zip(table.types).collect();
        (
            name,
            Shape {
                key: table.key,
                types,
            },
        )
    };
    Ok(known.into_iter().map(shape).collect())
}

/// Makes the temporary slot. Returns where the WAL ended then, for recent WAL; the outer `None`: it
/// was stopped.
async fn begin(
    settings: &Settings,
    session: &Session,
    connection: &mut Connection,
    slot: &str,
    wish: &Wish,
    stop: &CancellationToken,
) -> Result<Option<Option<Lsn>>, Failure> {
    if wish.recent {
        let own = &settings.capture.slot;
        if catalog::slot(session, own).await?.is_none() {
            return Err(Failure::NotReady(format!(
                "replication slot {own} does not exist, so no recent WAL is kept: run `tidings setup` first, \
                 or leave --recent out"
            )));
        }
        let end = connection
            .identify_system()
            .await
            .map_err(anyhow::Error::from)?
            .flush_lsn;
        connection
            .copy_slot(own, slot)
            .await
            .context("a temporary copy of the slot")?;
        return Ok(Some(Some(end)));
    }
    let creation = connection.create_temporary_slot(slot);
    tokio::pin!(creation);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            created = &mut creation => {
                created.context("a temporary replication slot")?;
                return Ok(Some(None));
            }
            () = tokio::time::sleep(WAIT_NOTICE) => {
                for open in catalog::open_transactions(session).await? {
                    eprintln!("waiting for {}", described(&open));
                }
            }
        }
    }
}

fn described(open: &OpenTransaction) -> String {
    match open.pid {
        Some(pid) => format!("an open transaction of process {pid}"),
        None => open.what.clone(),
    }
}

struct Preview<'a> {
    rules: &'a Rules,
    shapes: Shapes,
    session: Session,
    memory: Memory,
    shown: Shown,
    seen: Seen,
}

impl Preview<'_> {
    async fn follow(
        mut self,
        stream: wal::Stream,
        until: Option<Lsn>,
        limit: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Seen, Failure> {
        let (events, mut received) = mpsc::channel(EVENTS_MAX);
        let (confirms, confirmed) = watch::channel(Confirm::default());
        let ending = CancellationToken::new();
        let mut stream =
            AbortOnDropHandle::new(tokio::spawn(stream.run(events, confirmed, ending.clone())));
        let over = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = &mut over => break,
                event = received.recv() => event,
            };
            let reached = match event {
                // Its error says why.
                None => {
                    (&mut stream)
                        .await
                        .map_err(anyhow::Error::from)?
                        .map_err(anyhow::Error::from)?;
                    return Ok(self.seen);
                }
                Some(Event::Part(part)) => {
                    self.part(&part).await?;
                    part.end
                }
                Some(Event::Mark(mark)) => Some(mark),
            };
            if let Some(position) = reached {
                confirms.send_replace(Confirm {
                    position,
                    gate: position,
                });
                if until.is_some_and(|until| position >= until) {
                    break;
                }
            }
        }
        ending.cancel();
        // The server drops the slot before it closes its side.
        let _ = tokio::time::timeout(GOODBYE_MAX, &mut stream).await;
        Ok(self.seen)
    }

    async fn part(&mut self, part: &Part) -> Result<(), Failure> {
        let derivation = self.derive(part).await?;
        self.seen.transactions += u64::from(part.end.is_some());
        for derived in &derivation.actions {
            self.seen.actions += 1;
            self.shown.action(&part.begin, derived);
        }
        for fault in &derivation.faults {
            self.seen.faults += 1;
            self.shown.fault(&part.begin, fault);
        }
        self.memory.apply(&derivation);
        Ok(())
    }

    async fn derive(&self, part: &Part) -> Result<Derivation, Failure> {
        let needed = self.rules.needs(part, &self.shapes);
        let mut images = self.memory.before(&self.session, part, needed).await?;
        let mut derivation = self.rules.derive(part, &self.shapes, &images);
        for _ in 0..ROUNDS_MAX {
            if derivation.missing.is_empty() {
                break;
            }
            let wanted = std::mem::take(&mut derivation.missing);
            self.memory
                .wanted(&self.session, wanted, &mut images)
                .await?;
            derivation = self.rules.derive(part, &self.shapes, &images);
        }
        Ok(derivation)
    }
}
