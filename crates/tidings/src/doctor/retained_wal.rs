//! Whether the WAL that the slot keeps has an end, and how near that is. Pure.

use store::doctor::{Settings, Slot};

use super::check::{Check, Complaint};
use super::slot::size;
use crate::capture::budget::WARN;

const NAME: &str = "retained_wal";
const LIMIT: &str = "max_slot_wal_keep_size";
/// The share of its limit that a slot should have left.
const SAFE_SHARE: i64 = 5;
/// What a slot may keep at the least, where we are asked for a limit.
const LIMIT_MIN: i64 = 10 * GIB;
const GIB: i64 = 1 << 30;

/// `capture.max_retained_wal`, and how much of it is used, as `status` tells it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub bytes: u64,
    /// `None` where there is no slot.
    pub percent: Option<u64>,
}

/// What the slot keeps, and where that ends. `slots` are all of the server's: they share its limit.
pub fn retained_wal(
    slot: Option<&Slot>,
    slots: &[Slot],
    settings: &Settings,
    budget: Option<Budget>,
) -> Check {
    let Some(limit) = settings.bytes(LIMIT) else {
        return Check::skipped(NAME, format!("the server does not tell {LIMIT}"));
    };
    let kept = slot.map_or("no slot yet".to_owned(), |slot| {
        format!("the slot keeps {}", size(slot.retained))
    });
    let mut complaints: Vec<Complaint> =
        unlimited(&kept, limit, slots, budget).into_iter().collect();
    complaints.extend(slot.and_then(|slot| in_danger(slot, &kept, limit, slots)));
    if complaints.is_empty() {
        complaints.extend(budget.and_then(|budget| used_up(&kept, budget)));
    }
    Check::of(NAME, well(&kept, limit, budget), complaints)
}

fn well(kept: &str, limit: i64, budget: Option<Budget>) -> String {
    let used = |budget: Budget| {
        let percent = budget.percent.map(|percent| format!(" ({percent} %)"));
        let bytes = bytesize::ByteSize(budget.bytes);
        format!("{kept} of {bytes}{}", percent.unwrap_or_default())
    };
    match (budget, limit) {
        (None, _) => format!("{kept} of at most {}", size(limit)),
        (Some(budget), ..0) => format!(
            "{}, which capture.max_retained_wal allows it; that holds while a sidecar runs, and {LIMIT} is unset",
            used(budget)
        ),
        (Some(budget), _) => format!(
            "{}, which capture.max_retained_wal allows it; the server allows {}",
            used(budget),
            size(limit)
        ),
    }
}

/// The server's own limit, where it is none.
fn unlimited(kept: &str, limit: i64, slots: &[Slot], budget: Option<Budget>) -> Option<Complaint> {
    let raise = raise(limit, slots);
    match (limit, budget) {
        (..0, None) => Some(Complaint::warn(
            format!(
                "{kept}, and {LIMIT} is unset: while nobody reads the slot, WAL fills the worker's disk"
            ),
            format!(
                "{raise}\n-- or in the settings: capture.max_retained_wal = \"{}GB\", which holds for our slot alone, while a sidecar runs",
                gigabytes(limit, slots)
            ),
        )),
        (0, _) => Some(Complaint::fail(
            format!("{kept}, and {LIMIT} is 0: a checkpoint takes away what the slot still needs"),
            raise,
        )),
        _ => None,
    }
}

fn in_danger(slot: &Slot, kept: &str, limit: i64, slots: &[Slot]) -> Option<Complaint> {
    let mend = || format!("tidings run\n{}", raise(limit, slots));
    if slot.wal_status.as_deref()? == "unreserved" {
        return Some(Complaint::fail(
            "the slot is over its limit: the next checkpoint takes it away",
            mend(),
        ));
    }
    let left = slot.safe_wal_size?;
    (limit > 0 && left < limit / SAFE_SHARE).then(|| {
        Complaint::warn(
            format!("{kept}, and is lost after {} more", size(left)),
            mend(),
        )
    })
}

fn used_up(kept: &str, budget: Budget) -> Option<Complaint> {
    let percent = budget.percent.filter(|percent| *percent >= WARN)?;
    Some(Complaint::warn(
        format!(
            "{kept}, {percent} % of what it may: capture does not keep up, and at 100 % of capture.max_retained_wal \
             ({}) the slot is given up",
            bytesize::ByteSize(budget.bytes)
        ),
        "tidings status # why capture does not get on",
    ))
}

/// A limit that no slot of the server is lost by.
fn raise(limit: i64, slots: &[Slot]) -> String {
    format!(
        "alter system set {LIMIT} = '{}GB'; -- as a superuser; see first that the disk of pg_wal has room for it\nselect pg_reload_conf();",
        gigabytes(limit, slots)
    )
}

/// Twice what is allowed, and twice what any slot keeps: one that keeps more than the limit is lost at once.
fn gigabytes(limit: i64, slots: &[Slot]) -> i64 {
    let kept = slots
        .iter()
        .filter(|slot| slot.wal_status.as_deref() != Some("lost"));
    let most = kept.map(|slot| slot.retained).max().unwrap_or(0);
    let bytes = limit.max(most).saturating_mul(2).max(LIMIT_MIN);
    bytes / GIB + i64::from(bytes % GIB > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn ours() -> Slot {
        Slot {
            name: "tidings".to_owned(),
            wal_status: Some("reserved".to_owned()),
            ..Slot::default()
        }
    }

    fn limit(megabytes: &str) -> Settings {
        Settings::of(&[(LIMIT, megabytes, Some("MB"))])
    }

    #[test]
    fn without_a_limit_retained_wal_is_a_warning_and_with_none_at_all_it_is_grave() {
        let slot = Slot {
            safe_wal_size: Some(900 << 20),
            ..ours()
        };
        for (megabytes, status) in [
            ("-1", Status::Warn),
            ("0", Status::Fail),
            ("1024", Status::Ok),
        ] {
            let check = retained_wal(Some(&slot), &[], &limit(megabytes), None);
            assert_eq!(check.status, status, "{check:?}");
        }
        let near = Slot {
            safe_wal_size: Some(100 << 20),
            ..ours()
        };
        assert_eq!(
            retained_wal(Some(&near), &[], &limit("1024"), None).status,
            Status::Warn
        );
        let over = Slot {
            wal_status: Some("unreserved".to_owned()),
            ..ours()
        };
        assert_eq!(
            retained_wal(Some(&over), &[], &limit("1024"), None).status,
            Status::Fail
        );
        assert_eq!(
            retained_wal(None, &[], &limit("1024"), None).status,
            Status::Ok
        );
    }

    #[test]
    fn a_limit_that_is_offered_is_never_below_the_one_in_force_nor_below_what_any_slot_keeps() {
        for (megabytes, kept, offered) in [
            ("-1", 0, 10),
            ("-1", 30 * GIB, 60),
            ("-1", 30 * GIB + 1, 61),
            ("0", 7 * GIB, 14),
            ("51200", 45 * GIB, 100),
            ("51200", 60 * GIB, 120),
        ] {
            let over = Slot {
                wal_status: Some("unreserved".to_owned()),
                ..ours()
            };
            // It is another slot that keeps the most.
            let other = Slot {
                name: "debezium".to_owned(),
                retained: kept,
                ..Slot::default()
            };
            let slots = [over.clone(), other];
            let check = retained_wal(Some(&over), &slots, &limit(megabytes), None);
            let mend = check.mend.unwrap();
            let statement = format!("alter system set {LIMIT} = '{offered}GB';");
            assert!(mend.contains(&statement), "{megabytes} MB, {kept}: {mend}");
        }
    }

    #[test]
    fn a_budget_of_our_own_is_a_limit_and_half_of_it_used_is_a_warning() {
        let slot = Slot {
            retained: 3 * GIB,
            ..ours()
        };
        let told = |megabytes, percent| {
            let budget = Budget {
                bytes: 8 << 30,
                percent,
            };
            retained_wal(Some(&slot), &[], &limit(megabytes), Some(budget))
        };
        let well = told("-1", Some(37));
        assert_eq!(well.status, Status::Ok);
        assert!(
            well.message.contains("of 8.0 GiB (37 %)")
                && well.message.contains("while a sidecar runs"),
            "{}",
            well.message
        );
        assert_eq!(told("-1", None).status, Status::Ok);
        let half = told("-1", Some(WARN));
        assert_eq!(half.status, Status::Warn);
        assert!(half.message.contains("50 % of what it may"));
        assert_eq!(told("0", Some(1)).status, Status::Fail);
        let neither = retained_wal(Some(&slot), &[], &limit("-1"), None);
        let mend = neither.mend.unwrap();
        assert!(
            mend.contains("\n-- or in the settings: capture.max_retained_wal"),
            "{mend}"
        );
    }

    #[test]
    fn a_limit_that_the_server_does_not_tell_is_not_taken_for_none() {
        let check = retained_wal(Some(&ours()), &[], &Settings::default(), None);
        assert_eq!(check.status, Status::Skipped);
    }
}
