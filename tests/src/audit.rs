//! Compares what there is with what there must be, once everything has come through.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_postgres::Client;

use crate::quiet::until_quiet;
use crate::{Expected, Receiver, Request, Stage, images_that_differ};

/// Within this an outcome is committed, on a machine that is busy with other tests.
const UNCOMMITTED_MAX: Duration = Duration::from_secs(2);
/// Within this what a dead process has sent has arrived, and one that lost its session has noticed.
const IN_FLIGHT_MAX: Duration = Duration::from_millis(500);

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
    /// How many are to hear of it.
    pub subscribers: usize,
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
    /// Waits until everything has come through or nothing moves any more, then counts. The worker has done its
    /// last, and the stream has shown all of it.
    pub async fn take(
        stage: &Stage,
        expected: &[Expected],
        subscribers: &[Subscriber<'_>],
    ) -> Self {
        let client = stage.connect().await;
        let (mut audit, actions) = Self::of(&client, subscribers).await;
        audit.expected = expected.len();
        audit.compare_actions(&actions, expected);
        // What the stream lost, a comparison of tables may have healed.
        for (claim, cases) in [
            (
                "every action comes from the stream",
                "select count(*) from tidings.actions where origin <> 'stream'",
            ),
            ("there was no gap", "select count(*) from tidings.gaps"),
        ] {
            audit.claim(&client, claim, cases).await;
        }
        audit
    }

    /// The same without an account of the actions, which may come from wherever they do.
    pub async fn of_log(stage: &Stage, subscribers: &[Subscriber<'_>]) -> Self {
        let client = stage.connect().await;
        Self::of(&client, subscribers).await.0
    }

    async fn of(
        client: &Client,
        subscribers: &[Subscriber<'_>],
    ) -> (Self, HashMap<String, Expected>) {
        const SEQ: &str = "select seq from tidings.progress";
        let mut audit = Self {
            subscribers: subscribers.len(),
            ..Self::default()
        };
        if let Some(claim) = until_quiet(client).await {
            audit.fault(format!("nothing moves any more, and it is not so: {claim}"));
        }
        let seq = number(client, SEQ).await;
        audit.compare_log(client).await;
        // What Tidings says of itself is not among them: nobody here has asked for it.
        let actions = actions(client).await;
        for subscriber in subscribers {
            audit.compare_deliveries(subscriber, &actions);
        }
        if number(client, SEQ).await != seq {
            audit.fault("an action came when all was over".to_owned());
        }
        (audit, actions)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.expected += other.expected;
        self.subscribers = self.subscribers.max(other.subscribers);
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.deliveries_lost += other.deliveries_lost;
        self.deliveries_repeated += other.deliveries_repeated;
        self.faults.extend(other.faults);
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

    fn compare_actions(&mut self, actions: &HashMap<String, Expected>, expected: &[Expected]) {
        let mut missing: BTreeMap<[&str; 5], Vec<&Expected>> = BTreeMap::new();
        for action in expected {
            missing.entry(action.said()).or_default().push(action);
        }
        for found in actions.values() {
            let alike = missing.entry(found.said()).or_default();
            let at = found.committed.start();
            let place = alike
                .iter()
                .position(|action| action.committed.contains(at));
            match (place, alike.pop()) {
                (Some(place), Some(last)) if place < alike.len() => alike[place] = last,
                (Some(_), _) => {}
                (None, Some(_)) => self.fault(format!("not of its time: {found:?}")),
                (None, None) => {
                    self.duplicated += 1;
                    self.fault(format!("unexpected, or once too often: {found:?}"));
                }
            }
        }
        for action in missing.values().flatten() {
            self.lost += 1;
            self.fault(format!("missing: {action:?}"));
        }
    }

    /// The log has the same actions, under numbers without gaps, in the order of the commits.
    async fn compare_log(&mut self, client: &Client) {
        for (claim, cases) in [
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
            (
                "what was delivered, and stored as such, is not sent again",
                "select count(*) from (select from tidings.attempts
                   where outcome = 'delivered' and replay_id is null
                   group by endpoint_id, seq having count(*) > 1) as again",
            ),
        ] {
            self.claim(client, claim, cases).await;
        }
        let differ = images_that_differ(client).await;
        if differ != 0 {
            self.fault(format!("{differ} images are not as their rows are"));
        }
    }

    /// One more fault where there are such cases.
    async fn claim(&mut self, client: &Client, claim: &str, cases: &str) {
        let count = number(client, cases).await;
        if count != 0 {
            self.fault(format!("not so in {count} cases: {claim}"));
        }
    }

    fn compare_deliveries(
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
        let explains =
            |death: &Instant| before <= *death + IN_FLIGHT_MAX && *death < before + UNCOMMITTED_MAX;
        if !deaths.iter().any(explains) {
            let apart = request.at - before;
            unexplained.push(format!("{} came again after {apart:?}", request.id()));
        }
    }
    unexplained
}

/// Everything in `project_actions`, by its id.
async fn actions(client: &Client) -> HashMap<String, Expected> {
    let query =
        "select action_id, action_type, coalesce(action_details, ''), coalesce(project_id, ''),
                   coalesce(status, ''), coalesce(environment, ''), created_at
                 from project_actions";
    let rows = client.query(query, &[]).await;
    let rows = rows.expect("actions can be read").into_iter();
    rows.map(|row| {
        let created_at: i64 = row.get(6);
        let action = Expected {
            action_type: row.get(1),
            details: row.get(2),
            project_id: row.get(3),
            status: row.get(4),
            environment: row.get(5),
            committed: created_at..=created_at,
        };
        (row.get(0), action)
    })
    .collect()
}

pub(crate) async fn number(client: &Client, query: &str) -> usize {
    let row = client.query_one(query, &[]).await;
    let row = row.unwrap_or_else(|error| panic!("{error:?} in {query}"));
    usize::try_from(row.get::<_, i64>(0)).expect("a count is not negative")
}
