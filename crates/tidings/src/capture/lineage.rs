//! Whether stored positions hold for the server that is there. Pure.

use activity::Lsn;
use store::catalog::Slot;
use store::progress::{Lineage, Progress};

use super::committed::Ends;

/// What is there.
#[derive(Clone, Debug)]
pub struct Found {
    pub lineage: Lineage,
    pub database: String,
    pub slot: Option<Slot>,
    /// Up to where the server's WAL is on disk.
    pub flushed: Option<Lsn>,
    /// Where the server's timeline left the stored one; `None` where it never came by that, or nobody knows.
    pub branch: Option<Lsn>,
    /// What this process has committed, at this server or at the one before it.
    pub committed: Ends,
    /// Up to where the slot can be by the doing of this process; `None` where nobody knows.
    pub confirmed_by_us: Option<Lsn>,
}

impl Found {
    /// What this process has told of and this server never had, as a range of WAL.
    pub fn never_had(&self) -> Option<(Lsn, Lsn)> {
        let range = self.branch.zip(self.committed.last());
        range.filter(|(branch, end)| branch < end)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream goes on where progress stands.
    Resume,
    /// The same on another timeline, which progress takes on. With `compare`, transactions may have been
    /// confirmed whose commits of ours did not come along: tables are to be compared with images.
    Follow { compare: bool },
    /// No stream leads on from where progress stands: a new slot, and tables are to be compared.
    Rebuild(String),
    /// Nothing may be done by itself.
    Refuse(String),
}

/// What to do with these positions. A position that the server has not reached, once sent to it, would
/// skip everything until there without a word.
pub fn judge(stored: &Progress, found: &Found) -> Verdict {
    let slot = &stored.slot;
    let differs = check(&stored.lineage, &found.lineage, &stored.publication);
    let what = differs.err().unwrap_or_default();
    if stored.lineage.system_id != found.lineage.system_id {
        return Verdict::Refuse(format!(
            "{what}. Point database.url at the right one. If the cluster was replaced, `tidings setup \
             --new-slot` accepts that and goes on from now; of what was committed in between it finds final \
             states"
        ));
    }
    let Some(there) = &found.slot else {
        return Verdict::Rebuild(match stored.lineage.timeline == found.lineage.timeline {
            true => format!("replication slot {slot} does not exist: it was dropped"),
            false => format!("{what}, and replication slot {slot} does not exist there"),
        });
    };
    if !there.is_ours(&found.database) {
        return Verdict::Refuse(format!(
            "replication slot {slot} is not one of pgoutput in database {}: it belongs to somebody else. \
             Choose another name in capture.slot and run `tidings setup --new-slot`",
            found.database
        ));
    }
    if there.wal_status.as_deref() == Some("lost") {
        let setting = match there.invalidation.as_deref() {
            Some("idle_timeout") => "idle_replication_slot_timeout",
            Some("wal_level_insufficient") => "wal_level",
            Some("rows_removed") => "hot_standby_feedback",
            _ => "max_slot_wal_keep_size",
        };
        return Verdict::Rebuild(format!(
            "replication slot {slot} is lost: the server gave it up ({setting})"
        ));
    }
    if stored.lineage.publication_oid != found.lineage.publication_oid {
        return Verdict::Rebuild(what);
    }
    if found.flushed.is_some_and(|end| stored.end_lsn > end) {
        return Verdict::Rebuild(format!(
            "progress is at {}, but the server's WAL ends before that: this is a restored backup",
            stored.end_lsn
        ));
    }
    let confirmed = there.confirmed.unwrap_or_default();
    if stored.lineage.timeline != found.lineage.timeline {
        return match found.branch {
            None => Verdict::Rebuild(format!("{what}, and it did not come from that timeline")),
            Some(branch) if branch < stored.end_lsn => Verdict::Rebuild(format!(
                "{what}, and it left that timeline at {branch}, before progress at {}",
                stored.end_lsn
            )),
            Some(_) if confirmed > stored.confirm_limit => Verdict::Rebuild(format!(
                "{what}, and {}. Or this standby lacks our last commits: nobody waited for it",
                moved(stored, confirmed, stored.confirm_limit)
            )),
            // We remember commits that the slot has passed and that did not come along.
            Some(_) if found.committed.any_between(stored.end_lsn, confirmed) => {
                Verdict::Rebuild(format!(
                    "{what}, and it lacks what we committed after {}, while its slot is at {confirmed}: nobody \
                     waited for this standby",
                    stored.end_lsn
                ))
            }
            // A standby that nobody waited for can have a slot of later than its last commit of ours.
            Some(_) => Verdict::Follow {
                compare: confirmed > stored.end_lsn,
            },
        };
    }
    // The limit is all that a process knows which begins; one that lives knows what it has confirmed.
    let ours = found.confirmed_by_us.unwrap_or(stored.confirm_limit);
    let limit = ours.min(stored.confirm_limit);
    if confirmed > limit {
        return Verdict::Rebuild(moved(stored, confirmed, limit));
    }
    Verdict::Resume
}

/// Whether two lineages are the same; else what differs, in words.
pub fn check(stored: &Lineage, found: &Lineage, publication: &str) -> Result<(), String> {
    if stored.system_id != found.system_id {
        return Err(format!(
            "this is another cluster: its system identifier is {}, progress was made on {}",
            found.system_id, stored.system_id
        ));
    }
    if stored.timeline != found.timeline {
        return Err(format!(
            "the cluster is on timeline {}, progress was made on timeline {}: a standby was promoted or \
             a backup was restored",
            found.timeline, stored.timeline
        ));
    }
    if stored.publication_oid != found.publication_oid {
        return Err(format!(
            "publication {publication} was dropped and recreated (OID {}, was {}): what was committed \
             while it was gone is not in the stream",
            found.publication_oid, stored.publication_oid
        ));
    }
    Ok(())
}

fn moved(stored: &Progress, confirmed: Lsn, limit: Lsn) -> String {
    format!(
        "replication slot {} was moved by somebody else to {confirmed}, or made anew there; we confirmed nothing \
         past {limit}",
        stored.slot
    )
}

#[cfg(test)]
mod tests;
