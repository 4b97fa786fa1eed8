//! Whether the server can carry a stream, and has room for one more. Pure.

use bytesize::ByteSize;
use store::doctor::{Powers, Server, Slot};
use store::quote_identifier;

use super::check::{Check, Complaint};

const OLDEST: u32 = 140_000;
/// The first version that nobody has tried.
const UNTRIED: u32 = 190_000;
/// How many sessions a `tidings run` holds at most (docs/operations.md), and how many more watch a WAL budget.
const SESSIONS: i64 = 6;
const BUDGET_SESSIONS: i64 = 1;
/// A standby ends where it has less room than its primary.
const RAISED: &str = "as a superuser, on standbys first; then restart Postgres";
/// Less than this, and small transactions go through files.
const WORK_MEMORY_MIN: i64 = 4 << 20;
/// A sender is given up for a pause as short as this.
const SENDER_TIMEOUT_MIN: i64 = 5_000;

pub fn server(server: &Server) -> Check {
    let mut complaints = Vec::new();
    if server.version < OLDEST {
        complaints.push(Complaint::fail(
            format!("Postgres {}: 14 or newer is needed", server.shown),
            "pg_upgrade # to a supported major",
        ));
    } else if server.version >= UNTRIED {
        complaints.push(Complaint::warn(
            format!(
                "Postgres {} is newer than what this was tested on (14 to 18)",
                server.shown
            ),
            "",
        ));
    }
    if server.in_recovery {
        complaints.push(Complaint::fail(
            "this server is a standby: actions can not be written here",
            "database.url: the primary, or all hosts with target_session_attrs=read-write",
        ));
    }
    Check::of(
        "server",
        format!("Postgres {}, a primary", server.shown),
        complaints,
    )
}

pub fn encoding(server: &Server) -> Check {
    let encoding = &server.encoding;
    let told = match encoding.as_str() {
        "UTF8" => encoding.clone(),
        _ => format!("{encoding}, which the server turns into UTF8"),
    };
    let raw = (encoding == "SQL_ASCII").then(|| {
        Complaint::warn(
            "the database has encoding SQL_ASCII: a text that is not valid UTF-8 stops the stream",
            "create database … encoding 'UTF8' template template0; -- and move the data there by pg_dump -E",
        )
    });
    Check::of("encoding", told, raw)
}

pub fn wal_level(server: &Server) -> Check {
    const NAME: &str = "wal_level";
    match server.settings.text(NAME).unwrap_or("unknown") {
        "logical" => Check::ok(NAME, "logical"),
        other => Check::fail(
            NAME,
            format!("wal_level is {other}, but logical replication needs `logical`"),
            "alter system set wal_level = logical; -- as a superuser, then restart Postgres",
        ),
    }
}

/// Whether there is a slot left, where ours is still to be made.
pub fn slots_left(server: &Server, slots: &[Slot], own: &str) -> Check {
    let Some(max) = server.settings.number("max_replication_slots") else {
        return untold("slots_left", "max_replication_slots");
    };
    let used = slots.len() as i64;
    let has_own = slots.iter().any(|slot| slot.name == own);
    let idle: Vec<&str> = slots
        .iter()
        .filter(|slot| slot.active_pid.is_none() && slot.name != own)
        .map(|slot| slot.name.as_str())
        .collect();
    let idle = match idle.as_slice() {
        [] => String::new(),
        idle => format!("; nobody reads {}", idle.join(", ")),
    };
    let what = format!("{used} of {max} replication slots are used{idle}");
    let mend = format!(
        "alter system set max_replication_slots = {}; -- as a superuser, then restart Postgres",
        used.max(max) + 4
    );
    let complaint = match (used < max, has_own) {
        (true, _) => None,
        (false, false) => Some(Complaint::fail(
            format!("{what}: none is left for ours"),
            mend,
        )),
        (false, true) => Some(Complaint::warn(
            format!("{what}: none is left for a preview, a probe or a new slot of ours"),
            mend,
        )),
    };
    Check::of("slots_left", what, complaint)
}

/// Whether there is a sender left: one reads the slot, one more lets a standby process wait for it.
pub fn senders_left(server: &Server, slots: &[Slot], own: &str) -> Check {
    let Some(max) = server.settings.number("max_wal_senders") else {
        return untold("senders_left", "max_wal_senders");
    };
    let left = max - server.senders;
    let active = slots
        .iter()
        .any(|slot| slot.name == own && slot.active_pid.is_some());
    let what = format!("{} of {max} WAL senders are used", server.senders);
    let mend = raise_senders(max);
    let complaint = match (left, active) {
        (1.., _) => None,
        (_, false) => Some(Complaint::fail(
            format!("{what}: none is left to read the slot"),
            mend,
        )),
        (_, true) => Some(Complaint::warn(
            format!("{what}: a second process could not stand by"),
            mend,
        )),
    };
    Check::of("senders_left", what, complaint)
}

pub fn raise_senders(max: i64) -> String {
    format!(
        "alter system set max_wal_senders = {}; -- {RAISED}",
        max + 4
    )
}

/// A setting that this role is not shown is not a setting of 0.
fn untold(name: &'static str, setting: &str) -> Check {
    Check::skipped(name, format!("the server does not tell {setting}"))
}

/// `role`: who runs. Its own limit counts every session, up to Postgres 17 that of the stream too.
pub fn connections_left(server: &Server, role: Option<&Powers>, has_budget: bool) -> Check {
    const NAME: &str = "connections_left";
    let number = |name| server.settings.number(name).unwrap_or(0);
    let Some(all) = server.settings.number("max_connections") else {
        return untold(NAME, "max_connections");
    };
    let needed = SESSIONS + if has_budget { BUDGET_SESSIONS } else { 0 };
    let max = all - number("superuser_reserved_connections") - number("reserved_connections");
    let left = (max - server.sessions).max(0);
    let what = format!("{} of {max} connections are used", server.sessions);
    let mut complaints = Vec::new();
    if left < needed {
        complaints.push(Complaint::warn(
            format!("{what}, and `tidings run` holds up to {needed}"),
            format!(
                "alter system set max_connections = {}; -- {RAISED}",
                all + 20
            ),
        ));
    }
    if let Some(role) = role
        && (0..needed).contains(&i64::from(role.connection_limit))
    {
        let name = quote_identifier(&role.name);
        complaints.push(Complaint::warn(
            format!(
                "role {name} may have {} connections, and `tidings run` holds up to {needed}",
                role.connection_limit
            ),
            format!("alter role {name} connection limit -1; -- as a superuser"),
        ));
    }
    Check::of(NAME, what, complaints)
}

/// Settings that a stream works under, but not well.
pub fn server_settings(server: &Server) -> Check {
    let settings = &server.settings;
    let reload = "\nselect pg_reload_conf();";
    let mut complaints = Vec::new();
    match settings.milliseconds("wal_sender_timeout") {
        Some(0) => complaints.push(Complaint::warn(
            "wal_sender_timeout is 0: the slot of a machine that vanished stays in use, and nobody can take over",
            format!("alter system set wal_sender_timeout = '60s'; -- as a superuser{reload}"),
        )),
        Some(milliseconds) if milliseconds < SENDER_TIMEOUT_MIN => complaints.push(Complaint::warn(
            format!("wal_sender_timeout is {milliseconds} ms: any pause ends the stream"),
            format!("alter system set wal_sender_timeout = '60s'; -- as a superuser{reload}"),
        )),
        _ => {}
    }
    if let Some(bytes) = settings.bytes("logical_decoding_work_mem")
        && bytes < WORK_MEMORY_MIN
    {
        complaints.push(Complaint::warn(
            format!(
                "logical_decoding_work_mem is {}: larger transactions are written to files before they are sent",
                ByteSize(bytes.unsigned_abs())
            ),
            format!("alter system set logical_decoding_work_mem = '64MB'; -- as a superuser{reload}"),
        ));
    }
    if let Some(milliseconds @ 1..) = settings.milliseconds("idle_replication_slot_timeout") {
        complaints.push(Complaint::warn(
            format!(
                "idle_replication_slot_timeout is {} s: a sidecar that is down for so long loses its slot",
                milliseconds / 1000
            ),
            format!("alter system set idle_replication_slot_timeout = 0; -- as a superuser{reload}"),
        ));
    }
    Check::of(
        "server_settings",
        "nothing hurts logical decoding",
        complaints,
    )
}

/// What `pg_wal` takes up; what is free on its disk no SQL tells.
pub fn disk(size: Option<i64>, role: &str) -> Check {
    const NAME: &str = "disk";
    match size {
        Some(bytes) => Check::ok(
            NAME,
            format!(
                "pg_wal takes up {}; what is free on its disk the server does not tell",
                ByteSize(bytes.unsigned_abs())
            ),
        ),
        None => Check::skipped(
            NAME,
            format!(
                "only a member of pg_monitor may look into pg_wal: grant pg_monitor to {role};"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;
    use store::doctor::Settings;

    fn made(settings: &[(&str, &str, Option<&str>)]) -> Server {
        Server {
            version: 180_004,
            shown: "18.4".to_owned(),
            encoding: "UTF8".to_owned(),
            in_recovery: false,
            senders: 1,
            sessions: 10,
            settings: Settings::of(settings),
        }
    }

    fn slot(name: &str, active_pid: Option<i32>) -> Slot {
        Slot {
            name: name.to_owned(),
            active_pid,
            ..Slot::default()
        }
    }

    #[test]
    fn versions_and_standbys_are_told() {
        let mut facts = made(&[]);
        assert_eq!(server(&facts).status, Status::Ok);
        facts.in_recovery = true;
        assert!(
            server(&facts)
                .mend
                .unwrap()
                .contains("target_session_attrs")
        );
        facts = made(&[]);
        facts.version = 130_012;
        assert_eq!(server(&facts).status, Status::Fail);
        facts.version = 190_000;
        assert_eq!(server(&facts).status, Status::Warn);
        facts.encoding = "SQL_ASCII".to_owned();
        assert_eq!(encoding(&facts).status, Status::Warn);
    }

    #[test]
    fn a_full_set_of_slots_is_grave_while_ours_is_to_be_made() {
        let facts = made(&[("max_replication_slots", "2", None)]);
        let others = [slot("a", None), slot("b", Some(1))];
        let check = slots_left(&facts, &others, "tidings");
        assert_eq!(check.status, Status::Fail);
        assert!(
            check.message.contains("nobody reads a:"),
            "{}",
            check.message
        );
        assert!(
            check
                .mend
                .unwrap()
                .starts_with("alter system set max_replication_slots = 6;")
        );
        let with_ours = [slot("a", None), slot("tidings", None)];
        assert_eq!(
            slots_left(&facts, &with_ours, "tidings").status,
            Status::Warn
        );
        assert_eq!(
            slots_left(&facts, &with_ours[1..], "tidings").status,
            Status::Ok
        );
    }

    #[test]
    fn a_sender_is_needed_where_nobody_reads_our_slot() {
        let facts = made(&[("max_wal_senders", "1", None)]);
        let idle = [slot("tidings", None)];
        assert_eq!(senders_left(&facts, &idle, "tidings").status, Status::Fail);
        let read = [slot("tidings", Some(1))];
        assert_eq!(senders_left(&facts, &read, "tidings").status, Status::Warn);
        let facts = made(&[("max_wal_senders", "2", None)]);
        assert_eq!(senders_left(&facts, &idle, "tidings").status, Status::Ok);
    }

    #[test]
    fn connections_are_counted_without_those_that_are_reserved() {
        let limits = |max: &'static str| {
            made(&[
                ("max_connections", max, None),
                ("superuser_reserved_connections", "3", None),
            ])
        };
        let told = |max, limit, has_budget| {
            let role = Powers {
                name: "app \"run\"".to_owned(),
                connection_limit: limit,
                ..Powers::default()
            };
            connections_left(&limits(max), Some(&role), has_budget)
        };
        assert_eq!(told("19", -1, false).status, Status::Ok);
        assert_eq!(told("18", -1, false).status, Status::Warn);
        assert_eq!(told("19", -1, true).status, Status::Warn);
        assert_eq!(told("60", 6, false).status, Status::Ok);
        assert_eq!(told("60", 6, true).status, Status::Warn);
        let limited = told("60", 5, false).mend.unwrap();
        assert!(
            limited.starts_with("alter role \"app \"\"run\"\"\" connection limit -1;"),
            "{limited}"
        );
    }

    #[test]
    fn a_setting_that_is_not_told_is_not_taken_for_none_left() {
        let facts = made(&[]);
        for check in [
            slots_left(&facts, &[], "tidings"),
            senders_left(&facts, &[], "tidings"),
            connections_left(&facts, None, false),
        ] {
            assert_eq!(check.status, Status::Skipped, "{check:?}");
        }
    }

    #[test]
    fn settings_that_hurt_are_named_with_others() {
        let well = made(&[
            ("wal_sender_timeout", "60000", Some("ms")),
            ("logical_decoding_work_mem", "65536", Some("kB")),
            ("idle_replication_slot_timeout", "0", Some("s")),
        ]);
        assert_eq!(server_settings(&well).status, Status::Ok);
        let hurt = made(&[
            ("wal_sender_timeout", "0", Some("ms")),
            ("logical_decoding_work_mem", "64", Some("kB")),
            ("idle_replication_slot_timeout", "3600", Some("s")),
        ]);
        let check = server_settings(&hurt);
        assert_eq!(check.message.lines().count(), 3, "{}", check.message);
        assert!(check.message.contains("3600 s"));
        assert_eq!(
            wal_level(&made(&[("wal_level", "replica", None)])).status,
            Status::Fail
        );
    }
}
