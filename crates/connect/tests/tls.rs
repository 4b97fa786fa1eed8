//! TLS handshakes with a server in this process, for each `sslmode`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use connect::{Error, Stream, Target};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What came of the attempt to connect to a server with a URL's parameters.
type Outcome = Result<Stream, Error>;

/// A server's certificate with its key, and files for `sslrootcert` and its like.
struct Fixture {
    files: TempDir,
    authority: Authority,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Fixture {
    /// A certificate for `name`, signed by an authority whose certificate is in `root.crt`.
    fn signed(name: &str) -> Self {
        let authority = authority("one");
        let (certificate, key) = leaf(name, &authority);
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join("root.crt"), authority.pem()).unwrap();
        std::fs::write(
            files.path().join("other.crt"),
            crate::authority("other").pem(),
        )
        .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self {
            files,
            authority,
            certificate: certificate.der().clone(),
            key,
        }
    }

    /// A certificate for `name` that vouches for itself, as the manual of Postgres makes one.
    fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        let fixture = Self::signed(name);
        std::fs::write(fixture.path("root.crt"), certificate.pem()).unwrap();
        Self {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            ..fixture
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.files.path().join(file)
    }

    fn root(&self, mode: &str, file: &str) -> String {
        format!("sslmode={mode}&sslrootcert={}", self.path(file).display())
    }

    fn config(&self) -> ServerConfig {
        builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap()
    }

    /// A server that wants a certificate of the authority from its clients.
    fn config_for_known_clients(&self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap()
    }

    /// Connects to `localhost` with these parameters.
    async fn connect(&self, parameters: &str) -> Outcome {
        connect(Some(self.config()), parameters).await
    }
}

fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let distinguished = &mut parameters.distinguished_name;
    distinguished.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(name: &str, authority: &Authority) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    (certificate, key)
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
}

/// Dials a server that answers one request for TLS: with no unless it has a config.
async fn connect(config: Option<ServerConfig>, parameters: &str) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        serve(socket, config).await
    });
    let url = format!("postgres://u@localhost:{port}/d?hostaddr=127.0.0.1&{parameters}");
    let target = Target::parse(&url).unwrap();
    let outcome = target.dial().next().await.unwrap();
    let outcome = match outcome {
        Ok(stream) => echo(stream).await,
        Err(error) => Err(error),
    };
    // It ends once the client has hung up.
    let _ = server.await.unwrap();
    outcome
}

async fn serve(mut socket: TcpStream, config: Option<ServerConfig>) -> std::io::Result<()> {
    let mut first = [0; 8];
    socket.read_exact(&mut first).await?;
    if first != [0, 0, 0, 8, 4, 210, 22, 47] {
        return socket.write_all(&first).await;
    }
    match config {
        Some(config) => {
            socket.write_all(b"S").await?;
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await?;
            stream.read_exact(&mut first).await?;
            stream.write_all(&first).await
        }
        None => {
            socket.write_all(b"N").await?;
            socket.read_exact(&mut first).await?;
            socket.write_all(&first).await
        }
    }
}

/// With TLS 1.3 a server that refuses the client's certificate says so only when read from.
async fn echo(mut stream: Stream) -> Outcome {
    let host = stream.host().to_string();
    let mut back = [0; 8];
    let echoed = async {
        stream.write_all(b"12345678").await?;
        stream.flush().await?;
        stream.read_exact(&mut back).await
    };
    match echoed.await {
        Ok(_) => Ok(stream),
        Err(source) => Err(Error::Tls { host, source }),
    }
}

#[track_caller]
fn accepted(outcome: Outcome) -> Stream {
    let stream = outcome.unwrap();
    assert!(stream.is_tls());
    stream
}

#[track_caller]
fn refused(outcome: Outcome) -> String {
    match outcome {
        Err(Error::Tls { source, .. }) => source.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn verify_full_accepts_a_known_authority_and_the_right_name_only() {
    let right = Fixture::signed("localhost");
    accepted(right.connect(&right.root("verify-full", "root.crt")).await);
    refused(right.connect(&right.root("verify-full", "other.crt")).await);
    let wrong = Fixture::signed("db.internal");
    let why = refused(wrong.connect(&wrong.root("verify-full", "root.crt")).await);
    assert!(why.contains("name"), "{why}");
}

#[tokio::test]
async fn verify_ca_accepts_any_name_of_a_known_authority() {
    let wrong = Fixture::signed("db.internal");
    accepted(wrong.connect(&wrong.root("verify-ca", "root.crt")).await);
    refused(wrong.connect(&wrong.root("verify-ca", "other.crt")).await);
}

#[tokio::test]
async fn require_verifies_an_authority_only_where_one_is_given() {
    let fixture = Fixture::signed("db.internal");
    accepted(fixture.connect("sslmode=require").await);
    accepted(fixture.connect(&fixture.root("require", "root.crt")).await);
    refused(fixture.connect(&fixture.root("require", "other.crt")).await);
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_authority() {
    let fixture = Fixture::self_signed("localhost");
    accepted(
        fixture
            .connect(&fixture.root("verify-full", "root.crt"))
            .await,
    );
    refused(
        fixture
            .connect(&fixture.root("verify-full", "other.crt"))
            .await,
    );
    let wrong = Fixture::self_signed("db.internal");
    refused(wrong.connect(&wrong.root("verify-full", "root.crt")).await);
}

#[tokio::test]
async fn the_systems_authorities_do_not_know_ours() {
    let fixture = Fixture::signed("localhost");
    let outcome = fixture
        .connect("sslmode=verify-full&sslrootcert=system")
        .await;
    assert!(matches!(
        outcome,
        Err(Error::Tls { .. } | Error::Certificates { .. })
    ));
}

#[tokio::test]
async fn prefer_encrypts_where_the_server_offers_it() {
    let fixture = Fixture::signed("db.internal");
    accepted(fixture.connect("sslmode=prefer").await);
    assert!(!connect(None, "sslmode=prefer").await.unwrap().is_tls());
}

#[tokio::test]
async fn without_an_offer_every_stricter_mode_refuses() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let why = refused(connect(None, &format!("sslmode={mode}")).await);
        assert!(why.contains("does not offer TLS"), "{why}");
    }
}

#[tokio::test]
async fn disable_does_not_ask() {
    let fixture = Fixture::signed("localhost");
    assert!(!fixture.connect("sslmode=disable").await.unwrap().is_tls());
}

#[tokio::test]
async fn the_session_is_bound_to_the_servers_certificate() {
    let fixture = Fixture::signed("localhost");
    let stream = accepted(fixture.connect("sslmode=require").await);
    let hash = Sha256::digest(&fixture.certificate);
    assert_eq!(stream.end_point(), Some(&hash[..]));
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let fixture = Fixture::signed("localhost");
    let (certificate, key) = leaf("client", &fixture.authority);
    std::fs::write(fixture.path("client.crt"), certificate.pem()).unwrap();
    std::fs::write(fixture.path("client.key"), key.serialize_pem()).unwrap();
    let shown = format!(
        "sslmode=require&sslcert={}&sslkey={}",
        fixture.path("client.crt").display(),
        fixture.path("client.key").display(),
    );
    accepted(connect(Some(fixture.config_for_known_clients()), &shown).await);
    refused(connect(Some(fixture.config_for_known_clients()), "sslmode=require").await);
}

#[tokio::test]
async fn a_certificate_file_that_can_not_be_used_is_named() {
    let fixture = Fixture::signed("localhost");
    std::fs::write(fixture.path("empty.crt"), "s3cret").unwrap();
    for file in ["missing.crt", "empty.crt"] {
        match fixture.connect(&fixture.root("verify-ca", file)).await {
            Err(Error::Certificates { path, source }) => {
                assert!(path.ends_with(file));
                assert!(!source.to_string().contains("s3cret"));
            }
            other => panic!("{other:?}"),
        }
    }
}
