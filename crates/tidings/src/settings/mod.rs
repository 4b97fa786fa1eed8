//! Settings: the defaults of config/tidings.toml, then a file, then variables.
//!
//! Parsed once into final types. An unknown key, a value of the wrong kind or an impossible one is
//! refused with its key, where it stands, and what is allowed there.

mod api;
mod capture;
mod database;
mod endpoint;
mod flexible;
mod log;
mod rate;
mod webhooks;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

use crate::failure::chain;

pub use api::Api;
pub use capture::{Capture, Columns, PackReference, RUN_TIMEOUT_MAX, parse_table};
pub use database::Database;
pub use endpoint::{DIGEST_ACTIONS, Endpoint, digest};
pub(crate) use flexible::parse_duration;
pub use log::{Log, LogFormat};
pub use rate::{parse_rate, rate_text};
pub use webhooks::Webhooks;

/// The defaults, which are also the documentation of every key.
pub const DEFAULTS: &str = include_str!("../../../../config/tidings.toml");
/// Where the file is looked for when no path is given, in this order.
const PATHS: [&str; 2] = ["tidings.toml", "/etc/tidings/tidings.toml"];
/// Variables that begin like settings and are none.
const NOT_SETTINGS: [&str; 3] = ["pg_bin", "pg_version", "config"];

/// Whether Kubernetes made a variable of this name, without the prefix, for a Service called
/// `tidings`: TIDINGS_PORT, TIDINGS_SERVICE_HOST, TIDINGS_PORT_9464_TCP_ADDR.
fn is_service_link(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "port"
        || name == "service_host"
        || name.starts_with("service_port")
        || name
            .strip_prefix("port_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub database: Database,
    pub capture: Capture,
    pub webhooks: Webhooks,
    pub api: Api,
    pub log: Log,
    #[serde(default, rename = "endpoints")]
    written: Vec<endpoint::Written>,
    /// Those of the settings, read to the end by [`Settings::complete`].
    #[serde(skip)]
    pub endpoints: Vec<Endpoint>,
    /// Paths in the settings are relative to this folder: that of the file, else the current one.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Settings {
    /// Reads the settings. `path` must exist where it is given.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = match path {
            Some(path) if path.is_file() => Some(path.to_owned()),
            Some(path) => bail!("there is no settings file at {}", path.display()),
            None => PATHS.iter().map(PathBuf::from).find(|path| path.is_file()),
        };
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = &file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("settings file {}", file.display()))?;
            figment = figment.merge(Toml::string(&text));
        }
        let variables = Env::prefixed("TIDINGS_")
            .ignore(&NOT_SETTINGS)
            .filter(|name| !is_service_link(name.as_str()))
            .split("__");
        let folder = file
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned)
            .unwrap_or_default();
        let place = file
            .as_ref()
            .map_or("the defaults".to_owned(), |f| f.display().to_string());
        let mut settings: Self = figment
            .merge(variables)
            .extract()
            .map_err(|error| explain(error, &place))?;
        settings.folder = folder;
        match (settings.complete(), file) {
            (Ok(()), _) => Ok(settings),
            (Err(error), Some(_)) => Err(anyhow!("{place}: {}", chain(error.as_ref()))),
            (Err(error), None) => Err(error),
        }
    }

    /// Checks what no single value shows, and reads the files that the settings name.
    pub fn complete(&mut self) -> anyhow::Result<()> {
        self.database.check(&self.folder)?;
        self.webhooks.check(&self.folder)?;
        let mut names = std::collections::HashSet::new();
        let read = self
            .written
            .iter()
            .map(|written| written.read(&self.folder));
        self.endpoints = read.collect::<Result<_, _>>()?;
        for endpoint in &self.endpoints {
            if !names.insert(&endpoint.name) {
                bail!("endpoints: the name {:?} is given twice", endpoint.name);
            }
        }
        Ok(())
    }
}

/// Every problem with its key and where it was set. Values are left out: one may be a secret.
fn explain(errors: figment::Error, file: &str) -> anyhow::Error {
    use figment::error::Kind;
    let lines: Vec<String> = errors
        .into_iter()
        .map(|error| {
            let key = error.path.join(".");
            let from_variable = error
                .metadata
                .as_ref()
                .is_some_and(|m| m.name.contains("environment"));
            let place = if from_variable {
                format!("variable TIDINGS_{}", error.path.join("__").to_uppercase())
            } else {
                file.to_owned()
            };
            let problem = match &error.kind {
                Kind::UnknownField(field, known) => {
                    format!("unknown key {field:?}; known here: {}", known.join(", "))
                }
                Kind::MissingField(field) => format!("{field} is missing"),
                Kind::InvalidType(_, expected) => format!("must be {expected}"),
                Kind::UnknownVariant(_, known) => format!("must be one of: {}", known.join(", ")),
                Kind::InvalidValue(_, expected) => format!("must be {expected}"),
                kind => without_excerpt(&kind.to_string()),
            };
            if key.is_empty() {
                format!("{place}: {problem}")
            } else {
                format!("{place}: {key}: {problem}")
            }
        })
        .collect();
    anyhow!("{}", lines.join("\n"))
}

/// A message of the TOML parser without the line of the file that it shows: that may hold a secret.
fn without_excerpt(message: &str) -> String {
    let shown = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit())
            .starts_with('|')
    };
    let lines: Vec<&str> = message.lines().filter(|line| !shown(line)).collect();
    lines.join(": ")
}

/// The text of a file that a setting names, without the line break at its end.
fn read_secret(folder: &Path, key: &str, file: &str) -> anyhow::Result<String> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{key} names {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Settings> {
        let folder =
            std::env::temp_dir().join(format!("tidings-settings-{}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("tidings.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = Settings::load(Some(&path));
        std::fs::remove_dir_all(&folder).unwrap();
        loaded
    }

    const URL: &str = "[database]\nurl = \"postgres://tidings@localhost/app\"\n";

    #[test]
    fn a_file_with_a_url_alone_is_enough() {
        let settings = load(URL).unwrap();
        assert_eq!(settings.capture.slot, "tidings");
        assert_eq!(
            settings.capture.actions_table.to_string(),
            "public.project_actions"
        );
        assert_eq!(settings.webhooks.retry_schedule.len(), 9);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let told = load(&format!("{URL}[capture]\nslots = \"x\"\n"))
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("\"slots\"") && told.contains("slot, publication"),
            "{told}"
        );
    }

    #[test]
    fn a_bad_value_is_refused_with_its_key_and_never_printed() {
        for (text, key) in [
            ("[webhooks]\ntimeout = \"s3cret\"\n", "webhooks.timeout"),
            ("[capture]\ncolumns = \"s3cret\"\n", "capture.columns"),
            (
                "[webhooks]\nallow_networks = [\"s3cret\"]\n",
                "webhooks.allow_networks",
            ),
            ("[api]\nlisten = \"s3cret\"\n", "api.listen"),
            (
                "[capture]\nactions_table = \"s3cret.a.b.c\"\n",
                "capture.actions_table",
            ),
            ("[capture]\nrun_timeout = \"169h\"\n", "capture.run_timeout"),
        ] {
            let told = load(&format!("{URL}{text}")).unwrap_err().to_string();
            assert!(told.contains(key), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn a_missing_url_says_what_to_set() {
        let told = load("").unwrap_err().to_string();
        assert!(
            told.contains("database.url") && told.contains("TIDINGS_DATABASE__URL"),
            "{told}"
        );
    }

    #[test]
    fn a_bare_text_is_a_list_of_one_and_a_number_is_a_name() {
        let settings = load(&format!(
            "{URL}[capture]\nrules = \"reference\"\nslot = 7\n[webhooks]\nallow_networks = \"127.0.0.0/8\"\n"
        ))
        .unwrap();
        assert_eq!(settings.capture.rules.len(), 1);
        assert_eq!(settings.capture.slot, "7");
        assert_eq!(settings.webhooks.allow_networks.len(), 1);
    }

    #[test]
    fn two_endpoints_can_not_share_a_name() {
        let endpoint = "[[endpoints]]\nname = \"a\"\nurl = \"https://example.com\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";
        assert!(load(&format!("{URL}{endpoint}")).is_ok());
        let told = load(&format!("{URL}{endpoint}{endpoint}"))
            .unwrap_err()
            .to_string();
        assert!(told.contains("twice"), "{told}");
    }

    #[test]
    fn printing_settings_prints_no_secret() {
        let settings = load(
            "[database]\nurl = \"postgres://tidings:hunter2@localhost/app\"\n\
             [[endpoints]]\nname = \"a\"\nurl = \"https://example.com\"\n\
             secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
        )
        .unwrap();
        let printed = format!("{settings:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("MfKQ9r8"),
            "{printed}"
        );
    }
}
