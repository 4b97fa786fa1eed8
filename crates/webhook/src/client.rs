use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, redirect, retry};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use crate::guard::Passage;
use crate::latency::TimedConnections;
use crate::resolver::GuardedResolver;
use crate::{ClientCertificate, Error, RESPONSE_BYTES_MAX, SenderSettings};

const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that vanished is found out while requests wait, or they would all share the dead connection.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// For all streams of one connection together, in bytes.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// The names and values of one answer over HTTP/2, in bytes. HTTP/1 has hyper's own limits: 100
/// headers in about 400 kB.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// A client that connects only where the resolver's guard lets its passage go, and sends each request
/// once.
///
/// Neither redirects nor proxies nor decompression: each would walk past the guard or the limits.
pub(crate) fn client(
    resolver: GuardedResolver,
    tls: ClientConfig,
    settings: &SenderSettings,
) -> Result<Client, Error> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(resolver.passage != Passage::PlainHttp)
        .dns_resolver(resolver)
        .connector_layer(TimedConnections)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .user_agent(&settings.user_agent)
        .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(settings.idle_connections)
        .http2_initial_stream_window_size(RESPONSE_BYTES_MAX)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_INTERVAL)
        .build()
        .map_err(|error| Error::Client(error.into()))
}

/// TLS by ring that trusts `roots`, shows `certificate` to whoever asks, and offers HTTP/2 and HTTP/1.
pub(crate) fn tls(
    roots: Arc<RootCertStore>,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Client(error.into()))?
        .with_root_certificates(roots);
    let mut tls = match certificate {
        None => tls.with_no_client_auth(),
        Some(certificate) => {
            tls.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.certified())))
        }
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// The certificates that the system trusts.
///
/// Those it cannot read are left out. Without any, https endpoints fail by name and plain http
/// still works.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
