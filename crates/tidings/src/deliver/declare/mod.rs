//! Brings the stored endpoints to what the settings declare.

mod check;
mod plan;

use anyhow::{Context as _, anyhow};
use store::Session;
use store::endpoints::{self, Change, Declaration, DeclaredBy, StoredEndpoint};

pub use check::check;
use plan::{Known, plan};
pub use plan::{Step, What};

use crate::Failure;
use crate::settings::{Endpoint, Settings};

/// How often a plan is made anew because somebody changed an endpoint meanwhile.
const ROUNDS: usize = 5;

/// Adds, changes and removes the endpoints that a settings file declared, and takes over those of the
/// same name that a command added: all of it together, or nothing.
pub async fn declare(settings: &Settings, session: &mut Session) -> Result<(), Failure> {
    check_all(settings)?;
    for _ in 0..ROUNDS {
        let stored = endpoints::list(session).await?;
        let steps = plan(&settings.endpoints, &known(settings, &stored));
        if steps.is_empty() || carry_out(settings, session, &stored, &steps).await? {
            for step in &steps {
                let fields = step.what.fields().join(", ");
                tracing::info!(
                    endpoint.name = step.name,
                    endpoint.step = step.what.verb(),
                    endpoint.fields = fields,
                    "the settings changed an endpoint"
                );
            }
            return Ok(());
        }
    }
    Err(Failure::Failed(anyhow!(
        "the endpoints are being changed by somebody else all the time: try again"
    )))
}

/// What [`declare`] would do.
pub async fn planned(settings: &Settings, session: &Session) -> Result<Vec<Step>, Failure> {
    check_all(settings)?;
    let stored = endpoints::list(session).await?;
    Ok(plan(&settings.endpoints, &known(settings, &stored)))
}

fn check_all(settings: &Settings) -> Result<(), Failure> {
    for endpoint in &settings.endpoints {
        check(
            &endpoint.url,
            &endpoint.filter,
            &endpoint.options,
            &settings.webhooks,
        )
        .with_context(|| format!("endpoint {}", endpoint.name))
        .map_err(Failure::Settings)?;
    }
    Ok(())
}

fn known<'a>(settings: &Settings, stored: &'a [StoredEndpoint]) -> Vec<Known<'a>> {
    let vault = settings.webhooks.vault();
    let known = stored.iter().map(|stored| Known {
        stored,
        credentials: vault.open(&stored.credentials, &stored.id).ok(),
        is_current: vault.is_current(&stored.credentials),
    });
    known.collect()
}

/// False where somebody changed an endpoint since `stored` was read.
async fn carry_out(
    settings: &Settings,
    session: &mut Session,
    stored: &[StoredEndpoint],
    steps: &[Step],
) -> Result<bool, Failure> {
    let prepared: Vec<Prepared<'_>> = steps
        .iter()
        .map(|step| prepare(settings, stored, step))
        .collect::<Result<_, webhook::Error>>()
        .map_err(|error| Failure::Settings(error.into()))?;
    let changes: Vec<Change<'_>> = prepared.iter().filter_map(Prepared::change).collect();
    Ok(endpoints::apply(session, &changes).await?)
}

/// A step with what it writes.
struct Prepared<'a> {
    what: &'a What,
    declared: Option<&'a Endpoint>,
    stored: Option<&'a StoredEndpoint>,
    id: String,
    credentials: String,
}

fn prepare<'a>(
    settings: &'a Settings,
    stored: &'a [StoredEndpoint],
    step: &'a Step,
) -> Result<Prepared<'a>, webhook::Error> {
    let declared = settings.endpoints.iter().find(|e| e.name == step.name);
    let stored = stored.iter().find(|e| e.name == step.name);
    let id = stored.map_or_else(endpoints::new_id, |stored| stored.id.clone());
    let vault = settings.webhooks.vault();
    let credentials = match (&step.what, declared, stored) {
        (What::Add { .. } | What::Change { .. }, Some(declared), _) => {
            vault.seal(&declared.credentials, &id)?
        }
        (What::Reseal, _, Some(stored)) => {
            vault.seal(&vault.open(&stored.credentials, &id)?, &id)?
        }
        (What::Add { .. } | What::Change { .. } | What::Reseal | What::Remove, _, _) => {
            String::new()
        }
    };
    Ok(Prepared {
        what: &step.what,
        declared,
        stored,
        id,
        credentials,
    })
}

impl Prepared<'_> {
    fn change(&self) -> Option<Change<'_>> {
        let (id, revision) = (self.id.as_str(), self.stored.map(|stored| stored.revision));
        Some(match self.what {
            What::Add { paused } => Change::Add {
                id,
                declaration: self.declaration()?,
                paused: *paused,
            },
            What::Change { transition, .. } => Change::Redeclare {
                id,
                revision: revision?,
                declaration: self.declaration()?,
                transition: *transition,
            },
            What::Reseal => Change::Reseal {
                id,
                revision: revision?,
                credentials: &self.credentials,
            },
            What::Remove => Change::Remove {
                id,
                revision: revision?,
            },
        })
    }

    fn declaration(&self) -> Option<Declaration<'_>> {
        let declared = self.declared?;
        Some(Declaration {
            name: &declared.name,
            url: &declared.url,
            credentials: &self.credentials,
            filter: &declared.filter,
            options: &declared.options,
            origin: DeclaredBy::Config,
        })
    }
}
