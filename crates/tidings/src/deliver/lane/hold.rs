//! Projects whose oldest delivery fails, of a lane that keeps the order within a project.
//!
//! From the failure on, what comes later of the project is not the lane's but the hold's: the lane's
//! own reading passes it, and one stored cursor stands for it. Once the head is through, the hold
//! reads the project's actions from the log and sends them one by one. Having read as far as the
//! lane (it has *joined*), it only has to finish: what the lane reads from there on waits in the
//! lane's queue until the hold is over.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use activity::Seq;
use store::delivery::{HeldMove, StoredHold};
use store::endpoints::Digest;
use store::log::LoggedAction;

use super::digest::Groups;
use super::job::{Class, Job};

/// Actions that wait in memory for all holds of a lane; below it, they ask for more.
const QUEUED_MAX: usize = 256;

/// The holds of one lane.
#[derive(Debug, Default)]
pub struct Holds {
    by_project: BTreeMap<String, Hold>,
    /// Over, and still stored.
    over: BTreeSet<String>,
    queued: usize,
}

#[derive(Debug)]
struct Hold {
    /// Parked: nothing is sent before they are delivered or dead.
    heads: BTreeSet<Seq>,
    /// Everything of the project up to here is settled, a head, or in `queue` or `unsettled`.
    read_to: Seq,
    queue: VecDeque<Job>,
    /// Queued, under way, or over and not committed.
    unsettled: BTreeSet<Seq>,
    /// How far the lane had come when the hold had read as far: what comes later is the lane's.
    joined_at: Option<Seq>,
    /// As the database has it.
    stored: Option<(Seq, Option<Seq>)>,
}

impl Hold {
    fn cursor(&self, over: &[Seq]) -> Seq {
        let oldest = self
            .unsettled
            .iter()
            .find(|seq| over.binary_search(seq).is_err());
        oldest.map_or(self.read_to, |oldest| oldest.previous())
    }

    /// What the database must have of it.
    fn state(&self, over: &[Seq]) -> (Seq, Option<Seq>) {
        (self.cursor(over), self.heads.last().copied())
    }

    fn is_over(&self) -> bool {
        self.heads.is_empty() && self.joined_at.is_some() && self.unsettled.is_empty()
    }
}

impl Holds {
    pub fn restore(stored: Vec<StoredHold>) -> Self {
        let hold = |stored: StoredHold| {
            let hold = Hold {
                heads: stored.head.into_iter().collect(),
                read_to: stored.cursor,
                queue: VecDeque::new(),
                unsettled: BTreeSet::new(),
                joined_at: None,
                stored: Some((stored.cursor, stored.head)),
            };
            (stored.project, hold)
        };
        Self {
            by_project: stored.into_iter().map(hold).collect(),
            ..Self::default()
        }
    }

    /// Whether an action that the lane reads is the hold's.
    pub fn has(&self, project: &str, seq: Seq) -> bool {
        self.by_project
            .get(project)
            .is_some_and(|hold| hold.joined_at.is_none_or(|joined_at| seq <= joined_at))
    }

    /// Whether the lane may send nothing of this project for now.
    pub fn holds(&self, project: &str) -> bool {
        self.by_project.contains_key(project)
    }

    /// Whether anything waits to be sent.
    pub fn is_ready(&self) -> bool {
        self.queued > 0
    }

    /// The head of the project has failed; what is read of it from now on is the hold's, and what
    /// the hold had read is read again.
    pub fn fail(&mut self, job: &Job) {
        let last = job.seqs().max().unwrap_or(job.seq());
        self.over.remove(job.project());
        let hold = self
            .by_project
            .entry(job.project().to_owned())
            .or_insert_with(|| Hold {
                heads: BTreeSet::new(),
                read_to: last,
                queue: VecDeque::new(),
                unsettled: BTreeSet::new(),
                joined_at: None,
                stored: None,
            });
        hold.heads.insert(job.seq());
        hold.joined_at = None;
        if let Some(front) = hold.queue.front() {
            hold.read_to = front.seq().previous();
        }
        for job in hold.queue.drain(..) {
            self.queued -= 1;
            job.seqs().for_each(|seq| {
                hold.unsettled.remove(&seq);
            });
        }
    }

    /// A parked delivery is delivered, dead or withdrawn.
    pub fn head_is_through(&mut self, seq: Seq) {
        for hold in self.by_project.values_mut() {
            hold.heads.remove(&seq);
        }
    }

    /// The project to read for, and the seq to read it after: of those that can go on, the one that
    /// has come least far.
    pub fn wants(&self) -> Option<(&str, Seq)> {
        if self.queued >= QUEUED_MAX {
            return None;
        }
        self.by_project
            .iter()
            .filter(|(_, hold)| {
                hold.heads.is_empty() && hold.joined_at.is_none() && hold.queue.is_empty()
            })
            .map(|(project, hold)| (project.as_str(), hold.read_to))
            .min_by_key(|(_, read_to)| *read_to)
    }

    /// Takes what was read of a project after `after`, up to `read_to`; `position` is how far the
    /// lane itself has come. What answers a question of before the last failure is of no use.
    pub fn feed<'a>(
        &mut self,
        project: &str,
        after: Seq,
        actions: impl Iterator<Item = &'a Arc<LoggedAction>>,
        digest: Option<Digest>,
        read_to: Seq,
        position: Seq,
    ) {
        let Some(hold) = self.by_project.get_mut(project) else {
            return;
        };
        if hold.read_to != after || !hold.heads.is_empty() || hold.joined_at.is_some() {
            return;
        }
        // What lies past the lane's position comes to the lane itself.
        let read_to = read_to.min(position).max(after);
        let actions = actions.filter(|action| action.seq > after && action.seq <= read_to);
        for job in jobs(actions.cloned(), digest) {
            hold.unsettled.extend(job.seqs());
            hold.queue.push_back(Job {
                class: Class::Held,
                ..job
            });
            self.queued += 1;
        }
        hold.read_to = read_to;
        if read_to >= position {
            hold.joined_at = Some(read_to);
        }
        self.drop_if_over(project);
    }

    /// The next delivery of a project that has none under way.
    pub fn next(&mut self, busy: &HashMap<String, usize>) -> Option<Job> {
        let hold = self
            .by_project
            .iter_mut()
            .filter(|(project, hold)| hold.heads.is_empty() && !busy.contains_key(*project))
            .filter_map(|(_, hold)| Some((hold.queue.front()?.seq(), hold)))
            .min_by_key(|(seq, _)| *seq);
        let job = hold?.1.queue.pop_front()?;
        self.queued -= 1;
        Some(job)
    }

    /// The attempt does not count.
    pub fn put_back(&mut self, job: Job) {
        if let Some(hold) = self.by_project.get_mut(job.project()) {
            hold.queue.push_front(job);
            self.queued += 1;
        }
    }

    /// The attempt is committed.
    pub fn settled(&mut self, seq: Seq) {
        let Some((project, hold)) = self
            .by_project
            .iter_mut()
            .find(|(_, hold)| hold.unsettled.contains(&seq))
        else {
            return;
        };
        hold.unsettled.remove(&seq);
        let project = project.clone();
        self.drop_if_over(&project);
    }

    /// What the endpoint does not ask for any more is settled unsent.
    pub fn retain(&mut self, accepts: impl Fn(&LoggedAction) -> bool) {
        for hold in self.by_project.values_mut() {
            let unsettled = &mut hold.unsettled;
            let before = hold.queue.len();
            hold.queue.retain(|job| {
                let keep = accepts(&job.action);
                if !keep {
                    job.seqs().for_each(|seq| {
                        unsettled.remove(&seq);
                    });
                }
                keep
            });
            self.queued -= before - hold.queue.len();
        }
        let projects: Vec<String> = self.by_project.keys().cloned().collect();
        projects
            .iter()
            .for_each(|project| self.drop_if_over(project));
    }

    /// What the next settlement must store, where `over` are the first attempts it commits.
    pub fn moves(&self, endpoint_id: &str, over: &[Seq]) -> Vec<HeldMove> {
        let moved = |project: &String, state: Option<(Seq, Option<Seq>)>| HeldMove {
            endpoint_id: endpoint_id.to_owned(),
            project_id: project.clone(),
            cursor: state.map(|(cursor, _)| cursor),
            head: state.and_then(|(_, head)| head),
        };
        let kept = self
            .by_project
            .iter()
            .map(|(project, hold)| (project, hold, hold.state(over)))
            .filter(|(_, hold, state)| hold.stored != Some(*state))
            .map(|(project, _, state)| moved(project, Some(state)));
        let over = self.over.iter().map(|project| moved(project, None));
        kept.chain(over).collect()
    }

    pub fn stored(&mut self, moved: &HeldMove) {
        match (moved.cursor, self.by_project.get_mut(&moved.project_id)) {
            (Some(cursor), Some(hold)) => hold.stored = Some((cursor, moved.head)),
            // Over since it was gathered, or held anew: either is stored next.
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => {
                self.over.remove(&moved.project_id);
            }
        }
    }

    fn drop_if_over(&mut self, project: &str) {
        if self.by_project.get(project).is_some_and(Hold::is_over) {
            self.by_project.remove(project);
            self.over.insert(project.to_owned());
        }
    }
}

/// What was read at once is told of together, as far as the digest allows.
fn jobs(actions: impl Iterator<Item = Arc<LoggedAction>>, digest: Option<Digest>) -> Vec<Job> {
    let Some(digest) = digest else {
        return actions.map(Job::first).collect();
    };
    let (mut groups, now) = (Groups::default(), Instant::now());
    let mut jobs: Vec<Job> = actions
        .flat_map(|action| groups.push(action, digest, now))
        .collect();
    jobs.extend(groups.end_all());
    jobs
}
