//! One life of the deliver loop, from taking shards to giving them up.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use jiff::Timestamp;
use jiff::civil::Date;
use store::actions_table::ActionsTable;
use store::delivery::Settlement;
use store::{Error, Purpose, Session, delivery, log, partitions};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use webhook::{Schedule, Sender};

use super::Context;
use super::attempt::{Attempter, Done};
use super::dispatch::Lanes;
use super::lane::BreakerChange;
use super::shards::Owned;
use crate::backoff::Backoff;

/// The connection that holds the shards must answer within this; else others may own them by now.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long an outcome may wait for others before it is committed with them.
const SETTLE_PERIOD: Duration = Duration::from_millis(25);
/// Outcomes that are committed at once, without waiting for more.
const SETTLE_COUNT: usize = 512;
/// How often the log is looked at where nobody tells of a new action.
const POLL_PERIOD: Duration = Duration::from_millis(250);
/// How often endpoints, due retries and free shards are looked at.
const UPKEEP_PERIOD: Duration = Duration::from_millis(500);
/// Actions read from the log at once.
const READ_COUNT: i64 = 500;
/// How long a stop waits for requests under way.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// What an action may wait past the timeout before its lane goes behind.
const WAIT_SLACK: Duration = Duration::from_secs(5);

/// Delivers until `stop` (then the answer is `Ok`) or until the database does not answer.
pub async fn live(
    context: &Context,
    sender: &Sender,
    schedule: &Schedule,
    stop: &CancellationToken,
    backoff: &mut Backoff,
) -> Result<(), Error> {
    let mut deliverer = Deliverer::begin(context, sender, schedule).await?;
    deliverer.run(stop, backoff).await
}

pub(super) struct Deliverer<'a> {
    pub(super) context: &'a Context,
    pub(super) attempter: Attempter,
    /// Holds the locks of the shards and settles.
    pub(super) session: Session,
    /// Reads the log.
    pub(super) reader: Session,
    pub(super) owned: Owned,
    pub(super) lanes: Lanes,
    /// Of the endpoints as they were last read.
    pub(super) revision: (i64, i64),
    /// The last action that was offered to the lanes at the head.
    pub(super) head: Seq,
    pub(super) attempts: JoinSet<Done>,
    /// Over, and not committed yet.
    pub(super) done: Vec<Done>,
    /// Whether a lane has moved since the last settlement.
    pub(super) moved: bool,
    /// Whether the log is known to hold more for a lane.
    pub(super) more: bool,
    /// A settlement that the database refused for now, and when it is tried again.
    pub(super) refused: Option<(Instant, Settlement)>,
    /// For the next settlement.
    pub(super) withdrawn: Vec<(String, Seq)>,
    pub(super) buried: Vec<(String, Seq)>,
    /// How many lanes were ever made.
    pub(super) generations: u64,
    /// Up to this day there are partitions for attempts.
    pub(super) covered: Date,
}

impl<'a> Deliverer<'a> {
    async fn begin(
        context: &'a Context,
        sender: &Sender,
        schedule: &Schedule,
    ) -> Result<Self, Error> {
        let schema = &context.settings.database.schema;
        let session = Session::open(&context.target, schema, Purpose::Write).await?;
        let reader = Session::open(&context.target, schema, Purpose::Write).await?;
        let days = context.settings.webhooks.attempt_days;
        let covered = partitions::cover_attempts(&session, Timestamp::now(), days).await?;
        let table = ActionsTable::describe(&reader, &context.settings.capture.actions_table).await;
        let mut deliverer = Self {
            context,
            attempter: Attempter {
                sender: sender.clone(),
                schedule: Arc::new(schedule.clone()),
                has_cost_usd: table.is_ok_and(|table| table.has_cost_usd()),
            },
            session,
            reader,
            owned: Owned::default(),
            lanes: Lanes::default(),
            revision: (-1, -1),
            head: Seq::ZERO,
            attempts: JoinSet::new(),
            done: Vec::new(),
            moved: true,
            more: false,
            refused: None,
            withdrawn: Vec::new(),
            buried: Vec::new(),
            generations: 0,
            covered,
        };
        deliverer.take_shards().await?;
        Ok(deliverer)
    }

    async fn run(&mut self, stop: &CancellationToken, backoff: &mut Backoff) -> Result<(), Error> {
        let (mut poll, mut upkeep) = (ticks(POLL_PERIOD), ticks(UPKEEP_PERIOD));
        let mut settle = ticks(SETTLE_PERIOD);
        loop {
            self.start_attempts();
            let full = self.done.len() >= SETTLE_COUNT && self.refused.is_none();
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain().await,
                _ = upkeep.tick() => self.keep_up().await?,
                _ = settle.tick(), if self.moved && !full => self.settle(backoff).await?,
                () = std::future::ready(()), if full => self.settle(backoff).await?,
                Some(done) = self.attempts.join_next() => self.take(done)?,
                () = self.context.appended.notified() => self.dispatch().await?,
                () = std::future::ready(()), if self.more => self.dispatch().await?,
                _ = poll.tick() => self.dispatch().await?,
                () = at(self.lanes.next_alarm()) => self.lanes.ring(Instant::now()),
            }
        }
    }

    /// Starts attempts, lane by lane, as far as the limits allow. None while outcomes can not be
    /// stored: each would be made again.
    fn start_attempts(&mut self) {
        let places = self.context.settings.webhooks.in_flight;
        while self.refused.is_none() && self.attempts.len() < places {
            let crowded = self.attempts.len() >= places - places / 4;
            let Some(turn) = self.lanes.next(crowded, Instant::now()) else {
                break;
            };
            self.attempts.spawn(self.attempter.clone().attempt(turn));
        }
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), Error> {
        // Begun anew, the session makes the attempt again: its delivery is not settled.
        let done = done.map_err(|error| Error::Unreadable(format!("an attempt died: {error}")))?;
        let id = &done.record.endpoint_id;
        if let Some(lane) = self
            .lanes
            .get_mut(id)
            .filter(|l| l.generation == done.generation)
        {
            let (now, random) = (Instant::now(), rand::random());
            let job = done.job.clone();
            let change = lane.finished(job, done.record.result, done.verdict, now, random);
            tell(&lane.endpoint.name, change);
            self.more |= lane.wants_log().is_some() || lane.wants_held().is_some();
        }
        self.lanes.wake(id);
        self.done.push(done);
        self.moved = true;
        Ok(())
    }

    /// Offers what is new in the log to the lanes at the head, then reads for those behind.
    async fn dispatch(&mut self) -> Result<(), Error> {
        self.more = false;
        if !self.lanes.standings().any_at_head() {
            self.head = answer(log::head(&self.reader)).await?;
        } else {
            let actions = answer(log::after(&self.reader, self.head, READ_COUNT)).await?;
            self.more = actions.len() == READ_COUNT as usize;
            self.moved |= !actions.is_empty();
            let now = Instant::now();
            for action in actions {
                self.head = action.seq;
                self.lanes.offer(&Arc::new(action), now);
            }
            self.start_attempts();
        }
        self.read_behind().await
    }

    async fn keep_up(&mut self) -> Result<(), Error> {
        self.take_shards().await?;
        self.read_endpoints().await?;
        let patience = self.context.settings.webhooks.timeout + WAIT_SLACK;
        let now = Instant::now();
        self.lanes.check_age(now, patience);
        self.read_due().await?;
        if Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date() >= self.covered {
            let days = self.context.settings.webhooks.attempt_days;
            self.covered = partitions::cover_attempts(&self.reader, Timestamp::now(), days).await?;
        }
        Ok(())
    }

    /// Waits a little for requests under way, and commits what they came to.
    async fn drain(&mut self) -> Result<(), Error> {
        let deadline = tokio::time::sleep(DRAIN_MAX);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                () = &mut deadline => break,
                done = self.attempts.join_next() => match done {
                    Some(done) => self.take(done)?,
                    None => break,
                },
            }
        }
        let settlement = self.gather();
        if let Some((_, refused)) = self.refused.take() {
            answer(delivery::settle(&mut self.session, &refused)).await?;
        }
        if settlement.is_empty() {
            return Ok(());
        }
        answer(delivery::settle(&mut self.session, &settlement)).await
    }
}

/// The answer of the database, in time.
pub(super) async fn answer<T>(query: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER_MAX, query).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::TimedOut(ANSWER_MAX.as_secs())),
    }
}

/// Returns at this time; never, where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn tell(endpoint: &str, change: Option<BreakerChange>) {
    match change {
        Some(BreakerChange::Opened { cooldown }) => tracing::warn!(
            endpoint.name = endpoint,
            retry.pause_ms = cooldown.as_millis() as u64,
            "an endpoint only fails: it is left alone for a while"
        ),
        Some(BreakerChange::Closed) => {
            tracing::info!(endpoint.name = endpoint, "an endpoint is well again");
        }
        None => {}
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
