//! Gathers the facts, family by family. What can not be read leaves its checks out, with the reason.

mod server;
mod slots;

use activity::TableName;
use connect::Target;
use rules::Rules;
use store::catalog::{self, Publication, Survey};
use store::doctor::{self, Powers, Server, Slot};
use store::progress::{self, Progress};
use store::setup::{Found, StepKind, Wanted, plan};
use store::{Purpose, Session};

use super::check::Check;
use super::connection::unreachable;
use super::hosts::{Answer, Host};
use super::server::connections_left;
use super::{hosts, probe, publication, role, setup, slot};
use crate::check::{Facts, of_columns, unfilled};
use crate::failure::chain;
use crate::settings::{Columns, Settings};
use crate::{Failure, commands, packs, preview};

/// Checks of one family, which are left out together.
const OF_SETUP: [&str; 4] = ["setup", "role", "connections_left", "grants"];
const OF_RULES: [&str; 4] = ["rules", "actions_table", "publication", "replica_identity"];

/// What is looked at: a database, by the eyes of the run role and of an administrator.
pub struct Patient<'a> {
    settings: &'a Settings,
    target: Target,
    session: Session,
    admin: Option<Session>,
    server: Server,
    slots: Vec<Slot>,
    hosts: Vec<Host>,
    checks: Vec<Check>,
}

/// What rules and settings ask for, and what is there of it.
struct Fit {
    rules: Rules,
    wanted: Wanted,
    found: Found,
}

impl<'a> Patient<'a> {
    /// Connects. The inner error is the one check that says why nothing else can be looked at.
    pub async fn meet(settings: &'a Settings) -> Result<Result<Self, Box<Check>>, Failure> {
        const NAME: &str = "connection";
        let target = settings.database.target().map_err(Failure::Settings)?;
        let schema = &settings.database.schema;
        let setting = "database.url";
        let refused = |error: &store::Error| Box::new(unreachable(NAME, setting, &target, error));
        let session = match Session::open(&target, schema, Purpose::Read).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(refused(&error))),
        };
        // Counted before anything of ours is added.
        let looked = async {
            let server = doctor::server(&session).await?;
            let slots = doctor::slots(&session, server.version).await?;
            Ok::<_, store::Error>((server, slots))
        };
        let (server, slots) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return Ok(Err(refused(&error))),
        };
        let (admin, admin_check) = administrator(settings).await?;
        let hosts = hosts_of(settings, &target).await?;
        let checks = vec![
            Check::ok(NAME, target.to_string()),
            hosts::hosts(target.session_attrs(), &hosts),
            admin_check,
        ];
        Ok(Ok(Self {
            settings,
            target,
            session,
            admin,
            server,
            slots,
            hosts,
            checks,
        }))
    }

    pub async fn examine(mut self, wants_probe: bool) -> Vec<Check> {
        self.of_server();
        let taken = self.server_by_sql().await;
        self.note(&["tls", "disk", "clock"], taken);
        let mut wire = self.wire().await;
        let progress = self.progress().await;
        let set_up = matches!(progress, Ok(Some(_)));
        match self.fit().await {
            Ok(fit) => {
                let taken = self.of_setup(&progress, &fit).await;
                self.note(&OF_SETUP, taken);
                let taken = self.of_rules(&fit, set_up).await;
                self.note(&OF_RULES, taken);
            }
            Err(Failure::Settings(error)) => {
                let text = chain(error.as_ref());
                let mend = "tidings rules check PACK # shows each mistake in its line";
                self.checks.push(Check::fail("rules", text, mend));
                let why = "it depends on rules, and those of the settings do not compile";
                let others = OF_SETUP
                    .iter()
                    .chain(&OF_RULES)
                    .filter(|name| **name != "rules");
                self.checks
                    .extend(others.map(|name| Check::skipped(name, why)));
            }
            Err(failure) => {
                let names = [&OF_SETUP[..], &OF_RULES].concat();
                self.note(&names, Err(failure));
            }
        }
        let taken = self.own_tables().await;
        self.note(&["own_tables"], taken);
        self.of_slots(set_up).await;
        let taken = self.lineage(&progress, wire.as_mut()).await;
        self.note(&["lineage"], taken);
        if wants_probe && let Some(wire) = wire {
            let publication = &self.settings.capture.publication;
            let told = match self.publication().await {
                Ok(Some(_)) => probe::probe(&self.session, wire, publication).await,
                Ok(None) => Check::skipped(
                    "probe",
                    format!("publication {publication} does not exist; setup makes it"),
                ),
                Err(error) => Check::skipped("probe", chain(&error)),
            };
            self.checks.push(told);
        }
        if self.session.is_closed() {
            self.checks.retain(|check| check.name != "connection");
            self.checks.push(Check::fail(
                "connection",
                format!(
                    "{}: the connection was lost while it was looked at",
                    self.target
                ),
                "tidings doctor # once more; the server's log says why",
            ));
        }
        self.checks
    }

    /// Whoever sees more.
    fn wide(&self) -> &Session {
        self.admin.as_ref().unwrap_or(&self.session)
    }

    fn own_slot(&self) -> Option<&Slot> {
        let name = &self.settings.capture.slot;
        self.slots.iter().find(|slot| slot.name == *name)
    }

    /// Keeps what was found; where that failed, says so of each check.
    fn note(&mut self, names: &[&'static str], taken: Result<Vec<Check>, Failure>) {
        match taken {
            Ok(checks) => self.checks.extend(checks),
            Err(failure) => {
                let skipped = |name: &&'static str| Check::skipped(name, failure.to_string());
                self.checks.extend(names.iter().map(skipped));
            }
        }
    }

    async fn progress(&self) -> Result<Option<Progress>, store::Error> {
        match progress::exists(&self.session).await? {
            true => progress::read(&self.session).await,
            false => Ok(None),
        }
    }

    async fn publication(&self) -> Result<Option<Publication>, store::Error> {
        let name = &self.settings.capture.publication;
        catalog::publication(&self.session, self.server.version, name).await
    }

    async fn fit(&self) -> Result<Fit, Failure> {
        let rules = packs::load(self.settings)?;
        let wanted = commands::wanted(self.settings, &rules)?;
        let found = commands::find(self.wide(), &wanted).await?;
        Ok(Fit {
            rules,
            wanted,
            found,
        })
    }

    async fn of_setup(
        &self,
        progress: &Result<Option<Progress>, store::Error>,
        fit: &Fit,
    ) -> Result<Vec<Check>, Failure> {
        let Fit { wanted, found, .. } = fit;
        let migrations = doctor::migrations(&self.session).await;
        let migrations = match migrations {
            Ok(migrations) => migrations,
            // Of a schema that is not ours to read the grants say more.
            Err(_) if found.schema_exists => Some(doctor::Migrations::default()),
            Err(error) => return Err(error.into()),
        };
        let capture = &self.settings.capture;
        let stored = progress.as_ref().ok().and_then(Option::as_ref);
        let renamed = stored.and_then(|p| slot::renamed(p, &capture.slot, &capture.publication));
        // A row that can not be read is there all the same.
        let there = progress.is_err() && found.schema_exists || stored.is_some();
        let first: Vec<String> = plan(wanted, found)
            .unwrap_or_default()
            .into_iter()
            .filter(|step| step.kind == StepKind::Role)
            .map(|step| step.sql)
            .collect();
        let mut checks = vec![setup::setup(migrations.as_ref(), there, renamed, &first)];
        let tables: Vec<TableName> = wanted.tables.iter().map(|t| t.table.clone()).collect();
        let powers = doctor::powers(&self.session, &wanted.role, &tables).await?;
        if let Some(powers) = &powers {
            checks.push(role::role(powers, &self.least_privilege(fit, powers)));
        }
        let has_budget = self.settings.capture.max_retained_wal.is_some();
        checks.push(connections_left(&self.server, powers.as_ref(), has_budget));
        let unwritable = doctor::unwritable(&self.session, &wanted.role).await?;
        checks.push(role::grants(wanted, found, &unwritable));
        Ok(checks)
    }

    /// The grants of a role that is no superuser.
    fn least_privilege(&self, fit: &Fit, powers: &Powers) -> Vec<String> {
        let mut read = Vec::new();
        for wanted in &fit.wanted.tables {
            let Some(table) = fit.found.tables.get(&wanted.table) else {
                continue;
            };
            let named = |c: &&String| table.key.contains(c) || wanted.columns.contains(c);
            let columns = table.columns.iter().filter(named);
            read.extend(columns.map(|column| (wanted.table.clone(), column.clone())));
        }
        role::least_privilege(&fit.wanted, &fit.found, &read, &role::own_role(powers))
    }

    async fn of_rules(&self, fit: &Fit, set_up: bool) -> Result<Vec<Check>, Failure> {
        let Fit {
            rules,
            wanted,
            found,
        } = fit;
        let survey = catalog::survey(self.wide(), &[], &wanted.schema).await?;
        let missing = found
            .publication
            .as_ref()
            .map(|publication| preview::uncovered(rules.tables(), &found.tables, publication));
        Ok([
            self.findings(rules, found, &survey)?,
            vec![
                publication::publication(wanted, found, &missing.unwrap_or_default(), set_up),
                publication::replica_identity(wanted, &found.tables, found.publication.as_ref()),
            ],
        ]
        .concat())
    }

    /// What `rules check --live` says.
    fn findings(
        &self,
        rules: &Rules,
        found: &Found,
        survey: &Survey,
    ) -> Result<Vec<Check>, Failure> {
        let sources = self.settings.capture.rules.iter();
        let sources: Result<Vec<_>, Failure> = sources
            .map(|pack| packs::read(pack, &self.settings.folder))
            .collect();
        let outline = rules::outline(&sources?);
        let used: Vec<_> = rules
            .tables()
            .map(|used| (used.table.clone(), used.columns.clone()))
            .collect();
        let table = &self.settings.capture.actions_table;
        let listed = |of: &TableName| self.settings.capture.columns_of(of) == Columns::Listed;
        let facts = Facts {
            rules: &outline,
            used: &used,
            survey,
            publication: found.publication.as_ref(),
            actions_table: table,
            listed: &listed,
            version: found.server.version,
        };
        let count = rules.rules().count();
        let well = match found.actions_table_exists {
            true => format!("{table} takes every action"),
            false => format!("{table} does not exist yet; setup makes it"),
        };
        Ok(vec![
            publication::findings(
                "rules",
                format!("{count} rules fit the tables"),
                &of_columns(&facts),
            ),
            publication::findings("actions_table", well, &unfilled(&facts)),
        ])
    }

    async fn own_tables(&self) -> Result<Vec<Check>, Failure> {
        let own = doctor::own_tables(&self.session, self.server.version).await?;
        let others = match self.server.version {
            _ if own.is_empty() => String::new(),
            150_000.. => {
                let schemas = doctor::other_schemas(&self.session).await?;
                let schemas: Vec<String> =
                    schemas.iter().map(|s| store::quote_identifier(s)).collect();
                format!("tables in schema {}", schemas.join(", "))
            }
            _ => {
                let tables = doctor::other_tables(&self.session).await?;
                let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
                format!("table {}", tables.join(", "))
            }
        };
        Ok(vec![publication::own_tables(
            &own,
            self.session.schema(),
            &others,
        )])
    }
}

/// How each host of a URL that names several stands.
async fn hosts_of(settings: &Settings, target: &Target) -> Result<Vec<Host>, Failure> {
    let mut hosts = Vec::new();
    if target.hosts().len() < 2 {
        return Ok(hosts);
    }
    for (place, host) in target.hosts().iter().enumerate() {
        // What is met at one of them is not held against another.
        let fresh = settings.database.target().map_err(Failure::Settings)?;
        let Some(one) = fresh.each_host().nth(place) else {
            continue;
        };
        let asked = async {
            let session = Session::open(&one, &settings.database.schema, Purpose::Read).await?;
            let standing = doctor::standing(&session, &settings.capture.slot).await?;
            let server = session.server().cloned();
            Ok::<_, store::Error>(Answer { server, standing })
        };
        hosts.push(Host {
            name: host.to_string(),
            answer: asked.await.map_err(|error| chain(&error)),
        });
    }
    Ok(hosts)
}

/// Who sets up, where one is named.
async fn administrator(settings: &Settings) -> Result<(Option<Session>, Check), Failure> {
    const NAME: &str = "admin_connection";
    if !settings.database.has_admin() {
        let why = "database.admin_url is empty: setup connects as the run role";
        return Ok((None, Check::skipped(NAME, why)));
    }
    let target = settings.database.admin().map_err(Failure::Settings)?;
    let schema = &settings.database.schema;
    Ok(match Session::open(&target, schema, Purpose::Read).await {
        Ok(session) => (Some(session), Check::ok(NAME, target.to_string())),
        Err(error) => (
            None,
            unreachable(NAME, "database.admin_url", &target, &error),
        ),
    })
}
