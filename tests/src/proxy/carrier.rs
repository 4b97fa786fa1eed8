//! One connection through the proxy, from its first message to its end.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::unix;
use tokio::net::{TcpStream, UnixStream};

use super::hold::Speaker;
use super::{Fate, HEADER_BYTES, State};

/// Until either side closes, or it meets its fate.
pub(super) async fn carry(number: u64, client: TcpStream, state: Arc<State>) {
    let mut fate = state.fate.subscribe();
    let Ok(server) = UnixStream::connect(&state.socket).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut asking = Box::pin(ask(number, from_client, &mut to_server, &state));
    let mut answering = Box::pin(answer(number, from_server, &mut to_client, &state));
    tokio::select! {
        // What is held when the connection ends goes with it.
        biased;
        _ = fate.changed() => {}
        _ = &mut asking => return,
        _ = &mut answering => return,
    }
    let fate = *fate.borrow();
    match fate {
        Fate::Cut => {}
        Fate::ServerHasEnded => {
            drop(answering);
            let _ = to_client.shutdown().await;
            let _ = asking.await;
        }
        Fate::SidecarHasEnded => {
            drop(asking);
            let _ = to_server.shutdown().await;
            let _ = answering.await;
        }
        // Until the proxy goes, whatever either side does.
        Fate::Silence => std::future::pending().await,
    }
}

async fn ask(
    number: u64,
    mut from: OwnedReadHalf,
    to: &mut unix::OwnedWriteHalf,
    state: &State,
) -> std::io::Result<()> {
    // The startup packet has a length and no tag.
    let length = from.read_u32().await?;
    let mut startup = vec![0; (length as usize).saturating_sub(4)];
    from.read_exact(&mut startup).await?;
    to.write_u32(length).await?;
    to.write_all(&startup).await?;
    loop {
        let frame = frame(&mut from).await?;
        let confirms = state.listen(&frame);
        let pass = state.hold.pass(number, Speaker::Sidecar, &frame, confirms);
        pass.await;
        linger(state).await;
        to.write_all(&frame).await?;
    }
}

async fn answer(
    number: u64,
    mut from: unix::OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    state: &State,
) -> std::io::Result<()> {
    loop {
        let mut frame = frame(&mut from).await?;
        let pass = state.hold.pass(number, Speaker::Server, &frame, false);
        pass.await;
        linger(state).await;
        state.spoiler.spoil(&mut frame);
        to.write_all(&frame).await?;
    }
}

async fn linger(state: &State) {
    if let Some(pause) = state.pause() {
        tokio::time::sleep(pause).await;
    }
}

async fn frame(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    from.read_exact(&mut frame).await?;
    let length = frame[1..].try_into().map_or(0, u32::from_be_bytes);
    frame.resize(1 + (length as usize).max(4), 0);
    from.read_exact(&mut frame[HEADER_BYTES..]).await?;
    Ok(frame)
}
