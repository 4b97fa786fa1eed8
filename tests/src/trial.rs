//! A worker, a sidecar and two subscribers, to whom anything may happen.

use std::time::Duration;

use scratch::Builder;
use toml::Table;

use crate::{
    Audit, Behaviour, Expected, Load, Pace, Random, Receiver, Sidecar, Stage, Subscriber, Tally,
};

/// What the second subscriber's filter lets through.
const SOME: [&str; 3] = ["deployment", "github_push", "tables_added"];

/// A stage whose endpoints are a receiver of everything and one with a filter.
#[derive(Debug)]
pub struct Trial {
    pub stage: Stage,
    pub random: Random,
    all: Receiver,
    some: Receiver,
}

impl Trial {
    /// Nothing runs yet.
    pub async fn prepare(server: Builder, random: Random) -> Self {
        let mut stage = Stage::on(server).await;
        let all = stage.subscribe("all").await;
        let some = Receiver::open().await;
        let mut keys = Table::new();
        keys.insert("url".to_owned(), some.url().into());
        keys.insert("secret".to_owned(), some.secret().expose().into());
        keys.insert("types".to_owned(), SOME.to_vec().into());
        stage.settings.endpoint("some", keys);
        // A receiver that stays up is reached again soon.
        stage
            .settings
            .set("webhooks.retry_schedule", vec!["1s"; 30]);
        Self {
            stage,
            random,
            all,
            some,
        }
    }

    /// Starts a process that captures and one that delivers. One of the subscribers takes its time
    /// from here on, so that requests are under way whenever something dies.
    pub async fn run_apart(&mut self) -> (Sidecar, Sidecar) {
        let slow = Behaviour::Slow(200, Duration::from_millis(10));
        self.some.behave(slow).await;
        self.stage.tidings(["setup"]).await.success();
        let capture = self.stage.spawn(&["--roles", "capture"]);
        let deliverer = self.stage.spawn(&["--roles", "deliver"]);
        self.stage.until_shards_are_held(&[64]).await;
        (capture, deliverer)
    }

    /// Starts a worker at the usual pace.
    pub async fn load(&mut self) -> Load {
        Load::start(&self.stage, "w", &mut self.random, Pace::default()).await
    }

    /// Ends the load, and takes the account of what happened to it into the tally. These processes are to
    /// have lived through it all, the account too.
    pub(crate) async fn close<'a>(
        &mut self,
        load: Load,
        mut tally: Tally,
        survivors: impl IntoIterator<Item = &'a mut Sidecar>,
    ) -> Tally {
        let expected = load.stop().await;
        tally.audit.add(self.audit(&expected).await);
        for sidecar in survivors {
            tally.outlived(sidecar);
        }
        tally.keep(&mut self.stage);
        tally
    }

    /// The same, through a URL of role `worker`.
    pub async fn load_at(&mut self, url: &str) -> Load {
        Load::start_at(url, &self.stage, "w", &mut self.random, Pace::default()).await
    }

    pub async fn audit(&self, expected: &[Expected]) -> Audit {
        let subscribers = [
            Subscriber {
                receiver: &self.all,
                types: &[],
            },
            Subscriber {
                receiver: &self.some,
                types: &SOME,
            },
        ];
        Audit::take(&self.stage, expected, &subscribers).await
    }

    /// The subscriber of everything.
    pub(crate) fn all(&mut self) -> &mut Receiver {
        &mut self.all
    }

    /// Requests that arrived at either subscriber so far.
    pub(crate) fn requested(&self) -> usize {
        self.all.requested() + self.some.requested()
    }
}
