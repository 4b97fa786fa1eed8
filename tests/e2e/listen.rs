//! `tidings listen`: a developer's receiver between a real sidecar and an application.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{Behaviour, PATIENCE, Program, Receiver, Stage, eventually, tidings};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

/// A `tidings listen` that runs, on a port of its own.
struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    introduction: Lines<BufReader<ChildStderr>>,
    url: String,
}

impl Listening {
    /// Returns when it listens.
    async fn start(arguments: &[&str]) -> Self {
        let mut command = Program::command(Path::new("/nowhere/tidings.toml"));
        command.args(["listen", "--listen", "127.0.0.1:0"]);
        command.args(arguments).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut introduction = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = next(&mut introduction).await;
        let url = first.split(' ').find(|word| word.starts_with("http://"));
        let url = format!(
            "{}hooks",
            url.expect("the first line tells where it listens")
        );
        Self {
            child,
            lines,
            introduction,
            url,
        }
    }

    async fn line(&mut self) -> String {
        next(&mut self.lines).await
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    async fn end(mut self) -> ExitStatus {
        let end = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        end.expect("it ends in time").unwrap()
    }

    async fn terminate(self) -> ExitStatus {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        self.end().await
    }
}

async fn next(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    line.expect("a line in time")
        .unwrap()
        .expect("a further line")
}

fn declare(stage: &mut Stage, name: &str, listening: &Listening, secret: &webhook::Secret) {
    let mut keys = toml::Table::new();
    keys.insert("url".to_owned(), listening.url.clone().into());
    keys.insert("secret".to_owned(), secret.expose().into());
    stage.settings.endpoint(name, keys);
}

/// Each is an action.
async fn create_project(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', 'My {id}', 'active')"))
        .await;
}

/// The status that an endpoint's first attempt was answered with.
async fn answered(stage: &Stage, endpoint: &str) -> i32 {
    let attempts = format!(
        "from tidings.attempts join tidings.endpoints using (endpoint_id) where name = '{endpoint}'"
    );
    stage.until(&format!("exists (select {attempts})")).await;
    let status = format!("select status::int {attempts} order by attempted_at limit 1");
    stage.value(&status).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_verified_is_printed_and_forwarded_as_it_came_and_nothing_else_is() {
    let mut stage = Stage::start().await;
    let app = Receiver::open().await;
    let stranger = Receiver::open().await;
    let (secret, url) = (app.secret().expose(), app.url());
    let forward = ["--secret", &secret, "--forward-to", &url];
    let mut good = Listening::start(&[&forward[..], &["--count", "2"]].concat()).await;
    let mut bad = Listening::start(&[&forward[..], &["--json"]].concat()).await;
    declare(&mut stage, "good", &good, app.secret());
    declare(&mut stage, "bad", &bad, stranger.secret());
    let _sidecar = stage.run().await;
    create_project(&stage, "one").await;

    let line = good.line().await;
    assert!(
        line.ends_with("  project_created  Project 'My one' created  (verified, forwarded: 200)"),
        "{line}"
    );
    app.until(1).await;
    // Verified again, with its own clock: body and headers are those that were signed.
    app.assert_verified();
    let request = &app.requests()[0];
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.action_type(), "project_created");
    assert_eq!(answered(&stage, "good").await, 200);

    let refused = bad.json().await;
    assert_eq!(refused["verified"], false);
    assert_eq!(refused["answered"], 401);
    assert_eq!(refused["forwarded"], Value::Null);
    assert_eq!(refused["body"]["data"]["project_id"], "one");
    assert_eq!(refused["headers"]["webhook-id"], request.id());
    assert_eq!(answered(&stage, "bad").await, 401);

    create_project(&stage, "two").await;
    assert!(good.line().await.contains("My two"));
    assert!(good.end().await.success(), "it ends after two");
    app.until(2).await;
    assert_eq!(app.requests().len(), 2);
    assert!(bad.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_hears_what_the_application_says() {
    let mut stage = Stage::start().await;
    let mut failing = Receiver::open().await;
    failing.behave(Behaviour::Status(503)).await;
    let mut gone = Receiver::open().await;
    gone.refuse().await;
    let (failing_url, gone_url) = (failing.url(), gone.url());
    let mut alone = Listening::start(&[]).await;
    let mut fails = Listening::start(&["--json", "--forward-to", &failing_url]).await;
    let lenient = ["--forward-status=false", "--forward-to", &failing_url];
    let mut lenient = Listening::start(&lenient).await;
    let mut broken = Listening::start(&["--forward-to", &gone_url]).await;
    let all = [
        ("alone", &alone),
        ("fails", &fails),
        ("lenient", &lenient),
        ("broken", &broken),
    ];
    for (name, listening) in all {
        declare(&mut stage, name, listening, failing.secret());
    }
    let _sidecar = stage.run().await;
    create_project(&stage, "one").await;

    let line = alone.line().await;
    assert!(line.ends_with("(unverified)"), "{line}");
    assert_eq!(answered(&stage, "alone").await, 204);
    let shown = fails.json().await;
    assert_eq!(
        (&shown["verified"], &shown["forwarded"]),
        (&Value::Null, &503.into())
    );
    assert_eq!(answered(&stage, "fails").await, 503);
    let line = lenient.line().await;
    assert!(line.ends_with("(unverified, forwarded: 503)"), "{line}");
    assert_eq!(answered(&stage, "lenient").await, 204);
    let line = broken.line().await;
    assert!(line.contains("(unverified, not forwarded: "), "{line}");
    assert_eq!(answered(&stage, "broken").await, 502);
    eventually("both forwarded what came", async || {
        failing.requests().len() >= 2
    })
    .await;
    failing.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_needs_no_settings_says_how_it_is_reached_and_ends_on_a_signal() {
    let mut listening = Listening::start(&[]).await;
    let mut told = String::new();
    while !told.contains("endpoints add") {
        told += &next(&mut listening.introduction).await;
    }
    let url = listening.url.trim_end_matches("hooks");
    assert!(
        told.contains(r#"allow_networks = ["127.0.0.0/8"]"#),
        "{told}"
    );
    assert!(told.contains(&format!("--url {url}")), "{told}");
    assert!(listening.terminate().await.success());

    for (arguments, says) in [
        (["--secret", "s3cr3t"], "whsec_"),
        (["--forward-to", "localhost:3000"], "http://localhost:3000"),
    ] {
        let arguments = [&["listen", "--listen", "127.0.0.1:0"], &arguments[..]].concat();
        let outcome = tidings(Path::new("/nowhere/tidings.toml"), arguments).await;
        assert_eq!(outcome.code(), 2, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("s3cr3t"), "{}", outcome.stderr);
    }
}
