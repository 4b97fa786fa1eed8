//! Tidings beside the demo's worker: its settings, its setup, its run.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, anyhow};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::receiver::Receiver;
use super::stage::Stage;
use crate::Failure;
use crate::cli::Role;
use crate::commands::run;
use crate::settings::{self, Settings};

const ROLES: [Role; 3] = [Role::Capture, Role::Deliver, Role::Api];

pub struct Sidecar {
    task: AbortOnDropHandle<Result<(), Failure>>,
    stop: CancellationToken,
}

impl Sidecar {
    pub fn spawn(settings: Settings) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { run::serve(settings, &ROLES, None, &stopped).await });
        Self {
            task: AbortOnDropHandle::new(task),
            stop,
        }
    }

    /// Waits until it ends, which it must not do by itself, and says why it did.
    pub async fn ended(&mut self) -> Failure {
        match outcome((&mut self.task).await) {
            Ok(()) => Failure::Failed(anyhow!("the sidecar ended by itself")),
            Err(failure) => failure,
        }
    }

    /// Drains and stops.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        outcome(self.task.await)
    }
}

fn outcome(ended: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| Err(Failure::Failed(anyhow!("the sidecar died: {error}"))))
}

/// The settings as a file has them: a least-privilege role, and the receiver as an endpoint.
pub fn settings_file(stage: &Stage, receiver: &Receiver) -> String {
    // A JSON text is a TOML text too.
    format!(
        "[database]\nurl = {}\nadmin_url = {}\n\
         [webhooks]\nallow_networks = \"127.0.0.0/8\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n\
         [log]\nlevel = \"warn\"\nformat = \"human\"\n\
         [[endpoints]]\nname = \"demo\"\nurl = {}\nsecret = {}\n",
        json!(stage.url_of_sidecar()),
        json!(stage.url_of_admin()),
        json!(receiver.url()),
        json!(receiver.secret().expose()),
    )
}

/// Reads them. No other file and no variable has a say: a demo must never come to work on somebody's
/// database.
pub fn parse(file: &str) -> anyhow::Result<Settings> {
    let mut settings: Settings = Figment::from(Toml::string(settings::DEFAULTS))
        .merge(Toml::string(file))
        .extract()
        // Its text may repeat values.
        .map_err(|_| anyhow!("the demo's own settings do not fit this version"))?;
    settings.complete()?;
    Ok(settings)
}

/// `tidings setup`, as anybody runs it, but silent unless it fails.
pub async fn setup(file: &str) -> anyhow::Result<()> {
    let mut settings = NamedTempFile::new().context("a file for the settings")?;
    settings
        .write_all(file.as_bytes())
        .context("a file for the settings")?;
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(program);
    command
        .arg("setup")
        .arg("--config")
        .arg(settings.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        // Ctrl-C is for us to handle.
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"TIDINGS_") {
            command.env_remove(name);
        }
    }
    let output = command.output().await.context("tidings setup")?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let told = String::from_utf8_lossy(&output.stderr);
            Err(anyhow!("tidings setup: {}", told.trim()))
        }
    }
}
