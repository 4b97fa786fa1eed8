//! Settings from a file and from variables: what is refused, and that no secret is printed.

use tests::{Outcome, Stage};

const SECRETS: [&str; 3] = [
    "hunter2",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "t0ken-in-a-url",
];

/// Panics unless the settings were refused with all of this, and without a secret.
#[track_caller]
fn refused(outcome: &Outcome, says: &[&str]) {
    assert_eq!(outcome.code(), 2, "{}{}", outcome.stdout, outcome.stderr);
    for text in says {
        assert!(
            outcome.stderr.contains(text),
            "{text} is not in {}",
            outcome.stderr
        );
    }
    no_secret(outcome);
}

#[track_caller]
fn no_secret(outcome: &Outcome) {
    for secret in SECRETS {
        let printed = outcome.stdout.contains(secret) || outcome.stderr.contains(secret);
        assert!(
            !printed,
            "{secret} is in {}{}",
            outcome.stdout, outcome.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_setting_is_said_with_its_key_and_file() {
    let mut stage = Stage::start().await;
    let good = stage.settings.clone();
    let cases: [(&str, toml::Value, &str); 9] = [
        ("capture.slots", "x".into(), "\"slots\""),
        ("captures.slot", "x".into(), "\"captures\""),
        ("webhooks.timeout", "hunter2".into(), "webhooks.timeout"),
        ("webhooks.timeout", 15.into(), "webhooks.timeout"),
        ("webhooks.in_flight", "hunter2".into(), "webhooks.in_flight"),
        ("capture.columns", "hunter2".into(), "capture.columns"),
        ("api.listen", "hunter2".into(), "api.listen"),
        (
            "database.url",
            "postgres://u:hunter2@h:port/app".into(),
            "database.url",
        ),
        ("log.level", 7.into(), "log.level"),
    ];
    for (key, value, says) in cases {
        stage.settings = good.clone();
        stage.settings.set(key, value);
        for command in ["run", "setup", "status"] {
            refused(&stage.tidings([command]).await, &[says]);
        }
        let told = stage.tidings(["status"]).await.stderr;
        assert!(told.contains("tidings.toml"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_toml_is_refused_by_line_without_its_secrets() {
    let stage = Stage::start().await;
    for text in [
        "[database]\nurl = postgres://u:hunter2@h/app\n",
        "[database]\nurl = \"postgres://u:hunter2@h/app\n",
        "[[endpoints]]\nname = \"ops\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\" url = \"x\"\n",
    ] {
        let path = stage.file("broken.toml", text);
        let outcome = tests::tidings(&path, ["status"]).await;
        refused(&outcome, &["broken.toml", "line"]);
    }
    let missing = tests::tidings(
        &stage.file("x", "").with_file_name("missing.toml"),
        ["status"],
    )
    .await;
    refused(&missing, &["missing.toml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_override_the_file_and_are_named_when_they_are_wrong() {
    let mut stage = Stage::start().await;
    stage.settings.set("capture.slot", "from_the_file");
    let variables = [
        ("TIDINGS_CAPTURE__SLOT", "from_a_variable"),
        ("TIDINGS_CAPTURE__PUBLICATION", "7"),
        ("TIDINGS_DATABASE__SCHEMA", "Side Car"),
        ("TIDINGS_PG_VERSION", "15"),
    ];
    stage.tidings_with(&variables, ["setup"]).await.success();
    let slot = "select string_agg(slot_name, ',') from pg_replication_slots";
    assert_eq!(stage.value::<String>(slot).await, "from_a_variable");
    let publication = "select string_agg(pubname, ',') from pg_publication";
    assert_eq!(stage.value::<String>(publication).await, "7");
    let schema = "select count(*) from pg_tables where schemaname = 'Side Car'";
    assert!(stage.value::<i64>(schema).await > 5);
    let dry = stage.tidings_with(&variables, ["setup", "--dry-run"]).await;
    assert_eq!(dry.success().stdout, "-- nothing to do\n");

    let wrong = stage
        .tidings_with(&[("TIDINGS_WEBHOOKS__TIMEOUT", "hunter2")], ["status"])
        .await;
    refused(&wrong, &["TIDINGS_WEBHOOKS__TIMEOUT"]);
    let unknown = stage
        .tidings_with(&[("TIDINGS_CAPTURE__SLOTS", "x")], ["status"])
        .await;
    refused(&unknown, &["slots", "TIDINGS_CAPTURE__SLOTS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_can_come_from_a_file() {
    let mut stage = Stage::start().await;
    let url = stage.server.url_as("tidings:hunter2", "app");
    stage.file("url", &format!("{url}\n"));
    stage
        .settings
        .set("database.url", "")
        .set("database.url_file", "url");
    stage.tidings(["setup"]).await.success();
    no_secret(&stage.tidings(["status"]).await.success());
    stage.settings.set("database.url_file", "gone");
    refused(
        &stage.tidings(["status"]).await,
        &["database.url_file", "gone"],
    );
    stage
        .settings
        .set("database.url_file", "url")
        .set("database.url", url);
    refused(
        &stage.tidings(["status"]).await,
        &["database.url_file", "leave one"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_prints_a_secret() {
    let mut stage = Stage::start().await;
    let url = stage.server.url_as("tidings:hunter2", "app");
    stage
        .settings
        .set("database.url", url)
        .set("log.level", "trace");
    let mut keys = toml::Table::new();
    keys.insert("url".to_owned(), "http://127.0.0.1:9/t0ken-in-a-url".into());
    keys.insert(
        "secret".to_owned(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
    );
    stage.settings.endpoint("ops", keys);
    for command in [
        &["setup", "--dry-run"][..],
        &["setup"],
        &["status"],
        &["status", "--json"],
    ] {
        no_secret(&stage.tidings(command).await.success());
    }
    let sidecar = stage.resume().await;
    stage
        .execute("insert into projects (project_id, status) values ('p', 'active')")
        .await;
    stage.until("exists (select from tidings.parked)").await;
    let log = sidecar.log();
    let leak = log
        .lines()
        .find(|line| SECRETS.iter().any(|secret| line.contains(secret)));
    assert_eq!(leak, None);
    let errors = "select count(*) from tidings.parked where last_error like '%t0ken%'";
    assert_eq!(stage.value::<i64>(errors).await, 0);
}
