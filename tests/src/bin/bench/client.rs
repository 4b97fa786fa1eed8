//! The two programs that drain a slot to nothing: ours and `pg_recvlogical`.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use scratch::{Binaries, Server};
use tokio::process::Command;

const DATABASE: &str = "app";
const USER: &str = "postgres";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Socket,
    Tcp,
}

/// What to drain.
pub(crate) struct Drain<'a> {
    pub(crate) slot: &'a str,
    pub(crate) publication: &'a str,
    /// An LSN; changes that commit before it are counted.
    pub(crate) until: &'a str,
    pub(crate) rows: usize,
}

/// `crates/wal/benches/drain.rs`, built the way this program was.
#[derive(Debug)]
pub(crate) struct Ours(PathBuf);

impl Ours {
    /// # Panics
    /// If cargo can't be run, or the program does not build.
    pub(crate) async fn build() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build
            .args([
                "bench",
                "--locked",
                "--quiet",
                "--package",
                "wal",
                "--bench",
                "drain",
            ])
            .args(["--no-run", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = build.output().await.expect("cargo can be run");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "drain does not build: {complaint}");
        let messages = String::from_utf8_lossy(&output.stdout);
        let program = messages.lines().find_map(executable);
        Self(program.expect("cargo names what it built"))
    }

    pub(crate) fn command(&self, server: &Server, over: Over, drain: &Drain<'_>) -> Command {
        let url = match over {
            Over::Socket => server.url_as(USER, DATABASE),
            Over::Tcp => server.tcp_url(USER, DATABASE),
        };
        let mut command = Command::new(&self.0);
        command
            .env("WAL_DRAIN_URL", url)
            .env("WAL_DRAIN_SLOT", drain.slot)
            .env("WAL_DRAIN_PUBLICATION", drain.publication)
            .env("WAL_DRAIN_UNTIL", drain.until)
            .env("WAL_DRAIN_ROWS", drain.rows.to_string());
        command
    }
}

/// The path in cargo's message about `drain`.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["target"]["name"] != "drain" {
        return None;
    }
    message["executable"].as_str().map(PathBuf::from)
}

#[derive(Debug)]
pub(crate) struct Recvlogical(PathBuf);

impl Recvlogical {
    /// Beside the server binaries, else in PATH. Not every package of a server has it.
    pub(crate) fn find() -> Option<Self> {
        let beside = Binaries::find().ok().map(|binaries| binaries.dir);
        let path = env::var_os("PATH").unwrap_or_default();
        let mut dirs = beside.into_iter().chain(env::split_paths(&path));
        dirs.find_map(|dir| {
            let program = dir.join("pg_recvlogical");
            program.exists().then_some(Self(program))
        })
    }

    pub(crate) fn command(&self, server: &Server, over: Over, drain: &Drain<'_>) -> Command {
        let host = match over {
            Over::Socket => server.socket_dir(),
            Over::Tcp => Path::new("127.0.0.1"),
        };
        let mut command = self.start(server, host, drain.slot, drain.publication);
        command.args(["--endpos", drain.until]);
        command
    }

    /// Reads the slot for ever.
    pub(crate) fn follow(&self, server: &Server, slot: &str, publication: &str) -> Command {
        self.start(server, server.socket_dir(), slot, publication)
    }

    fn start(&self, server: &Server, host: &Path, slot: &str, publication: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--host").arg(host);
        let mut option = |name: &str, value: &dyn AsRef<OsStr>| {
            command.arg(name).arg(value);
        };
        option("--port", &server.port().to_string());
        option("--username", &USER);
        option("--dbname", &DATABASE);
        option("--slot", &slot);
        option("--file", &"/dev/null");
        option("--option", &"proto_version=1");
        option("--option", &"messages=true");
        option("--option", &format!("publication_names={publication}"));
        command.args(["--start", "--no-loop"]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_program_in_one_of_its_messages() {
        let other = r#"{"reason":"compiler-artifact","target":{"name":"wal"},"executable":null}"#;
        let drain = r#"{"target":{"name":"drain"},"executable":"/t/release/deps/drain-1f"}"#;
        assert_eq!(executable(other), None);
        assert_eq!(executable(drain), Some("/t/release/deps/drain-1f".into()));
        assert_eq!(executable("warning: not JSON"), None);
    }
}
