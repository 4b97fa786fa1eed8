use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::{Host, endpoint_binding};

/// A way to a server, encrypted if its `sslmode` says so; the startup message comes next.
#[derive(Debug)]
pub struct Stream {
    host: Host,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        end_point: Option<Vec<u8>>,
    },
}

/// How a session is carried, as this end of it sees it: what a proxy does behind itself nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// A Unix socket.
    Socket,
    Plain,
    /// With the protocol's version: `TLSv1.3`.
    Tls(String),
}

impl Stream {
    pub(crate) fn tcp(host: Host, stream: TcpStream) -> Self {
        let transport = Transport::Tcp(stream);
        Self { host, transport }
    }

    pub(crate) fn unix(host: Host, stream: UnixStream) -> Self {
        let transport = Transport::Unix(stream);
        Self { host, transport }
    }

    pub(crate) fn tls(host: Host, stream: TlsStream<TcpStream>) -> Self {
        let certificates = stream.get_ref().1.peer_certificates();
        let end_point = certificates
            .and_then(<[_]>::first)
            .and_then(|certificate| endpoint_binding::data(certificate));
        let stream = Box::new(stream);
        let transport = Transport::Tls { stream, end_point };
        Self { host, transport }
    }

    /// The host of the URL that this leads to.
    pub fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn encryption(&self) -> Encryption {
        match &self.transport {
            Transport::Unix(_) => Encryption::Socket,
            Transport::Tcp(_) => Encryption::Plain,
            Transport::Tls { stream, .. } => {
                let version = stream.get_ref().1.protocol_version();
                let version = version.and_then(|version| version.as_str());
                Encryption::Tls(version.unwrap_or("TLS").replace('_', "."))
            }
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls { .. })
    }

    /// The `tls-server-end-point` data (RFC 5929) that SCRAM is bound to; `None` without TLS, and
    /// for certificates whose signature algorithm has no hash of its own (Ed25519).
    pub fn end_point(&self) -> Option<&[u8]> {
        match &self.transport {
            Transport::Tls { end_point, .. } => end_point.as_deref(),
            Transport::Tcp(_) | Transport::Unix(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls { stream, .. } => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls { stream, .. } => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls { stream, .. } => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls { stream, .. } => Pin::new(stream).poll_shutdown(context),
        }
    }
}
