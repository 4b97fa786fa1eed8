//! Actions that are told of together: those of one project that come within a while of its first.
//!
//! Which actions are one digest is a matter of the log as far as it can be, so that a restart, which
//! begins again from the log, makes the same ones: a digest ends before the first action that was
//! committed too late for it, or when it is full. The clock ends it where no such action comes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use jiff::SignedDuration;
use store::endpoints::Digest;
use store::log::LoggedAction;

use super::job::{Job, project};

/// Actions that wait in memory for their digest to end; with more, the oldest digest ends early.
const GROUPED_MAX: usize = 4096;

/// The digests of one lane that are not over.
#[derive(Debug, Default)]
pub struct Groups {
    by_project: HashMap<String, Group>,
    /// When each began, in that order, and its first action; those that are over are passed over.
    began: VecDeque<(Instant, String, Seq)>,
    /// Actions in all.
    len: usize,
}

#[derive(Debug)]
struct Group {
    first: Arc<LoggedAction>,
    rest: Vec<Arc<LoggedAction>>,
}

impl Group {
    fn len(&self) -> usize {
        1 + self.rest.len()
    }

    fn takes(&self, action: &LoggedAction, digest: Digest) -> bool {
        let age = action.committed_at.duration_since(self.first.committed_at);
        age < SignedDuration::from_secs(digest.seconds.into())
    }
}

impl From<Group> for Job {
    fn from(group: Group) -> Self {
        Self {
            rest: group.rest,
            ..Self::first(group.first)
        }
    }
}

impl Groups {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The oldest action.
    pub fn first(&self) -> Option<Seq> {
        self.by_project.values().map(|group| group.first.seq).min()
    }

    /// Takes an action, and gives the digests that are over by it.
    pub fn push(&mut self, action: Arc<LoggedAction>, digest: Digest, now: Instant) -> Vec<Job> {
        let mut over = Vec::new();
        let project = project(&action).to_owned();
        let takes = |group: &Group| group.takes(&action, digest);
        if !self.by_project.get(&project).is_none_or(takes) {
            over.extend(self.end(&project));
        }
        self.len += 1;
        if let Some(group) = self.by_project.get_mut(&project) {
            group.rest.push(action);
        } else {
            self.began.push_back((now, project.clone(), action.seq));
            let rest = Vec::new();
            let group = Group {
                first: action,
                rest,
            };
            self.by_project.insert(project.clone(), group);
        }
        let full = |group: &Group| group.len() >= digest.actions as usize;
        if self.by_project.get(&project).is_some_and(full) {
            over.extend(self.end(&project));
        }
        if self.len > GROUPED_MAX {
            over.extend(self.oldest().and_then(|(_, project)| self.end(&project)));
        }
        over
    }

    /// The digests that are over by the clock.
    pub fn due(&mut self, digest: Digest, now: Instant) -> Vec<Job> {
        let mut over = Vec::new();
        while let Some((began, project)) = self.oldest()
            && began + seconds(digest) <= now
        {
            over.extend(self.end(&project));
        }
        over
    }

    /// When the clock ends the next one.
    pub fn next_at(&self, digest: Digest) -> Option<Instant> {
        let mut open = self
            .began
            .iter()
            .filter(|(_, p, first)| self.is_open(p, *first));
        open.next().map(|(began, _, _)| *began + seconds(digest))
    }

    /// Ends the digest of a project.
    pub fn end(&mut self, project: &str) -> Option<Job> {
        let group = self.by_project.remove(project)?;
        self.len -= group.len();
        Some(group.into())
    }

    /// Ends them all, oldest first.
    pub fn end_all(&mut self) -> Vec<Job> {
        let mut over = Vec::new();
        while let Some((_, project)) = self.oldest() {
            over.extend(self.end(&project));
        }
        over
    }

    fn oldest(&mut self) -> Option<(Instant, String)> {
        while let Some((began, project, first)) = self.began.front() {
            if self.is_open(project, *first) {
                return Some((*began, project.clone()));
            }
            self.began.pop_front();
        }
        None
    }

    fn is_open(&self, project: &str, first: Seq) -> bool {
        self.by_project
            .get(project)
            .is_some_and(|group| group.first.seq == first)
    }
}

fn seconds(digest: Digest) -> Duration {
    Duration::from_secs(digest.seconds.into())
}
