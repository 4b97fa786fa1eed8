//! Subscribers verify signatures with code that is not ours: the libraries that Standard Webhooks
//! publishes, as `scripts/verifiers.sh` installs them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tests::{PATIENCE, Receiver, Request, Stage};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The scripts that ask a library, and the files that lock its version.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/verifiers");
/// Interpreter and script: the libraries of npm and of PyPI.
const VERIFIERS: [(&str, &str); 2] = [("node", "verify.mjs"), ("python3", "verify.py")];

/// Where the libraries are, in the versions that the lock files name.
fn libraries() -> PathBuf {
    let is_current = |directory: &PathBuf| {
        ["package.json", "package-lock.json", "requirements.txt"]
            .iter()
            .all(|file| {
                let installed = std::fs::read(directory.join(file));
                installed
                    .is_ok_and(|it| it == std::fs::read(Path::new(SCRIPTS).join(file)).unwrap())
            })
    };
    let found = caches()
        .map(|cache| cache.join("verifiers"))
        .find(is_current);
    found.expect("the libraries of tests/verifiers are not installed; run: make verifiers")
}

/// As in `scripts/verifiers.sh`: the user's own, and the one that root fills for all.
fn caches() -> impl Iterator<Item = PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let own = base
        .map(|base| base.join("tidings"))
        .filter(|_| !rustix::process::geteuid().is_root());
    own.into_iter().chain([PathBuf::from("/var/cache/tidings")])
}

/// A request as a verifier reads it.
fn described(request: &Request, secret: &webhook::Secret) -> Value {
    let headers: serde_json::Map<_, _> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), request.header(name).into()))
        .into_iter()
        .collect();
    let body = str::from_utf8(&request.body).unwrap();
    json!({"secret": secret.expose(), "headers": headers, "body": body})
}

/// What a library says of the request: "accepted" or "refused".
async fn verdict((interpreter, script): (&str, &str), request: &Value) -> String {
    let mut command = Command::new(interpreter);
    command
        .arg(Path::new(SCRIPTS).join(script))
        .arg(libraries())
        .kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{interpreter} is not installed; run: make verifiers"),
        _ => panic!("{interpreter} can't be run: {error}"),
    });
    let mut stdin = process.stdin.take().unwrap();
    // Where this fails, the process ended early and has said why.
    let _ = stdin.write_all(request.to_string().as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, process.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{script} does not end"))
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script} fails, {}:\n{complaint}",
        output.status
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// The request with the last bit of this byte of its body flipped; UTF-8 stays UTF-8.
fn with_a_byte_changed(request: &Value, index: usize) -> Value {
    let mut body = request["body"].as_str().unwrap().to_owned().into_bytes();
    body[index] ^= 1;
    let mut changed = request.clone();
    changed["body"] = String::from_utf8(body).unwrap().into();
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_libraries_of_npm_and_pypi_accept_a_webhook_and_refuse_a_changed_one() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let _sidecar = stage.run().await;
    // The bytes are signed, so text beyond ASCII must reach the library as it was sent.
    stage
        .execute(
            "insert into projects (project_id, name, container_id) values ('p', 'Prüfung ☃ \"🔑\"', 'c')",
        )
        .await;
    ops.until(1).await;
    let request = ops.requests().remove(0);
    let genuine = described(&request, ops.secret());
    let changed = [0, request.body.len() - 1].map(|index| with_a_byte_changed(&genuine, index));
    let other_secret = described(&request, Receiver::open().await.secret());
    for verifier in VERIFIERS {
        assert_eq!(
            verdict(verifier, &genuine).await,
            "accepted",
            "{verifier:?}"
        );
        for forged in changed.iter().chain([&other_secret]) {
            assert_eq!(verdict(verifier, forged).await, "refused", "{verifier:?}");
        }
    }
}
