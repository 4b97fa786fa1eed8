//! A batch turned on its side: one array a column, for unnest.

use activity::{Action, ActionId, Origin, Seq};
use postgres_types::{PgLsn, ToSql};
use serde_json::Value;
use tokio_postgres::Transaction;

use super::NewAction;
use super::statements::Statements;
use crate::Error;
use crate::log::LoggedAction;

#[derive(Default)]
pub(super) struct ImageColumns<'a> {
    pub(super) ids: Vec<i32>,
    pub(super) keys: Vec<&'a str>,
    pub(super) generations: Vec<i32>,
    pub(super) xids: Vec<i64>,
    /// `None`: a tombstone.
    pub(super) rows: Vec<Option<&'a str>>,
    pub(super) told: Vec<Option<bool>>,
    /// Where `told` is as that of the image with this key.
    pub(super) heirs: Vec<Option<&'a str>>,
}

/// Actions turned on their side: one array a column, for unnest.
#[derive(Default)]
pub(super) struct Columns<'a> {
    actions: &'a [NewAction],
    ids: Vec<&'a str>,
    projects: Vec<Option<&'a str>>,
    users: Vec<Option<&'a str>>,
    requests: Vec<Option<&'a str>>,
    types: Vec<&'a str>,
    details: Vec<Option<&'a str>>,
    statuses: Vec<Option<&'a str>>,
    environments: Vec<Option<&'a str>>,
    references: Vec<Option<String>>,
    costs: Vec<Option<&'a str>>,
    created: Vec<i64>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(actions: &'a [NewAction]) -> Self {
        let mut columns = Self {
            actions,
            ..Self::default()
        };
        for NewAction {
            id,
            action,
            committed_at,
            ..
        } in actions
        {
            let committed = committed_at.as_microsecond().div_euclid(1_000_000);
            columns.push(id, action, action.created_at.unwrap_or(committed));
        }
        columns
    }

    /// For `project_actions` alone: those of them that belong there.
    pub(super) fn told(actions: &'a [NewAction]) -> Self {
        let mut columns = Self::default();
        for action in actions.iter().filter(|a| a.origin != Origin::Notice) {
            let committed = action.committed_at.as_microsecond().div_euclid(1_000_000);
            let created = action.action.created_at.unwrap_or(committed);
            columns.push(&action.id, &action.action, created);
        }
        columns
    }

    /// For `project_actions` alone: it is in the log.
    pub(super) fn of_logged(logged: &'a LoggedAction) -> Self {
        let mut columns = Self::default();
        columns.push(&logged.id, &logged.action, logged.created_at);
        columns
    }

    fn push(&mut self, id: &'a ActionId, action: &'a Action, created_at: i64) {
        self.ids.push(id.as_str());
        self.projects.push(action.project_id.as_deref());
        self.users.push(action.user_id.as_deref());
        self.requests.push(action.request_id.as_deref());
        self.types.push(&action.action_type);
        self.details.push(action.action_details.as_deref());
        self.statuses.push(action.status.as_deref());
        self.environments.push(action.environment.as_deref());
        self.references
            .push(action.reference_ids.as_ref().map(ToString::to_string));
        self.costs.push(action.cost_usd.as_deref());
        self.created.push(created_at);
    }

    pub(super) async fn insert_log(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
        after: Seq,
    ) -> Result<(), Error> {
        if self.actions.is_empty() {
            return Ok(());
        }
        let mut seqs = Vec::new();
        let mut data = Vec::new();
        let mut committed = Vec::new();
        let (mut rules, mut origins, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        let (mut keys, mut xids) = (Vec::new(), Vec::new());
        let (mut commits, mut changes) = (Vec::new(), Vec::new());
        let (mut actors, mut actors_found) = (Vec::new(), Vec::new());
        let (mut versions, mut events, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (number, action) in (after.get() + 1..).zip(self.actions) {
            seqs.push(number);
            data.push(serde_json::to_string(&action.action.data).expect("a JSON object prints"));
            committed.push(action.committed_at);
            rules.push(action.source.rule.as_str());
            origins.push(action.origin.as_str());
            tables.push(action.source.table.to_string());
            keys.push(action.source.key.as_str());
            xids.push(action.xid as i64);
            commits.push(PgLsn::from(action.commit_lsn.get()));
            changes.push(PgLsn::from(action.source.position.lsn.get()));
            let actor = action.action.actor.as_ref();
            actors.push(actor.map(|actor| actor.id.as_str()));
            actors_found.push(actor.map(|actor| actor.found.as_str()));
            versions.push(&*action.source.version);
            events.push(action.source.event.as_str());
            let names = (!action.source.changed.is_empty()).then_some(&action.source.changed);
            changed.push(
                names.map(|names| Value::from_iter(names.iter().map(|name| &**name)).to_string()),
            );
        }
        let parameters: [&(dyn ToSql + Sync); 26] = [
            &seqs,
            &self.ids,
            &self.projects,
            &self.users,
            &self.requests,
            &self.types,
            &self.details,
            &self.statuses,
            &self.environments,
            &self.references,
            &self.costs,
            &self.created,
            &data,
            &committed,
            &rules,
            &origins,
            &tables,
            &keys,
            &xids,
            &commits,
            &changes,
            &actors,
            &actors_found,
            &versions,
            &events,
            &changed,
        ];
        transaction.execute(&statements.log, &parameters).await?;
        Ok(())
    }

    pub(super) async fn insert_project_actions(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
    ) -> Result<(), Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let statement = statements.project_actions.as_ref();
        let statement = statement.expect("who writes rows prepares their statement");
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &self.ids,
            &self.projects,
            &self.users,
            &self.requests,
            &self.types,
            &self.details,
            &self.statuses,
            &self.environments,
            &self.references,
            &self.created,
            &self.costs,
        ];
        transaction.execute(statement, &parameters).await?;
        Ok(())
    }
}
