use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use api::{Health, Server};
use connect::Target;
use store::progress::{self, Lineage};
use store::{Purpose, Session, catalog};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wal::Connection;

use crate::backoff::Backoff;
use crate::cli::{Role, Run};
use crate::reload::{Hangups, Reload};
use crate::settings::Settings;
use crate::timetable::timetable;
use crate::{Failure, capture, deliver, packs, telemetry};

/// How long a stop may take before it is forced.
const GRACE: Duration = Duration::from_secs(10);
/// How long each host of the URL has to answer before one of them is chosen.
const SURVEY_MAX: Duration = Duration::from_secs(3);

pub async fn run(
    settings: Settings,
    config: Option<&Path>,
    arguments: &Run,
) -> Result<(), Failure> {
    telemetry::start(&settings.log).map_err(Failure::Settings)?;
    let stop = CancellationToken::new();
    let signals = stop_on_signal(stop.clone())?;
    let hangups = Hangups::listen(config).map_err(anyhow::Error::from)?;
    let served = serve(settings, &arguments.roles, Some(hangups), &stop).await;
    signals.abort();
    served
}

/// Composes the roles and runs them until `stop`. A role that ends before that ends the process.
pub async fn serve(
    settings: Settings,
    roles: &[Role],
    hangups: Option<Hangups>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let settings = Arc::new(settings);
    let (packs, rules) = watch::channel(Arc::new(packs::load(&settings)?));
    let target = settings.database.target().map_err(Failure::Settings)?;
    let server = match roles.contains(&Role::Api) {
        true => Some(
            Server::bind(settings.api.listen)
                .await
                .map_err(anyhow::Error::from)?,
        ),
        false => None,
    };
    let slot = settings.capture.slot.clone();
    let health = Arc::new(Health::new(target.to_string(), slot));
    let appended = Arc::new(Notify::new());
    let mut tasks: JoinSet<Result<&'static str, Failure>> = JoinSet::new();
    if let Some(server) = server {
        tracing::info!(api.address = %settings.api.listen, "api listens");
        let (health, stop) = (health.clone(), stop.clone());
        tasks.spawn(async move {
            server
                .serve(health, stop)
                .await
                .map_err(anyhow::Error::from)?;
            Ok("api")
        });
    }
    // The API answers while the database is still coming up, and names it.
    let does = |role| roles.contains(&role);
    if does(Role::Capture) {
        health.capture.starting();
    }
    if does(Role::Deliver) {
        health.deliver.starting();
        let schedule = timetable(&settings.webhooks.retry_schedule);
        tracing::info!(
            webhooks.retries = schedule,
            "a delivery that fails is tried again"
        );
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        () = connect::survey(&target, SURVEY_MAX) => {}
    }
    let tell = |fault: &capture::Fault| {
        for (role, component) in [
            (Role::Capture, &health.capture),
            (Role::Deliver, &health.deliver),
        ] {
            if does(role) {
                component.down(fault.trouble());
            }
        }
    };
    if !prepared(&settings, &target, does(Role::Deliver), tell, stop).await? {
        return Ok(());
    }
    if let Some(hangups) = hangups {
        let reload = Reload {
            hangups,
            settings: settings.clone(),
            target: target.clone(),
            packs,
            captures: does(Role::Capture),
            delivers: does(Role::Deliver),
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            reload.run(&stop).await;
            Ok("reload")
        });
    }
    if does(Role::Capture) {
        let context = capture::Context {
            settings: settings.clone(),
            target: target.clone(),
            rules,
            health: health.clone(),
            appended: appended.clone(),
            silences: capture::Silences::default(),
            committed: capture::Committed::default(),
            group_size: capture::GroupSize::default(),
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            capture::run(&context, &stop).await;
            Ok("capture")
        });
    }
    if does(Role::Deliver) {
        let context = deliver::Context {
            settings,
            target,
            health,
            appended,
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            deliver::run(&context, &stop).await?;
            Ok("deliver")
        });
    }
    supervise(tasks, stop).await
}

async fn supervise(
    mut tasks: JoinSet<Result<&'static str, Failure>>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Ok(role)) if !stop.is_cancelled() => {
                Err(Failure::Failed(anyhow!("{role} ended by itself")))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failure)) => Err(failure),
            Err(error) => Err(Failure::Failed(anyhow!("a task died: {error}"))),
        },
    };
    stop.cancel();
    let drained = tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!("the grace period is over: what is under way is cut off");
    }
    ended
}

/// Prepares the database, however long it takes to come up, and tells what is in the way. False where `stop` came first.
async fn prepared(
    settings: &Settings,
    target: &Target,
    delivers: bool,
    tell: impl Fn(&capture::Fault),
    stop: &CancellationToken,
) -> Result<bool, Failure> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let preparing = async {
            let mut session =
                Session::open(target, &settings.database.schema, Purpose::Admin).await?;
            prepare(settings, target, &mut session).await?;
            if delivers {
                deliver::declare(settings, &mut session).await?;
            }
            Ok(())
        };
        let outcome: Result<(), Failure> = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            outcome = preparing => outcome,
        };
        let fault = match outcome {
            Ok(()) => return Ok(true),
            Err(Failure::Failed(error)) => match error.downcast::<store::Error>() {
                Ok(error) => capture::Fault::from(error),
                Err(error) => return Err(Failure::Failed(error)),
            },
            Err(failure) => return Err(failure),
        };
        if matches!(fault, capture::Fault::Operator(_)) {
            return Err(Failure::Failed(fault.into()));
        }
        tell(&fault);
        let pause = backoff.next(rand::random());
        tracing::warn!(error = %fault, retry.pause_ms = pause.as_millis() as u64, "no database yet");
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Makes sure that setup has run, migrates, and begins progress where setup was done by hand.
async fn prepare(
    settings: &Settings,
    target: &Target,
    session: &mut Session,
) -> Result<(), Failure> {
    let server = catalog::server(session).await?;
    if server.wal_level != "logical" {
        return Err(Failure::NotReady(format!(
            "wal_level is {}, but logical replication needs `logical`: run \
             `alter system set wal_level = logical;` as a superuser and restart Postgres",
            server.wal_level
        )));
    }
    if !server.replication && !server.superuser {
        return Err(Failure::NotReady(format!(
            "role {0} lacks the REPLICATION attribute: run `alter role {0} replication;` as a superuser \
             (on Amazon RDS: `grant rds_replication to {0};`)",
            store::quote_identifier(&server.user)
        )));
    }
    if !catalog::schema_exists(session, &settings.database.schema).await? {
        return Err(super::not_set_up(settings));
    }
    store::migrate(session).await?;
    progress::rules_refused(session, None).await?;
    if progress::read(session).await?.is_some() {
        return Ok(());
    }
    let name = &settings.capture.publication;
    let publication = catalog::publication(session, server.version, name).await?;
    let slot = catalog::slot(session, &settings.capture.slot).await?;
    let (Some(publication), Some(slot)) = (publication, slot) else {
        return Err(Failure::NotReady(format!(
            "publication {name} or replication slot {} does not exist: run `tidings setup` first",
            settings.capture.slot
        )));
    };
    let mut connection = Connection::open(target)
        .await
        .context("no replication connection")?;
    let identity = connection
        .identify_system()
        .await
        .map_err(anyhow::Error::from)?;
    let lineage = Lineage {
        system_id: identity.system_id,
        timeline: identity.timeline,
        publication_oid: publication.oid,
    };
    // Of two processes that start together one begins; the other takes over from where that one is by then.
    if !capture::try_lock(&mut connection, &settings.capture.slot)
        .await
        .map_err(anyhow::Error::from)?
        || progress::read(session).await?.is_some()
    {
        return Ok(());
    }
    let at = slot.confirmed.unwrap_or_default();
    let new = progress::NewSlot {
        slot: &settings.capture.slot,
        publication: name,
        lineage: &lineage,
        at,
        epoch: None,
    };
    Ok(progress::init(session, new).await?)
}

/// SIGTERM and SIGINT stop in good order; the second one at once.
fn stop_on_signal(stop: CancellationToken) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    Ok(tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                tracing::info!("stopping");
                stop.cancel();
            } else {
                std::process::exit(1);
            }
        }
    }))
}
