//! Subscribers verify signatures with code that is not ours: the libraries that Standard Webhooks and
//! Svix publish, as `scripts/verifiers.sh` installs them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::{PATIENCE, Receiver, Request, Stage};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use webhook::{Credentials, Key, Secret, SignatureVersion, Vault, VerificationKey, verify};

/// The scripts that ask a library, and the files that lock its version.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/verifiers");
/// Interpreter, script and library: of npm and of PyPI.
const VERIFIERS: [(&str, &str, &str); 4] = [
    ("node", "verify.mjs", "standardwebhooks"),
    ("node", "verify.mjs", "svix"),
    ("python3", "verify.py", "standardwebhooks"),
    ("python3", "verify.py", "svix"),
];

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
fn described(request: &Request, secret: &Secret) -> Value {
    let headers: serde_json::Map<_, _> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), request.header(name).into()))
        .into_iter()
        .collect();
    let body = str::from_utf8(&request.body).unwrap();
    json!({"secret": secret.expose(), "headers": headers, "body": body})
}

/// What a library says of the request: "accepted" or "refused".
async fn verdict(verifier: (&str, &str, &str), request: &Value) -> String {
    let (interpreter, script, library) = verifier;
    let mut command = Command::new(interpreter);
    command
        .arg(Path::new(SCRIPTS).join(script))
        .arg(libraries())
        .arg(library)
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

/// What our own code says of the request.
fn verified(request: &Request, key: VerificationKey) -> bool {
    let [id, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| request.header(name));
    verify(
        &[key],
        id,
        timestamp,
        signature,
        &request.body,
        request.time,
    )
    .is_ok()
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

#[tokio::test(flavor = "multi_thread")]
async fn while_keys_overlap_a_webhook_verifies_by_the_old_secret_the_new_one_and_the_public_key() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let ops = Receiver::open().await;
    let (url, old) = (ops.url(), ops.secret());
    let arguments = ["endpoints", "add", "--json", "--name", "ops", "--url"];
    let arguments = arguments.into_iter().chain([&url, "--secret"]);
    let added = stage
        .tidings(arguments.chain([old.expose().as_str()]))
        .await;
    let id = added.success().json()["id"].as_str().unwrap().to_owned();

    let now = Timestamp::now();
    let overlap = SignedDuration::from_hours(1);
    let pair = Key::generate(SignatureVersion::V1a).unwrap();
    let new = Secret::generate().unwrap();
    let rotated = Credentials::signed_by(old.clone().into())
        .rotate(pair.clone(), overlap, now)
        .and_then(|credentials| credentials.rotate(new.clone().into(), overlap, now))
        .and_then(|credentials| Vault::default().seal(&credentials, &id))
        .unwrap();
    stage
        .execute(&format!(
            "update tidings.endpoints set credentials = '{rotated}'"
        ))
        .await;
    let _sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name, container_id) values ('p', 'P', 'c')")
        .await;
    ops.until(1).await;

    let request = ops.requests().remove(0);
    let versions: Vec<_> = request
        .header("webhook-signature")
        .unwrap()
        .split(' ')
        .map(|entry| entry.split(',').next().unwrap().to_owned())
        .collect();
    assert_eq!(versions, ["v1", "v1a", "v1"]);
    for verifier in VERIFIERS {
        for secret in [old, &new] {
            let genuine = described(&request, secret);
            assert_eq!(
                verdict(verifier, &genuine).await,
                "accepted",
                "{verifier:?}"
            );
            let changed = with_a_byte_changed(&genuine, 0);
            assert_eq!(verdict(verifier, &changed).await, "refused", "{verifier:?}");
        }
    }
    let public = pair.public().unwrap().to_string();
    assert!(verified(&request, public.parse().unwrap()));
    let other = Key::generate(SignatureVersion::V1a).unwrap();
    assert!(!verified(&request, VerificationKey::from(&other)));
}
