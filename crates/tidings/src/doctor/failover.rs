//! What follows on the promotion of a standby: exactly once, or a reconcile. Pure.

use connect::{Address, Target};
use store::doctor::{Server, Slot};
use store::{quote_identifier, quote_literal};

use super::check::{Check, Complaint};
use super::hosts::Host;

const NAME: &str = "failover";
/// The first version whose slots go along to a standby.
const FAILOVER_SLOTS: u32 = 170_000;
const RECONCILE: &str = "on promotion: reconcile (final states become actions)";
const EXACTLY_ONCE: &str = "on promotion: exactly once";

/// The settings of a standby are seen only where `database.url` names it, so they are told.
const ON_THE_STANDBY: &str = "on the standby: sync_replication_slots = on, hot_standby_feedback = on, and dbname in primary_conninfo";

pub fn failover(
    server: &Server,
    slots: &[Slot],
    own: &str,
    target: &Target,
    hosts: &[Host],
) -> Check {
    let Some(slot) = slots.iter().find(|slot| slot.name == own) else {
        return Check::skipped(NAME, "there is no slot of ours yet");
    };
    if server.version < FAILOVER_SLOTS {
        return Check::ok(
            NAME,
            format!("{RECONCILE}; slots go along to a standby from Postgres 17 on"),
        );
    }
    if !slot.failover {
        return Check::of(
            NAME,
            "",
            [Complaint::warn(
                format!("{RECONCILE}: slot {own} is no failover slot"),
                format!(
                    "psql \"{}\" -c 'ALTER_REPLICATION_SLOT {} (FAILOVER)' # as the run role, while no `tidings run` reads the slot",
                    replication_to(target),
                    quote_identifier(own)
                ),
            )],
        );
    }
    let named = listed(
        server
            .settings
            .text("synchronized_standby_slots")
            .unwrap_or_default(),
    );
    let standbys: Vec<&Slot> = slots
        .iter()
        .filter(|slot| slot.plugin.is_none() && slot.database.is_none() && !slot.temporary)
        .collect();
    let streams = |name: &str| {
        standbys
            .iter()
            .any(|s| s.name == name && s.active_pid.is_some())
    };
    let absent: Vec<&str> = named
        .iter()
        .map(String::as_str)
        .filter(|name| !streams(name))
        .collect();
    if !absent.is_empty() {
        return Check::fail(
            NAME,
            format!(
                "the stream waits for {}, which synchronized_standby_slots names, and no standby streams from it",
                absent.join(", ")
            ),
            // Without it the stream goes on at once, and a promotion is no longer exactly once.
            format!(
                "-- start that standby; only where it never comes back:\n-- {}",
                set(named
                    .iter()
                    .map(String::as_str)
                    .filter(|name| streams(name)))
                .replace('\n', "\n-- ")
            ),
        );
    }
    let ahead: Vec<&str> = standbys
        .iter()
        .filter(|slot| slot.active_pid.is_some() && !named.contains(&slot.name))
        .map(|slot| slot.name.as_str())
        .collect();
    match (named.as_slice(), ahead.as_slice()) {
        ([], []) => Check::ok(
            NAME,
            format!(
                "{RECONCILE}; the slot is a failover slot, and no standby streams from a physical slot. With one: name its slot in synchronized_standby_slots; {ON_THE_STANDBY}"
            ),
        ),
        (_, []) => copied(hosts),
        (named, ahead) => Check::of(
            NAME,
            "",
            [Complaint::warn(
                format!(
                    "{RECONCILE}, if the standby of {} is promoted: the stream does not wait for it, and may have told what it never had",
                    ahead.join(", ")
                ),
                format!(
                    "{} -- {ON_THE_STANDBY}",
                    set(named
                        .iter()
                        .map(String::as_str)
                        .chain(ahead.iter().copied()))
                ),
            )],
        ),
    }
}

/// A replication connection of the run role, as psql is told of it; the password is asked for, or in its file.
fn replication_to(target: &Target) -> String {
    let names = target.hosts().iter().map(|host| match &host.address {
        Address::Unix(directory) => directory.display().to_string(),
        Address::Tcp { name, .. } => name.clone(),
    });
    let names: Vec<String> = names.collect();
    let ports = target.hosts().iter().map(|host| host.port.to_string());
    let ports: Vec<String> = ports.collect();
    let primary = match names.len() {
        0 | 1 => "",
        _ => " target_session_attrs=read-write",
    };
    format!(
        "host={} port={} user={} dbname={} replication=database{primary}",
        names.join(","),
        ports.join(","),
        conninfo(target.user()),
        conninfo(target.database())
    )
}

/// A value of a connection string between the double quotes of a shell.
fn conninfo(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match !value.is_empty() && value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', "\\\\'")),
    }
}

/// Every standby is waited for. What is left is whether it has the slot.
fn copied(hosts: &[Host]) -> Check {
    let standbys: Vec<_> = hosts
        .iter()
        .filter_map(|host| Some((host.name.as_str(), host.standby()?)))
        .collect();
    if standbys.is_empty() {
        return Check::ok(
            NAME,
            format!(
                "{EXACTLY_ONCE}, if the standby has a copy of the slot; {ON_THE_STANDBY}. Looked at where database.url names it"
            ),
        );
    }
    let lacking = standbys.iter().filter(|(_, standing)| !standing.has_copy);
    let complaints = lacking.map(|(name, standing)| {
        let settings = [
            ("sync_replication_slots", standing.copies_slots),
            ("hot_standby_feedback", standing.gives_feedback),
        ];
        let missing = settings.iter().filter(|(_, on)| !on);
        let mut mend: Vec<String> = missing
            .map(|(setting, _)| format!("alter system set {setting} = on; -- on {name}"))
            .collect();
        mend.push(match mend.is_empty() {
            false => format!("select pg_reload_conf(); -- on {name}"),
            true => format!(
                "select pg_log_standby_snapshot(); -- as a superuser, on the primary, while `tidings run` reads; else see the log of {name}"
            ),
        });
        Complaint::warn(
            format!("{RECONCILE}, if {name} is promoted: it has no copy of the slot"),
            mend.join("\n"),
        )
    });
    let names: Vec<&str> = standbys.iter().map(|(name, _)| *name).collect();
    let well = format!(
        "{EXACTLY_ONCE}: {} has a copy of the slot",
        names.join(", ")
    );
    Check::of(NAME, well, complaints)
}

/// A list of names as a setting has it; a quoted one is taken as it is.
fn listed(text: &str) -> Vec<String> {
    let names = text.split(',').map(|name| name.trim().trim_matches('"'));
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn set<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    format!(
        "alter system set synchronized_standby_slots = {};\nselect pg_reload_conf();",
        quote_literal(&names.join(", ")).trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;
    use crate::doctor::hosts::Answer;
    use store::doctor::{Settings, Standing};

    fn server(version: u32, synchronized: &str) -> Server {
        Server {
            version,
            shown: String::new(),
            encoding: String::new(),
            in_recovery: false,
            senders: 0,
            sessions: 0,
            settings: Settings::of(&[("synchronized_standby_slots", synchronized, None)]),
        }
    }

    fn target() -> Target {
        Target::parse("postgres://run:hunter2@db.internal:5433/app").unwrap()
    }

    fn ours(failover: bool) -> Slot {
        Slot {
            name: "tidings".to_owned(),
            plugin: Some("pgoutput".to_owned()),
            database: Some("app".to_owned()),
            failover,
            ..Slot::default()
        }
    }

    fn standby(name: &str, active: bool) -> Slot {
        Slot {
            name: name.to_owned(),
            active_pid: active.then_some(1),
            ..Slot::default()
        }
    }

    #[test]
    fn which_it_will_be_is_told_for_every_way_to_be_set_up() {
        let (on, off) = (standby("a", true), standby("a", false));
        for (server, slots, status, says) in [
            (
                server(160_000, ""),
                vec![ours(false)],
                Status::Ok,
                RECONCILE,
            ),
            (
                server(170_000, ""),
                vec![ours(false)],
                Status::Warn,
                RECONCILE,
            ),
            (server(170_000, ""), vec![ours(true)], Status::Ok, RECONCILE),
            (
                server(170_000, ""),
                vec![ours(true), off.clone()],
                Status::Ok,
                RECONCILE,
            ),
            (
                server(170_000, ""),
                vec![ours(true), on.clone()],
                Status::Warn,
                RECONCILE,
            ),
            (
                server(180_000, "a"),
                vec![ours(true), on.clone()],
                Status::Ok,
                EXACTLY_ONCE,
            ),
            (
                server(180_000, "\"a\""),
                vec![ours(true), on.clone()],
                Status::Ok,
                EXACTLY_ONCE,
            ),
            (
                server(180_000, "a"),
                vec![ours(true), off],
                Status::Fail,
                "waits for a",
            ),
            (
                server(180_000, "a, b"),
                vec![ours(true), on.clone()],
                Status::Fail,
                "waits for b",
            ),
            (
                server(180_000, "a"),
                vec![ours(true), on, standby("b", true)],
                Status::Warn,
                "standby of b",
            ),
            (server(180_000, ""), vec![], Status::Skipped, "no slot"),
        ] {
            let check = failover(&server, &slots, "tidings", &target(), &[]);
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.message.contains(says), "{check:?}");
        }
    }

    #[test]
    fn a_mend_names_every_standby_that_is_to_be_waited_for() {
        let slots = [ours(true), standby("a", true), standby("b", true)];
        let mend = failover(&server(180_000, "a"), &slots, "tidings", &target(), &[])
            .mend
            .unwrap();
        assert!(
            mend.starts_with("alter system set synchronized_standby_slots = 'a, b';"),
            "{mend}"
        );
        let slots = [ours(true), standby("a", true)];
        let mend = failover(&server(180_000, "a, b"), &slots, "tidings", &target(), &[])
            .mend
            .unwrap();
        assert!(
            mend.contains("\n-- alter system set synchronized_standby_slots = 'a';"),
            "{mend}"
        );
        assert!(mend.lines().all(|line| line.starts_with("-- ")), "{mend}");
    }

    #[test]
    fn the_command_for_a_slot_that_does_not_go_along_reaches_the_server_as_the_run_role() {
        let check = failover(
            &server(170_000, ""),
            &[ours(false)],
            "tidings",
            &target(),
            &[],
        );
        let mend = check.mend.unwrap();
        let says =
            "psql \"host=db.internal port=5433 user=run dbname=app replication=database\" -c";
        assert!(mend.starts_with(says), "{mend}");
        assert!(!mend.contains("hunter2"));
    }

    #[test]
    fn a_standby_of_the_url_is_asked_whether_it_has_the_slot() {
        let slots = [ours(true), standby("a", true)];
        let told = |has_copy, copies_slots| {
            let standing = Standing {
                in_recovery: true,
                has_copy,
                copies_slots,
                gives_feedback: true,
            };
            let answer = Ok(Answer {
                server: None,
                standing,
            });
            let host = Host {
                name: "h:1".to_owned(),
                answer,
            };
            failover(&server(180_000, "a"), &slots, "tidings", &target(), &[host])
        };
        let well = told(true, true);
        assert_eq!(well.status, Status::Ok);
        assert_eq!(
            well.message,
            format!("{EXACTLY_ONCE}: h:1 has a copy of the slot")
        );
        let off = told(false, false);
        assert_eq!(off.status, Status::Warn);
        assert!(off.message.starts_with(RECONCILE), "{}", off.message);
        assert!(off.mend.unwrap().contains("sync_replication_slots = on;"));
        let young = told(false, true).mend.unwrap();
        assert!(
            young.contains("pg_log_standby_snapshot(); -- as a superuser"),
            "{young}"
        );
    }
}
