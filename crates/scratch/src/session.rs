//! The little SQL that steering a server takes.

use std::future::Future;
use std::panic;
use std::thread;

use tokio_postgres::{Client, NoTls};

use crate::Error;

/// Runs `work` with a connection, on a thread of its own, so that it may be called from async code.
pub(crate) fn with_client<T, F>(url: &str, work: F) -> Result<T, Error>
where
    T: Send,
    F: AsyncFnOnce(&Client) -> Result<T, Error> + Send,
{
    let session = async || {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let result = work(&client).await;
        drop(client);
        // Gone for good before the caller goes on: `drop database` would trip over it.
        let _ = connection.await;
        result
    };
    block_on(session)
}

fn block_on<T, W, F>(work: W) -> Result<T, Error>
where
    T: Send,
    W: FnOnce() -> F + Send,
    F: Future<Output = Result<T, Error>>,
{
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .map_err(Error::at("the runtime of a scratch session"))?
            .block_on(work())
    };
    let outcome = thread::scope(|scope| scope.spawn(run).join());
    outcome.unwrap_or_else(|panic| panic::resume_unwind(panic))
}
