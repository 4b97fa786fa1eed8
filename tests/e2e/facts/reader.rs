use std::time::Duration;

use activity::{Lsn, Operation, Part, Row, Value};
use connect::Target;
use tests::{PATIENCE, Stage};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use wal::{Confirm, Connection, Ended, Error, Event, Limits, Resume, Start};

use super::NAME;

/// Between two tries to get a slot that somebody is about to leave.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads the slot through crate `wal`, without a database behind it: what it confirms is the test's to say.
pub(super) struct Reader {
    events: mpsc::Receiver<Event>,
    confirms: watch::Sender<Confirm>,
    stop: CancellationToken,
    run: JoinHandle<Result<Ended, Error>>,
}

pub(super) async fn connection(stage: &Stage) -> Connection {
    let target = Target::parse(&stage.server.url("app")).unwrap();
    Connection::open(&target).await.unwrap()
}

pub(super) fn start(from: Lsn) -> Start {
    Start {
        slot: NAME.to_owned(),
        publication: NAME.to_owned(),
        from,
        resume: Resume::default(),
        limits: Limits {
            changes: 1000,
            bytes: 1 << 20,
        },
        patience: 1,
    }
}

impl Reader {
    /// From where the slot stands.
    pub(super) async fn begin(stage: &Stage) -> Self {
        Self::from(stage, Lsn::ZERO).await
    }

    pub(super) async fn from(stage: &Stage, from: Lsn) -> Self {
        loop {
            match connection(stage).await.stream(&start(from)).await {
                Ok(stream) => return Self::over(stream),
                // Whoever read it before is not gone yet.
                Err(error) if error.code() == Some("55006") => sleep(PAUSE).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    pub(super) fn over(stream: wal::Stream) -> Self {
        let (sender, events) = mpsc::channel(100);
        let (confirms, confirmed) = watch::channel(Confirm::default());
        let stop = CancellationToken::new();
        let run = tokio::spawn(stream.run(sender, confirmed, stop.clone()));
        Self {
            events,
            confirms,
            stop,
            run,
        }
    }

    /// The next event; panics where the stream ends instead.
    pub(super) async fn event(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv()).await;
        match event.expect("the stream gives something") {
            Some(event) => event,
            None => panic!("{:?}", (&mut self.run).await),
        }
    }

    /// The next transaction; those without changes of ours are passed over.
    pub(super) async fn part(&mut self) -> Part {
        loop {
            if let Event::Part(part) = self.event().await {
                return part;
            }
        }
    }

    /// Panics if any transaction comes before the stream is at this position.
    pub(super) async fn nothing_until(&mut self, position: Lsn) -> Lsn {
        loop {
            match self.event().await {
                Event::Mark(mark) if mark >= position => return mark,
                Event::Mark(_) => {}
                Event::Part(part) => panic!("{part:?} before {position}"),
            }
        }
    }

    pub(super) fn confirm(&self, position: Lsn) {
        let gate = position;
        self.confirms.send_replace(Confirm { position, gate });
    }

    /// Ends in good order: what was to be confirmed is.
    pub(super) async fn stop(self) -> Ended {
        self.stop.cancel();
        self.run.await.unwrap().unwrap()
    }

    /// Breaks the connection.
    pub(super) async fn abort(self) {
        self.run.abort();
        let _ = self.run.await;
    }

    /// The error that the stream ends with by itself.
    pub(super) async fn failure(mut self) -> Error {
        let ended = timeout(PATIENCE, async {
            while self.events.recv().await.is_some() {}
            self.run.await.unwrap()
        });
        ended.await.expect("the stream ends").expect_err("it fails")
    }
}

/// The row that came of a change.
pub(super) fn new_row(operation: &Operation) -> &Row {
    match operation {
        Operation::Insert { new } | Operation::Update { new, .. } => new,
        other => panic!("{other:?}"),
    }
}

/// The text of a column that is there.
pub(super) fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    match row.get(column) {
        Some(Value::Text(text)) => text,
        other => panic!("{column} is {other:?}"),
    }
}
