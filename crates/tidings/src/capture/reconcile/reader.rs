//! Reads chunks, one at a time, in short transactions on a connection of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use activity::Lsn;
use jiff::Timestamp;
use store::images::Wanted;
use store::reconcile::{self, Pass, Purpose as Why, Work};
use store::rows::{self, Limits, Readable, Seen, Span};
use store::snapshot::Snapshot;
use store::{Purpose, Remedy, Session, commit, images, quote_identifier};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::chunk::{Chunk, Next, Reply};
use crate::capture::Context;
use crate::failure::chain;

/// Of one chunk.
const ROWS_MAX: usize = 1000;
const BYTES_MAX: usize = 8 << 20;
/// Passes over images that lack a column. Each fails only for rows that change all the time.
const ROUNDS_MAX: i32 = 20;
/// Until a table is tried again whose lock somebody holds, whose transactions are open, or that may
/// not be read.
const LOCKED_PAUSE: Duration = Duration::from_millis(200);
const OPEN_PAUSE: Duration = Duration::from_millis(500);
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Tries for a lock that nobody needs to hear of.
const QUIET_TRIES: u32 = 5;

pub struct Reader<'a> {
    context: &'a Context,
    /// The tables that may be read: the writer keeps their deletes.
    open: watch::Receiver<BTreeSet<i32>>,
    chunks: mpsc::Sender<Chunk>,
    /// Tables to be left alone until then.
    resting: HashMap<i32, Instant>,
    /// Tries in vain for a table's lock.
    tries: HashMap<i32, u32>,
    /// Rows of one chunk that are asked for by key; fewer where they are large.
    rows: usize,
}

/// How reading a chunk came out.
enum Outcome {
    Applied,
    Rest(Duration),
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        context: &'a Context,
        open: watch::Receiver<BTreeSet<i32>>,
        chunks: mpsc::Sender<Chunk>,
    ) -> Self {
        Self {
            context,
            open,
            chunks,
            resting: HashMap::new(),
            tries: HashMap::new(),
            rows: ROWS_MAX,
        }
    }

    /// Reads as long as the capture session lives, and holds a connection while there is something to
    /// read. What goes wrong here is no fault of the stream's.
    pub async fn run(mut self) {
        loop {
            if self.open.wait_for(|open| !open.is_empty()).await.is_err() {
                return std::future::pending().await;
            }
            if let Err(error) = self.work().await {
                let error = chain(&error);
                tracing::warn!(error, "tables can not be read for now");
                sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    /// Until nothing is open any more.
    async fn work(&mut self) -> Result<(), store::Error> {
        let (target, schema) = (&self.context.target, &self.context.settings.database.schema);
        let session = Session::open(target, schema, Purpose::Read).await?;
        loop {
            let open = self.open.borrow_and_update().clone();
            if open.is_empty() {
                return Ok(());
            }
            let now = Instant::now();
            self.resting.retain(|_, until| *until > now);
            let under_way = reconcile::under_way(&session).await?;
            let awake = |work: &&Work| !self.resting.contains_key(&work.table_id);
            let next = under_way
                .iter()
                .filter(|work| open.contains(&work.table_id));
            let Some(work) = next.clone().find(awake) else {
                let pause = self.resting.values().min().map(|until| *until - now);
                tokio::select! {
                    _ = self.open.changed() => {}
                    () = sleep(pause.unwrap_or(OPEN_PAUSE)) => {}
                }
                continue;
            };
            if let Outcome::Rest(pause) = self.step(&session, work.clone()).await? {
                self.resting.insert(work.table_id, now + pause);
            }
        }
    }

    /// One chunk, read and applied.
    async fn step(&mut self, session: &Session, work: Work) -> Result<Outcome, store::Error> {
        let id = work.table_id;
        let chunk = match self.read(session, work.clone()).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(Outcome::Rest(OPEN_PAUSE)),
            Err(held) => return self.held_up(session, &work, held).await,
        };
        self.tries.remove(&id);
        let (chunk, reply) = chunk;
        let tired = chunk.work.pass == Pass::Gaps && chunk.next.round > chunk.work.round;
        if self.chunks.send(chunk).await.is_err() {
            return Ok(Outcome::Rest(OPEN_PAUSE));
        }
        Ok(match reply.await {
            Ok(Reply::Applied) if tired => Outcome::Rest(LOCKED_PAUSE),
            Ok(Reply::Applied) => Outcome::Applied,
            Ok(Reply::Again) | Err(_) => Outcome::Rest(LOCKED_PAUSE),
        })
    }

    /// `None` while transactions are open that the stream does not tell whole.
    async fn read(
        &mut self,
        session: &Session,
        work: Work,
    ) -> Result<Option<(Chunk, oneshot::Receiver<Reply>)>, Held> {
        if !reconcile::is_over(session, work.not_before_xid).await? {
            return Ok(None);
        }
        let (reply, answer) = oneshot::channel();
        let readable = Readable::describe(session, &work.table, &work.key, &work.columns).await?;
        let relation = readable.relation.clone();
        let (id, estimated) = (work.table_id, readable.estimated_rows);
        let found = match work.pass {
            Pass::Rows => self.rows(session, &readable, &work).await?,
            Pass::Images | Pass::Gaps => self.images(session, &readable, &work).await?,
        };
        let mut chunk = Chunk {
            work,
            relation,
            rows: found.rows,
            snapshot: Snapshot::default(),
            generation: None,
            at: Timestamp::UNIX_EPOCH,
            lsn: Lsn::ZERO,
            next: found.next,
            reply,
        };
        if let Some(seen) = found.seen {
            chunk.lsn = commit::gate(session).await?;
            reconcile::seen(session, id, estimated).await?;
            chunk.snapshot = seen.snapshot;
            chunk.generation = Some(seen.generation);
            chunk.at = seen.at;
        }
        Ok(Some((chunk, answer)))
    }

    async fn rows(
        &self,
        session: &Session,
        readable: &Readable,
        work: &Work,
    ) -> Result<Found, store::Error> {
        let span = Span::After(work.cursor.clone());
        let limits = Limits {
            // A chunk is one commit too.
            rows: ROWS_MAX.min(self.context.group_size.get()),
            bytes: BYTES_MAX,
        };
        let mut seen = rows::chunk(session, readable, work.table_id, &span, limits).await?;
        let rows = std::mem::take(&mut seen.rows);
        let next = match seen.cursor.take() {
            Some(cursor) => going_on(Pass::Rows, work.round, Some(cursor)),
            None if work.purpose == Why::Fill => going_on(Pass::Gaps, 0, None),
            None => going_on(Pass::Images, 0, None),
        };
        Ok(Found {
            rows: rows
                .into_iter()
                .map(|(key, row)| (key, Some(row)))
                .collect(),
            seen: Some(seen),
            next,
        })
    }

    /// Rows by the keys of images: those that are gone are among them.
    async fn images(
        &mut self,
        session: &Session,
        readable: &Readable,
        work: &Work,
    ) -> Result<Found, Held> {
        let columns: Vec<String> = readable
            .columns()
            .filter(|name| work.columns.iter().any(|column| column == name))
            .map(str::to_owned)
            .collect();
        let wanted = match work.pass {
            Pass::Rows | Pass::Images => Wanted::All,
            // What the stream was ahead of is still untold.
            Pass::Gaps => Wanted::Gaps {
                columns,
                untold: work.purpose == Why::Backfill && work.since.is_none(),
            },
        };
        let after = work.cursor.as_deref().and_then(|cursor| cursor.first());
        let after = after.map(String::as_str);
        loop {
            let limit = self.rows as i64;
            let keys = images::keys(session, work.table_id, after, &wanted, limit);
            let keys = keys.await.map_err(Held::Images)?;
            let next = next_of_images(
                work,
                &keys.last().map(ToString::to_string),
                keys.len() == self.rows,
            );
            if keys.is_empty() {
                return Ok(Found {
                    rows: Vec::new(),
                    seen: None,
                    next,
                });
            }
            let texts = keys.iter().filter_map(rows::key_texts).collect();
            let limits = Limits {
                rows: self.rows,
                bytes: BYTES_MAX,
            };
            let span = Span::Of(texts);
            let mut seen = rows::chunk(session, readable, work.table_id, &span, limits).await?;
            if seen.cut && self.rows > 1 {
                self.rows /= 2;
                continue;
            }
            let mut found: HashMap<_, _> = std::mem::take(&mut seen.rows).into_iter().collect();
            let rows = keys.into_iter().map(|key| {
                let row = found.remove(&key);
                (key, row)
            });
            return Ok(Found {
                rows: rows.collect(),
                seen: Some(seen),
                next,
            });
        }
    }

    /// Says what is in the way where it is for the operator, and how long to leave the table alone.
    async fn held_up(
        &mut self,
        session: &Session,
        work: &Work,
        held: Held,
    ) -> Result<Outcome, store::Error> {
        let table = &work.table;
        let (of_images, error) = match held {
            Held::Table(error) => (false, error),
            Held::Images(error) => (true, error),
        };
        let code = error.sqlstate().map(|state| state.code().to_owned());
        let (what, pause) = match code.as_deref() {
            // No key of the worker's and no lock of its own has to do with it.
            Some("55P03" | "57014") if of_images => (
                format!(
                    "the images of table {table} can not be read for now: {}",
                    chain(&error)
                ),
                REFUSED_PAUSE,
            ),
            Some("55P03") => {
                let tries = self.tries.entry(work.table_id).or_default();
                *tries += 1;
                if *tries < QUIET_TRIES {
                    return Ok(Outcome::Rest(LOCKED_PAUSE));
                }
                (
                    format!("somebody holds a lock on table {table}"),
                    LOCKED_PAUSE,
                )
            }
            Some("57014") => (
                format!(
                    "reading table {table} takes too long: its key needs an index that is valid"
                ),
                REFUSED_PAUSE,
            ),
            Some("42501") => (self.refusal(session, work, &error), REFUSED_PAUSE),
            _ if error.remedy() == Remedy::Reconnect => return Err(error),
            _ => (chain(&error), REFUSED_PAUSE),
        };
        reconcile::trouble(session, work.table_id, &what).await?;
        Ok(Outcome::Rest(pause))
    }

    fn refusal(&self, session: &Session, work: &Work, error: &store::Error) -> String {
        let (table, role) = (&work.table, quote_identifier(session.user()));
        let text = chain(error);
        if text.contains("row-level security") {
            return format!(
                "policies of table {table} hide rows from this role: run `alter role {role} bypassrls;` as a \
                 superuser"
            );
        }
        let columns: BTreeSet<String> = work
            .key
            .iter()
            .chain(&work.columns)
            .map(|column| quote_identifier(column))
            .collect();
        let columns: Vec<String> = columns.into_iter().collect();
        format!(
            "this role may not read table {table}: run `tidings setup`, or `grant usage on schema {} to \
             {role}; grant select ({}) on table {table} to {role};` as its owner",
            quote_identifier(&table.schema),
            columns.join(", ")
        )
    }
}

/// What could not be read.
enum Held {
    Table(store::Error),
    Images(store::Error),
}

impl From<store::Error> for Held {
    fn from(error: store::Error) -> Self {
        Self::Table(error)
    }
}

/// What was read of a table.
struct Found {
    rows: Vec<(activity::Key, Option<activity::Row>)>,
    /// Without its rows; `None` where there was nothing to look for.
    seen: Option<Seen>,
    next: Next,
}

fn going_on(pass: Pass, round: i32, cursor: Option<Vec<String>>) -> Next {
    Next {
        pass,
        round,
        cursor,
        finished: false,
    }
}

/// What follows a chunk of images whose last key is this. Gaps are gone through until there are none.
fn next_of_images(work: &Work, last: &Option<String>, more: bool) -> Next {
    let cursor = last.clone().map(|key| vec![key]);
    match work.pass {
        Pass::Gaps if cursor.is_none() && work.cursor.is_none() => Next {
            finished: true,
            ..going_on(Pass::Gaps, work.round, None)
        },
        Pass::Rows | Pass::Images | Pass::Gaps if more => going_on(work.pass, work.round, cursor),
        Pass::Rows | Pass::Images => going_on(Pass::Gaps, 0, None),
        Pass::Gaps => Next {
            finished: work.round + 1 >= ROUNDS_MAX,
            ..going_on(Pass::Gaps, work.round + 1, None)
        },
    }
}
