//! Compares what there is with what there must be, once everything has come through.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_postgres::Client;

use crate::{Expected, PATIENCE, Receiver, Request, Stage};

/// Within this an outcome is committed, on a machine that is busy with other tests.
const UNCOMMITTED_MAX: Duration = Duration::from_secs(2);

/// A receiver, and the action types that its endpoint's filter lets through; none means all.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber<'a> {
    pub receiver: &'a Receiver,
    pub types: &'a [&'a str],
}

impl<'a> Subscriber<'a> {
    pub fn of_all(receiver: &'a Receiver) -> Self {
        let types = &[];
        Self { receiver, types }
    }
    fn wants(&self, action_type: &str) -> bool {
        self.types.is_empty() || self.types.contains(&action_type)
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub expected: usize,
    /// Expected actions that are not in `project_actions`.
    pub lost: usize,
    /// Rows of `project_actions` that nothing expected, or that are there once too often.
    pub duplicated: usize,
    pub deliveries_lost: usize,
    /// Deliveries accepted once more, under the webhook-id of the first.
    pub deliveries_repeated: usize,
    /// Whatever else is not as it must be, and some of the above, in words.
    pub faults: Vec<String>,
}

impl Audit {
    /// Waits until everything expected is there or nothing moves any more, then counts.
    pub async fn take(
        stage: &Stage,
        expected: &[Expected],
        subscribers: &[Subscriber<'_>],
    ) -> Self {
        let mut audit = Self {
            expected: expected.len(),
            ..Self::default()
        };
        let client = stage.connect().await;
        let count = "select count(*) from project_actions";
        until_still(expected.len(), async || number(&client, count).await).await;
        audit.compare_actions(&client, expected).await;
        audit.compare_rest(&client, subscribers).await;
        audit
    }

    /// The same without an account of the actions, once the condition holds or nothing moves any more.
    pub async fn of_log(
        stage: &Stage,
        subscribers: &[Subscriber<'_>],
        holds: impl AsyncFn() -> bool,
    ) -> Self {
        let mut audit = Self::default();
        let client = stage.connect().await;
        let count = "select count(*) from project_actions";
        until_still(usize::MAX, async || match holds().await {
            true => usize::MAX,
            false => number(&client, count).await,
        })
        .await;
        audit.compare_rest(&client, subscribers).await;
        audit
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.expected += other.expected;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.deliveries_lost += other.deliveries_lost;
        self.deliveries_repeated += other.deliveries_repeated;
        self.faults.extend(other.faults);
    }

    async fn compare_rest(&mut self, client: &Client, subscribers: &[Subscriber<'_>]) {
        self.compare_log(client).await;
        // What Tidings says of itself is not among them: nobody here has asked for it.
        let actions = actions(client).await;
        for subscriber in subscribers {
            self.compare_deliveries(subscriber, &actions).await;
        }
    }

    /// Panics, naming the faults, unless all is well. Repeated deliveries are.
    #[track_caller]
    pub fn assert_clean(&self) {
        let zeros = self.lost + self.duplicated + self.deliveries_lost;
        assert!(zeros == 0 && self.faults.is_empty(), "{self:#?}");
    }

    pub(crate) fn fault(&mut self, fault: String) {
        const FAULTS_MAX: usize = 20;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    async fn compare_actions(&mut self, client: &Client, expected: &[Expected]) {
        let mut balance: BTreeMap<&Expected, i64> = BTreeMap::new();
        for expected in expected {
            *balance.entry(expected).or_default() += 1;
        }
        let actions = actions(client).await;
        for found in actions.values() {
            *balance.entry(found).or_default() -= 1;
        }
        for (action, balance) in balance {
            match balance {
                1.. => self.lost += balance.unsigned_abs() as usize,
                0 => continue,
                _ => self.duplicated += balance.unsigned_abs() as usize,
            }
            self.fault(format!("{balance:+} missing: {action:?}"));
        }
    }

    /// The log has the same actions, under numbers without gaps, in the order of the commits.
    async fn compare_log(&mut self, client: &Client) {
        for (claim, faults) in [
            (
                "the log and project_actions hold the same rows",
                "select count(*) from (select * from tidings.actions where origin <> 'notice') a
                 full join project_actions p using (action_id)
                 where a.action_id is null or p.action_id is null
                   or (a.project_id, a.user_id, a.request_id, a.action_type, a.action_details, a.status,
                       a.environment, a.reference_ids, a.created_at)
                   is distinct from (p.project_id, p.user_id, p.request_id, p.action_type,
                       p.action_details, p.status, p.environment, p.reference_ids, p.created_at)",
            ),
            (
                "seq has no gap",
                "select count(*) from (select seq, row_number() over (order by seq) from tidings.actions)
                   as numbered (seq, place) where seq <> place",
            ),
            (
                "seq is in commit order",
                "select count(*) from (select action_id, lag(action_id) over (order by seq)
                   from tidings.actions) as ordered (action_id, before) where action_id <= before",
            ),
            (
                "progress knows the newest seq",
                "select count(*) from tidings.progress
                 where seq <> (select coalesce(max(seq), 0) from tidings.actions)",
            ),
            ("nothing is in quarantine", "select count(*) from tidings.quarantine"),
        ] {
            let count = number(client, faults).await;
            if count != 0 {
                self.fault(format!("not so in {count} cases: {claim}"));
            }
        }
    }

    async fn compare_deliveries(
        &mut self,
        subscriber: &Subscriber<'_>,
        actions: &HashMap<String, Expected>,
    ) {
        let wanted = || {
            actions
                .iter()
                .filter(|(_, action)| subscriber.wants(&action.action_type))
        };
        let receiver = subscriber.receiver;
        until_still(wanted().count(), async || receiver.accepted().len()).await;
        let accepted = receiver.accepted();
        self.deliveries_lost += wanted()
            .filter(|(id, _)| !accepted.contains_key(*id))
            .count();
        self.deliveries_repeated += accepted.values().map(|times| times - 1).sum::<usize>();
        let mut first: HashMap<String, Bytes> = HashMap::new();
        for request in receiver.requests() {
            if let Err(fault) = check(&request, subscriber, actions, &mut first) {
                self.fault(format!("webhook-id {}: {fault}", request.id()));
            }
        }
    }
}

/// Whether a request is a notification of an action that the subscriber wants, and says what the
/// first one under this webhook-id said.
fn check(
    request: &Request,
    subscriber: &Subscriber<'_>,
    actions: &HashMap<String, Expected>,
    first: &mut HashMap<String, Bytes>,
) -> Result<(), String> {
    request.verified.as_ref().map_err(ToString::to_string)?;
    let action = actions.get(request.id()).ok_or("there is no such action")?;
    let Expected {
        action_type,
        details,
        ..
    } = action;
    if !subscriber.wants(action_type) {
        return Err("its filter lets no such action through".to_owned());
    }
    let body = request.json();
    let data = &body["data"];
    if body["type"] != **action_type
        || data["action_details"] != **details
        || data["action_id"] != *request.id()
    {
        return Err("its body is that of another action".to_owned());
    }
    match first.insert(request.id().to_owned(), request.body.clone()) {
        Some(before) if before != request.body => Err("its body has changed".to_owned()),
        _ => Ok(()),
    }
}

/// What came to the receiver more than once although nothing died about then, in words. What was on
/// its way when something died, or not yet committed, may come again.
pub fn unexplained_repeats(receiver: &Receiver, deaths: &[Instant]) -> Vec<String> {
    let requests = receiver.requests();
    let mut last: HashMap<&str, Instant> = HashMap::new();
    let mut unexplained = Vec::new();
    for request in &requests {
        let Some(before) = last.insert(request.id(), request.at) else {
            continue;
        };
        let explains = |death: &Instant| {
            *death + UNCOMMITTED_MAX > before && *death < before + UNCOMMITTED_MAX
        };
        if !deaths.iter().any(explains) {
            let apart = request.at - before;
            unexplained.push(format!("{} came again after {apart:?}", request.id()));
        }
    }
    unexplained
}

/// Everything in `project_actions`, by its id.
async fn actions(client: &Client) -> HashMap<String, Expected> {
    let query = "select action_id, action_type, coalesce(action_details, ''), coalesce(project_id, '') \
                 from project_actions";
    let rows = client.query(query, &[]).await;
    let rows = rows.expect("actions can be read").into_iter();
    rows.map(|row| {
        let action = Expected {
            action_type: row.get(1),
            details: row.get(2),
            project_id: row.get(3),
        };
        (row.get(0), action)
    })
    .collect()
}

/// Waits until the number is reached, or has not moved for long.
async fn until_still(wanted: usize, number: impl AsyncFn() -> usize) {
    let (mut before, mut moved) = (0, Instant::now());
    while moved.elapsed() < PATIENCE {
        let now = number().await;
        if now >= wanted {
            return;
        }
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn number(client: &Client, query: &str) -> usize {
    let row = client.query_one(query, &[]).await;
    let row = row.unwrap_or_else(|error| panic!("{error:?} in {query}"));
    usize::try_from(row.get::<_, i64>(0)).expect("a count is not negative")
}
