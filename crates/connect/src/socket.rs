use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use crate::parameters::Parameters;

/// Connects, and makes a dead peer noticed: keepalive probes while idle, a limit on unacknowledged
/// data while sending. Small messages leave at once.
pub(crate) async fn tcp(address: SocketAddr, parameters: &Parameters) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    if let Some(keepalive) = parameters.keepalive {
        let probes = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.count);
        options.set_tcp_keepalive(&probes)?;
    }
    unacknowledged(&options, parameters.tcp_user_timeout)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn unacknowledged(options: &SockRef<'_>, limit: Duration) -> io::Result<()> {
    if limit.is_zero() {
        return Ok(());
    }
    options.set_tcp_user_timeout(Some(limit))
}

#[cfg(not(target_os = "linux"))]
fn unacknowledged(_: &SockRef<'_>, _: Duration) -> io::Result<()> {
    Ok(())
}

pub(crate) async fn unix(directory: &Path, port: u16) -> io::Result<UnixStream> {
    UnixStream::connect(directory.join(format!(".s.PGSQL.{port}"))).await
}
