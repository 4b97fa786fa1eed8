//! How the server is reached: directly or through a pooler, encrypted or not. Pure.

use connect::{Encryption, SslMode, Target};
use store::doctor::{Kept, Settings};
use store::quote_identifier;

use super::check::{Check, Complaint};
use super::server::raise_senders;
use crate::failure::chain;

/// Ports that poolers listen on as a rule: PgBouncer, Odyssey, PgCat; Supavisor.
const POOLER_PORTS: [u16; 2] = [6432, 6543];

/// Where Postgres itself listens as a rule.
const POSTGRES_PORT: u16 = 5432;

/// A replication connection that was opened, or why it was not.
#[derive(Clone, Debug)]
pub enum Replication {
    Open {
        /// The process that the greeting named, and the one that answers.
        greeted: i32,
        answers: i32,
    },
    Refused {
        /// The SQLSTATE, where a server said no.
        code: Option<String>,
        text: String,
    },
}

/// Why there is no SQL session, and what mends that.
pub fn unreachable(
    name: &'static str,
    setting: &str,
    target: &Target,
    error: &store::Error,
) -> Check {
    let text = chain(error);
    let code = match error {
        store::Error::Connect(error) => error.code().map(connect::SqlState::code),
        _ => error.sqlstate().map(connect::SqlState::code),
    };
    let mend = refusal(target, setting, code, &text);
    Check::fail(name, format!("{target}: {text}"), mend)
}

fn refusal(target: &Target, setting: &str, code: Option<&str>, text: &str) -> String {
    let role = quote_identifier(target.user());
    match code {
        _ if is_of_a_pooler(text) => directly(target, setting),
        Some("28000" | "28P01") if text.contains("does not exist") => format!(
            "create role {role} login replication; -- as a superuser, with a password if your server asks for one"
        ),
        Some("28000") if text.contains("not permitted to log in") => {
            format!("alter role {role} login; -- as a superuser")
        }
        Some("28000") => format!(
            "host \"{}\" {role} ADDRESS/32 scram-sha-256 -- a line for pg_hba.conf, with this machine's address; then: select pg_reload_conf();",
            target.database()
        ),
        Some("28P01") => format!("alter role {role} password '…'; -- or mend the password in {setting}"),
        Some("3D000") => format!(
            "create database {}; -- or name the worker's database in {setting}",
            quote_identifier(target.database())
        ),
        Some("42501") if text.contains("for database") => format!(
            "grant connect on database {} to {role}; -- as its owner or a superuser",
            quote_identifier(target.database())
        ),
        Some("42501") => format!("alter role {role} replication; -- as a superuser"),
        Some("53300") if text.contains("for role") => {
            format!("alter role {role} connection limit -1; -- as a superuser")
        }
        Some("53300") if text.contains("for database") => format!(
            "alter database {} connection limit -1; -- as its owner or a superuser",
            quote_identifier(target.database())
        ),
        // What they are set to is not known here, and a number could lower them.
        Some("53300") => "-- end sessions, or raise max_connections, for replication connections max_wal_senders, on standbys first; then restart Postgres".to_owned(),
        Some("57P03") => "tidings doctor # once more, when the server has started".to_owned(),
        _ if text.contains("TLS") => format!(
            "{setting}: sslrootcert=FILE names who signed the server's certificate; sslmode=disable on a trusted network"
        ),
        _ => format!("{setting}: host and port of a server that runs, and that this machine may reach"),
    }
}

/// What poolers say to what a replication client sends first.
fn is_of_a_pooler(text: &str) -> bool {
    [
        "unsupported startup parameter",
        "pooler",
        "pgbouncer",
        "replication is not supported",
    ]
    .iter()
    .any(|sign| text.to_lowercase().contains(sign))
}

fn directly(target: &Target, setting: &str) -> String {
    if let Some(host) = target.hosts().iter().find(|host| {
        let name = host.to_string();
        name.to_lowercase().contains("pooler")
    }) {
        return format!(
            "{setting}: the host for direct connections, as your provider names it: {host} is that of the pooler, on every port"
        );
    }
    let hosts: Vec<String> = target
        .hosts()
        .iter()
        .map(|host| {
            let mut direct = host.clone();
            direct.port = POSTGRES_PORT;
            direct.to_string()
        })
        .collect();
    format!(
        "{setting} = \"postgres://{}@{}/{}\" -- host and port of Postgres itself, not of the pooler; with the password",
        target.user(),
        hosts.join(","),
        target.database()
    )
}

/// Whether a pooler gives the session to somebody else after each transaction: locks and settings last as long
/// as a session. A proxy that only passes sessions on is none. `kept`: what a SQL session keeps, where that
/// could be seen.
pub fn pooler(target: &Target, replication: &Replication, kept: Option<&Kept>) -> Check {
    const NAME: &str = "pooler";
    let port = target.hosts().iter().map(|host| host.port);
    let port = port.into_iter().find(|port| POOLER_PORTS.contains(port));
    let mend = || directly(target, "database.url");
    if let Some(kept) = kept.filter(|kept| kept.served_by.len() > 1 || !kept.settings) {
        let what = match kept.served_by.len() {
            ..2 => "a setting was gone".to_owned(),
            count => format!("{count} processes served one session"),
        };
        return Check::fail(
            NAME,
            format!(
                "a pooler gives the session away after each transaction ({what}): session locks and settings do \
                 not last"
            ),
            mend(),
        );
    }
    match (replication, port) {
        (Replication::Open { greeted, answers }, _) if greeted != answers => Check::ok(
            NAME,
            format!(
                "none, but a proxy: it greets as process {greeted}, and process {answers} serves for as long as the \
                 session lasts. `status` can not tell then whether a sidecar stands still"
            ),
        ),
        (Replication::Open { .. }, Some(port)) => Check::ok(
            NAME,
            format!("port {port} is a pooler's as a rule, but the server itself answers"),
        ),
        (Replication::Open { .. }, None) => Check::ok(NAME, "none: the server itself answers"),
        (Replication::Refused { text, .. }, _) if is_of_a_pooler(text) => Check::fail(
            NAME,
            format!("a pooler answers, which can not carry replication: {text}"),
            mend(),
        ),
        (Replication::Refused { .. }, Some(port)) => Check::of(
            NAME,
            "",
            [Complaint::warn(
                format!(
                    "port {port} is a pooler's as a rule, and no replication connection was given"
                ),
                mend(),
            )],
        ),
        (Replication::Refused { .. }, None) => Check::skipped(
            NAME,
            "it is told by a replication connection, and there is none",
        ),
    }
}

pub fn replication(target: &Target, replication: &Replication, settings: &Settings) -> Check {
    const NAME: &str = "replication";
    match replication {
        Replication::Open { .. } => Check::ok(NAME, "the role gets a replication connection"),
        Replication::Refused { code, text } => {
            let senders = settings
                .number("max_wal_senders")
                .filter(|_| text.contains("max_wal_senders"));
            let mend = match senders {
                Some(max) => raise_senders(max),
                None => refusal(target, "database.url", code.as_deref(), text),
            };
            Check::fail(NAME, format!("no replication connection: {text}"), mend)
        }
    }
}

/// One host of the URL, as far as TLS is concerned.
#[derive(Clone, Debug)]
pub struct Reach {
    pub host: String,
    pub local: bool,
    pub mode: SslMode,
}

pub fn reaches(target: &Target) -> Vec<Reach> {
    let reach = |host: &connect::Host| Reach {
        host: host.to_string(),
        local: host.is_local(),
        mode: target.ssl_mode(host),
    };
    target.hosts().iter().map(reach).collect()
}

pub fn tls(encryption: &Encryption, reaches: &[Reach]) -> Check {
    const NAME: &str = "tls";
    let lax = reaches
        .iter()
        .filter(|reach| !reach.local && reach.mode < SslMode::VerifyCa);
    let lax: Vec<&str> = lax.map(|reach| reach.host.as_str()).collect();
    let verify = "database.url: sslmode=verify-full, and sslrootcert=FILE where the system's roots did not sign the server's certificate";
    let told = match encryption {
        Encryption::Socket => "a Unix socket".to_owned(),
        Encryption::Tls(version) => format!("encrypted ({version})"),
        Encryption::Plain => "not encrypted".to_owned(),
    };
    let plain = *encryption == Encryption::Plain;
    if lax.is_empty() {
        let loopback = if plain { ", on this machine" } else { "" };
        return Check::ok(NAME, format!("{told}{loopback}"));
    }
    let complaint = match plain {
        true => Complaint::warn(
            format!(
                "the connection is not encrypted: whoever is between reads rows ({})",
                lax.join(", ")
            ),
            format!(
                "alter system set ssl = on; -- as a superuser, with ssl_cert_file and ssl_key_file; then restart Postgres\n{verify}"
            ),
        ),
        false => Complaint::warn(
            format!(
                "{told}, but the server's certificate is not checked ({})",
                lax.join(", ")
            ),
            verify,
        ),
    };
    Check::of(NAME, "", [complaint])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn target(port: u16) -> Target {
        Target::parse(&format!(
            "postgres://tidings:hunter2@db.internal:{port}/app"
        ))
        .unwrap()
    }

    fn refused(code: &str, text: &str) -> Replication {
        Replication::Refused {
            code: Some(code.to_owned()),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_pooler_is_known_by_its_refusal_its_port_or_by_what_it_forgets() {
        let direct = Replication::Open {
            greeted: 7,
            answers: 7,
        };
        let passed_on = Replication::Open {
            greeted: 1,
            answers: 7,
        };
        let told = refused(
            "08P01",
            "FATAL 08P01: unsupported startup parameter: replication",
        );
        let other = refused("28000", "no pg_hba.conf entry");
        for (port, replication, status) in [
            (5432, &direct, Status::Ok),
            (6432, &direct, Status::Ok),
            (5432, &passed_on, Status::Ok),
            (5432, &told, Status::Fail),
            (6432, &other, Status::Warn),
            (5432, &other, Status::Skipped),
        ] {
            let check = pooler(&target(port), replication, None);
            assert_eq!(check.status, status, "{check:?}");
        }
        let lasting = Kept {
            served_by: vec![7],
            settings: true,
        };
        let check = pooler(&target(5432), &passed_on, Some(&lasting));
        assert_eq!(check.status, Status::Ok, "{check:?}");
        assert!(check.message.contains("a proxy"), "{check:?}");
        let shared = Kept {
            served_by: vec![7, 8],
            settings: true,
        };
        let forgetful = Kept {
            settings: false,
            ..lasting
        };
        for kept in [&shared, &forgetful] {
            let check = pooler(&target(5432), &direct, Some(kept));
            assert_eq!(check.status, Status::Fail, "{check:?}");
        }
        let named = Target::parse("postgres://app@ep-x-pooler.neon.example/app").unwrap();
        let mend = pooler(&named, &told, None).mend.unwrap();
        assert!(mend.contains("that of the pooler"), "{mend}");
        let mend = pooler(&target(6432), &direct, Some(&shared)).mend.unwrap();
        assert!(mend.contains("tidings@db.internal:5432/app"), "{mend}");
        assert!(!mend.contains("hunter2"), "{mend}");
    }

    #[test]
    fn a_refused_replication_connection_says_which_statement_lets_it_in() {
        let check = replication(
            &target(5432),
            &refused("42501", "permission denied to start WAL sender"),
            &Settings::default(),
        );
        assert_eq!(check.status, Status::Fail);
        assert!(
            check
                .mend
                .unwrap()
                .starts_with("alter role \"tidings\" replication;")
        );
        let senders = Settings::of(&[("max_wal_senders", "40", None)]);
        let full = refused(
            "53300",
            "number of requested standby connections exceeds \"max_wal_senders\" (currently 40)",
        );
        let mend = replication(&target(5432), &full, &senders).mend.unwrap();
        assert!(
            mend.starts_with("alter system set max_wal_senders = 44;"),
            "{mend}"
        );
        // Not the sender's limit, but the role's.
        let own = refused("53300", "too many connections for role \"tidings\"");
        let mend = replication(&target(5432), &own, &senders).mend.unwrap();
        assert!(
            mend.starts_with("alter role \"tidings\" connection limit -1;"),
            "{mend}"
        );
    }

    #[test]
    fn a_limit_whose_value_is_not_known_is_not_set_to_a_number() {
        let told = refusal(
            &target(5432),
            "database.url",
            Some("53300"),
            "sorry, too many clients already",
        );
        assert!(told.starts_with("--") && !told.contains('='), "{told}");
    }

    #[test]
    fn a_refused_session_says_what_lets_it_in() {
        for (code, text, mend) in [
            (Some("28000"), "role \"x\" does not exist", "create role"),
            (Some("28000"), "no pg_hba.conf entry", "pg_hba.conf"),
            (Some("28P01"), "password authentication failed", "password"),
            (
                Some("42501"),
                "permission denied for database \"app\"",
                "grant connect on database \"app\" to \"tidings\";",
            ),
            (
                Some("3D000"),
                "database \"app\" does not exist",
                "create database",
            ),
            (
                Some("08P01"),
                "unsupported startup parameter: options",
                "not of the pooler",
            ),
            (None, "TLS with db: certificate", "sslrootcert"),
            (None, "db is unreachable", "host and port"),
        ] {
            let told = refusal(&target(6432), "database.url", code, text);
            assert!(told.contains(mend), "{text}: {told}");
        }
    }

    #[test]
    fn what_leaves_the_machine_is_to_be_encrypted_and_verified() {
        let reach = |local, mode| {
            [Reach {
                host: "db".to_owned(),
                local,
                mode,
            }]
        };
        let tls13 = Encryption::Tls("TLSv1.3".to_owned());
        for (encryption, local, mode, status) in [
            (Encryption::Socket, true, SslMode::Disable, Status::Ok),
            (Encryption::Plain, true, SslMode::Prefer, Status::Ok),
            (Encryption::Plain, false, SslMode::Disable, Status::Warn),
            (tls13.clone(), false, SslMode::Require, Status::Warn),
            (tls13, false, SslMode::VerifyFull, Status::Ok),
        ] {
            let check = tls(&encryption, &reach(local, mode));
            assert_eq!(check.status, status, "{check:?}");
        }
    }
}
