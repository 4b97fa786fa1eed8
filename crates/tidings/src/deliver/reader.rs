//! A task that reads over a connection of its own: what it is asked goes in, what it found comes out,
//! in order. Two of them run: one reads at the head, the other for everything else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use activity::Seq;
use connect::{Identity, Target};
use jiff::Timestamp;
use jiff::civil::Date;
use store::delivery::{self, ParkedDelivery, RunningReplay};
use store::log::{self, LoggedAction, Matching};
use store::{Error, Purpose, Session, partitions};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use webhook::{Endpoint, Filter};

use super::roster::{self, Known, Roster};
use crate::settings::Settings;

/// Questions that wait.
pub const ASKED_MAX: usize = 2;
/// Actions read at the head at once.
const HEAD_COUNT: i64 = 500;
/// Actions read at once for a project that was held, or for a replay.
const BACKLOG_COUNT: i64 = 250;
/// How far a lane that is behind reads at once, in actions that may not be for it.
const BEHIND_WINDOW: i64 = 20_000;
/// Parked deliveries read at once: twice those that a lane may have in hand already.
const DUE_COUNT: i64 = 64;
/// An answer must come within this: a window of the log on a busy server.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What is to be read.
#[derive(Debug)]
pub enum Ask {
    /// What comes after this in the log; `None`: where the log ends.
    Head(Option<Seq>),
    Roster(Box<Known>),
    /// For an endpoint that is behind: from its cursor towards the head as it is known.
    Behind {
        endpoint: Arc<Endpoint>,
        after: Seq,
        head: Seq,
        /// Actions to read at once.
        limit: i64,
    },
    Due {
        endpoint_id: String,
    },
    /// For a project that was held: towards the head as it is known.
    Held {
        endpoint_id: String,
        project: String,
        after: Seq,
        head: Seq,
    },
    /// The replays of these shards; what those have attempted that are not known.
    Replays {
        shards: Vec<i16>,
        known: HashSet<String>,
    },
    /// For a replay: what its endpoint asks for, and it too.
    Replay {
        endpoint: Arc<Endpoint>,
        replay: Box<RunningReplay>,
        after: Seq,
        until: Seq,
    },
    /// Makes partitions for attempts, and drops those past their time.
    Cover {
        days: i32,
    },
}

/// What was found.
#[derive(Debug)]
pub enum Told {
    Head {
        /// As it was asked.
        after: Option<Seq>,
        actions: Vec<Arc<LoggedAction>>,
        /// The last action that there is, as far as was looked.
        to: Seq,
        /// Whether there may be more.
        more: bool,
    },
    /// `None`: as it was known.
    Roster(Option<Box<Roster>>),
    Behind {
        /// As it was when it was asked for.
        endpoint: Arc<Endpoint>,
        after: Seq,
        actions: Vec<Arc<LoggedAction>>,
        /// How far was read, actions that are not for it included.
        to: Seq,
    },
    Due {
        endpoint_id: String,
        /// What was due by then comes with its action, where the log has not lost it.
        now: Timestamp,
        /// The longest due first; with the actions of each digest.
        parked: Vec<(ParkedDelivery, Vec<Arc<LoggedAction>>)>,
        /// Whether there may be more.
        more: bool,
    },
    Held {
        endpoint_id: String,
        project: String,
        after: Seq,
        actions: Vec<Arc<LoggedAction>>,
        to: Seq,
    },
    /// Each with the actions past its cursor that it has attempted; nothing where it was known.
    Replays(Vec<(RunningReplay, Vec<Seq>)>),
    Replay {
        endpoint_id: String,
        replay_id: String,
        after: Seq,
        actions: Vec<Arc<LoggedAction>>,
        to: Seq,
    },
    Covered(Date),
}

pub struct Reader {
    asks: mpsc::Sender<Ask>,
    told: mpsc::Receiver<Result<Told, Error>>,
    under_way: usize,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    pub async fn begin(
        target: &Target,
        settings: &Arc<Settings>,
        server: Option<&Identity>,
    ) -> Result<Self, Error> {
        let schema = &settings.database.schema;
        let session = Session::open_at(target, schema, Purpose::Write, server).await?;
        log::read_in_order(&session).await?;
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        let (tells, told) = mpsc::channel(ASKED_MAX);
        let task = tokio::spawn(read(session, Arc::clone(settings), asked, tells));
        Ok(Self {
            asks,
            told,
            under_way: 0,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Whether another question may be asked now.
    pub fn has_room(&self) -> bool {
        self.under_way < ASKED_MAX
    }

    /// Asks. Each question has one answer.
    ///
    /// # Errors
    /// Where the task is over; its last answer says why.
    pub fn ask(&mut self, ask: Ask) -> Result<(), Error> {
        let over = |_| Error::Unreadable("a reader takes no question".to_owned());
        self.under_way += 1;
        self.asks.try_send(ask).map_err(over)
    }

    /// Waits for the next answer. Cancel safe. After an error there is none.
    pub async fn told(&mut self) -> Result<Told, Error> {
        let over = || Err(Error::Unreadable("a reader is over".to_owned()));
        let told = self.told.recv().await.unwrap_or_else(over);
        self.under_way = self.under_way.saturating_sub(1);
        told
    }
}

async fn read(
    session: Session,
    settings: Arc<Settings>,
    mut asks: mpsc::Receiver<Ask>,
    tells: mpsc::Sender<Result<Told, Error>>,
) {
    while let Some(ask) = asks.recv().await {
        let told = match tokio::time::timeout(ANSWER_MAX, find(&session, &settings, ask)).await {
            Ok(told) => told,
            Err(_) => Err(Error::TimedOut(ANSWER_MAX.as_secs())),
        };
        let over = told.is_err();
        if tells.send(told).await.is_err() || over {
            return;
        }
    }
}

async fn find(session: &Session, settings: &Settings, ask: Ask) -> Result<Told, Error> {
    match ask {
        Ask::Head(None) => Ok(Told::Head {
            after: None,
            actions: Vec::new(),
            to: log::head(session).await?,
            more: false,
        }),
        Ask::Head(Some(after)) => {
            let actions = shared(log::after(session, after, HEAD_COUNT).await?);
            Ok(Told::Head {
                after: Some(after),
                to: actions.last().map_or(after, |action| action.seq),
                more: actions.len() == HEAD_COUNT as usize,
                actions,
            })
        }
        Ask::Roster(known) => {
            let roster = roster::read(session, &known, &settings.webhooks).await?;
            Ok(Told::Roster(roster))
        }
        Ask::Behind {
            endpoint,
            after,
            head,
            limit,
        } => {
            let types = names(&endpoint.filter);
            let wanted = Matching {
                after,
                to: head,
                types: &types,
                projects: &endpoint.filter.projects,
                environments: &endpoint.filter.environments,
                statuses: &endpoint.filter.statuses,
            };
            let (actions, to) = window(session, wanted, limit).await?;
            Ok(Told::Behind {
                endpoint,
                after,
                actions,
                to,
            })
        }
        Ask::Due { endpoint_id } => {
            let parked = delivery::due(session, &endpoint_id, DUE_COUNT).await?;
            let now = Timestamp::now();
            let more = parked.len() == DUE_COUNT as usize;
            let due = parked.iter().filter(|parked| parked.due <= now);
            let seqs: Vec<i64> = due
                .flat_map(|parked| parked.covers.iter().chain([&parked.seq]))
                .map(|seq| seq.get())
                .collect();
            let actions = match seqs.is_empty() {
                true => Vec::new(),
                false => shared(log::of(session, &seqs).await?),
            };
            let actions: HashMap<Seq, Arc<LoggedAction>> = actions
                .into_iter()
                .map(|action| (action.seq, action))
                .collect();
            let parked = parked.into_iter().map(|parked| {
                let first = actions.get(&parked.seq).into_iter();
                let rest = parked.covers.iter().filter(|seq| **seq != parked.seq);
                // Without its first action it is none.
                let rest = rest
                    .filter(|_| actions.contains_key(&parked.seq))
                    .filter_map(|seq| actions.get(seq));
                let told = first.chain(rest).cloned().collect();
                (parked, told)
            });
            Ok(Told::Due {
                endpoint_id,
                now,
                parked: parked.collect(),
                more,
            })
        }
        Ask::Held {
            endpoint_id,
            project,
            after,
            head,
        } => {
            let project_id = (!project.is_empty()).then_some(project.as_str());
            let actions = log::of_project(session, project_id, after, BACKLOG_COUNT).await?;
            let last = actions.last().map_or(after, |action| action.seq);
            // Less than was asked for: that is all there is, the head included.
            let all = actions.len() < BACKLOG_COUNT as usize;
            Ok(Told::Held {
                endpoint_id,
                project,
                after,
                actions: shared(actions),
                to: if all { last.max(head) } else { last },
            })
        }
        Ask::Replays { shards, known } => {
            let mut replays = Vec::new();
            for replay in delivery::running_replays(session, &shards).await? {
                let attempted = match known.contains(&replay.id) {
                    true => Vec::new(),
                    false => delivery::attempted_in_replay(session, &replay).await?,
                };
                replays.push((replay, attempted));
            }
            Ok(Told::Replays(replays))
        }
        Ask::Replay {
            endpoint,
            replay,
            after,
            until,
        } => {
            // What both ask for: the lane looks at the endpoint's own lists once more.
            let types = match replay.types.is_empty() {
                true => names(&endpoint.filter),
                false => replay.types,
            };
            let projects = match replay.projects.is_empty() {
                true => &endpoint.filter.projects,
                false => &replay.projects,
            };
            let wanted = Matching {
                after,
                to: until,
                types: &types,
                projects,
                environments: &endpoint.filter.environments,
                statuses: &endpoint.filter.statuses,
            };
            let (actions, to) = window(session, wanted, BACKLOG_COUNT).await?;
            Ok(Told::Replay {
                endpoint_id: replay.endpoint_id,
                replay_id: replay.id,
                after,
                actions,
                to,
            })
        }
        Ask::Cover { days } => {
            let again = partitions::cover_attempts(session, Timestamp::now(), days).await?;
            Ok(Told::Covered(again))
        }
    }
}

/// What the lists let through, at most so many and not of the whole log, and how far was read, actions
/// that are not wanted included.
async fn window(
    session: &Session,
    wanted: Matching<'_>,
    limit: i64,
) -> Result<(Vec<Arc<LoggedAction>>, Seq), Error> {
    let after = wanted.after;
    let to = wanted
        .to
        .min(Seq::new(after.get().saturating_add(BEHIND_WINDOW)));
    let actions = shared(log::matching(session, &Matching { to, ..wanted }, limit).await?);
    let cut = i64::try_from(actions.len()) == Ok(limit);
    let last = actions.last().map(|action| action.seq).filter(|_| cut);
    Ok((actions, last.unwrap_or(to.max(after))))
}

fn names(filter: &Filter) -> Vec<String> {
    filter.types.iter().map(ToString::to_string).collect()
}

fn shared(actions: Vec<LoggedAction>) -> Vec<Arc<LoggedAction>> {
    actions.into_iter().map(Arc::new).collect()
}
