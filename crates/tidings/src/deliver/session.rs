//! One life of the deliver loop, from taking shards to giving them up.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use jiff::Timestamp;
use jiff::civil::Date;
use store::actions_table::ActionsTable;
use store::delivery::Settlement;
use store::endpoints::{EndpointState, StoredEndpoint};
use store::log::LoggedAction;
use store::{Error, Purpose, Remedy, Session, delivery, endpoints, log, partitions};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use webhook::{Schedule, Sender};

use super::Context;
use super::attempt::{Attempter, Done};
use super::dispatch::Lanes;
use super::lane::{Beginning, Job, Lane};
use super::sendable::sendable;
use super::settle::{Owned, settlement};
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
/// The same for one lane that is behind.
const READ_BEHIND_COUNT: i64 = 250;
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

struct Deliverer<'a> {
    context: &'a Context,
    attempter: Attempter,
    /// Holds the locks of the shards and settles.
    session: Session,
    /// Reads the log.
    reader: Session,
    owned: Owned,
    lanes: Lanes,
    /// Of the endpoints as they were last read.
    revision: (i64, i64),
    /// The last action that was offered to the lanes at the head.
    head: Seq,
    attempts: JoinSet<Done>,
    /// Over, and not committed yet.
    done: Vec<Done>,
    /// Whether a lane has moved since the last settlement.
    moved: bool,
    /// Whether the log is known to hold more for a lane.
    more: bool,
    /// A settlement that the database refused for now, and when it is tried again.
    refused: Option<(Instant, Settlement)>,
    /// For the next settlement.
    withdrawn: Vec<(String, Seq)>,
    buried: Vec<(String, Seq)>,
    /// How many lanes were ever made.
    generations: u64,
    /// Up to this day there are partitions for attempts.
    covered: Date,
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
            }
        }
    }

    /// Starts attempts, lane by lane, as far as the limits allow. None while outcomes can not be
    /// stored: each would be made again.
    fn start_attempts(&mut self) {
        let places = self.context.settings.webhooks.in_flight;
        while self.refused.is_none() && self.attempts.len() < places {
            let crowded = self.attempts.len() >= places - places / 4;
            let Some(turn) = self.lanes.next(crowded) else {
                break;
            };
            self.attempts.spawn(self.attempter.clone().attempt(turn));
        }
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), Error> {
        // Begun anew, the session makes the attempt again: its delivery is not settled.
        let done = done.map_err(|error| Error::Unreadable(format!("an attempt died: {error}")))?;
        let (id, attempt) = (&done.record.endpoint_id, done.record.attempt);
        if let Some(lane) = self
            .lanes
            .get_mut(id)
            .filter(|l| l.generation == done.generation)
        {
            lane.finished(attempt.unsigned_abs());
            self.more |= lane.wants_log().is_some();
        }
        self.lanes.wake(id);
        self.done.push(done);
        self.moved = true;
        Ok(())
    }

    /// Offers what is new in the log to the lanes at the head, then reads for those behind.
    async fn dispatch(&mut self) -> Result<(), Error> {
        self.more = false;
        if self.lanes.at_head().next().is_none() {
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

    /// Reads the log for the lanes that are behind, each from its own cursor.
    async fn read_behind(&mut self) -> Result<(), Error> {
        let wanting: Vec<(String, Seq)> = self
            .lanes
            .all()
            .filter_map(|lane| Some((lane.endpoint.id.clone(), lane.wants_log()?)))
            .collect();
        for (id, cursor) in wanting {
            let actions: Vec<Arc<LoggedAction>> =
                answer(log::after(&self.reader, cursor, READ_BEHIND_COUNT))
                    .await?
                    .into_iter()
                    .map(Arc::new)
                    .collect();
            // Less than was asked for: that is all there is, the head included.
            let last = actions.last().map_or(cursor, |action| action.seq);
            let all = actions.len() < READ_BEHIND_COUNT as usize;
            let read_to = if all { last.max(self.head) } else { last };
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.feed(&actions, read_to, self.head, Instant::now());
                self.more |= lane.wants_log().is_some();
            }
            self.moved = true;
            self.lanes.wake(&id);
        }
        Ok(())
    }

    /// Commits what is over, and how far the lanes have come. What the database has no room or time
    /// for now is kept, and committed before anything else.
    async fn settle(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let settlement = match self.refused.take() {
            Some((again_at, settlement)) if Instant::now() < again_at => {
                self.refused = Some((again_at, settlement));
                return Ok(());
            }
            Some((_, settlement)) => settlement,
            None => self.gather(),
        };
        if settlement.is_empty() {
            return Ok(());
        }
        match answer(delivery::settle(&mut self.session, &settlement)).await {
            Ok(()) => backoff.reset(),
            // A row at fault is that of an endpoint that is being removed: gone the next time.
            Err(error) if matches!(error.remedy(), Remedy::Again | Remedy::RowAtFault) => {
                let pause = backoff.next(rand::random());
                tracing::warn!(
                    %error, retry.pause_ms = pause.as_millis() as u64,
                    "outcomes can not be stored; nothing is sent meanwhile"
                );
                self.refused = Some((Instant::now() + pause, settlement));
                self.moved = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.stored(&settlement);
        Ok(())
    }

    fn gather(&mut self) -> Settlement {
        self.moved = false;
        let done = std::mem::take(&mut self.done);
        let mut settlement = settlement(&self.lanes, &self.owned, self.head, done);
        settlement.withdrawn = std::mem::take(&mut self.withdrawn);
        settlement.buried = std::mem::take(&mut self.buried);
        settlement
    }

    fn stored(&mut self, settlement: &Settlement) {
        self.owned.stored(settlement);
        for record in &settlement.attempts {
            if let Some(lane) = self.lanes.get_mut(&record.endpoint_id) {
                lane.settled(record.seq, record.attempt.unsigned_abs());
            }
        }
        for moved in &settlement.cursors {
            if let Some(lane) = self.lanes.get_mut(&moved.endpoint_id) {
                lane.cursor_stored(moved);
            }
        }
    }

    async fn keep_up(&mut self) -> Result<(), Error> {
        self.take_shards().await?;
        self.read_endpoints().await?;
        let patience = self.context.settings.webhooks.timeout + WAIT_SLACK;
        let now = Instant::now();
        self.lanes
            .all_mut()
            .for_each(|lane| lane.check_age(now, patience));
        self.read_due().await?;
        if Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date() >= self.covered {
            let days = self.context.settings.webhooks.attempt_days;
            self.covered = partitions::cover_attempts(&self.reader, Timestamp::now(), days).await?;
        }
        Ok(())
    }

    async fn take_shards(&mut self) -> Result<(), Error> {
        let taken = answer(delivery::take_shards(&self.session, &self.owned.numbers())).await?;
        if !taken.is_empty() {
            tracing::info!(deliver.shards = taken.len(), "shards taken");
            self.owned.take(taken);
            self.revision = (-1, -1);
            self.read_endpoints().await?;
        }
        if self.owned.numbers().is_empty() {
            self.context.health.deliver.stand_by();
        } else {
            self.context.health.deliver.up();
        }
        Ok(())
    }

    /// Brings the lanes to the endpoints as they are now.
    async fn read_endpoints(&mut self) -> Result<(), Error> {
        let revision = answer(endpoints::revision(&self.reader)).await?;
        if revision == self.revision {
            return Ok(());
        }
        let stored: Vec<StoredEndpoint> = endpoints::list(&self.reader)
            .await?
            .into_iter()
            .filter(|endpoint| {
                endpoint.state == EndpointState::Enabled && self.owned.get(endpoint.shard).is_some()
            })
            .collect();
        let known: HashSet<&str> = stored.iter().map(|endpoint| endpoint.id.as_str()).collect();
        self.lanes.retain(|id| known.contains(id));
        let new: Vec<&StoredEndpoint> = stored
            .iter()
            .filter(|e| self.lanes.get(&e.id).is_none())
            .collect();
        let cursors: Vec<(String, Seq)> = new
            .iter()
            .map(|endpoint| (endpoint.id.clone(), self.begins_after(endpoint)))
            .collect();
        self.begin_at_head(&new);
        let mut settled = answer(delivery::attempted_after(&self.reader, &cursors)).await?;
        for endpoint in &stored {
            let sendable = match sendable(endpoint, &self.context.settings.webhooks) {
                Ok(sendable) => Arc::new(sendable),
                Err(error) => {
                    tracing::error!(endpoint.name, %error, "an endpoint can not be used");
                    continue;
                }
            };
            if let Some(lane) = self.lanes.get_mut(&endpoint.id) {
                lane.endpoint = sendable;
                continue;
            }
            let cursor = self.begins_after(endpoint);
            let beginning = Beginning {
                cursor,
                // The dispatcher does not go back: a lane that begins before it reads for itself.
                behind: endpoint.behind || cursor < self.head,
                stored_behind: endpoint.behind,
                settled: settled.remove(&endpoint.id).unwrap_or_default(),
            };
            let in_flight = self.context.settings.webhooks.endpoint_in_flight;
            self.generations += 1;
            let lane = Lane::new(
                sendable,
                endpoint.shard,
                self.generations,
                in_flight,
                beginning,
            );
            self.lanes.insert(lane);
        }
        self.revision = revision;
        Ok(())
    }

    /// Where no lane is at the head, the dispatcher begins where the first new one needs it to.
    fn begin_at_head(&mut self, new: &[&StoredEndpoint]) {
        let first = new
            .iter()
            .filter(|e| !e.behind)
            .map(|e| self.begins_after(e))
            .min();
        if let (None, Some(first)) = (self.lanes.at_head().next(), first) {
            self.head = first;
        }
    }

    /// Everything up to here is settled for this endpoint.
    fn begins_after(&self, endpoint: &StoredEndpoint) -> Seq {
        match self.owned.get(endpoint.shard) {
            Some(shard) if !endpoint.behind => endpoint.cursor.max(shard.seq),
            _ => endpoint.cursor,
        }
    }

    /// Fetches due retries for the lanes that have room.
    async fn read_due(&mut self) -> Result<(), Error> {
        let roomy: Vec<&str> = self
            .lanes
            .all()
            .filter(|lane| lane.room_for_retries() > 0)
            .map(|lane| lane.endpoint.id.as_str())
            .collect();
        if roomy.is_empty() {
            return Ok(());
        }
        let due = answer(delivery::due(&self.reader, &roomy, Timestamp::now(), 32)).await?;
        let new: Vec<_> = due
            .into_iter()
            .filter(|p| {
                self.lanes
                    .get(&p.endpoint_id)
                    .is_some_and(|l| !l.is_retrying(p.seq))
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = new.iter().map(|parked| parked.seq.get()).collect();
        let actions: HashMap<Seq, Arc<LoggedAction>> = answer(log::of(&self.reader, &seqs))
            .await?
            .into_iter()
            .map(|action| (action.seq, Arc::new(action)))
            .collect();
        for parked in new {
            let delivery = (parked.endpoint_id.clone(), parked.seq);
            let Some(lane) = self.lanes.get_mut(&parked.endpoint_id) else {
                continue;
            };
            match actions.get(&parked.seq) {
                None => self.buried.push(delivery),
                Some(action) if !lane.accepts(action) => self.withdrawn.push(delivery),
                Some(action) if lane.room_for_retries() > 0 => lane.push_retry(Job {
                    action: action.clone(),
                    attempt: parked.attempts + 1,
                }),
                Some(_) => {}
            }
            self.lanes.wake(&parked.endpoint_id);
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
async fn answer<T>(query: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER_MAX, query).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::TimedOut(ANSWER_MAX.as_secs())),
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
