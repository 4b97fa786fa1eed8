//! One attempt against real sockets on loopback: every way a subscriber can answer, or not.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of #[test] functions"
)]

mod receiver;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use receiver::{Receiver, closed_port};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use webhook::{
    Attempt, Authorization, Credentials, CustomHeaders, Endpoint, FailureKind, Fault, Filter,
    Format, Message, Outcome, Payload, RESPONSE_BYTES_MAX, RetryAfter, Scheme, Sender,
    SenderSettings, VerificationKey, verify,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ID: &str = "---0PnSCW7---1L_QRhX_";
const BODY: &[u8] = br#"{"type":"deployment"}"#;

/// Long enough that only a test which means to runs into it.
const PATIENCE: Duration = Duration::from_secs(20);

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        id: "endpoint_1".to_owned(),
        name: "ops".to_owned(),
        url: url.parse().unwrap(),
        credentials: credentials(),
        filter: Filter::default(),
        format: Format::Full,
    }
}

/// Signed by both secrets.
fn credentials() -> Credentials {
    let overlap = SignedDuration::from_hours(1);
    Credentials::signed_by(OTHER_SECRET.parse().unwrap())
        .rotate(SECRET.parse().unwrap(), overlap, Timestamp::now())
        .unwrap()
}

fn message(id: &str) -> Message<'_> {
    Message {
        id,
        at: Timestamp::now(),
        replay: None,
        payload: Payload {
            body: Bytes::from_static(BODY),
            content_type: "application/json",
        },
    }
}

fn settings(timeout: Duration, allow_networks: &[&str]) -> SenderSettings {
    let allow_networks = allow_networks.iter().map(|net| net.parse().unwrap());
    SenderSettings {
        timeout,
        allow_networks: allow_networks.collect(),
        ports: Vec::new(),
        schemes: Vec::new(),
        idle_connections: 32,
        user_agent: "tidings/0.1.0".to_owned(),
    }
}

fn sender(timeout: Duration, allow_networks: &[&str]) -> Sender {
    Sender::new(&settings(timeout, allow_networks)).unwrap()
}

async fn send_by(sender: &Sender, url: &str) -> Attempt {
    sender.send(&endpoint(url), message(ID)).await
}

async fn send(url: &str) -> Attempt {
    send_by(&sender(PATIENCE, &["127.0.0.0/8"]), url).await
}

fn failure(attempt: &Attempt) -> (FailureKind, &str) {
    match &attempt.outcome {
        Outcome::Failed { kind, detail } => (*kind, detail),
        Outcome::Answered { .. } => panic!("answered: {attempt:?}"),
    }
}

fn answer(attempt: &Attempt) -> (u16, &str) {
    match &attempt.outcome {
        Outcome::Answered {
            status, excerpt, ..
        } => (*status, excerpt),
        Outcome::Failed { .. } => panic!("failed: {attempt:?}"),
    }
}

/// What an attempt comes to when the receiver answers with this.
async fn answered(answer: &str) -> Attempt {
    let receiver = Receiver::answering(answer).await;
    send(&receiver.url("/hook")).await
}

#[tokio::test]
async fn a_notification_arrives_whole_and_verifies_with_either_secret() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nthanks").await;
    let attempt = send(&receiver.url("/hook?key=1")).await;
    assert_eq!(answer(&attempt), (200, "thanks"));
    assert_eq!(attempt.address, Some(receiver.address));

    let request = receiver.request().await;
    assert_eq!(request.line, "POST /hook?key=1 HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some("tidings/0.1.0"));
    assert_eq!(request.header("webhook-id"), Some(ID));
    assert_eq!(request.header("accept-encoding"), None);
    assert_eq!(request.body, BODY);
    for secret in [SECRET, OTHER_SECRET] {
        let keys: [VerificationKey; 1] = [secret.parse().unwrap()];
        let verified = verify(
            &keys,
            request.header("webhook-id"),
            request.header("webhook-timestamp"),
            request.header("webhook-signature"),
            &request.body,
            Timestamp::now(),
        );
        assert_eq!(verified, Ok(()));
    }
}

#[tokio::test]
async fn every_status_is_an_answer() {
    for status in [204, 400, 410, 429, 500, 503] {
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        let text = if status == 204 {
            text.replace("content-length: 0\r\n", "")
        } else {
            text
        };
        assert_eq!(answer(&answered(&text).await), (status, ""));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = elsewhere.url("/");
    let text = format!("HTTP/1.1 307 X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(answer(&answered(&text).await), (307, ""));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    for (value, expected) in [
        ("120", Some(RetryAfter::Delay(Duration::from_secs(120)))),
        (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            Some(RetryAfter::At(Timestamp::from_second(784_111_777).unwrap())),
        ),
        ("later", None),
    ] {
        let text = format!("HTTP/1.1 503 X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let Outcome::Answered { retry_after, .. } = answered(&text).await.outcome else {
            panic!("an answer");
        };
        assert_eq!(retry_after, expected);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_and_the_status_counts() {
    let receiver = Receiver::streaming("HTTP/1.1 200 OK\r\n\r\n", b"endless ").await;
    let attempt = send(&receiver.url("/")).await;
    let (status, excerpt) = answer(&attempt);
    assert_eq!(status, 200);
    assert!(excerpt.starts_with("endless endless") && excerpt.len() <= 1024);
    let sent = receiver.streamed().await;
    // What the sockets' buffers took beside what was read.
    assert!(
        sent < 64 << 20,
        "{sent} bytes sent for {RESPONSE_BYTES_MAX}"
    );
}

/// 64 KiB of the letter a, compressed.
const GZIP: &str = "1f8b0800000000000203edc181000000008020d6fd2516a90a0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000006aff9120c300000100";

#[tokio::test]
async fn a_body_that_says_it_is_compressed_is_never_inflated() {
    let member: Vec<u8> = GZIP
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    // As many as the limit has room for come to 10 MiB; inflated, they would be the letter a alone.
    let bomb = member.repeat(RESPONSE_BYTES_MAX as usize / member.len());
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let receiver = Receiver::answering([head.as_bytes(), &bomb].concat()).await;
    let attempt = send(&receiver.url("/")).await;
    let (status, excerpt) = answer(&attempt);
    assert_eq!(status, 200);
    assert!(
        !excerpt.contains("aaaa") && excerpt.contains('\u{FFFD}'),
        "{excerpt}"
    );
}

#[tokio::test]
async fn a_body_that_never_ends_and_never_comes_does_not_hide_the_status() {
    let receiver = Receiver::holding("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nso far").await;
    let sender = sender(Duration::from_millis(300), &["127.0.0.0/8"]);
    let attempt = send_by(&sender, &receiver.url("/")).await;
    assert_eq!(answer(&attempt), (200, "so far"));
    assert!(attempt.latency >= Duration::from_millis(250) && attempt.latency < PATIENCE);
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_hide_the_status() {
    let attempt = answered("HTTP/1.1 500 X\r\ncontent-length: 100\r\n\r\nbroken").await;
    assert_eq!(answer(&attempt), (500, "broken"));
}

#[tokio::test]
async fn a_receiver_that_hangs_is_a_timeout() {
    let receiver = Receiver::holding("").await;
    let sender = sender(Duration::from_millis(300), &["127.0.0.0/8"]);
    let attempt = send_by(&sender, &receiver.url("/")).await;
    assert_eq!(
        failure(&attempt),
        (FailureKind::Timeout, "no answer within 300ms")
    );
    assert!(attempt.latency < PATIENCE);
    assert_eq!(attempt.address, None);
}

#[tokio::test]
async fn headers_without_end_are_bounded() {
    let receiver = Receiver::streaming("HTTP/1.1 200 OK\r\nx: ", b"aaaaaaaa").await;
    assert_eq!(
        failure(&send(&receiver.url("/")).await).0,
        FailureKind::Closed
    );
}

#[tokio::test]
async fn headers_that_drip_are_cut_by_the_time() {
    let receiver = Receiver::dripping("HTTP/1.1 200 OK\r\nx: ").await;
    let sender = sender(Duration::from_millis(300), &["127.0.0.0/8"]);
    let attempt = send_by(&sender, &receiver.url("/")).await;
    assert_eq!(failure(&attempt).0, FailureKind::Timeout);
    assert!(attempt.latency < PATIENCE);
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let headers: String = (0..1000).map(|n| format!("x-{n}: a\r\n")).collect();
    let attempt = answered(&format!(
        "HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"
    ))
    .await;
    assert_eq!(failure(&attempt).0, FailureKind::Closed);
}

#[tokio::test]
async fn a_refused_connection_is_named() {
    let url = format!("http://{}/", closed_port().await);
    let attempt = send(&url).await;
    let (kind, detail) = failure(&attempt);
    assert_eq!(kind, FailureKind::Connect);
    assert!(detail.contains("refused"), "{detail}");
}

#[tokio::test]
async fn a_connection_that_ends_or_speaks_no_http_is_closed() {
    for text in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 99"] {
        let attempt = answered(text).await;
        assert_eq!(failure(&attempt).0, FailureKind::Closed, "{text:?}");
    }
}

#[tokio::test]
async fn tls_where_none_is_spoken_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let speaking = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket
            .write_all(b"220 mail.example ESMTP\r\n")
            .await
            .unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    assert_eq!(failure(&send(&url).await).0, FailureKind::Tls);
    speaking.await.unwrap();
}

#[tokio::test]
async fn the_guard_refuses_names_and_literal_addresses_before_a_connection() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = receiver.address.port();
    let strict = sender(PATIENCE, &[]);
    let metadata = sender(PATIENCE, &["0.0.0.0/0", "::/0"]);
    for scheme in ["http", "https"] {
        for host in [
            "127.0.0.1",
            "localhost",
            "0x7f.1",
            "2130706433",
            "[::ffff:127.0.0.1]",
            "0",
        ] {
            let attempt = send_by(&strict, &format!("{scheme}://{host}:{port}/")).await;
            let (kind, detail) = failure(&attempt);
            assert_eq!(
                kind,
                FailureKind::RefusedByGuard,
                "{scheme} {host}: {detail}"
            );
            assert!(detail.contains("webhooks.allow_networks"), "{detail}");
        }
        let attempt = send_by(&metadata, &format!("{scheme}://169.254.169.254/latest/")).await;
        assert_eq!(failure(&attempt).0, FailureKind::RefusedByGuard);
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn plain_http_to_a_public_address_is_refused() {
    let attempt = send("http://93.184.216.34/").await;
    let (kind, detail) = failure(&attempt);
    assert_eq!(kind, FailureKind::RefusedByGuard);
    assert!(detail.contains("use https"), "{detail}");
}

#[tokio::test]
async fn a_mapped_address_of_an_allowed_network_is_reached() {
    let receiver = Receiver::answering("HTTP/1.1 204 X\r\n\r\n").await;
    let port = receiver.address.port();
    let attempt = send(&format!("http://[::ffff:127.0.0.1]:{port}/")).await;
    assert_eq!(answer(&attempt).0, 204);
}

#[tokio::test]
async fn a_port_that_is_not_listed_reaches_allowed_networks_only() {
    let receiver = Receiver::answering("HTTP/1.1 204 X\r\n\r\n").await;
    let strict = SenderSettings {
        ports: vec![443],
        ..settings(PATIENCE, &["127.0.0.0/8"])
    };
    let strict = Sender::new(&strict).unwrap();
    assert_eq!(answer(&send_by(&strict, &receiver.url("/")).await).0, 204);
    for url in [
        "https://93.184.216.34:25/",
        "https://[2606:4700::1111]:6379/",
    ] {
        let attempt = send_by(&strict, url).await;
        let (kind, detail) = failure(&attempt);
        assert_eq!((kind, attempt.split), (FailureKind::RefusedByGuard, None));
        assert!(detail.contains("webhooks.ports"), "{detail}");
    }
}

#[tokio::test]
async fn a_scheme_that_is_not_listed_is_refused_even_in_allowed_networks() {
    let receiver = Receiver::answering("HTTP/1.1 204 X\r\n\r\n").await;
    let https_only = SenderSettings {
        schemes: vec![Scheme::Https],
        ..settings(PATIENCE, &["127.0.0.0/8"])
    };
    let attempt = send_by(&Sender::new(&https_only).unwrap(), &receiver.url("/")).await;
    let (kind, detail) = failure(&attempt);
    assert_eq!(kind, FailureKind::RefusedByGuard);
    assert_eq!(detail, "http is not one of webhooks.schemes");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn an_address_that_no_route_leads_to_is_no_fault_of_the_endpoint() {
    // The system connects no TCP to a multicast address: it answers "network is unreachable".
    let sender = sender(PATIENCE, &["224.0.0.0/4"]);
    let attempt = send_by(&sender, "http://224.0.0.1/").await;
    assert_eq!(failure(&attempt).0, FailureKind::Unreachable);
    assert_eq!(attempt.outcome.fault(), Fault::OwnNetwork);
}

#[tokio::test]
async fn headers_and_authorization_of_the_endpoint_are_sent_with_ours() {
    let receiver = Receiver::answering("HTTP/1.1 204 X\r\n\r\n").await;
    let headers = [
        ("X-Api-Key".to_owned(), "k3y".into()),
        ("accept".to_owned(), "text/plain".into()),
    ];
    let mut endpoint = endpoint(&receiver.url("/"));
    endpoint.credentials = credentials()
        .with_headers(CustomHeaders::new(headers).unwrap())
        .and_then(|it| it.with_authorization(Some(Authorization::bearer("t0ken".into())?)))
        .unwrap();
    let sender = sender(PATIENCE, &["127.0.0.0/8"]);
    assert_eq!(answer(&sender.send(&endpoint, message(ID)).await).0, 204);
    let request = receiver.request().await;
    for (name, value) in [
        ("x-api-key", "k3y"),
        ("accept", "text/plain"),
        ("authorization", "Bearer t0ken"),
        ("webhook-id", ID),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.header(name), Some(value));
    }
}

/// Set for a test that runs again in a process of its own, since what it changes holds for a process.
const AGAIN: &str = "TIDINGS_TEST_AGAIN";

async fn run_again(test: &str, variables: &[(&str, &str)]) {
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", test])
        .envs(variables.iter().copied());
    let again = again.output().await.unwrap();
    let output = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

#[tokio::test]
async fn proxy_variables_are_ignored() {
    if let Ok(url) = std::env::var(AGAIN) {
        assert_eq!(answer(&send(&url).await).0, 204);
        return;
    }
    let receiver = Receiver::answering("HTTP/1.1 204 X\r\n\r\n").await;
    let proxy = Receiver::answering("HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n").await;
    let (url, proxied) = (receiver.url("/"), proxy.url("/"));
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ];
    let mut variables = vec![(AGAIN, url.as_str())];
    variables.extend(names.map(|name| (name, proxied.as_str())));
    run_again("proxy_variables_are_ignored", &variables).await;
    assert_eq!((receiver.connections(), proxy.connections()), (1, 0));
}

#[tokio::test]
async fn a_machine_without_file_descriptors_is_no_fault_of_the_endpoint() {
    if std::env::var(AGAIN).is_err() {
        let name = "a_machine_without_file_descriptors_is_no_fault_of_the_endpoint";
        return run_again(name, &[(AGAIN, "1")]).await;
    }
    let sender = sender(PATIENCE, &["127.0.0.0/8"]);
    let url = format!("http://{}/", closed_port().await);
    let limit = Rlimit {
        current: Some(64),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    let attempt = send_by(&sender, &url).await;
    drop(held);
    assert_eq!(failure(&attempt).0, FailureKind::Exhausted, "{attempt:?}");
    assert_eq!(attempt.outcome.fault(), Fault::OwnNetwork);
}

#[tokio::test]
async fn the_latency_is_split_and_a_pooled_connection_has_no_lookup_and_no_connecting() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let sender = sender(PATIENCE, &["127.0.0.0/8", "::1/128"]);
    let url = format!("http://localhost:{}/", receiver.address.port());
    for new in [true, false, false] {
        let attempt = send_by(&sender, &url).await;
        let split = attempt.split.unwrap();
        assert_eq!(
            (split.dns.is_some(), split.connect.is_some()),
            (new, new),
            "{split:?}"
        );
        let parts = [split.dns, split.connect, split.wait];
        let sum: Duration = parts.into_iter().flatten().sum();
        assert!(
            split.wait.is_some() && sum <= attempt.latency,
            "{attempt:?}"
        );
    }
    let literal = send_by(&sender, &receiver.url("/")).await.split.unwrap();
    assert!(
        literal.dns.is_none() && literal.connect.is_some(),
        "{literal:?}"
    );
}

#[tokio::test]
async fn a_failure_says_where_its_time_went() {
    let receiver = Receiver::holding("").await;
    let sender = sender(Duration::from_millis(300), &["127.0.0.0/8"]);
    let split = send_by(&sender, &receiver.url("/")).await.split.unwrap();
    assert!(
        split.connect.is_some() && split.wait >= Some(Duration::from_millis(200)),
        "{split:?}"
    );
    let url = format!("http://{}/", closed_port().await);
    let split = send_by(&sender, &url).await.split.unwrap();
    assert!(split.connect.is_some() && split.wait.is_none(), "{split:?}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let sender = sender(PATIENCE, &["127.0.0.0/8"]);
    for _ in 0..3 {
        assert_eq!(
            answer(&send_by(&sender, &receiver.url("/")).await),
            (200, "ok")
        );
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn dropping_the_future_aborts_the_request() {
    let receiver = Receiver::holding("").await;
    let sender = sender(PATIENCE, &["127.0.0.0/8"]);
    let url = receiver.url("/");
    let sending = tokio::spawn(async move { send_by(&sender, &url).await });
    receiver.request().await;
    let started = Instant::now();
    sending.abort();
    receiver.closed().await;
    assert!(started.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn an_id_that_no_header_holds_and_a_missing_secret_are_failures() {
    let sender = sender(PATIENCE, &["127.0.0.0/8"]);
    let address: SocketAddr = closed_port().await;
    let mut endpoint = endpoint(&format!("http://{address}/"));
    let attempt = sender.send(&endpoint, message("a\nb")).await;
    assert_eq!(failure(&attempt).0, FailureKind::Request);
    endpoint.credentials.signing.clear();
    let attempt = sender.send(&endpoint, message(ID)).await;
    assert_eq!(failure(&attempt).0, FailureKind::Request);
}

#[tokio::test]
async fn no_secret_and_no_path_shows_in_what_is_printed() {
    let url = format!("http://{}/s3cret?key=s3cret", closed_port().await);
    let attempt = send(&url).await;
    let printed = format!("{:?} {attempt:?}", endpoint(&url));
    assert!(
        !printed.contains("s3cret") && !printed.contains("MfKQ"),
        "{printed}"
    );
}
