//! Brings the lanes to the endpoints of the owned shards as they are now.
//!
//! Only what has another revision than was known is fetched and opened. The lane of an endpoint that may
//! not be sent to for now is paused, and goes behind. One that can not be opened at all rests: its
//! cursor is stored as that of one behind, so nothing of it is lost, and its shard goes on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use activity::Seq;
use jiff::Timestamp;
use store::delivery::StoredHold;
use store::endpoints::{self, EndpointState, Options, Order, StoredEndpoint};
use store::{Error, Session, delivery};
use webhook::Endpoint;

use super::lane::{Beginning, BreakerSettings, Lane, Terms};
use super::ledger::Account;
use super::sendable::sendable;
use super::session::Deliverer;
use crate::settings::Webhooks;

/// An endpoint in order has one head at a time; more were parked before it wanted order.
const HEADS_MAX: i64 = 1000;

/// What is known, for the next reading to compare with.
#[derive(Clone, Debug)]
pub struct Known {
    /// Of all endpoints together.
    pub revision: (i64, i64),
    /// Owned shards, and how far each is settled.
    pub shards: HashMap<i16, Seq>,
    /// Of each endpoint by its id.
    pub revisions: HashMap<String, i64>,
}

/// What differs from it.
#[derive(Debug)]
pub struct Roster {
    pub revision: (i64, i64),
    /// The shards that were looked at.
    pub shards: Vec<i16>,
    /// Every endpoint of them.
    pub present: HashSet<String>,
    pub changed: Vec<Changed>,
}

/// An endpoint that is new, or has changed.
#[derive(Debug)]
pub struct Changed {
    pub stored: StoredEndpoint,
    pub sendable: Result<Arc<Endpoint>, webhook::Error>,
    /// Settled past where it begins.
    pub settled: Vec<Seq>,
    /// Parked at or past it.
    pub heads: Vec<Seq>,
    pub holds: Vec<StoredHold>,
    /// When the first of its parked deliveries is due.
    pub due: Option<Timestamp>,
}

/// An endpoint of an owned shard that can not be opened, and so has no lane.
#[derive(Debug)]
pub struct Resting {
    pub shard: i16,
    pub cursor: Seq,
    /// Whether the database has it as behind, from that cursor.
    pub stored: bool,
}

/// Reads what differs from what is known; `None` where nothing does.
pub async fn read(
    session: &Session,
    known: &Known,
    webhooks: &Webhooks,
) -> Result<Option<Box<Roster>>, Error> {
    let revision = endpoints::revision(session).await?;
    if revision == known.revision {
        return Ok(None);
    }
    let shards: Vec<i16> = known.shards.keys().copied().collect();
    let present = endpoints::revisions(session, &shards).await?;
    let other = |(id, revision): &&(String, i64)| known.revisions.get(id) != Some(revision);
    let ids: Vec<&str> = present
        .iter()
        .filter(other)
        .map(|(id, _)| id.as_str())
        .collect();
    let stored = endpoints::of(session, &ids).await?;
    let cursors: Vec<(String, Seq)> = stored
        .iter()
        .map(|endpoint| {
            let shard = known.shards.get(&endpoint.shard).copied();
            (endpoint.id.clone(), begins_after(endpoint, shard))
        })
        .collect();
    let mut settled = delivery::attempted_after(session, &cursors).await?;
    let due = delivery::next_due(session, &ids).await?;
    let mut heads = delivery::heads_after(session, &cursors, HEADS_MAX).await?;
    let mut holds = delivery::holds(session, &ids).await?;
    let changed = stored.into_iter().map(|stored| Changed {
        sendable: sendable(&stored, webhooks).map(Arc::new),
        settled: settled.remove(&stored.id).unwrap_or_default(),
        heads: heads.remove(&stored.id).unwrap_or_default(),
        holds: holds.remove(&stored.id).unwrap_or_default(),
        due: due.get(&stored.id).copied(),
        stored,
    });
    Ok(Some(Box::new(Roster {
        revision,
        shards,
        changed: changed.collect(),
        present: present.into_iter().map(|(id, _)| id).collect(),
    })))
}

/// Everything up to here is settled for this endpoint, of whose shard so much is.
fn begins_after(endpoint: &StoredEndpoint, shard: Option<Seq>) -> Seq {
    match shard {
        Some(settled) if !endpoint.behind => endpoint.cursor.max(settled),
        _ => endpoint.cursor,
    }
}

impl Deliverer<'_> {
    pub(super) fn known(&self) -> Known {
        Known {
            revision: self.revision,
            shards: self
                .owned
                .all()
                .map(|own| (own.shard.number, own.shard.seq))
                .collect(),
            revisions: self.ledger.revisions(),
        }
    }

    pub(super) fn take_roster(&mut self, roster: Roster) {
        let now = Instant::now();
        let gone: Vec<String> = self
            .ledger
            .ids_of(&roster.shards)
            .filter(|id| !roster.present.contains(*id))
            .cloned()
            .collect();
        gone.iter().for_each(|id| self.forget(id));
        self.begin_at_head(&roster.changed);
        for changed in roster.changed {
            // Its shard was given up since.
            if self.owned.get(changed.stored.shard).is_some() {
                self.take_changed(changed, now);
            }
        }
        self.owned.known(&roster.shards);
        self.revision = roster.revision;
        self.moved = true;
    }

    fn take_changed(&mut self, changed: Changed, now: Instant) {
        let id = changed.stored.id.clone();
        let must_wait = self.must_wait(&changed.stored, now);
        let account = self
            .ledger
            .entry(&id, || Account::new(changed.stored.shard));
        // One that waits is looked at once more when the time is over.
        account.revision = if must_wait {
            -1
        } else {
            changed.stored.revision
        };
        account.failing_since = changed.stored.failing_since;
        if let Some(due) = changed.due {
            self.ledger.note_due(&id, due);
        }
        let paused = match changed.stored.state {
            EndpointState::Disabled => {
                self.lanes.remove(&id);
                self.resting.remove(&id);
                return;
            }
            EndpointState::Paused => true,
            EndpointState::Enabled => must_wait,
        };
        let paused = match &changed.sendable {
            Ok(sendable) => {
                let terms = self.terms(&changed.stored.options);
                if self.lanes.get(&id).is_some() {
                    self.lanes.update(sendable.clone(), terms, now);
                } else {
                    self.insert_lane(sendable.clone(), terms, changed);
                }
                paused
            }
            Err(error) => {
                tracing::error!(
                    endpoint.name = changed.stored.name, %error, "an endpoint can not be used"
                );
                self.rest(&changed.stored);
                true
            }
        };
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.pause(paused);
        }
        self.lanes.wake(&id);
        self.ledger.want(&id);
    }

    /// Whether it keeps an order, and what the last owner of its shard had under way may not be over.
    fn must_wait(&self, stored: &StoredEndpoint, now: Instant) -> bool {
        let quiet_from = self.owned.get(stored.shard).and_then(|own| own.quiet_from);
        stored.options.order != Order::Parallel && quiet_from.is_some_and(|at| at > now)
    }

    fn terms(&self, options: &Options) -> Terms {
        let webhooks = &self.context.settings.webhooks;
        let breaker = BreakerSettings {
            failures: webhooks.breaker_failures,
            cooldown: webhooks.breaker_cooldown,
            cooldown_max: webhooks.breaker_cooldown_max,
        };
        Terms::new(options, webhooks.endpoint_in_flight, breaker)
    }

    fn insert_lane(&mut self, endpoint: Arc<Endpoint>, terms: Terms, changed: Changed) {
        let Changed {
            stored,
            settled,
            heads,
            holds,
            ..
        } = changed;
        let shard = self.owned.get(stored.shard).map(|own| own.shard.seq);
        let (cursor, stored_behind) = match self.resting.remove(&stored.id) {
            // What was written of it may be on its way: the row does not say.
            Some(resting) if !stored.behind => (resting.cursor, resting.stored),
            Some(_) | None => (begins_after(&stored, shard), stored.behind),
        };
        let beginning = Beginning {
            cursor,
            // The dispatcher does not go back: a lane that begins before it reads for itself.
            behind: stored_behind || cursor < self.head.seq,
            stored_behind,
            settled,
            heads,
            holds,
        };
        self.generations += 1;
        let lane = Lane::new(endpoint, stored.shard, self.generations, terms, beginning);
        self.lanes.insert(lane);
    }

    /// Where it has a lane, that one keeps its place.
    fn rest(&mut self, stored: &StoredEndpoint) {
        if self.lanes.get(&stored.id).is_some() {
            return;
        }
        let shard = self.owned.get(stored.shard).map(|own| own.shard.seq);
        let resting = || Resting {
            shard: stored.shard,
            cursor: begins_after(stored, shard),
            stored: stored.behind,
        };
        self.resting
            .entry(stored.id.clone())
            .or_insert_with(resting);
        self.moved = true;
    }

    /// An endpoint that is gone, or is another process's from now on.
    pub(super) fn forget(&mut self, id: &str) {
        self.lanes.remove(id);
        self.resting.remove(id);
        self.ledger.remove(id);
    }

    /// Where no lane is at the head, the dispatcher begins where the first new one needs it to.
    fn begin_at_head(&mut self, changed: &[Changed]) {
        let at_head = |changed: &&Changed| {
            let stored = &changed.stored;
            stored.state != EndpointState::Disabled
                && !stored.behind
                && changed.sendable.is_ok()
                && self.lanes.get(&stored.id).is_none()
        };
        let first = changed.iter().filter(at_head).map(|changed| {
            let own = self.owned.get(changed.stored.shard);
            begins_after(&changed.stored, own.map(|own| own.shard.seq))
        });
        let first = first.min();
        if let (false, Some(first)) = (self.lanes.standings().any_at_head(), first) {
            self.head.begin(first);
        }
    }
}
