use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::tls::{self, TlsConnect, TlsStream};
use tokio_postgres::{Config, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    ChannelBinding, Encryption, Error, Host, Identity, SessionAttrs, Stream, Target, Timelines,
};

/// A SQL session. Dropping it closes the connection at once, whatever was under way.
pub struct Client {
    session: tokio_postgres::Client,
    server: Option<Identity>,
    host: String,
    encryption: Encryption,
    timelines: Arc<Timelines>,
    closed: CancellationToken,
    _connection: AbortOnDropHandle<()>,
}

impl Client {
    /// Which server this is; `None` where it does not tell.
    pub fn server(&self) -> Option<&Identity> {
        self.server.as_ref()
    }

    /// How this session is carried.
    pub fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    /// Asks nobody: whether no other session has met a later timeline of this cluster since.
    ///
    /// # Errors
    /// [`Error::Overtaken`]: this session is at a primary from before a promotion.
    pub fn check_timeline(&self) -> Result<(), Error> {
        match &self.server {
            Some(server) => self.timelines.meet(&self.host, server),
            None => Ok(()),
        }
    }

    /// Waits until the connection is lost. Cancel safe.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.session
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.session
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let closed = self.session.is_closed();
        f.debug_struct("Client").field("closed", &closed).finish()
    }
}

/// Opens a SQL session at the first address of the target that gives one of the kind asked for.
///
/// The session prints values in one way whatever the server's and the role's settings are, looks
/// names up in `pg_catalog` only, may write, and is ended by the server after 30 s of idling inside a
/// transaction. A primary of a timeline that its cluster has left is passed over ([`crate::Timelines`]). The URL's `application_name` goes before the one given here.
///
/// # Errors
/// That of the address whose failure says most, once all were tried.
pub async fn client(target: &Target, application_name: &str) -> Result<Client, Error> {
    let mut dial = target.dial();
    let mut failure = None;
    while let Some(stream) = dial.next().await {
        let client = match stream {
            Ok(stream) => establish(target, application_name, stream).await,
            Err(error) => Err(error),
        };
        match client {
            Ok(client) => return Ok(client),
            Err(error) => failure = Some(error.or_weightier(failure)),
        }
    }
    Err(failure.expect("a target has a host, and each host was tried"))
}

async fn establish(
    target: &Target,
    application_name: &str,
    stream: Stream,
) -> Result<Client, Error> {
    let host = stream.host().clone();
    let begin = async {
        let mut client = start(target, application_name, stream).await?;
        check_session(&client, target.session_attrs(), &host).await?;
        client.server = identify(&client, &host).await?;
        client.check_timeline()?;
        target.found(&host);
        Ok(client)
    };
    timeout(target.connect_timeout(), begin)
        .await
        .unwrap_or_else(|elapsed| Err(Error::unreachable(&host, elapsed.into())))
}

async fn start(target: &Target, application_name: &str, stream: Stream) -> Result<Client, Error> {
    let host = stream.host().clone();
    let encryption = stream.encryption();
    let config = config(target, application_name, &stream);
    let (session, connection) = config
        .connect_raw(stream, Established)
        .await
        .map_err(|error| Error::session(&host, error))?;
    let closed = CancellationToken::new();
    let guard = closed.clone().drop_guard();
    let task = tokio::spawn(async move {
        let _guard = guard;
        // Whoever waits for an answer gets the error too.
        let _ = connection.await;
    });
    Ok(Client {
        session,
        server: None,
        host: host.to_string(),
        encryption,
        timelines: Arc::clone(target.shared_timelines()),
        closed,
        _connection: AbortOnDropHandle::new(task),
    })
}

fn config(target: &Target, application_name: &str, stream: &Stream) -> Config {
    let mut config = Config::new();
    config
        .user(target.user())
        .dbname(target.database())
        .application_name(target.application_name(application_name))
        .options(target.sql_options())
        .channel_binding(match target.channel_binding() {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
    if let Some(password) = target.password() {
        config.password(password);
    }
    if stream.is_tls() {
        config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
    } else {
        config.ssl_mode(SslMode::Disable);
    }
    config
}

async fn check_session(client: &Client, wanted: SessionAttrs, host: &Host) -> Result<(), Error> {
    if wanted == SessionAttrs::Any {
        return Ok(());
    }
    let answer = client.simple_query("show transaction_read_only").await;
    let answer = answer.map_err(|error| Error::session(host, error))?;
    let fits = answer.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).is_some_and(|value| wanted.accepts(value)),
        _ => false,
    });
    if fits {
        return Ok(());
    }
    let host = host.to_string();
    Err(Error::WrongSession { host, wanted })
}

async fn identify(client: &Client, host: &Host) -> Result<Option<Identity>, Error> {
    let answer = match client.simple_query(Identity::QUERY).await {
        Ok(answer) => answer,
        Err(error)
            if error
                .code()
                .is_some_and(|code| Identity::is_withheld(code.code())) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::session(host, error)),
    };
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Identity::read(|column| row.get(column)),
        _ => None,
    }))
}

/// Tells `tokio-postgres` that TLS is already there.
struct Established;

impl TlsConnect<Stream> for Established {
    type Stream = Encrypted;
    type Error = Infallible;
    type Future = Ready<Result<Encrypted, Infallible>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(Encrypted(stream)))
    }
}

struct Encrypted(Stream);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> tls::ChannelBinding {
        match self.0.end_point() {
            Some(data) => tls::ChannelBinding::tls_server_end_point(data.to_vec()),
            None => tls::ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
