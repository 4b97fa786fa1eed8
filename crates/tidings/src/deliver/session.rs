//! One life of the deliver loop, from taking shards to giving them up.
//!
//! The loop waits for no answer of the database: the [`Settler`] writes, two [`Reader`]s read, and what
//! they come to arrives beside the outcomes of the attempts.

mod hold;
mod outcomes;
mod reach;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use jiff::Timestamp;
use jiff::civil::Date;
use store::actions_table::ActionsTable;
use store::delivery::Settlement;
use store::{Error, Purpose, Session, partitions};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use webhook::{Schedule, Sender};

use super::Context;
use super::attempt::{Attempter, Done};
use super::dispatch::Lanes;
use super::head::Head;
use super::leash::{self, Leash};
use super::ledger::Ledger;
use super::reader::{Ask, Reader, Told};
use super::replays::Replays;
use super::roster::Resting;
use super::settle::Outcome;
use super::settler::Settler;
use super::shards::Owned;
use crate::backoff::Backoff;
use reach::Reach;

/// How long an outcome may wait for others before it is committed with them.
const SETTLE_PERIOD: Duration = Duration::from_millis(25);
/// Outcomes that are committed at once, without waiting for more.
const SETTLE_COUNT: usize = 512;
/// Outcomes that wait while a settlement is under way; then nothing is sent.
const UNSETTLED_MAX: usize = 4 * SETTLE_COUNT;
/// First attempts that wait while every place for a request is taken; then nothing more is read at the
/// head.
const QUEUED_MAX: usize = 1024;
/// How often the log is looked at where nobody tells of a new action.
const POLL_PERIOD: Duration = Duration::from_millis(250);
/// How often endpoints, due retries and positions are looked at.
const UPKEEP_PERIOD: Duration = Duration::from_millis(500);
/// How long a stop waits for requests under way, and for what they come to to be stored.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// What an action may wait past the timeout before its lane goes behind; and what a request may take
/// past it before it is over for sure.
const WAIT_SLACK: Duration = Duration::from_secs(5);

/// Delivers until `stop` (then the answer is `Ok`) or until the database does not answer.
pub async fn live(
    context: &Context,
    sender: &Sender,
    schedule: &Schedule,
    stop: &CancellationToken,
    backoff: &mut Backoff,
) -> Result<(), Error> {
    let mut deliverer = Deliverer::begin(context, sender, schedule, backoff).await?;
    deliverer.run(stop).await
}

pub(super) struct Deliverer<'a> {
    pub(super) context: &'a Context,
    attempter: Attempter,
    settler: Settler,
    leash: Leash,
    reader: Reader,
    pub(super) backlog: Reader,
    pub(super) owned: Owned,
    /// Whether shards are being taken.
    taking: bool,
    pub(super) lanes: Lanes,
    pub(super) resting: HashMap<String, Resting>,
    pub(super) ledger: Ledger,
    /// Of the endpoints as they were last read.
    pub(super) revision: (i64, i64),
    pub(super) look_at_roster: bool,
    pub(super) look_at_partitions: bool,
    pub(super) look_at_replays: bool,
    pub(super) replays: Replays,
    pub(super) head: Head,
    /// Whether the log is being read at the head, and whether it is to be read once more.
    reading: bool,
    more: bool,
    /// Each with the shard of its endpoint; `None` where the leash was off.
    attempts: JoinSet<(i16, Option<Done>)>,
    /// Over, and not committed yet.
    outcomes: Vec<Outcome>,
    /// Whether a lane has moved since the last settlement.
    pub(super) moved: bool,
    /// Whether a settlement is under way.
    settling: bool,
    /// The shards of the attempts in it.
    committing: Vec<i16>,
    /// Whether this life ends: no shard is taken any more.
    stopping: bool,
    /// A settlement that the database refused for now, and when it is tried again.
    refused: Option<(Instant, Box<Settlement>)>,
    backoff: &'a mut Backoff,
    /// For the next settlement.
    pub(super) withdrawn: Vec<(String, Seq)>,
    pub(super) buried: Vec<(String, Seq)>,
    /// How many lanes were ever made.
    pub(super) generations: u64,
    reach: Reach,
    /// Up to this day there are partitions for attempts.
    pub(super) covered: Date,
}

impl<'a> Deliverer<'a> {
    async fn begin(
        context: &'a Context,
        sender: &Sender,
        schedule: &Schedule,
        backoff: &'a mut Backoff,
    ) -> Result<Self, Error> {
        let schema = &context.settings.database.schema;
        let session = Session::open(&context.target, schema, Purpose::Write).await?;
        let days = context.settings.webhooks.attempt_days;
        let covered = partitions::cover_attempts(&session, Timestamp::now(), days).await?;
        let table = ActionsTable::describe(&session, &context.settings.capture.actions_table).await;
        // What one of them reads another one settles.
        let server = session.server().cloned();
        let server = server.as_ref();
        drop(session);
        let reader = Reader::begin(&context.target, &context.settings, server).await?;
        let backlog = Reader::begin(&context.target, &context.settings, server).await?;
        let (settler, leash) = Settler::begin(&context.target, schema, server).await?;
        Ok(Self {
            context,
            attempter: Attempter {
                sender: sender.clone(),
                schedule: Arc::new(schedule.clone()),
                has_cost_usd: table.is_ok_and(|table| table.has_cost_usd()),
            },
            settler,
            leash,
            reader,
            backlog,
            owned: Owned::default(),
            taking: false,
            lanes: Lanes::default(),
            resting: HashMap::new(),
            ledger: Ledger::default(),
            revision: (-1, -1),
            look_at_roster: false,
            look_at_partitions: false,
            look_at_replays: false,
            replays: Replays::default(),
            head: Head::default(),
            reading: false,
            more: false,
            attempts: JoinSet::new(),
            outcomes: Vec::new(),
            moved: false,
            settling: false,
            committing: Vec::new(),
            stopping: false,
            refused: None,
            backoff,
            withdrawn: Vec::new(),
            buried: Vec::new(),
            generations: 0,
            reach: Reach::default(),
            covered,
        })
    }

    async fn run(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let (mut poll, mut upkeep) = (ticks(POLL_PERIOD), ticks(UPKEEP_PERIOD));
        let mut settle = ticks(SETTLE_PERIOD);
        let leash = self.leash.clone();
        loop {
            self.start_attempts();
            self.read_head()?;
            self.read_backlog()?;
            let full = self.outcomes.len() >= SETTLE_COUNT && self.may_settle();
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain().await,
                () = leash.snapped() => return Err(Error::TimedOut(leash::LENGTH.as_secs())),
                report = self.settler.report() => self.hear(report?)?,
                _ = upkeep.tick() => self.keep_up()?,
                _ = settle.tick(), if !full => self.tick()?,
                () = std::future::ready(()), if full => self.settle()?,
                Some(over) = self.attempts.join_next() => self.take_all(over)?,
                told = self.reader.told() => self.dispatch(told?),
                told = self.backlog.told() => self.take_backlog(told?),
                () = self.context.appended.notified() => self.more = true,
                _ = poll.tick() => self.more = true,
                () = at(self.lanes.next_alarm()) => self.lanes.ring(Instant::now()),
            }
        }
    }

    /// Starts attempts, lane by lane, as far as the limits allow. None while outcomes can not be
    /// stored: each would be made again.
    fn start_attempts(&mut self) {
        let places = self.context.settings.webhooks.in_flight;
        let now = Instant::now();
        while self.refused.is_none()
            && self.attempts.len() < places
            && self.outcomes.len() < UNSETTLED_MAX
            && self.leash.holds(now)
        {
            let crowded = self.attempts.len() >= places - places / 4;
            let Some(turn) = self.lanes.next(crowded, now) else {
                break;
            };
            let Some(account) = self.ledger.get(&turn.endpoint.id) else {
                continue;
            };
            let shard = account.shard;
            self.owned.begun(shard);
            let excused = self.reach.excuses(turn.cut_off, now);
            let attempt = self.attempter.clone().attempt(turn, excused);
            let attempt = self.leash.clone().bind(attempt);
            self.attempts.spawn(async move { (shard, attempt.await) });
        }
    }

    /// Asks for what is new in the log, or where no lane is at the head, for where it ends.
    fn read_head(&mut self) -> Result<(), Error> {
        let full = self.attempts.len() >= self.context.settings.webhooks.in_flight
            && self.lanes.stood().queued() >= QUEUED_MAX;
        if self.more && !self.reading && !full {
            (self.more, self.reading) = (false, true);
            let at_head = self.lanes.standings().any_at_head();
            self.reader
                .ask(Ask::Head(at_head.then_some(self.head.seq)))?;
        }
        Ok(())
    }

    /// Offers what is new in the log to the lanes at the head.
    fn dispatch(&mut self, told: Told) {
        let Told::Head {
            after,
            actions,
            to,
            more,
        } = told
        else {
            return;
        };
        self.reading = false;
        self.more |= more;
        match after {
            // No lane was at the head. One that has come there meanwhile is read for from there.
            None if !self.lanes.standings().any_at_head() && to > self.head.seq => {
                self.head.begin(to);
                return self.want_behind();
            }
            None => return,
            // It has begun elsewhere since.
            Some(after) if after != self.head.seq => {
                self.more = true;
                return;
            }
            Some(_) if actions.is_empty() => return,
            Some(_) => {}
        }
        let now = Instant::now();
        for action in actions {
            self.lanes.offer(&action, now);
            self.head.pass(action);
        }
        self.moved = true;
        self.want_behind();
    }

    /// Gives a turn to every lane that reads for itself: some may have just fallen behind.
    fn want_behind(&mut self) {
        for id in self.lanes.standings().reading() {
            self.ledger.want(id);
        }
    }

    fn tick(&mut self) -> Result<(), Error> {
        self.send_replays();
        if self.moved { self.settle() } else { Ok(()) }
    }

    fn keep_up(&mut self) -> Result<(), Error> {
        let patience = self.context.settings.webhooks.timeout + WAIT_SLACK;
        let (now, time) = (Instant::now(), Timestamp::now());
        if self.owned.become_quiet(now) {
            self.revision = (-1, -1);
        }
        (self.look_at_roster, self.look_at_replays) = (self.owned.len() > 0, self.owned.len() > 0);
        self.look_at_partitions = time.to_zoned(jiff::tz::TimeZone::UTC).date() >= self.covered;
        self.lanes.check_age(now, patience);
        self.want_behind();
        self.ledger.wake(time);
        // Positions of shards that settle nothing of their own are stored late.
        self.moved = true;
        self.depart(now)
    }

    /// Waits a little for requests under way, commits what they came to, and gives the shards up.
    async fn drain(&mut self) -> Result<(), Error> {
        let deadline = tokio::time::sleep(DRAIN_MAX);
        tokio::pin!(deadline);
        let mut settle = ticks(SETTLE_PERIOD);
        self.stopping = true;
        self.leave(self.owned.len());
        self.moved = true;
        while !self.attempts.is_empty()
            || self.moved
            || self.settling
            || self.taking
            || self.refused.is_some()
        {
            tokio::select! {
                biased;
                () = &mut deadline => break,
                report = self.settler.report() => self.hear(report?)?,
                Some(over) = self.attempts.join_next() => self.take(over)?,
                _ = settle.tick() => self.settle()?,
            }
        }
        self.depart(Instant::now())?;
        while self.owned.is_departing() {
            let report = self.settler.report().await?;
            self.hear(report)?;
        }
        Ok(())
    }
}

/// Returns at this time; never, where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
