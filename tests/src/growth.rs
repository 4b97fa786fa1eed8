//! A worker whose account is of final states: projects that come, get endpoints, and go.
//!
//! Each project and each endpoint is a thing of its own name. One that is there in the end must have been
//! told of once, however many slots were lost meanwhile; so must one that is gone again, unless it came while
//! there was no slot.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::faults::Tally;
use crate::{Audit, Random, Receiver, Stage, Subscriber, eventually};

const WRITERS: usize = 3;
const PAUSE: Duration = Duration::from_millis(10);
/// Projects that a writer has at a time, at most.
const PROJECTS_MAX: usize = 1000;
/// A statement grows with its endpoints; one that has so many gets no more.
const ENDPOINTS_MAX: usize = 30;

/// Where the WAL ends.
const POSITION: &str = "select pg_current_wal_insert_lsn()";

/// Writers at work; aborted when dropped.
#[derive(Debug)]
pub struct Growth {
    pace: watch::Sender<Pace>,
    writers: JoinSet<Vec<Project>>,
    grown: Grown,
    changes: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Usual,
    Hurried,
    Over,
}

#[derive(Clone, Debug)]
struct Project {
    id: String,
    came: Came,
    endpoints: Vec<(String, Came)>,
    is_there: bool,
}

/// Between which positions of the WAL the transaction has committed that a thing came with.
type Came = RangeInclusive<PgLsn>;

/// Of a transaction that is only drawn yet.
fn unknown() -> Came {
    PgLsn::from(0)..=PgLsn::from(u64::MAX)
}

/// What there was, and what of it is still there.
#[derive(Clone, Debug, Default)]
pub struct Grown(Vec<Project>);

impl Growth {
    /// Starts as role `worker`, on table `projects` of the reference pack. `name` tells its rows from those of
    /// another one.
    pub async fn start(stage: &Stage, name: &str, random: &mut Random) -> Self {
        let (pace, _) = watch::channel(Pace::Usual);
        let changes = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                name: format!("{name}{number}"),
                made: 0,
                projects: Vec::new(),
                random: random.fork(),
                changes: Arc::clone(&changes),
            };
            let url = stage.server.url_as("worker", "app");
            writers.spawn(writer.run(url, pace.subscribe()));
        }
        Self {
            pace,
            writers,
            grown: Grown::default(),
            changes,
        }
    }

    /// Waits until this many more rows have changed.
    pub async fn until_more(&self, changes: usize) {
        let made = || self.changes.load(Ordering::Relaxed);
        let wanted = made() + changes;
        eventually("the worker changes rows", async || made() >= wanted).await;
    }

    /// From here on the writers make no pauses.
    pub fn hurry(&self) {
        self.pace.send_replace(Pace::Hurried);
    }

    /// Ends the writers between two transactions.
    pub async fn rest(&mut self) {
        self.pace.send_replace(Pace::Over);
        while let Some(of_one) = self.writers.join_next().await {
            let mut projects = of_one.expect("a writer does not panic");
            self.grown.0.append(&mut projects);
        }
    }

    pub async fn stop(mut self) -> Grown {
        self.rest().await;
        std::mem::take(&mut self.grown)
    }
}

struct Writer {
    name: String,
    made: usize,
    projects: Vec<Project>,
    random: Random,
    changes: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(mut self, url: String, mut pace: watch::Receiver<Pace>) -> Vec<Project> {
        let (client, connection) = tokio_postgres::connect(&url, NoTls)
            .await
            .expect("the server takes connections");
        // Ends with the client.
        tokio::spawn(connection);
        loop {
            let now = *pace.borrow_and_update();
            if now == Pace::Over {
                return self.projects;
            }
            let (sql, changes) = self.play();
            let sql = format!("{POSITION}; begin; {sql}; commit; {POSITION}");
            let done = client.simple_query(&sql).await;
            // Nothing that happens to the sidecar may be felt here.
            let done = done
                .unwrap_or_else(|error| panic!("a worker's statement failed: {error:?} in {sql}"));
            self.date(&done);
            self.changes.fetch_add(changes, Ordering::Relaxed);
            if now == Pace::Usual {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// What came with the last transaction is known to have come between the positions that it answered.
    fn date(&mut self, answers: &[SimpleQueryMessage]) {
        let positions: Vec<PgLsn> = answers
            .iter()
            .filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            })
            .collect();
        let [before, after] = positions[..] else {
            panic!("two positions are asked for: {answers:?}");
        };
        for project in &mut self.projects {
            let endpoints = project.endpoints.iter_mut().map(|(_, came)| came);
            for came in endpoints.chain([&mut project.came]) {
                if *came == unknown() {
                    *came = before..=after;
                }
            }
        }
    }

    /// Draws a transaction and how many rows it changes. The account is then as after its commit.
    fn play(&mut self) -> (String, usize) {
        let changes = 1 + self.random.below(4);
        let statements: Vec<String> = (0..changes).map(|_| self.change()).collect();
        (statements.join("; "), changes)
    }

    fn change(&mut self) -> String {
        let there: Vec<usize> = self.places_there();
        if there.len() < 3 || self.random.once_in(4) && there.len() < PROJECTS_MAX {
            return self.come();
        }
        let place = there[self.random.below(there.len())];
        let is_full = self.projects[place].endpoints.len() >= ENDPOINTS_MAX;
        if is_full || self.random.once_in(8) {
            return self.go(place);
        }
        for _ in 0..=self.random.below(2) {
            let endpoint = format!("GET /{}", self.name());
            self.projects[place].endpoints.push((endpoint, unknown()));
        }
        let Project { id, endpoints, .. } = &self.projects[place];
        let endpoints = json(endpoints);
        format!("update projects set endpoints = '{endpoints}' where project_id = '{id}'")
    }

    fn go(&mut self, place: usize) -> String {
        let project = &mut self.projects[place];
        project.is_there = false;
        let sql = format!("delete from projects where project_id = '{}'", project.id);
        // What comes and goes within one transaction never was.
        project.endpoints.retain(|(_, came)| *came != unknown());
        if project.came == unknown() {
            self.projects.remove(place);
        }
        sql
    }

    fn places_there(&self) -> Vec<usize> {
        let places = self.projects.iter().enumerate();
        let there = places.filter(|(_, project)| project.is_there);
        there.map(|(place, _)| place).collect()
    }

    fn come(&mut self) -> String {
        let id = self.name();
        self.projects.push(Project {
            id: id.clone(),
            came: unknown(),
            endpoints: Vec::new(),
            is_there: true,
        });
        format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active')")
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }
}

impl Grown {
    /// Takes another account in.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Compares what is told with what is there, and with what ever was.
    pub async fn audit(&self, stage: &Stage, all: &Receiver) -> Tally {
        let audit = Audit::of_log(stage, &[Subscriber::of_all(all)]).await;
        let mut tally = Tally {
            audit,
            ..Tally::default()
        };
        let (told, gaps) = (told(stage).await, gaps(stage).await);
        // What came in a gap is told, if at all, by whoever compares.
        let in_gap = |came: &Came| {
            let overlaps = |gap: &Came| came.start() < gap.end() && gap.start() < came.end();
            gaps.iter().any(overlaps)
        };
        let mut known = BTreeSet::new();
        for project in &self.0 {
            for (thing, came) in project.things() {
                let origins = told.get(&thing).map_or(&[][..], Vec::as_slice);
                tally.audit.expected += usize::from(project.is_there);
                tally.audit.duplicated += origins.len().saturating_sub(1);
                let seen = !in_gap(came);
                match origins {
                    [] if project.is_there || seen => {
                        tally.audit.lost += 1;
                        tally
                            .audit
                            .fault(format!("never told: {thing:?}, of {came:?}"));
                    }
                    [] => tally.unobserved += 1,
                    [origin] if seen && !in_gap(&project.came) && origin != "stream" => {
                        let fault = format!("{thing:?} of {came:?} is of no gap, and {origin}");
                        tally.audit.fault(fault);
                    }
                    [_] => {}
                    _ => tally.audit.fault(format!("told {origins:?}: {thing:?}")),
                }
                known.insert(thing);
            }
        }
        for thing in told.keys().filter(|thing| !known.contains(*thing)) {
            tally.audit.duplicated += 1;
            tally.audit.fault(format!("told, and never was: {thing:?}"));
        }
        tally
    }
}

/// A project, and one of its endpoints unless it is meant itself.
type Thing = (String, String);

impl Project {
    fn things(&self) -> Vec<(Thing, &Came)> {
        let itself = ((self.id.clone(), String::new()), &self.came);
        let endpoints = self.endpoints.iter();
        std::iter::once(itself)
            .chain(endpoints.map(|(name, came)| ((self.id.clone(), name.clone()), came)))
            .collect()
    }
}

/// What no stream has shown: from where progress stood to where the next slot begins.
async fn gaps(stage: &Stage) -> Vec<Came> {
    let query = "select from_lsn, until_lsn from tidings.gaps where until_lsn is not null";
    let gaps = stage.connect().await.query(query, &[]).await;
    let gaps = gaps.expect("gaps can be read").into_iter();
    gaps.map(|gap| gap.get(0)..=gap.get(1)).collect()
}

/// The origins of whatever told of each thing, taken from the sentences.
async fn told(stage: &Stage) -> BTreeMap<Thing, Vec<String>> {
    let query = "select project_id, action_type, action_details, origin from tidings.actions
                 where origin <> 'notice'";
    let rows = stage.connect().await.query(query, &[]).await;
    let mut told: BTreeMap<Thing, Vec<String>> = BTreeMap::new();
    for row in rows.expect("actions can be read") {
        let (project, action_type, details): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let things = match (action_type.as_str(), details.split_once(": ")) {
            ("project_created", _) => vec![String::new()],
            ("endpoints_added", Some((_, list))) => list.split(", ").map(str::to_owned).collect(),
            // Whatever it is, nothing here has caused it.
            _ => vec![details],
        };
        for thing in things {
            let origins = told.entry((project.clone(), thing)).or_default();
            origins.push(row.get(3));
        }
    }
    told
}

fn json(endpoints: &[(String, Came)]) -> String {
    let endpoint = |(endpoint, _): &(String, Came)| {
        let path = endpoint.strip_prefix("GET ").unwrap_or(endpoint);
        format!(r#"{{"method": "GET", "path": "{path}"}}"#)
    };
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    format!("[{}]", endpoints.join(", "))
}
