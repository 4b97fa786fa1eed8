//! From a stream on which nothing was said to a session that takes commands.

use connect::{Stream, Target};
use postgres_protocol::message::frontend;

use crate::authentication::authenticate;
use crate::frame::ANSWER_BYTES_MAX;
use crate::response::ServerError;
use crate::wire::Wire;
use crate::{Error, Malformed};

const APPLICATION: &str = "tidings";

pub(crate) struct Session {
    pub(crate) wire: Wire,
    /// The server process that serves us.
    pub(crate) pid: i32,
}

pub(crate) async fn start(target: &Target, stream: Stream) -> Result<Session, Error> {
    let mut wire = Wire::new(stream);
    let options = target.replication_options();
    let parameters = [
        ("user", target.user()),
        ("database", target.database()),
        ("replication", "database"),
        ("application_name", target.application_name(APPLICATION)),
        ("options", &options),
    ];
    frontend::startup_message(parameters, wire.output())?;
    authenticate(&mut wire, target).await?;
    wire.accept(ANSWER_BYTES_MAX);
    let pid = ready(&mut wire).await?;
    Ok(Session { wire, pid })
}

/// Waits for the first ReadyForQuery.
async fn ready(wire: &mut Wire) -> Result<i32, Error> {
    let mut pid = None;
    loop {
        let frame = wire.frame().await?;
        match frame.tag {
            b'K' => pid = Some(frame.body("BackendKeyData").i32()?),
            b'S' | b'N' => {}
            b'E' => return Err(ServerError::decode(frame.body("an error"))?.into()),
            b'Z' => return Ok(pid.ok_or(Malformed::MissingAnswer("BackendKeyData"))?),
            _ => return Err(frame.unexpected("while the session starts").into()),
        }
    }
}
