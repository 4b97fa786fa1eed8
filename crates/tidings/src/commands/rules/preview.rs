use rules::Rules;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::check::sources;
use crate::cli::Preview;
use crate::preview::{Wish, run};
use crate::settings::Settings;
use crate::{Failure, packs};

pub async fn preview(settings: &Settings, arguments: &Preview) -> Result<(), Failure> {
    let sources = sources(Some(settings), &arguments.packs)?;
    let rules: Rules = packs::compile(&sources)?.with_context(settings.capture.context);
    let wish = Wish {
        seconds: arguments.seconds,
        recent: arguments.recent,
        json: arguments.json,
    };
    let stop = CancellationToken::new();
    let _listener = stop_on_signal(stop.clone())?;
    let seen = run(settings, &rules, &wish, &stop).await?;
    eprintln!(
        "{} actions and {} faults of {} transactions; nothing was written",
        seen.actions, seen.faults, seen.transactions
    );
    Ok(())
}

fn stop_on_signal(stop: CancellationToken) -> Result<AbortOnDropHandle<()>, Failure> {
    let listen = |kind| signal(kind).map_err(anyhow::Error::from);
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    })))
}
