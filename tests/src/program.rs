//! The `tidings` binary that cargo built beside this test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;

use tokio::process::Command;

/// What a command of `tidings` came to.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The exit code; -1 if a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Panics with everything that was said unless the command succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// What was printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }
}

/// Runs `tidings` to its end, on these settings.
pub async fn tidings<I, S>(config: &Path, arguments: I) -> Outcome
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    tidings_with(config, &[], arguments).await
}

/// The same with these variables.
pub(crate) async fn tidings_with<I, S>(
    config: &Path,
    variables: &[(&str, &str)],
    arguments: I,
) -> Outcome
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = command(config);
    command.envs(variables.iter().copied()).args(arguments);
    let output = command.kill_on_drop(true).output().await;
    let output = output.expect("the binary can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        status: output.status,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// For commands that go on until they are told to stop.
#[derive(Debug)]
pub struct Program;

impl Program {
    /// `tidings --config FILE` with nothing behind it yet.
    pub fn command(config: &Path) -> Command {
        command(config)
    }
}

/// `tidings --config FILE`, whatever settings the variables around us hold.
pub(crate) fn command(config: &Path) -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PATH.get_or_init(build));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") {
            command.env_remove(name);
        }
    }
    command.arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// Under cargo the binary is brought up to date first, since cargo builds those of other packages
/// only when told to; the same command as in the Makefile, so that usually nothing is to be done.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let mut target = test.parent().expect("a program lies in a directory");
    if target.ends_with("deps") {
        target = target
            .parent()
            .expect("cargo's deps lie in its target directory");
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = std::process::Command::new(cargo);
        build.args(["build", "--locked", "--quiet", "--workspace"]);
        if target.ends_with("release") {
            build.arg("--release");
        }
        // What cargo says of the package under test would make it build others anew, such as ring.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&*name);
            }
        }
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = build.status().expect("cargo can be run");
        assert!(status.success(), "the workspace does not build");
    }
    let binary = target.join("tidings");
    assert!(
        binary.exists(),
        "{} is missing; run: cargo build",
        binary.display()
    );
    binary
}
