//! TLS for both kinds of client: the SSLRequest, the certificates, the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::parameters::Parameters;
use crate::verifier::{self, Check, Verifier};
use crate::{Address, Error, Host, Stream};

/// How much of TLS is asked for (`sslmode`), in ascending strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    /// Encrypted where the server offers it; its certificate is not checked.
    Prefer,
    /// Encrypted; the certificate is checked only where `sslrootcert` is given.
    Require,
    /// Encrypted, with a certificate that a root vouches for.
    VerifyCa,
    /// That, and the certificate is for this host.
    VerifyFull,
}

/// Whom to trust (`sslrootcert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The roots of the operating system.
    System,
    /// A file of certificates in PEM.
    File(PathBuf),
}

/// Agrees with the server on TLS as `mode` asks.
///
/// This is the one place where a session becomes encrypted or stays plain.
pub(crate) async fn negotiate(
    mut socket: TcpStream,
    host: &Host,
    mode: SslMode,
    parameters: &Parameters,
) -> Result<Stream, Error> {
    if mode == SslMode::Disable || !offered(&mut socket, host).await? {
        return match mode {
            SslMode::Disable | SslMode::Prefer => Ok(Stream::tcp(host.clone(), socket)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Err(Error::tls(
                host,
                io::Error::other(
                    "the server does not offer TLS; turn ssl on there, or, if the network \
                     between is trusted, write sslmode=disable",
                ),
            )),
        };
    }
    let name = server_name(host, mode, &socket)?;
    let parameters = parameters.clone();
    let config = tokio::task::spawn_blocking(move || config(mode, &parameters));
    let config = config.await.map_err(|e| Error::tls(host, e.into()))??;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket);
    match stream.await {
        Ok(stream) => Ok(Stream::tls(host.clone(), stream)),
        Err(error) => Err(Error::tls(host, error)),
    }
}

/// Sends the SSLRequest. Exactly one byte is read, so that nothing an attacker sent ahead in
/// plain text can pass for something received under TLS.
async fn offered(socket: &mut TcpStream, host: &Host) -> Result<bool, Error> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];
    let lost = |error| Error::unreachable(host, error);
    socket.write_all(&SSL_REQUEST).await.map_err(lost)?;
    match socket.read_u8().await.map_err(lost)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(Error::tls(
            host,
            io::Error::other("the answer to the request for TLS is neither yes nor no"),
        )),
    }
}

/// The name that the certificate must be for, and that is sent as SNI. Where the name is not
/// checked, one that TLS can not express is replaced by the address.
fn server_name(
    host: &Host,
    mode: SslMode,
    socket: &TcpStream,
) -> Result<ServerName<'static>, Error> {
    let Address::Tcp { name, .. } = &host.address else {
        unreachable!("TLS is negotiated on TCP sockets only");
    };
    match ServerName::try_from(name.clone()) {
        Ok(name) => Ok(name),
        Err(_) if mode < SslMode::VerifyFull => {
            let address = socket
                .peer_addr()
                .map_err(|e| Error::unreachable(host, e))?;
            Ok(ServerName::from(address.ip()))
        }
        Err(error) => Err(Error::tls(host, io::Error::other(error))),
    }
}

/// Reads the certificate files anew, so that rotated ones are used from the next connection on.
fn config(mode: SslMode, parameters: &Parameters) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        check: match mode {
            SslMode::Disable | SslMode::Prefer | SslMode::Require => Check::Nothing,
            SslMode::VerifyCa => Check::Chain(roots(parameters)?),
            SslMode::VerifyFull => Check::ChainAndName(roots(parameters)?),
        },
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = builder(provider)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match (&parameters.ssl_cert, &parameters.ssl_key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| unusable(certificate, io::Error::other(error))),
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
}

fn roots(parameters: &Parameters) -> Result<verifier::Roots, Error> {
    match parameters.ssl_root.as_ref().unwrap_or(&Roots::System) {
        Roots::System => system_roots(),
        Roots::File(path) => file_roots(path),
    }
}

fn system_roots() -> Result<verifier::Roots, Error> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let source = match found.errors.pop() {
            Some(error) => io::Error::other(error),
            None => io::Error::other("none found; install ca-certificates or give sslrootcert"),
        };
        return Err(unusable(
            Path::new("the system's root certificates"),
            source,
        ));
    }
    let pinned = Vec::new();
    Ok(verifier::Roots { store, pinned })
}

fn file_roots(path: &Path) -> Result<verifier::Roots, Error> {
    let pinned = certificates(path)?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(pinned.iter().cloned());
    if added == 0 {
        return Err(unusable(
            path,
            io::Error::other("no certificate in it is usable"),
        ));
    }
    Ok(verifier::Roots { store, pinned })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, pem(error)))?;
    if certificates.is_empty() {
        return Err(unusable(
            path,
            io::Error::other("it holds no certificate in PEM"),
        ));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, pem(error)))
}

fn pem(error: rustls_pki_types::pem::Error) -> io::Error {
    match error {
        rustls_pki_types::pem::Error::Io(error) => error,
        // The other variants may quote the file.
        _ => io::Error::other("it is no PEM file of the kind expected here"),
    }
}

fn unusable(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    Error::Certificates { path, source }
}
