//! The commands, one a file. Each loads the settings it needs and says what it did.

mod attempt_log;
mod columns;
mod deliveries;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod endpoints;
mod init;
mod listen;
mod quarantine;
mod receiving;
mod reconcile;
mod replay;
mod rule_states;
mod rules;
mod run;
mod setup;
mod signals;
mod status;
mod survey;
mod uninstall;
mod verify;
mod webhooks;

pub use setup::publish;
pub(crate) use setup::{find, wanted};

use crate::cli::{Cli, Command};
use crate::settings::Settings;
use crate::{Failure, capture};

pub async fn execute(cli: Cli) -> Result<(), Failure> {
    let settings = || Settings::load(cli.config.as_deref()).map_err(Failure::Settings);
    match cli.command {
        Command::Columns(arguments) => columns::columns(&settings()?, &arguments).await,
        Command::Init(arguments) => init::init(&settings()?, &arguments).await,
        Command::Setup(arguments) => setup::setup(&settings()?, &arguments).await,
        Command::Run(arguments) => run::run(settings()?, cli.config.as_deref(), &arguments).await,
        Command::Doctor(arguments) => doctor::doctor(&settings()?, &arguments).await,
        Command::Status(arguments) => status::status(&settings()?, &arguments).await,
        Command::Reconcile(arguments) => reconcile::reconcile(&settings()?, &arguments).await,
        Command::Rules(arguments) => rules::rules(settings, &arguments).await,
        Command::Endpoints(arguments) => endpoints::endpoints(&settings()?, &arguments).await,
        Command::Deliveries(arguments) => deliveries::deliveries(&settings()?, &arguments).await,
        Command::Replay(arguments) => replay::replay(&settings()?, &arguments).await,
        Command::Webhooks(arguments) => webhooks::webhooks(&arguments),
        Command::Listen(arguments) => listen::listen(&arguments).await,
        Command::Quarantine(arguments) => quarantine::quarantine(&settings()?, &arguments).await,
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::demo(&arguments).await,
        Command::Verify(arguments) => verify::verify(&settings()?, &arguments).await,
        Command::Uninstall(arguments) => uninstall::uninstall(&settings()?, &arguments).await,
    }
}

/// A session of the run role, or the answer to what stands in its way.
async fn session(settings: &Settings) -> Result<store::Session, Failure> {
    let target = settings.database.target().map_err(Failure::Settings)?;
    let schema = &settings.database.schema;
    let opened = store::Session::open(&target, schema, store::Purpose::Admin).await;
    // In the words of `run`, with what mends it.
    opened.map_err(|error| Failure::Failed(capture::Fault::from(error).into()))
}

/// The same, where the sidecar's schema must be there already.
async fn set_up_session(settings: &Settings) -> Result<store::Session, Failure> {
    let mut session = session(settings).await?;
    if !store::progress::exists(&session).await? {
        if !store::catalog::schema_exists(&session, &settings.database.schema).await? {
            return Err(not_set_up(settings));
        }
        store::migrate(&mut session).await?;
    }
    Ok(session)
}

fn not_set_up(settings: &Settings) -> Failure {
    Failure::NotReady(format!(
        "schema {} does not exist in this database: run `tidings setup` first",
        store::quote_identifier(&settings.database.schema)
    ))
}

/// A transaction that something waits for.
pub(crate) fn describe(open: &store::catalog::OpenTransaction) -> String {
    match (open.pid, open.age_seconds) {
        (Some(pid), Some(age)) => {
            format!(
                "process {pid}: a transaction open for {age} s ({})",
                open.what
            )
        }
        (Some(pid), None) => format!(
            "process {pid}: a transaction of a role that this one may not see into (a member of \
             pg_read_all_stats may)"
        ),
        (None, age) => format!("{}, prepared {} s ago", open.what, age.unwrap_or_default()),
    }
}
