use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::failure::LookupFailure;
use crate::{ClientCertificate, Fault, Filter};
use dns_lookup::LookupError;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Codes of `getaddrinfo`, as Linux and glibc have them.
const EAI_AGAIN: i32 = -3;
const EAI_NONAME: i32 = -2;

/// The listener of a receiver, its TLS under a certificate for 127.0.0.1, and roots that hold it.
async fn receiver(protocol: &str) -> (TcpListener, TlsAcceptor, RootCertStore) {
    receiver_for(protocol, WebPkiClientVerifier::no_client_auth()).await
}

async fn receiver_for(
    protocol: &str,
    clients: Arc<dyn ClientCertVerifier>,
) -> (TcpListener, TlsAcceptor, RootCertStore) {
    let names = ["127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let key = signing_key.serialize_der().try_into().unwrap();
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![protocol.into()];
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener, Arc::new(tls).into(), roots)
}

/// Answers 204 over HTTP/1, once to each connection that TLS lets in.
async fn http1() -> (SocketAddr, RootCertStore) {
    http1_for(WebPkiClientVerifier::no_client_auth()).await
}

async fn http1_for(clients: Arc<dyn ClientCertVerifier>) -> (SocketAddr, RootCertStore) {
    let (listener, tls, roots) = receiver_for("http/1.1", clients).await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(socket) = tls.accept(socket).await else {
                continue;
            };
            let mut socket = BufReader::new(socket);
            let mut line = String::new();
            socket.read_line(&mut line).await.unwrap();
            let answer = b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n";
            socket.write_all(answer).await.unwrap();
            let _ = socket.shutdown().await;
        }
    });
    (address, roots)
}

/// Accepts connections and counts them.
async fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

/// Lookups that answer by their number, from 0, and the count of them.
fn lookups(
    answer: impl Fn(usize) -> Result<Vec<IpAddr>, LookupFailure> + Send + Sync + 'static,
) -> (Lookups, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let lookups = Lookups::by(move |_| answer(counted.fetch_add(1, Ordering::SeqCst)));
    (lookups, count)
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
    let sender = sender(roots, Lookups::by_system(), &["127.0.0.0/8"]);
    attempt(&sender, &endpoint(url)).await.outcome
}

fn sender(roots: RootCertStore, lookups: Lookups, allow_networks: &[&str]) -> Sender {
    Sender::trusting(roots, lookups, &sender_settings(allow_networks)).unwrap()
}

fn kind(attempt: &Attempt) -> FailureKind {
    match &attempt.outcome {
        Outcome::Failed { kind, .. } => *kind,
        Outcome::Answered { .. } => panic!("answered: {attempt:?}"),
    }
}

fn sender_settings(allow_networks: &[&str]) -> SenderSettings {
    SenderSettings {
        timeout: Duration::from_secs(20),
        allow_networks: allow_networks
            .iter()
            .map(|net| net.parse().unwrap())
            .collect(),
        ports: Vec::new(),
        schemes: Vec::new(),
        idle_connections: 32,
        user_agent: "tidings/0.1.0".to_owned(),
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        id: "endpoint_1".to_owned(),
        name: "ops".to_owned(),
        url: url.parse().unwrap(),
        credentials: crate::Credentials::signed_by(crate::Secret::generate().unwrap().into()),
        filter: Filter::default(),
        format: crate::Format::Full,
    }
}

async fn attempt(sender: &Sender, endpoint: &Endpoint) -> Attempt {
    let message = Message {
        id: "id",
        at: jiff::Timestamp::now(),
        replay: None,
        payload: crate::Payload {
            body: b"{}".as_slice().into(),
            content_type: "application/json",
        },
    };
    sender.send(endpoint, message).await
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

#[tokio::test]
async fn a_name_that_turns_private_after_it_was_checked_leads_nowhere() {
    let (address, connections) = counting().await;
    let local: IpAddr = Ipv4Addr::LOCALHOST.into();
    // Public first: the port there is closed, or nobody answers in the time.
    let public: IpAddr = Ipv4Addr::new(93, 184, 216, 34).into();
    let (lookups, count) =
        lookups(move |number| Ok(vec![if number == 0 { public } else { local }]));
    let mut settings = sender_settings(&[]);
    settings.timeout = Duration::from_millis(300);
    let sender = Sender::trusting(RootCertStore::empty(), lookups, &settings).unwrap();
    let endpoint = endpoint(&format!("https://rebinding.example:{}/", address.port()));

    let first = attempt(&sender, &endpoint).await;
    assert_ne!(kind(&first), FailureKind::RefusedByGuard);
    // One lookup for the check and the connection: there is no second answer to go by.
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let second = attempt(&sender, &endpoint).await;
    assert_eq!(kind(&second), FailureKind::RefusedByGuard);
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_connected_to() {
    let (address, roots) = http1().await;
    let (lookups, count) = lookups(|_| Ok(vec![Ipv4Addr::LOCALHOST.into()]));
    let sender = sender(roots, lookups, &["127.0.0.1/32"]);
    // The certificate is for the address: TLS fails after the connection was made.
    let url = format!("https://checked.example:{}/", address.port());
    assert_eq!(
        kind(&attempt(&sender, &endpoint(&url)).await),
        FailureKind::Tls
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_private_address_among_public_ones_refuses_the_name() {
    let (address, connections) = counting().await;
    let public: IpAddr = "2606:4700::1111".parse().unwrap();
    let (lookups, _) = lookups(move |_| Ok(vec![public, Ipv4Addr::LOCALHOST.into()]));
    let sender = sender(RootCertStore::empty(), lookups, &[]);
    let url = format!("https://both.example:{}/", address.port());
    let refused = attempt(&sender, &endpoint(&url)).await;
    assert_eq!(kind(&refused), FailureKind::RefusedByGuard);
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_port_that_is_not_listed_holds_for_names_too() {
    let public: IpAddr = Ipv4Addr::new(93, 184, 216, 34).into();
    let (lookups, _) = lookups(move |_| Ok(vec![public]));
    let mut settings = sender_settings(&[]);
    settings.ports = vec![443];
    let sender = Sender::trusting(RootCertStore::empty(), lookups, &settings).unwrap();
    let refused = attempt(&sender, &endpoint("https://mail.example:25/")).await;
    assert_eq!(kind(&refused), FailureKind::RefusedByGuard);
}

#[tokio::test]
async fn a_resolver_that_does_not_work_is_told_from_a_name_that_does_not_exist() {
    for (code, expected, fault) in [
        (EAI_AGAIN, FailureKind::Resolver, Fault::OwnNetwork),
        (EAI_NONAME, FailureKind::Dns, Fault::Endpoint),
    ] {
        let (lookups, _) = lookups(move |_| Err(LookupError::new(code).into()));
        let sender = sender(RootCertStore::empty(), lookups, &[]);
        let failed = attempt(&sender, &endpoint("https://nobody.example/")).await;
        assert_eq!((kind(&failed), failed.outcome.fault()), (expected, fault));
        assert!(failed.split.unwrap().dns.is_some());
    }
    let (lookups, _) = lookups(|_| Ok(Vec::new()));
    let sender = sender(RootCertStore::empty(), lookups, &[]);
    let failed = attempt(&sender, &endpoint("https://nobody.example/")).await;
    assert_eq!(failed.outcome.fault(), Fault::Endpoint);
}

/// A client certificate, and a verifier that asks for it.
fn client_certificate() -> (ClientCertificate, Arc<dyn ClientCertVerifier>) {
    let names = ["client.example".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    let pem = format!("{}{}", cert.pem(), signing_key.serialize_pem());
    let certificate = ClientCertificate::from_pem(pem.into()).unwrap();
    (certificate, verifier.build().unwrap())
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_or_a_foreign_one_is_a_failure() {
    let (ours, verifier) = client_certificate();
    let (foreign, _) = client_certificate();
    let (address, roots) = http1_for(verifier).await;
    let sender = sender(roots, Lookups::by_system(), &["127.0.0.0/8"]);
    let mut endpoint = endpoint(&format!("https://{address}/"));
    for (certificate, status) in [
        (None, None),
        (Some(ours), Some(204)),
        (Some(foreign), None),
        (None, None),
    ] {
        endpoint.credentials = endpoint.credentials.with_client_certificate(certificate);
        let made = attempt(&sender, &endpoint).await;
        assert_eq!(made.outcome.status(), status, "{made:?}");
    }
}

#[tokio::test]
async fn oversized_headers_over_http2_are_refused() {
    let (listener, tls, roots) = receiver("h2").await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let socket = tls.accept(socket).await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            let answer = http::Response::builder().header("x-large", "a".repeat(64 << 10));
            let _ = respond.send_response(answer.body(()).unwrap(), true);
        }
    });
    let outcome = send(&format!("https://{address}/"), roots).await;
    assert!(outcome.status().is_none(), "{outcome:?}");
}
