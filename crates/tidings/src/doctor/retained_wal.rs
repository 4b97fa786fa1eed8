//! Whether the WAL that the slot keeps has an end, and how near that is. Pure.

use store::doctor::{Settings, Slot};

use super::check::{Check, Complaint};
use super::slot::size;

/// The share of its limit that a slot should have left.
const SAFE_SHARE: i64 = 5;

/// What the slot keeps, and where that ends.
pub fn retained_wal(slot: Option<&Slot>, settings: &Settings) -> Check {
    const NAME: &str = "retained_wal";
    const LIMIT: &str = "max_slot_wal_keep_size";
    let limit = settings.bytes(LIMIT).unwrap_or(-1);
    let kept = slot.map_or("no slot yet".to_owned(), |slot| {
        format!("the slot keeps {}", size(slot.retained))
    });
    let raise = format!(
        "alter system set {LIMIT} = '10GB'; -- as a superuser; less than what is free on the disk of pg_wal\nselect pg_reload_conf();"
    );
    let mut complaints = Vec::new();
    match limit {
        ..0 => complaints.push(Complaint::warn(
            format!("{kept}, and {LIMIT} is unset: while nobody reads the slot, WAL fills the worker's disk"),
            raise.as_str(),
        )),
        0 => complaints.push(Complaint::fail(
            format!("{kept}, and {LIMIT} is 0: a checkpoint takes away what the slot still needs"),
            raise.as_str(),
        )),
        1.. => {}
    }
    match slot.and_then(|slot| slot.wal_status.as_deref()) {
        Some("unreserved") => complaints.push(Complaint::fail(
            "the slot is over its limit: the next checkpoint takes it away",
            format!("tidings run\n{raise}"),
        )),
        Some(_) => {
            let left = slot.and_then(|slot| slot.safe_wal_size);
            if let Some(left) = left.filter(|left| limit > 0 && *left < limit / SAFE_SHARE) {
                complaints.push(Complaint::warn(
                    format!("{kept}, and is lost after {} more", size(left)),
                    format!("tidings run\n{raise}"),
                ));
            }
        }
        None => {}
    }
    Check::of(
        NAME,
        format!("{kept} of at most {}", size(limit)),
        complaints,
    )
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

    #[test]
    fn without_a_limit_retained_wal_is_a_warning_and_with_none_at_all_it_is_grave() {
        let limit = |megabytes: &'static str| {
            Settings::of(&[("max_slot_wal_keep_size", megabytes, Some("MB"))])
        };
        let slot = Slot {
            safe_wal_size: Some(900 << 20),
            ..ours()
        };
        for (megabytes, status) in [
            ("-1", Status::Warn),
            ("0", Status::Fail),
            ("1024", Status::Ok),
        ] {
            let check = retained_wal(Some(&slot), &limit(megabytes));
            assert_eq!(check.status, status, "{check:?}");
        }
        let near = Slot {
            safe_wal_size: Some(100 << 20),
            ..ours()
        };
        assert_eq!(
            retained_wal(Some(&near), &limit("1024")).status,
            Status::Warn
        );
        let over = Slot {
            wal_status: Some("unreserved".to_owned()),
            ..ours()
        };
        assert_eq!(
            retained_wal(Some(&over), &limit("1024")).status,
            Status::Fail
        );
        assert_eq!(retained_wal(None, &limit("1024")).status, Status::Ok);
    }
}
