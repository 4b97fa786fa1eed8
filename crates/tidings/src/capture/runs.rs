//! Runs: what messages announce, what transactions end, and what never ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use activity::{
    ActionId, Event, Identity, Key, Lsn, Operation, Origin, Part, Source, TableName, Unstreamed,
    Xid,
};
use jiff::Timestamp;
use store::commit::{Batch, NewAction};
use store::runs::{self, Run, RunChange};

use super::announcement::{self, Announcement, PREFIX};
use super::writer::Writer;
use super::{Fault, storable};

/// Runs that the watchdog closes in one commit.
const OVERDUE_MAX: i64 = 256;
/// What stands in the log for the rule of an action that a message is.
const RULE: &str = "tidings/message";
const WATCHDOG: &str = "tidings/watchdog";

/// What the messages of one commit group come to.
#[derive(Debug, Default)]
pub struct Hearing {
    /// The runs that the group names, as they stand.
    runs: BTreeMap<String, Run>,
    changed: BTreeSet<String>,
    now: Option<Timestamp>,
    ignored: usize,
}

impl Hearing {
    /// Takes a part in, in order. An announcement is an action.
    pub fn part(&mut self, part: &Part, system_id: &str, default: Duration) -> Option<NewAction> {
        for (change, prefix, content) in messages(part) {
            if prefix != PREFIX {
                continue;
            }
            if !is_announcement(part) {
                if let Some(run) = announcement::run_of_transaction(content)
                    && self.runs.remove(&run).is_some()
                {
                    self.changed.insert(run);
                }
                continue;
            }
            let said = match Announcement::read(content) {
                Ok(said) => said,
                Err(why) => {
                    self.ignore(change.position.lsn, why);
                    continue;
                }
            };
            let lsn = part.begin.commit_lsn;
            let run = said.run(self.runs.get(&said.run), lsn, default);
            let action = said.action(&run);
            let identity = Identity {
                system_id,
                begin: &part.begin,
                position: change.position,
                rule: RULE,
                ordinal: 0,
            };
            let name = run.run.clone();
            let now = self.now.unwrap_or_else(Timestamp::now);
            let known = match said.goes_on() {
                true => self.runs.insert(name.clone(), run),
                false => self.runs.remove(&name),
            };
            if said.goes_on() || known.is_some() {
                self.changed.insert(name.clone());
            }
            return Some(NewAction {
                id: ActionId::of(&identity),
                action: storable::action(action),
                source: source(RULE, &name, change.position),
                origin: Origin::Message,
                commit_lsn: lsn,
                committed_at: said.said_at(now),
                xid: 0,
            });
        }
        None
    }

    /// One line for a group, however many it ignores: anybody can send them.
    fn ignore(&mut self, lsn: Lsn, why: &str) {
        metrics::counter!("tidings_messages_unreadable_total").increment(1);
        if self.ignored == 0 {
            tracing::warn!(wal.lsn = %lsn, "a message of prefix tidings is ignored: {why}");
        }
        self.ignored += 1;
    }

    pub fn changes(self) -> Vec<RunChange> {
        let Self {
            mut runs, changed, ..
        } = self;
        let change = |run: String| match runs.remove(&run) {
            Some(run) => RunChange::Open(Box::new(run)),
            None => RunChange::Closed(run),
        };
        changed.into_iter().map(change).collect()
    }
}

/// Whether the part is a message that belongs to no transaction.
pub fn is_announcement(part: &Part) -> bool {
    part.begin.xid == Xid(0)
}

fn messages(part: &Part) -> impl Iterator<Item = (&activity::Change, &str, &[u8])> {
    part.changes
        .iter()
        .filter_map(|change| match &change.operation {
            Operation::Message { prefix, content } => {
                Some((change, prefix.as_str(), content.as_slice()))
            }
            Operation::Insert { .. }
            | Operation::Update { .. }
            | Operation::Delete { .. }
            | Operation::Truncate { .. } => None,
        })
}

fn source(rule: &str, run: &str, position: activity::Position) -> Source {
    Source {
        rule: rule.to_owned(),
        version: "".into(),
        table: TableName::new("tidings", "runs"),
        key: Key::new([run]),
        position,
        event: Event::Message,
        changed: Vec::new(),
    }
}

/// When the watchdog looks next.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// `None`: no run is open.
    due: Option<Instant>,
    /// What the stream must have shown first: the end of a run may be on its way.
    after: Option<Lsn>,
}

impl Watchdog {
    pub async fn begin(session: &store::Session) -> Result<Self, Fault> {
        let due = runs::next_due(session).await?;
        Ok(Self {
            due: due.map(|wait| Instant::now() + wait),
            after: None,
        })
    }

    /// A run was told to go on for so long.
    pub fn expect(&mut self, timeout: Duration) {
        let due = Instant::now() + timeout;
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }
}

impl Writer<'_> {
    /// Gets ready for the messages of a group; costs nothing where it has none.
    pub(super) async fn hearing(&self, parts: &[Part]) -> Result<Hearing, Fault> {
        let mut hearing = Hearing::default();
        if !self.context.settings.capture.context {
            return Ok(hearing);
        }
        let mut named = BTreeSet::new();
        for part in parts {
            for (_, prefix, content) in messages(part) {
                if prefix == PREFIX {
                    named.extend(announcement::run_of_transaction(content));
                }
            }
        }
        if !named.is_empty() {
            let names: Vec<&str> = named.iter().map(String::as_str).collect();
            let known = runs::load(&self.session, &names).await?;
            hearing.runs = known
                .into_iter()
                .map(|run| (run.run.clone(), run))
                .collect();
            hearing.now = Some(runs::flushed(&self.session).await?.1);
        }
        Ok(hearing)
    }

    /// Closes runs that never ended. True where there may be more.
    pub async fn watch(&mut self) -> Result<bool, Fault> {
        let is_due = self.watchdog.due.is_some_and(|due| due <= Instant::now());
        if !is_due || self.progress.half.is_some() {
            return Ok(false);
        }
        // What was committed before the deadline must have been heard.
        let after = match self.watchdog.after {
            Some(after) => after,
            None => runs::flushed(&self.session).await?.0,
        };
        self.watchdog.after = Some(after);
        if !self.has_passed(after) {
            return Ok(false);
        }
        let overdue = runs::due(&self.session, OVERDUE_MAX).await?;
        if !overdue.is_empty() {
            let batch = self.overdue(&overdue).await?;
            self.write(self.unmoved(), &batch).await?;
            tracing::info!(runs = overdue.len(), "runs did not end in time");
        }
        self.watchdog = Watchdog::begin(&self.session).await?;
        Ok(overdue.len() as i64 == OVERDUE_MAX)
    }

    async fn overdue(&self, overdue: &[Run]) -> Result<Batch, Fault> {
        let (_, now) = runs::flushed(&self.session).await?;
        let at = self.progress.commit_lsn;
        let mut batch = Batch::default();
        for (ordinal, run) in (0..).zip(overdue) {
            let told = run.told_lsn.to_string();
            let identity = Unstreamed {
                system_id: &self.progress.lineage.system_id,
                kind: "watchdog",
                subject: &[&run.run, &told],
                at,
                ordinal,
            };
            let position = activity::Position {
                lsn: run.told_lsn,
                index: 0,
            };
            batch.actions.push(NewAction {
                id: ActionId::unstreamed(&identity),
                action: storable::action(announcement::overdue(run)),
                source: source(WATCHDOG, &run.run, position),
                origin: Origin::Watchdog,
                commit_lsn: at,
                committed_at: now,
                xid: 0,
            });
            batch.runs.push(RunChange::Closed(run.run.clone()));
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use activity::{Begin, Change, Position};
    use serde_json::json;

    const DEFAULT: Duration = Duration::from_secs(900);

    fn part(lsn: u64, xid: u32, message: &serde_json::Value) -> Part {
        let position = Position {
            lsn: Lsn::new(lsn),
            index: 0,
        };
        let operation = Operation::Message {
            prefix: PREFIX.to_owned(),
            content: message.to_string().into_bytes(),
        };
        Part {
            begin: Begin {
                commit_lsn: Lsn::new(lsn),
                commit_time: Timestamp::UNIX_EPOCH,
                xid: Xid(xid),
            },
            changes: vec![Change {
                position,
                operation,
            }],
            first: true,
            end: Some(Lsn::new(lsn + 1)),
        }
    }

    fn heard(parts: &[Part]) -> (Vec<Option<String>>, Vec<RunChange>) {
        let mut hearing = Hearing::default();
        let actions = parts
            .iter()
            .filter_map(|part| hearing.part(part, "7", DEFAULT));
        let statuses = actions.map(|action| action.action.status).collect();
        (statuses, hearing.changes())
    }

    #[test]
    fn a_run_is_open_until_a_message_or_a_transaction_ends_it() {
        let begins = json!({"run": "r", "status": "in_progress"});
        let (said, changes) = heard(&[part(10, 0, &begins)]);
        assert_eq!(said, [Some("in_progress".to_owned())]);
        assert!(matches!(&changes[..], [RunChange::Open(run)] if run.run == "r"));

        let ends = json!({"run": "r", "status": "failed"});
        let (said, changes) = heard(&[part(10, 0, &begins), part(20, 0, &ends)]);
        assert_eq!(said.len(), 2);
        assert_eq!(changes, [RunChange::Closed("r".to_owned())]);

        // The transaction's rules tell the story: no action of its message.
        let of_transaction = json!({"run": "r", "user_id": "u"});
        let (said, changes) = heard(&[part(10, 0, &begins), part(20, 9, &of_transaction)]);
        assert_eq!(said.len(), 1);
        assert_eq!(changes, [RunChange::Closed("r".to_owned())]);
    }

    #[test]
    fn what_is_unreadable_or_of_no_open_run_changes_nothing() {
        let (said, changes) = heard(&[part(10, 0, &json!([1])), part(20, 9, &json!({"run": "r"}))]);
        assert_eq!((said, changes), (vec![], vec![]));
        let (said, changes) = heard(&[part(10, 0, &json!({"run": "r", "status": "success"}))]);
        assert_eq!((said.len(), changes), (1, vec![]));
    }
}
