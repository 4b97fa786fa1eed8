//! Works off what somebody asked to have tried again: quarantined changes become actions, between two
//! commit groups, each exactly once.
//!
//! A row leaves the quarantine in the commit that writes its actions, or stays in it with the reason.

use std::collections::BTreeSet;
use std::time::Instant;

use activity::{ActionId, Begin, Identity, Origin, TableName, Xid};
use rules::{Derivation, KeptChange};
use store::commit::{Batch, NewAction, NewFault, Reached, Retried};
use store::quarantine::{self, Entry, Kept, Kind, Outcome};
use store::{Remedy, log};

use super::kept::{Keeping, restore};
use super::writer::Writer;
use super::{Fault, load, storable};

/// Changes that are worked off in one commit: as many as a part of a transaction has.
const RETRIED_MAX: i64 = 2048;
/// Bytes of values that they hold, and one change more.
const BYTES_MAX: i64 = 16 << 20;
/// Rows that are found locked in one turn: each is waited for a little, and the stream waits too.
const LOCKED_MAX: usize = 8;
/// How often one rule may ask for rows to look up.
const ROUNDS_MAX: usize = 1000;

/// A change that can be tried.
struct Ready<'a> {
    entry: &'a Entry,
    kept: &'a Kept,
    change: KeptChange,
}

impl Writer<'_> {
    /// Works off the oldest requested changes. True where that was anything, so that there may be more.
    pub async fn retry(&mut self) -> Result<bool, Fault> {
        let requested = quarantine::requested(&self.session, RETRIED_MAX, BYTES_MAX).await?;
        let mut settled = false;
        let mut changes = Vec::new();
        let mut locked = 0;
        for entry in requested {
            match entry.kind {
                Kind::Rule => changes.push(entry),
                Kind::Refused { .. }
                    if locked == LOCKED_MAX || self.locked.waits(entry.id, Instant::now()) => {}
                Kind::Refused { seq } => {
                    self.derive_again(std::mem::take(&mut changes)).await?;
                    match self.write_again(entry.id, seq).await? {
                        true => settled = true,
                        false => locked += 1,
                    }
                }
            }
        }
        settled |= !changes.is_empty();
        self.derive_again(changes).await?;
        Ok(settled)
    }

    async fn derive_again(&mut self, entries: Vec<Entry>) -> Result<(), Fault> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        let mut ready = Vec::new();
        for entry in &entries {
            match self.ready(entry) {
                Ok(change) => ready.push(change),
                Err(reason) => batch.retried.push(Retried {
                    id: entry.id,
                    outcome: Outcome::Failed(reason),
                }),
            }
        }
        // In order of their first changes; those that one rule may make one action of stay together.
        let mut turns: Vec<Vec<Ready<'_>>> = Vec::new();
        for ready in ready {
            let of = |other: &Ready<'_>| {
                let same_rule = other.entry.rule == ready.entry.rule && ready.entry.rule.is_some();
                other.entry.commit_lsn == ready.entry.commit_lsn && same_rule
            };
            let grouped = ready.entry.rule.as_deref();
            let grouped = grouped.is_some_and(|rule| self.rules_now().groups(rule));
            let known = turns.iter_mut().rev();
            match known.filter(|_| grouped).find(|turn| turn.iter().any(of)) {
                Some(turn) => turn.push(ready),
                None => turns.push(vec![ready]),
            }
        }
        for turn in turns {
            self.derive_turn(&turn, &mut batch).await?;
        }
        self.write(self.unmoved(), &batch).await?;
        tracing::info!(
            quarantine.tried = batch.retried.len(),
            quarantine.actions = batch.actions.len(),
            "quarantined changes were tried again"
        );
        Ok(())
    }

    fn ready<'e>(&self, entry: &'e Entry) -> Result<Ready<'e>, String> {
        let mut tables = self.guard.tables().iter();
        let table: &TableName = tables
            .find(|table| table.to_string() == entry.table)
            .ok_or_else(|| {
                let table = &entry.table;
                format!("no rule names table {table} any more: discard the change")
            })?;
        let change = restore(entry, table, self.image_tables.former_names(table))?;
        let kept = entry.change.as_ref().ok_or("nothing was kept of it")?;
        Ok(Ready {
            entry,
            kept,
            change,
        })
    }

    /// Changes of one transaction and one rule, under the rules that are in force now.
    async fn derive_turn(&self, turn: &[Ready<'_>], batch: &mut Batch) -> Result<(), Fault> {
        let Some(first) = turn.first() else {
            return Ok(());
        };
        let rule = first.entry.rule.as_deref();
        let derivation = self.rederive(turn, rule).await?;
        let begin = begin(first);
        let mut keeping = Keeping::default();
        for ready in turn {
            let position = ready.entry.position;
            let of_it = |fault: &&rules::Fault| {
                fault.position == position && fault.rule == ready.entry.rule
            };
            let reason = derivation.faults.iter().find(of_it);
            let reason = reason.map(|fault| fault.reason.clone());
            let own = derivation.actions.iter();
            let own = own
                .filter(|derived| derived.source.position == position)
                .count();
            let outcome = match reason {
                Some(reason) => Outcome::Failed(reason),
                None if own > 0 || turn.len() > 1 && !derivation.actions.is_empty() => {
                    Outcome::Written(own as i32)
                }
                None => Outcome::Silent,
            };
            batch.retried.push(Retried {
                id: ready.entry.id,
                outcome,
            });
        }
        // Of a change that concerned all rules: those that fail on it now are set aside on their own.
        let others = derivation
            .faults
            .into_iter()
            .filter(|f| f.rule != first.entry.rule);
        batch.faults.extend(others.map(|fault| NewFault {
            rule: fault.rule,
            table: fault.table,
            key: fault.key,
            commit_lsn: begin.commit_lsn,
            committed_at: begin.commit_time,
            xid: first.kept.xid,
            position: fault.position,
            reason: fault.reason,
            kept: fault.kept.map(|change| keeping.of(&change)),
        }));
        for (ordinal, derived) in (0..).zip(derivation.actions) {
            let identity = Identity {
                system_id: &self.progress.lineage.system_id,
                begin: &begin,
                position: derived.source.position,
                rule: &derived.source.rule,
                ordinal,
            };
            batch.actions.push(NewAction {
                id: ActionId::of(&identity),
                action: storable::action(derived.action),
                source: derived.source,
                origin: Origin::Retried,
                commit_lsn: begin.commit_lsn,
                committed_at: begin.commit_time,
                xid: first.kept.xid,
            });
        }
        Ok(())
    }

    async fn rederive(&self, turn: &[Ready<'_>], rule: Option<&str>) -> Result<Derivation, Fault> {
        let (rules, shapes) = (self.rules_now(), &self.guard.shapes);
        let changes: Vec<&KeptChange> = turn.iter().map(|ready| &ready.change).collect();
        let keys: BTreeSet<_> = changes
            .iter()
            .filter_map(|change| Some((change.table.clone(), rules.key_of(change, shapes)?)))
            .collect();
        let mut images = rules.images();
        load::rows(&self.session, &self.image_tables, &keys, &mut images).await?;
        for _ in 0..ROUNDS_MAX {
            let mut derivation = rules.rederive(&changes, rule, shapes, &images);
            let missing = std::mem::take(&mut derivation.missing);
            if missing.is_empty() {
                return Ok(derivation);
            }
            let (session, tables) = (&self.session, &self.image_tables);
            load::wanted(session, tables, shapes, missing, &mut images).await?;
        }
        Err(Fault::Operator(format!(
            "rule {} looks up without end",
            rule.unwrap_or_default()
        )))
    }

    /// The row of an action that `project_actions` refused. False where somebody holds what it needs.
    async fn write_again(&mut self, id: i64, seq: i64) -> Result<bool, Fault> {
        let tried = |outcome| Batch {
            retried: vec![Retried { id, outcome }],
            ..Batch::default()
        };
        let reason = match log::of(&self.session, &[seq]).await?.pop() {
            None => format!("action {seq} is no longer in the log: discard it"),
            Some(logged) => match self.rewrite(&logged, &tried(Outcome::Written(1))).await {
                Ok(()) => {
                    self.locked.free(id);
                    return Ok(true);
                }
                Err(error) if error.remedy() == Remedy::RowAtFault => error.to_string(),
                Err(error) if error.remedy() == Remedy::Again => {
                    self.locked.again(id, Instant::now());
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            },
        };
        self.locked.free(id);
        let batch = tried(Outcome::Failed(reason));
        self.write(self.unmoved(), &batch).await?;
        Ok(true)
    }

    /// Progress as it stands: what is committed beside the stream does not move it.
    pub(super) fn unmoved(&self) -> Reached {
        Reached {
            commit_lsn: self.progress.commit_lsn,
            end_lsn: self.progress.end_lsn,
            confirm_limit: self.progress.confirm_limit,
            half: self.progress.half.clone(),
        }
    }
}

/// The transaction as its Begin told it.
fn begin(ready: &Ready<'_>) -> Begin {
    Begin {
        commit_lsn: ready.entry.commit_lsn,
        commit_time: ready.kept.committed_at,
        xid: Xid(ready.kept.xid as u32),
    }
}
