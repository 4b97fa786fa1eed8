//! What the worker committed against what came of it.
//!
//! In go the sentences that each committed transaction must give (the worker knows them without
//! Tidings), the rows of `project_actions`, and the notifications. They may come in any order: the
//! n-th row of a sentence belongs to its n-th commit. Out come facts to tell, and in the end the
//! count of what is lost, there twice, or there without a reason. It grows by about a kilobyte an
//! action, since every one is remembered until the end.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::latency::Latencies;
use super::sentence::Sentence;

#[cfg(test)]
mod tests;

#[derive(Debug, Default)]
pub struct Ledger {
    worker: Commits,
    sentences: HashMap<Sentence, Tally>,
    /// By action_id.
    actions: HashMap<String, Entry>,
    /// Requests whose signature does not verify.
    invalid: usize,
}

/// How the worker's transactions ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    pub committed: usize,
    pub rolled_back: usize,
}

#[derive(Debug, Default)]
struct Tally {
    /// When each COMMIT that must give this sentence returned.
    committed: Vec<Instant>,
    rows: usize,
}

#[derive(Debug, Default)]
struct Entry {
    row: Option<Row>,
    notices: Vec<Notice>,
}

#[derive(Debug)]
struct Row {
    sentence: Sentence,
    /// Which of the commits of this sentence it belongs to.
    nth: usize,
    seen: Instant,
}

#[derive(Debug)]
struct Notice {
    sentence: Sentence,
    received: Instant,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub stage: Stage,
    pub at: Instant,
    /// Since COMMIT returned to the worker, where that is known already.
    pub after: Option<Duration>,
    pub sentence: Sentence,
}

/// How far an action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Recorded,
    Notified,
}

/// The end of the story, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub worker: Commits,
    /// Rows of `project_actions` by type.
    pub actions: BTreeMap<String, usize>,
    /// Notifications with a good signature.
    pub received: usize,
    pub invalid: usize,
    pub to_row: Latencies,
    pub to_webhook: Latencies,
    /// Expected, and not in `project_actions` or not received.
    pub lost: usize,
    /// Rows beyond the expected ones of their sentence, and notifications of an id beyond the first.
    pub duplicates: usize,
    /// Rows that no transaction accounts for, and notifications unlike their row or without one.
    pub unexpected: usize,
}

impl Totals {
    pub fn is_flawless(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.unexpected == 0 && self.invalid == 0
    }
}

impl Ledger {
    /// A transaction was committed: its COMMIT returned `at`, and these must come of it.
    pub fn committed(&mut self, at: Instant, expected: Vec<Sentence>) {
        self.worker.committed += 1;
        for sentence in expected {
            let tally = self.sentences.entry(sentence).or_default();
            tally.committed.push(at);
        }
    }

    pub fn rolled_back(&mut self) {
        self.worker.rolled_back += 1;
    }

    /// A row of `project_actions` was seen; one that was seen before changes nothing.
    ///
    /// Tells of the notifications too that overtook it.
    pub fn recorded(&mut self, seen: Instant, action_id: &str, sentence: Sentence) -> Vec<Fact> {
        let entry = self.actions.entry(action_id.to_owned()).or_default();
        if entry.row.is_some() {
            return Vec::new();
        }
        let tally = self.sentences.entry(sentence.clone()).or_default();
        let nth = tally.rows;
        tally.rows += 1;
        let committed = tally.committed.get(nth).copied();
        let mut facts = vec![fact(Stage::Recorded, seen, committed, sentence.clone())];
        for Notice { sentence, received } in &entry.notices {
            facts.push(fact(
                Stage::Notified,
                *received,
                committed,
                sentence.clone(),
            ));
        }
        entry.row = Some(Row {
            sentence,
            nth,
            seen,
        });
        facts
    }

    /// A notification with a good signature. It is told at once if its row was seen already.
    pub fn notified(
        &mut self,
        received: Instant,
        action_id: &str,
        sentence: Sentence,
    ) -> Option<Fact> {
        let entry = self.actions.entry(action_id.to_owned()).or_default();
        let told = sentence.clone();
        entry.notices.push(Notice { sentence, received });
        let row = entry.row.as_ref()?;
        let committed = row.committed(&self.sentences);
        Some(fact(Stage::Notified, received, committed, told))
    }

    pub fn refused(&mut self) {
        self.invalid += 1;
    }

    /// Whether everything expected has arrived.
    pub fn is_settled(&self) -> bool {
        self.totals().lost == 0
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            worker: self.worker,
            invalid: self.invalid,
            ..Totals::default()
        };
        for tally in self.sentences.values() {
            let expected = tally.committed.len();
            totals.lost += expected.saturating_sub(tally.rows);
            let surplus = tally.rows.saturating_sub(expected);
            if expected == 0 {
                totals.unexpected += surplus;
            } else {
                totals.duplicates += surplus;
            }
        }
        for entry in self.actions.values() {
            self.count(entry, &mut totals);
        }
        totals
    }

    fn count(&self, entry: &Entry, totals: &mut Totals) {
        totals.received += entry.notices.len();
        totals.duplicates += entry.notices.len().saturating_sub(1);
        let Some(row) = &entry.row else {
            totals.unexpected += entry.notices.len();
            return;
        };
        let kind = row.sentence.action_type.clone();
        *totals.actions.entry(kind).or_default() += 1;
        let unlike = |notice: &&Notice| notice.sentence != row.sentence;
        totals.unexpected += entry.notices.iter().filter(unlike).count();
        let Some(committed) = row.committed(&self.sentences) else {
            return;
        };
        let to_row = row.seen.saturating_duration_since(committed);
        totals.to_row.add(to_row);
        match entry.notices.first() {
            Some(first) => {
                let to_webhook = first.received.saturating_duration_since(committed);
                totals.to_webhook.add(to_webhook);
            }
            None => totals.lost += 1,
        }
    }
}

impl Row {
    /// When the COMMIT that it came of returned; `None` for a row beyond the expected ones.
    fn committed(&self, sentences: &HashMap<Sentence, Tally>) -> Option<Instant> {
        let tally = sentences.get(&self.sentence)?;
        tally.committed.get(self.nth).copied()
    }
}

fn fact(stage: Stage, at: Instant, committed: Option<Instant>, sentence: Sentence) -> Fact {
    Fact {
        stage,
        at,
        after: committed.map(|committed| at.saturating_duration_since(committed)),
        sentence,
    }
}
