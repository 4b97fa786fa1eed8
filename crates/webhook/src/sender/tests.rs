use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::Filter;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The listener of a receiver, its TLS under a certificate for 127.0.0.1, and roots that hold it.
async fn receiver(protocol: &str) -> (TcpListener, TlsAcceptor, RootCertStore) {
    let names = ["127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let key = signing_key.serialize_der().try_into().unwrap();
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![protocol.into()];
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener, Arc::new(tls).into(), roots)
}

/// Answers 204 over HTTP/1, once.
async fn http1() -> (SocketAddr, RootCertStore) {
    let (listener, tls, roots) = receiver("http/1.1").await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(socket) = tls.accept(socket).await else {
            return;
        };
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        socket.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
        let _ = socket.read_line(&mut line).await;
    });
    (address, roots)
}

/// Answers 200 and a body without end over HTTP/2; yields the bytes it was given room for.
async fn endless_http2() -> (SocketAddr, RootCertStore, JoinHandle<usize>) {
    let (listener, tls, roots) = receiver("h2").await;
    let address = listener.local_addr().unwrap();
    let streaming = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let socket = tls.accept(socket).await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let streaming = tokio::spawn(async move {
            let answer = http::Response::new(());
            let mut stream = respond.send_response(answer, false).unwrap();
            let mut sent = 0;
            stream.reserve_capacity(1 << 30);
            while let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await {
                stream.send_data(vec![b'x'; room].into(), false).unwrap();
                sent += room;
            }
            sent
        });
        while connection.accept().await.is_some() {}
        streaming.await.unwrap()
    });
    (address, roots, streaming)
}

async fn send(url: &str, roots: RootCertStore) -> Outcome {
    let settings = SenderSettings {
        timeout: Duration::from_secs(20),
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ports: Vec::new(),
        schemes: Vec::new(),
        user_agent: "tidings/0.1.0".to_owned(),
    };
    let endpoint = Endpoint {
        id: "endpoint_1".to_owned(),
        name: "ops".to_owned(),
        url: url.parse().unwrap(),
        credentials: crate::Credentials::signed_by(crate::Secret::generate().unwrap().into()),
        filter: Filter::default(),
        format: crate::Format::Full,
    };
    let sender = Sender::trusting(roots, Lookups::by_system(), &settings).unwrap();
    let message = Message {
        id: "id",
        at: jiff::Timestamp::now(),
        replay: None,
        payload: crate::Payload {
            body: b"{}".as_slice().into(),
            content_type: "application/json",
        },
    };
    let attempt = sender.send(&endpoint, message).await;
    attempt.outcome
}

#[tokio::test]
async fn a_trusted_certificate_is_spoken_to() {
    let (address, roots) = http1().await;
    let outcome = send(&format!("https://{address}/"), roots).await;
    assert_eq!(outcome.status(), Some(204), "{outcome:?}");
}

#[tokio::test]
async fn an_endless_body_over_http2_is_cut_and_the_status_counts() {
    let (address, roots, streaming) = endless_http2().await;
    let outcome = send(&format!("https://{address}/"), roots).await;
    let Outcome::Answered {
        status, excerpt, ..
    } = outcome
    else {
        panic!("failed: {outcome:?}");
    };
    assert_eq!((status, excerpt), (200, "x".repeat(1024)));
    let sent = streaming.await.unwrap();
    assert!(sent <= 4 * RESPONSE_BYTES_MAX as usize, "{sent} bytes");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named() {
    let (address, _) = http1().await;
    let outcome = send(&format!("https://{address}/"), RootCertStore::empty()).await;
    let Outcome::Failed { kind, detail } = outcome else {
        panic!("answered");
    };
    assert_eq!(kind, FailureKind::Tls);
    assert!(detail.contains("certificate"), "{detail}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_named() {
    let (address, roots) = http1().await;
    // The same place by a name that is not in the certificate.
    let url = format!("https://[::ffff:127.0.0.1]:{}/", address.port());
    let outcome = send(&url, roots).await;
    assert!(
        matches!(
            outcome,
            Outcome::Failed {
                kind: FailureKind::Tls,
                ..
            }
        ),
        "{outcome:?}"
    );
}
