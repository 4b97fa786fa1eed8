//! Whatever a subscriber answers, an attempt ends in its time with a status or a reason, and keeps no more
//! of the answer than it may.
#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use webhook::{
    Attempt, Credentials, Endpoint, Filter, Format, Message, Outcome, Payload, Sender,
    SenderSettings,
};

const TIMEOUT: Duration = Duration::from_millis(200);

struct Loopback {
    runtime: Runtime,
    listener: TcpListener,
    sender: Sender,
}

thread_local! {
    static LOOPBACK: OnceCell<Loopback> = const { OnceCell::new() };
}

fuzz_target!(|answer: &[u8]| {
    LOOPBACK.with(|loopback| {
        let loopback = loopback.get_or_init(begin);
        let attempt = loopback.runtime.block_on(attempt(loopback, answer));
        match attempt.outcome {
            Outcome::Answered {
                status, excerpt, ..
            } => {
                assert!((100..1000).contains(&status));
                assert!(excerpt.len() <= webhook::RESPONSE_BYTES_MAX as usize);
            }
            Outcome::Failed { detail, .. } => assert!(!detail.is_empty()),
        }
    });
});

fn begin() -> Loopback {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let sender = Sender::new(&SenderSettings {
        timeout: TIMEOUT,
        allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        ports: Vec::new(),
        schemes: Vec::new(),
        idle_connections: 0,
        user_agent: "fuzz".to_owned(),
    });
    Loopback {
        runtime,
        listener,
        sender: sender.expect("a sender"),
    }
}

/// One request, answered with these bytes and the end of the connection.
async fn attempt(loopback: &Loopback, answer: &[u8]) -> Attempt {
    let url = format!(
        "http://{}/",
        loopback.listener.local_addr().expect("an address")
    );
    let answering = async {
        let (mut connection, _) = loopback.listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).await;
        let _ = connection.write_all(answer).await;
        let _ = connection.shutdown().await;
    };
    let endpoint = endpoint(&url);
    let message = message();
    let (attempt, ()) = tokio::join!(loopback.sender.send(&endpoint, message), answering);
    attempt
}

fn endpoint(url: &str) -> Endpoint {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse();
    Endpoint {
        id: "ep_fuzz".to_owned(),
        name: "fuzz".to_owned(),
        url: url.parse().expect("a URL"),
        credentials: Credentials::signed_by(secret.expect("a secret")),
        filter: Filter::default(),
        format: Format::Full,
    }
}

fn message() -> Message<'static> {
    Message {
        id: "fuzz",
        at: Timestamp::now(),
        replay: None,
        payload: Payload {
            body: Vec::new().into(),
            content_type: "application/json",
        },
    }
}
