//! What a scratch server promises, on a real one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use scratch::{Auth, Error, Server, StopMode};

const PATIENCE: Duration = Duration::from_secs(20);

fn eventually(fact: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still not so: {fact}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn with_table() -> Server {
    let server = Server::builder().start().unwrap();
    server
        .execute("postgres", "create table facts (n int)")
        .unwrap();
    server
}

fn facts(server: &Server) -> Option<String> {
    server
        .value("postgres", "select count(*) from facts")
        .unwrap()
}

fn exists(pid: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_server_decodes_logically_and_speaks_utf8() {
    let server = Server::builder().start().unwrap();
    let show = |what: &str| {
        server
            .value("postgres", &format!("show {what}"))
            .unwrap()
            .unwrap()
    };
    assert_eq!(show("wal_level"), "logical");
    assert_eq!(show("server_encoding"), "UTF8");
    assert_eq!(show("fsync"), "on");
    assert_eq!(
        show("server_version_num")[..2],
        server.version().major.to_string()
    );
}

#[test]
fn kill_9_loses_nothing_that_was_committed() {
    let mut server = with_table();
    server
        .execute("postgres", "insert into facts values (1)")
        .unwrap();
    server.kill9().unwrap();
    assert!(!server.is_running());
    assert_eq!(server.pid(), None);
    server.start_again().unwrap();
    assert_eq!(facts(&server).as_deref(), Some("1"));
}

#[test]
fn a_stop_that_a_client_holds_up_ends_at_its_deadline() {
    let mut server = Server::builder().start().unwrap();
    let url = server.url("postgres");
    let sleeper = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client
                .batch_execute("select pg_sleep(60)")
                .await
                .unwrap_err()
        })
    });
    let sleepers = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
    eventually("the client sleeps", || {
        server.value("postgres", sleepers).unwrap().as_deref() == Some("1")
    });
    let smart = server.stop(StopMode::Smart, Duration::from_millis(300));
    assert!(matches!(smart, Err(Error::Deadline { .. })));
    assert!(server.is_running());
    server.stop(StopMode::Fast, PATIENCE).unwrap();
    sleeper.join().unwrap();
    server.start_again().unwrap();
}

#[test]
fn a_setting_is_in_force_when_set_returns_and_after_a_restart() {
    let mut server = Server::builder()
        .setting("work_mem", "5MB")
        .start()
        .unwrap();
    let show = |server: &Server| server.value("postgres", "show work_mem").unwrap().unwrap();
    assert_eq!(show(&server), "5MB");
    server.set("work_mem", "6MB").unwrap();
    assert_eq!(show(&server), "6MB");
    server.restart().unwrap();
    assert_eq!(show(&server), "6MB");
}

#[test]
fn a_standby_follows_and_can_be_promoted() {
    let mut primary = with_table();
    primary
        .execute("postgres", "insert into facts values (1)")
        .unwrap();
    let mut standby = primary.standby("second").unwrap();
    primary
        .execute("postgres", "insert into facts values (2)")
        .unwrap();
    eventually("the standby has both rows", || {
        facts(&standby).as_deref() == Some("2")
    });
    let streams = "select count(*) from pg_stat_replication where application_name = 'second'";
    assert_eq!(
        primary.value("postgres", streams).unwrap().as_deref(),
        Some("1")
    );

    primary.kill9().unwrap();
    standby.promote().unwrap();
    standby
        .execute("postgres", "insert into facts values (3)")
        .unwrap();
    assert_eq!(facts(&standby).as_deref(), Some("3"));
}

#[test]
fn passwords_are_asked_for_over_tcp_but_not_of_the_superuser_on_the_socket() {
    let server = Server::builder()
        .auth(Auth::ScramSha256)
        .listen_tcp(true)
        .start()
        .unwrap();
    server
        .execute("postgres", "create role app login password 'secret'")
        .unwrap();
    let connect = |url: String| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { tokio_postgres::connect(&url, tokio_postgres::NoTls).await })
    };
    assert!(connect(server.tcp_url("app:secret", "postgres")).is_ok());
    assert!(connect(server.tcp_url("app:wrong", "postgres")).is_err());
    assert!(connect(server.url_as("app:secret", "postgres")).is_ok());
    assert!(connect(server.url_as("app", "postgres")).is_err());
}

#[test]
fn tls_and_client_certificates_are_offered() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let builder = Server::builder().tls(own.cert.pem(), own.signing_key.serialize_pem());
    let server = builder
        .client_ca(own.cert.pem())
        .auth(Auth::Md5)
        .start()
        .unwrap();
    let show = |what: &str| {
        server
            .value("postgres", &format!("show {what}"))
            .unwrap()
            .unwrap()
    };
    assert_eq!(show("ssl"), "on");
    assert_eq!(show("ssl_ca_file"), "client_ca.crt");
    assert_eq!(show("password_encryption"), "md5");
}

#[test]
fn servers_start_side_by_side() {
    let starts = (0..4).map(|_| thread::spawn(|| Server::builder().listen_tcp(true).start()));
    let starts: Vec<_> = starts.collect();
    let servers: Vec<_> = starts
        .into_iter()
        .map(|start| start.join().unwrap().unwrap())
        .collect();
    for server in &servers {
        server.execute("postgres", "create database app").unwrap();
    }
}

#[test]
fn servers_share_a_system_identifier_unless_told_otherwise() {
    let identifier = |server: &Server| {
        let query = "select system_identifier from pg_control_system()";
        server.value("postgres", query).unwrap().unwrap()
    };
    let one = Server::builder().start().unwrap();
    let two = Server::builder().start().unwrap();
    let own = Server::builder().own_identity().start().unwrap();
    assert_eq!(identifier(&one), identifier(&two));
    assert_ne!(identifier(&one), identifier(&own));
}

#[test]
fn a_root_with_a_long_path_still_has_a_socket_that_can_be_reached() {
    let root = tempfile::Builder::new()
        .prefix(&"long".repeat(30))
        .tempdir()
        .unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.path(), permissions).unwrap();
    let server = Server::builder().data_root(root.path()).start().unwrap();
    assert_eq!(
        server.value("postgres", "select 1").unwrap().as_deref(),
        Some("1")
    );
    let sockets = server.socket_dir().to_owned();
    drop(server);
    assert!(!sockets.exists());
    assert_eq!(root.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_setting_that_the_server_refuses_is_named() {
    let error = Server::builder()
        .setting("wal_level", "loud")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("wal_level"), "{error}");
}

#[test]
fn drop_leaves_nothing_behind() {
    let server = Server::builder().start().unwrap();
    let (pid, data) = (server.pid().unwrap(), server.data_dir());
    drop(server);
    assert!(!exists(pid));
    assert!(!data.parent().unwrap().exists());
}

#[test]
fn drop_after_kill_9_leaves_nothing_behind() {
    let mut server = Server::builder().start().unwrap();
    let data = server.data_dir();
    server.kill9().unwrap();
    drop(server);
    assert!(!data.parent().unwrap().exists());
}

#[test]
fn an_owner_killed_by_kill_9_leaves_nothing_behind() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_scratch"));
    let owner = owner
        .arg("run")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut owner = owner.unwrap();
    let mut url = String::new();
    BufReader::new(owner.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let sockets = url.split(['@', ':']).nth(2).unwrap().replace("%2F", "/");
    let home = Path::new(&sockets);
    let pid = std::fs::read_to_string(home.join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().parse().unwrap();
    assert!(exists(pid));

    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server is gone", || !exists(pid));
    eventually("its directory is gone", || !home.exists());
}
