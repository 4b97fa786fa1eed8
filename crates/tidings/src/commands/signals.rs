use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// SIGINT and SIGTERM: the first asks for the end, the second ends the waiting for it.
pub struct Signals {
    pub stop: CancellationToken,
    pub hurry: CancellationToken,
    _listener: AbortOnDropHandle<()>,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
        let tokens = [stop.clone(), hurry.clone()];
        let listener = tokio::spawn(async move {
            for token in tokens {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(Self {
            stop,
            hurry,
            _listener: AbortOnDropHandle::new(listener),
        })
    }
}
