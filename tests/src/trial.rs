//! A worker, a sidecar and two subscribers, to whom anything may happen.

use scratch::Builder;
use toml::Table;

use crate::{Audit, Expected, Load, Pace, Random, Receiver, Stage, Subscriber};

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

    /// Starts a worker at the usual pace.
    pub async fn load(&mut self) -> Load {
        Load::start(&self.stage, "w", &mut self.random, Pace::default()).await
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
}
