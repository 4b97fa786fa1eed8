//! SIGHUP: settings and packs are read again, and what can change while everything runs does.
//!
//! Rules that compile and whose tables are published take over; else those in force stay, and
//! `status` says why. Endpoints are declared anew. What needs a restart is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use connect::Target;
use rules::Rules;
use store::{Purpose, Session, progress};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::commands::publish;
use crate::settings::Settings;
use crate::{Failure, deliver, packs};

/// Waits for SIGHUP from the moment on when it is made.
#[derive(Debug)]
pub struct Hangups {
    signal: Signal,
    /// The settings file that was named, if any.
    config: Option<PathBuf>,
}

impl Hangups {
    pub fn listen(config: Option<&Path>) -> std::io::Result<Self> {
        Ok(Self {
            signal: signal(SignalKind::hangup())?,
            config: config.map(Path::to_owned),
        })
    }
}

/// What is renewed on SIGHUP.
pub struct Reload {
    pub hangups: Hangups,
    /// Those in force.
    pub settings: Arc<Settings>,
    pub target: Target,
    pub packs: watch::Sender<Arc<Rules>>,
    pub captures: bool,
    pub delivers: bool,
}

impl Reload {
    pub async fn run(mut self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.hangups.signal.recv() => self.reload().await,
            }
        }
    }

    async fn reload(&mut self) {
        let read = Settings::load(self.hangups.config.as_deref());
        let refused = match read.map_err(Failure::Settings) {
            Err(failure) => Some(failure),
            Ok(read) => {
                let outstanding = outstanding(&self.settings, &read);
                if !outstanding.is_empty() {
                    tracing::warn!("these settings take effect at the next start: {outstanding}");
                }
                let settings = renewed(&self.settings, read);
                let refused = match self.captures {
                    true => self.renew_rules(&settings).await.err(),
                    false => None,
                };
                if self.delivers {
                    self.renew_endpoints(&settings).await;
                }
                if refused.is_none() {
                    self.settings = Arc::new(settings);
                }
                refused
            }
        };
        let reason = refused.map(|failure| failure.to_string());
        if let Some(reason) = &reason {
            tracing::error!(
                error = reason,
                "nothing is taken over: the rules in force stay"
            );
        }
        if self.captures
            && let Err(error) = self.say(reason.as_deref()).await
        {
            tracing::warn!(%error, "what came of the reload could not be stored for status");
        }
    }

    async fn renew_rules(&self, settings: &Settings) -> Result<(), Failure> {
        let rules = packs::load(settings)?;
        if rules.sources() == self.packs.borrow().sources() {
            tracing::info!("the rules are as they were");
            return Ok(());
        }
        publish(settings, &rules).await?;
        self.packs.send_replace(Arc::new(rules));
        tracing::info!("new rules take over");
        Ok(())
    }

    async fn renew_endpoints(&self, settings: &Settings) {
        let declared = async {
            let mut session = self.session().await?;
            deliver::declare(settings, &mut session).await
        };
        if let Err(failure) = declared.await {
            tracing::error!(error = %failure, "the endpoints stay as they were");
        }
    }

    async fn say(&self, reason: Option<&str>) -> Result<(), Failure> {
        let session = self.session().await?;
        Ok(progress::rules_refused(&session, reason).await?)
    }

    async fn session(&self) -> Result<Session, Failure> {
        let schema = &self.settings.database.schema;
        Ok(Session::open(&self.target, schema, Purpose::Admin).await?)
    }
}

/// Those in force, with what can be renewed while they are.
fn renewed(in_force: &Settings, read: Settings) -> Settings {
    let mut settings = in_force.clone();
    settings.capture.rules = read.capture.rules;
    settings.capture.columns = read.capture.columns;
    settings.capture.tables = read.capture.tables;
    settings.database.renew_admin(&read.database);
    settings.endpoints = read.endpoints;
    settings
}

/// The sections in which something else has changed.
fn outstanding(in_force: &Settings, read: &Settings) -> String {
    let now = renewed(in_force, read.clone());
    let differs =
        |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") != format!("{b:?}");
    let sections = [
        ("database", !now.database.is_same(&read.database)),
        ("capture", differs(&now.capture, &read.capture)),
        ("webhooks", !now.webhooks.is_same(&read.webhooks)),
        ("api", differs(&now.api, &read.api)),
        ("log", differs(&now.log, &read.log)),
    ];
    let changed = sections.into_iter().filter(|(_, changed)| *changed);
    let names: Vec<String> = changed.map(|(name, _)| format!("[{name}]")).collect();
    names.join(", ")
}
