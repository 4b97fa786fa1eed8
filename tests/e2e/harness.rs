//! The harness does what the other tests take for granted.

use std::time::Duration;

use jiff::Timestamp;
use tests::{Behaviour, Receiver, Stage, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a notification and returns the first bytes of the answer.
async fn post(receiver: &Receiver, id: &str) -> std::io::Result<String> {
    let url = receiver.url();
    let address = url
        .strip_prefix("http://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let (body, now) = ("{}", Timestamp::now().as_second());
    let keys = [receiver.secret().clone().into()];
    let signature = webhook::sign(&keys, id, now, body.as_bytes());
    let request = format!(
        "POST /hooks HTTP/1.1\r\nhost: {address}\r\nwebhook-id: {id}\r\nwebhook-timestamp: {now}\r\n\
         webhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1 << 20];
    let mut length = 0;
    let patience = Duration::from_millis(300);
    while let Ok(read) = tokio::time::timeout(patience, socket.read(&mut answer[length..])).await {
        length += read?;
        if length == answer.len() {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_remembers_what_it_accepted_and_verifies_it() {
    let mut receiver = Receiver::open().await;
    assert!(
        post(&receiver, "a")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    receiver.behave(Behaviour::Status(500)).await;
    assert!(
        post(&receiver, "b")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 500")
    );
    receiver.until_requested(2).await;
    receiver.assert_verified();
    assert_eq!(
        receiver.accepted().into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), 1)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_misbehaves_as_it_is_told() {
    let mut receiver = Receiver::open().await;
    receiver
        .behave(Behaviour::Redirect("http://127.0.0.1:1/".to_owned()))
        .await;
    assert!(
        post(&receiver, "a")
            .await
            .unwrap()
            .contains("location: http://127.0.0.1:1/")
    );
    receiver.behave(Behaviour::Hang).await;
    assert_eq!(post(&receiver, "b").await.unwrap(), "");
    receiver.behave(Behaviour::Endless).await;
    assert_eq!(post(&receiver, "c").await.unwrap().len(), 1 << 20);
    receiver.refuse().await;
    post(&receiver, "d").await.unwrap_err();
    receiver.behave(Behaviour::Status(200)).await;
    assert!(
        post(&receiver, "e")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    let ids: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| request.id().to_owned())
        .collect();
    assert_eq!(ids, ["a", "b", "c", "e"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_outlives_a_kill_of_its_server() {
    let mut stage = Stage::start().await;
    stage
        .execute("insert into projects (project_id, name) values ('p', 'My API')")
        .await;
    stage.server.kill9().unwrap();
    stage.server.start_again().unwrap();
    stage.until("(select count(*) = 1 from projects)").await;
    let owner: String = stage
        .value("select tableowner::text from pg_tables where tablename = 'projects'")
        .await;
    assert_eq!(owner, "worker");
    eventually("facts are waited for", async || true).await;
}
