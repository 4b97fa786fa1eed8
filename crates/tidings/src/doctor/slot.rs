//! Whether the slot is ours and may be read, and what other slots and transactions keep. Pure.

use bytesize::ByteSize;
use store::catalog::OpenTransaction;
use store::doctor::Slot;
use store::progress::Progress;
use store::{quote_identifier, quote_literal};

use super::check::{Check, Complaint};
use crate::capture::Verdict;
use crate::commands::describe;

const NEW_SLOT: &str = "tidings setup --new-slot";
/// What a slot that nobody reads may keep before that is worth a word.
const IDLE_BYTES: i64 = 256 << 20;
const IDLE_SECONDS: i64 = 3600;
/// A transaction that is open for longer holds every slot back.
const OPEN_SECONDS: i64 = 600;
/// What older installations and previews of ours are called.
const OURS: &str = "tidings";

/// No stream leads on. `run` mends that by itself, unless it is refused: then `refused` says why it stopped.
fn leads_nowhere(name: &'static str, why: &str, refused: Option<String>) -> Check {
    match refused {
        Some(text) => Check::fail(name, text, NEW_SLOT),
        None => {
            let what = format!(
                "{why}. `tidings run` makes a new slot by itself and compares tables with images: final states \
                 are told"
            );
            let mend = format!("tidings run # or now, while none runs: {NEW_SLOT}");
            Check::of(name, "", [Complaint::warn(what, mend)])
        }
    }
}

/// Why nothing leads on from the configured slot, where it is gone or lost.
pub fn end(name: &str, database: &str, slot: Option<&Slot>) -> Option<String> {
    let Some(slot) = slot else {
        return Some(format!(
            "replication slot {name} does not exist: it was dropped"
        ));
    };
    let is_lost = slot.invalidated.is_some() || slot.wal_status.as_deref() == Some("lost");
    if !is_lost || !is_ours(slot, database) {
        return None;
    }
    let why = match slot.invalidated.as_deref() {
        None | Some("wal_removed") => {
            "the server removed WAL that it still needed (max_slot_wal_keep_size)"
        }
        Some("idle_timeout") => "nobody read it for idle_replication_slot_timeout",
        Some(other) => other,
    };
    Some(format!("replication slot {name} is lost: {why}"))
}

fn is_ours(slot: &Slot, database: &str) -> bool {
    slot.plugin.as_deref() == Some("pgoutput") && slot.database.as_deref() == Some(database)
}

/// Of the configured slot: `is_set_up` says whether there should be one, `refused` why `run` may make no new
/// one ([`end`]), `trouble` why its stream does not get on, as `status` tells it.
pub fn slot(
    name: &str,
    database: &str,
    slot: Option<&Slot>,
    is_set_up: bool,
    refused: Option<String>,
    trouble: Option<&str>,
) -> Check {
    const NAME: &str = "slot";
    if slot.is_none() && !is_set_up {
        return Check::skipped(NAME, "nothing was set up yet; setup makes it");
    }
    if let Some(why) = end(name, database, slot) {
        return leads_nowhere(NAME, &why, refused);
    }
    let Some(slot) = slot.filter(|slot| is_ours(slot, database)) else {
        let told = |what: Option<&String>| what.map_or("none", String::as_str).to_owned();
        return Check::fail(
            NAME,
            format!(
                "replication slot {name} is not ours (plugin {}, database {})",
                told(slot.and_then(|slot| slot.plugin.as_ref())),
                told(slot.and_then(|slot| slot.database.as_ref()))
            ),
            "capture.slot: another name; then: tidings setup",
        );
    };
    let read = match slot.active_pid {
        Some(pid) => format!("process {pid} reads it"),
        None => "no `tidings run` reads it now".to_owned(),
    };
    let long = slot
        .inactive_seconds
        .is_some_and(|seconds| seconds > IDLE_SECONDS);
    let neglected = slot.active_pid.is_none() && (long || slot.retained > IDLE_BYTES);
    let stuck =
        trouble.map(|trouble| Complaint::warn(trouble, "tidings status # until it gets on"));
    let complaint = neglected.then(|| {
        let since = slot
            .inactive_seconds
            .map(|seconds| format!(" for {seconds} s"));
        Complaint::warn(
            format!(
                "nobody has read replication slot {name}{}, and it keeps {}",
                since.unwrap_or_default(),
                size(slot.retained)
            ),
            "tidings run",
        )
    });
    let age = slot
        .catalog_age
        .map(|age| format!(", its catalog_xmin is {age} transactions old"));
    let well = format!("{name}: {read}{}", age.unwrap_or_default());
    Check::of(NAME, well, complaint.or(stuck))
}

/// Slots that look like ours, and that nobody reads.
pub fn orphan_slots(slots: &[Slot], own: &str, database: &str) -> Check {
    let orphan = |slot: &&Slot| {
        slot.name != own
            && slot.name.starts_with(OURS)
            && slot.plugin.as_deref() == Some("pgoutput")
            && slot.database.as_deref() == Some(database)
            && slot.active_pid.is_none()
    };
    let complaints = slots.iter().filter(orphan).map(|slot| {
        Complaint::warn(
            format!(
                "replication slot {} looks like one of an earlier installation: nobody reads it, and it keeps {}",
                slot.name,
                size(slot.retained)
            ),
            // It may be that of a second sidecar which is stopped.
            format!("-- select pg_drop_replication_slot({}); if capture.slot of no other sidecar names it", quote_literal(&slot.name)),
        )
    });
    Check::of("orphan_slots", "none", complaints)
}

/// Slots of others that fill the same disk.
pub fn idle_slots(slots: &[Slot], own: &str, database: &str) -> Check {
    let idle = |slot: &&Slot| {
        let ours = slot.name.starts_with(OURS) && slot.database.as_deref() == Some(database);
        slot.name != own && !ours && slot.active_pid.is_none() && slot.retained > IDLE_BYTES
    };
    let complaints = slots.iter().filter(idle).map(|slot| {
        Complaint::warn(
            format!(
                "nobody reads replication slot {}, and it keeps {}",
                slot.name,
                size(slot.retained)
            ),
            format!(
                "select pg_drop_replication_slot({}); -- if nothing needs it any more",
                quote_literal(&slot.name)
            ),
        )
    });
    Check::of(
        "idle_slots",
        "no slot of others keeps WAL for nobody",
        complaints,
    )
}

/// Transactions that every slot has to wait for. What a role may not see into has no age.
pub fn open_transactions(open: &[OpenTransaction]) -> Check {
    let unseen = open
        .iter()
        .filter(|open| open.age_seconds.is_none())
        .count();
    let long = open
        .iter()
        .filter(|open| open.age_seconds.is_some_and(|age| age > OPEN_SECONDS));
    let complaints = long.map(|open| {
        let mend = match (open.pid, open.what.strip_prefix("prepared transaction ")) {
            (Some(pid), _) => format!("select pg_terminate_backend({pid}); -- rolls it back"),
            (None, Some(gid)) => format!(
                "rollback prepared {gid}; -- in database {}, or commit prepared",
                quote_identifier(open.database.as_deref().unwrap_or_default())
            ),
            (None, None) => String::new(),
        };
        Complaint::warn(
            format!(
                "{}: the slot keeps WAL since then, and a new one waits for it",
                describe(open)
            ),
            mend,
        )
    });
    let well = match unseen {
        0 => "none is open for long".to_owned(),
        unseen => format!(
            "none is open for long, as far as this role sees ({unseen} of other roles; a member of pg_read_all_stats sees those)"
        ),
    };
    Check::of("open_transactions", well, complaints)
}

/// Whether stored positions belong to what we are connected to, as capture judges it. `refused`: why `run` may
/// make no new slot.
pub fn lineage(
    stored: &Progress,
    verdict: Verdict,
    has_slot: bool,
    refused: Option<String>,
) -> Check {
    const NAME: &str = "lineage";
    match verdict {
        Verdict::Resume => {
            let lineage = &stored.lineage;
            Check::ok(
                NAME,
                format!(
                    "cluster {}, timeline {}, at {}",
                    lineage.system_id, lineage.timeline, stored.end_lsn
                ),
            )
        }
        Verdict::Follow { compare } => {
            let compares = match compare {
                true => "tables are compared with images, since the slot is ahead of progress",
                false => "nothing is told twice",
            };
            let what = format!(
                "a standby was promoted, and its slot leads on from where we are: `tidings run` goes on by \
                 itself, and {compares}"
            );
            Check::of(NAME, "", [Complaint::warn(what, "tidings run")])
        }
        Verdict::Rebuild(_) if !has_slot => {
            Check::skipped(NAME, "there is no slot to go on from, as check slot says")
        }
        Verdict::Rebuild(why) => leads_nowhere(NAME, &why, refused),
        Verdict::Refuse(why) => Check::fail(NAME, why, NEW_SLOT),
    }
}

/// The settings name another slot or publication than progress was made on.
pub fn renamed(stored: &Progress, slot: &str, publication: &str) -> Option<String> {
    let differs = |what: &str, stored: &str, now: &str| {
        (stored != now).then(|| {
            format!(
                "progress was made on {what} {}, and the settings name {}",
                quote_identifier(stored),
                quote_identifier(now)
            )
        })
    };
    differs("slot", &stored.slot, slot)
        .or_else(|| differs("publication", &stored.publication, publication))
}

pub fn size(bytes: i64) -> String {
    ByteSize(bytes.max(0).unsigned_abs()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn ours() -> Slot {
        Slot {
            name: "tidings".to_owned(),
            plugin: Some("pgoutput".to_owned()),
            database: Some("app".to_owned()),
            active_pid: Some(7),
            wal_status: Some("reserved".to_owned()),
            ..Slot::default()
        }
    }

    fn checked(slot: &Slot) -> Check {
        super::slot("tidings", "app", Some(slot), true, None, None)
    }

    #[test]
    fn a_slot_that_is_gone_lost_or_not_ours_is_grave() {
        assert_eq!(checked(&ours()).status, Status::Ok);
        assert_eq!(
            slot("tidings", "app", None, false, None, None).status,
            Status::Skipped
        );
        let refused = Some("as many as an hour may have".to_owned());
        let gone = slot("tidings", "app", None, true, refused.clone(), None);
        assert_eq!(
            (gone.status, Some(gone.message), gone.mend.as_deref()),
            (Status::Fail, refused, Some(NEW_SLOT))
        );
        // What `run` mends by itself is no failure.
        let renewed = slot("tidings", "app", None, true, None, None);
        assert_eq!(renewed.status, Status::Warn);
        assert!(renewed.mend.unwrap().starts_with("tidings run"));
        let stuck = slot(
            "tidings",
            "app",
            Some(&ours()),
            true,
            None,
            Some("it is silent"),
        );
        assert_eq!(
            (stuck.status, stuck.message.as_str()),
            (Status::Warn, "it is silent")
        );
        let lost = Slot {
            wal_status: Some("lost".to_owned()),
            ..ours()
        };
        assert!(checked(&lost).message.contains("max_slot_wal_keep_size"));
        let idle = Slot {
            invalidated: Some("idle_timeout".to_owned()),
            ..ours()
        };
        assert!(
            checked(&idle)
                .message
                .contains("idle_replication_slot_timeout")
        );
        let foreign = Slot {
            plugin: Some("wal2json".to_owned()),
            ..ours()
        };
        assert!(checked(&foreign).mend.unwrap().starts_with("capture.slot"));
    }

    #[test]
    fn what_run_follows_or_makes_anew_by_itself_is_a_warning_and_another_cluster_is_grave() {
        let stored = Progress {
            epoch: 1,
            slot: "tidings".to_owned(),
            publication: "tidings".to_owned(),
            lineage: store::progress::Lineage {
                system_id: "7".to_owned(),
                timeline: 1,
                publication_oid: 9,
            },
            commit_lsn: activity::Lsn::ZERO,
            end_lsn: activity::Lsn::ZERO,
            confirm_limit: activity::Lsn::ZERO,
            seq: activity::Seq::ZERO,
            half: None,
        };
        let why = || "the cluster is on timeline 2".to_owned();
        for (verdict, has_slot, refused, status) in [
            (Verdict::Resume, true, false, Status::Ok),
            (Verdict::Follow { compare: true }, true, false, Status::Warn),
            (Verdict::Rebuild(why()), true, false, Status::Warn),
            (Verdict::Rebuild(why()), true, true, Status::Fail),
            (Verdict::Rebuild(why()), false, false, Status::Skipped),
            (Verdict::Refuse(why()), false, false, Status::Fail),
        ] {
            let check = lineage(&stored, verdict.clone(), has_slot, refused.then(why));
            assert_eq!(check.status, status, "{verdict:?}");
        }
    }

    #[test]
    fn a_slot_that_nobody_reads_is_a_warning_once_it_matters() {
        let idle = Slot {
            active_pid: None,
            inactive_seconds: Some(10),
            ..ours()
        };
        assert_eq!(checked(&idle).status, Status::Ok);
        let long = Slot {
            inactive_seconds: Some(IDLE_SECONDS + 1),
            ..idle.clone()
        };
        assert_eq!(checked(&long).status, Status::Warn);
        let much = Slot {
            retained: IDLE_BYTES + 1,
            ..idle
        };
        assert_eq!(checked(&much).mend.as_deref(), Some("tidings run"));
    }

    #[test]
    fn orphans_are_those_of_our_name_that_nobody_reads() {
        let named = |name: &str| Slot {
            name: name.to_owned(),
            active_pid: None,
            ..ours()
        };
        let orphan = named("tidings_old");
        let read = Slot {
            active_pid: Some(1),
            ..named("tidings_preview_1")
        };
        let elsewhere = Slot {
            database: Some("other".to_owned()),
            ..named("tidings_other")
        };
        let foreign = named("debezium");
        let slots = [ours(), orphan, read, elsewhere, foreign];
        let check = orphan_slots(&slots, "tidings", "app");
        assert_eq!(check.status, Status::Warn);
        assert_eq!(check.message.lines().count(), 1, "{}", check.message);
        assert!(
            check
                .mend
                .unwrap()
                .starts_with("-- select pg_drop_replication_slot('tidings_old');")
        );
        let keeps = Slot {
            retained: IDLE_BYTES + 1,
            ..named("debezium")
        };
        assert_eq!(idle_slots(&[keeps], "tidings", "app").status, Status::Warn);
        assert_eq!(idle_slots(&slots, "tidings", "app").status, Status::Ok);
    }

    #[test]
    fn long_transactions_are_named_with_what_ends_them() {
        let open = |pid, age_seconds, what: &str| OpenTransaction {
            pid,
            age_seconds,
            what: what.to_owned(),
            database: Some("other".to_owned()),
        };
        let short = open(Some(1), Some(5), "active");
        assert_eq!(open_transactions(&[short]).status, Status::Ok);
        let unseen = open_transactions(&[open(Some(1), None, "unknown")]);
        assert!(unseen.message.contains("pg_read_all_stats"));
        let check = open_transactions(&[
            open(Some(7), Some(OPEN_SECONDS + 1), "idle in transaction"),
            open(None, Some(OPEN_SECONDS + 1), "prepared transaction 'x'"),
        ]);
        let mend = check.mend.unwrap();
        assert!(
            mend.contains("pg_terminate_backend(7);")
                && mend.contains("rollback prepared 'x'; -- in database \"other\""),
            "{mend}"
        );
    }
}
