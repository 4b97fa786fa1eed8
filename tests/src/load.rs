//! A worker under load: several connections that write what [`World`] draws, and an account of what
//! was committed that no lost connection can falsify.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error, NoTls};

use crate::world::{COPY, Plan, World};
use crate::{Expected, PATIENCE, Random, Stage, eventually};

/// Between two tries to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What the time of a commit may be off by, in seconds.
const CLOCK_SLACK: i64 = 1;

/// How a load writes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub connections: usize,
    /// Between two transactions of a connection.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let pause = Duration::from_millis(15);
        Self {
            connections: 3,
            pause,
        }
    }
}

/// Writers at work; aborted when dropped.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    writers: JoinSet<Vec<Expected>>,
    committed: Arc<AtomicUsize>,
}

impl Load {
    /// Starts as role `worker`, on the tables of the reference pack. `name` tells its rows from those
    /// of another load on the same stage.
    pub async fn start(stage: &Stage, name: &str, random: &mut Random, pace: Pace) -> Self {
        let url = stage.server.url_as("worker", "app");
        Self::start_at(&url, stage, name, random, pace).await
    }

    /// The same through this URL, which may lead to another server later on.
    pub async fn start_at(
        url: &str,
        stage: &Stage,
        name: &str,
        random: &mut Random,
        pace: Pace,
    ) -> Self {
        let markers = "create table if not exists load_markers (marker text primary key)";
        stage.execute(&format!("set role worker; {markers}")).await;
        let (stop, stopped) = watch::channel(false);
        let committed = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for number in 0..pace.connections {
            let writer = Writer {
                url: url.to_owned(),
                name: format!("{name}{number}"),
                connections: 0,
                transactions: 0,
                committed: Arc::clone(&committed),
            };
            writers.spawn(writer.run(random.fork(), pace.pause, stopped.clone()));
        }
        Self {
            stop,
            writers,
            committed,
        }
    }

    /// Transactions known to be committed so far.
    pub fn committed(&self) -> usize {
        self.committed.load(Ordering::Relaxed)
    }

    /// Waits until this many more transactions are committed.
    pub async fn until_more(&self, count: usize) {
        let wanted = self.committed() + count;
        let fact = format!("{wanted} transactions are committed");
        eventually(&fact, async || self.committed() >= wanted).await;
    }

    /// Ends the writers between two transactions: every action that they must have come to.
    pub async fn stop(mut self) -> Vec<Expected> {
        self.stop.send_replace(true);
        let mut expected = Vec::new();
        while let Some(of_one) = self.writers.join_next().await {
            expected.append(&mut of_one.expect("a writer does not panic"));
        }
        expected
    }
}

struct Writer {
    url: String,
    name: String,
    connections: usize,
    transactions: usize,
    committed: Arc<AtomicUsize>,
}

enum End {
    Committed,
    NotCommitted,
    /// The connection broke while COMMIT was under way.
    Unknown,
}

impl Writer {
    async fn run(
        mut self,
        mut random: Random,
        pause: Duration,
        stopped: watch::Receiver<bool>,
    ) -> Vec<Expected> {
        let mut world = World::new(&self.name);
        let mut expected = Vec::new();
        let mut client = self.connect().await;
        while !*stopped.borrow() {
            let mut next = world.clone();
            let plan = next.play(&mut random);
            let (marker, began) = (self.marker(), seconds());
            let ended = match random.once_in(8) {
                true => self.roll_back(&client, &plan).await,
                false => self.write(&client, &plan, &marker).await,
            };
            let committed = match ended {
                End::Committed => true,
                End::NotCommitted => false,
                End::Unknown => {
                    self.until_gone().await;
                    client = self.connect().await;
                    self.is_committed(&mut client, &marker).await
                }
            };
            if committed {
                self.committed.fetch_add(1, Ordering::Relaxed);
                world = next;
                // The server's clock is ours, and it rounds down.
                let within = began - CLOCK_SLACK..=seconds() + CLOCK_SLACK;
                expected.extend(plan.expected.into_iter().map(|action| Expected {
                    committed: within.clone(),
                    ..action
                }));
            }
            if client.is_closed() {
                client = self.connect().await;
            }
            tokio::time::sleep(pause).await;
        }
        expected
    }

    fn marker(&mut self) -> String {
        self.transactions += 1;
        format!("{} {}", self.name, self.transactions)
    }

    async fn write(&self, client: &Client, plan: &Plan, marker: &str) -> End {
        let mark = format!("insert into load_markers values ('{marker}')");
        let written = async {
            self.statements(client, plan).await?;
            client.batch_execute(&mark).await
        };
        if let Err(error) = written.await {
            let end = not_committed(&error);
            // Where the server is still there.
            drop(client.batch_execute("rollback").await);
            return end;
        }
        match client.batch_execute("commit").await {
            Ok(()) => End::Committed,
            Err(error) => {
                not_committed(&error);
                End::Unknown
            }
        }
    }

    async fn roll_back(&self, client: &Client, plan: &Plan) -> End {
        match self.statements(client, plan).await {
            Ok(()) => drop(client.batch_execute("rollback").await),
            Err(error) => {
                not_committed(&error);
                drop(client.batch_execute("rollback").await);
            }
        }
        End::NotCommitted
    }

    async fn statements(&self, client: &Client, plan: &Plan) -> Result<(), Error> {
        let sql = format!("begin; {}", plan.statements.join("; "));
        client.batch_execute(&sql).await?;
        if !plan.copied.is_empty() {
            let sink = client.copy_in::<_, Bytes>(COPY).await?;
            tokio::pin!(sink);
            sink.send(Bytes::from(plan.copied.concat())).await?;
            sink.finish().await?;
        }
        Ok(())
    }

    /// As long as the server takes to come back.
    async fn connect(&mut self) -> Client {
        self.connections += 1;
        let joint = if self.url.contains('?') { '&' } else { '?' };
        let application = self.application();
        let url = format!("{}{joint}application_name={application}", self.url);
        let begun = Instant::now();
        loop {
            match session(&url).await {
                Ok(client) => return client,
                Err(error) => assert!(
                    begun.elapsed() < PATIENCE,
                    "the server stays away: {error:?}"
                ),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn application(&self) -> String {
        format!("load-{}-{}", self.name, self.connections)
    }

    /// Waits until the server process that we lost can't commit any more.
    async fn until_gone(&self) {
        let query = "select count(*) from pg_stat_activity where application_name = $1";
        let begun = Instant::now();
        loop {
            if let Ok(client) = session(&self.url).await
                && let Ok(left) = client.query_one(query, &[&self.application()]).await
                && left.get::<_, i64>(0) == 0
            {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "a lost session does not end");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn is_committed(&mut self, client: &mut Client, marker: &str) -> bool {
        let query = "select count(*) from load_markers where marker = $1";
        loop {
            match client.query_one(query, &[&marker]).await {
                Ok(row) => return row.get::<_, i64>(0) == 1,
                Err(error) => drop(not_committed(&error)),
            }
            *client = self.connect().await;
        }
    }
}

/// Since 1970.
fn seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

async fn session(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client, or with the server, which the client then tells.
    tokio::spawn(connection);
    Ok(client)
}

/// Panics unless the server went away or has no room: nothing else may fail here.
fn not_committed(error: &Error) -> End {
    let code = error.code().map_or("", |code| code.code());
    let excuses = ["57", "08", "53100"];
    let severity = error.as_db_error().map_or("", |error| error.severity());
    let excused = code.is_empty()
        || severity == "PANIC"
        || excuses.iter().any(|excuse| code.starts_with(excuse));
    assert!(excused, "a worker's statement failed: {error:?}");
    End::NotCommitted
}
