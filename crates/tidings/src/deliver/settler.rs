//! A task that owns the connection which holds the shards: it settles, takes and gives up.
//!
//! Orders go in, one at a time; reports come out. Whatever the order takes, the loop goes on meanwhile.
//! Between orders it asks how many share the shards, which is the heartbeat of the [`Leash`] too.

use std::time::{Duration, Instant};

use connect::{Identity, Target};
use store::delivery::{self, Settlement, Shard, Taken};
use store::{Error, Purpose, Remedy, Session};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::answer;
use super::leash::{Hand, Leash};

/// How often the locks are looked after. Well below the second that a heartbeat may take.
const BEAT_PERIOD: Duration = Duration::from_millis(500);
/// Orders and reports that wait: a settlement, a taking and a giving up, each one at a time.
const WAITING_MAX: usize = 8;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    Settle(Box<Settlement>),
    /// Take at most so many shards beside those that are owned.
    Take {
        owned: Vec<i16>,
        limit: usize,
    },
    Release {
        shards: Vec<Shard>,
        in_good_order: bool,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Report {
    /// So many processes share the shards.
    Members(usize),
    /// The error says that the database has no room or time for it now.
    Settled(Box<Settlement>, Result<(), Error>),
    Taken(Vec<Taken>),
    Released(Vec<Shard>),
}

/// Dropped, it gives up every shard at once.
pub struct Settler {
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Result<Report, Error>>,
    _task: AbortOnDropHandle<()>,
}

impl Settler {
    pub async fn begin(
        target: &Target,
        schema: &str,
        server: Option<&Identity>,
    ) -> Result<(Self, Leash), Error> {
        let session = Session::open_at(target, schema, Purpose::Write, server).await?;
        let asked = Instant::now();
        answer(delivery::hold(&session)).await?;
        let (hand, leash) = Leash::new(asked);
        let (orders, ordered) = mpsc::channel(WAITING_MAX);
        let (reported, reports) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(settle(session, hand, ordered, reported));
        let settler = Self {
            orders,
            reports,
            _task: AbortOnDropHandle::new(task),
        };
        Ok((settler, leash))
    }

    /// Leaves an order. Whoever orders keeps to one of each kind at a time.
    ///
    /// # Errors
    /// Where the task is over; its last report says why.
    pub fn order(&self, order: Order) -> Result<(), Error> {
        let over = |_| Error::Unreadable("the settler takes no order".to_owned());
        self.orders.try_send(order).map_err(over)
    }

    /// Waits for the next report. Cancel safe. After an error there is none.
    pub async fn report(&mut self) -> Result<Report, Error> {
        let over = || Err(Error::Unreadable("the settler is over".to_owned()));
        self.reports.recv().await.unwrap_or_else(over)
    }
}

async fn settle(
    mut session: Session,
    hand: Hand,
    mut orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Result<Report, Error>>,
) {
    let mut beat = interval(BEAT_PERIOD);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let order = tokio::select! {
            biased;
            // Asking once more tells why.
            () = session.closed() => None,
            order = orders.recv() => match order {
                Some(order) => Some(order),
                None => return,
            },
            _ = beat.tick() => None,
        };
        let asked = Instant::now();
        let report = match (session.check_timeline(), order) {
            // Another session has met a promoted server: this is no longer the log that counts.
            (Err(error), _) => Err(error),
            (Ok(()), Some(order)) => perform(&mut session, order).await,
            (Ok(()), None) => answer(delivery::members(&session))
                .await
                .map(Report::Members),
        };
        let over = report.is_err();
        if !over {
            hand.answered(asked);
        }
        if reports.send(report).await.is_err() || over {
            return;
        }
    }
}

async fn perform(session: &mut Session, order: Order) -> Result<Report, Error> {
    match order {
        Order::Settle(settlement) => match answer(delivery::settle(session, &settlement)).await {
            // A row at fault is that of an endpoint that is being removed: gone the next time.
            Err(error) if matches!(error.remedy(), Remedy::Again | Remedy::RowAtFault) => {
                Ok(Report::Settled(settlement, Err(error)))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Report::Settled(settlement, Ok(()))),
        },
        Order::Take { owned, limit } => {
            let taken = answer(delivery::take_shards(session, &owned, limit)).await?;
            Ok(Report::Taken(taken))
        }
        Order::Release {
            shards,
            in_good_order,
        } => {
            answer(delivery::release_shards(session, &shards, in_good_order)).await?;
            Ok(Report::Released(shards))
        }
    }
}
