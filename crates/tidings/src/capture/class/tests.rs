use std::io::{Error as Io, ErrorKind};
use std::time::Duration;

use super::*;

const HOST: &str = "db.internal:5432";

fn unreachable(source: Io) -> connect::Error {
    let host = HOST.to_owned();
    connect::Error::Unreachable { host, source }
}

fn tls(source: Io) -> connect::Error {
    let host = HOST.to_owned();
    connect::Error::Tls { host, source }
}

#[test]
fn each_sqlstate_has_its_class_and_what_does_not_pass_has_a_mend() {
    for (code, class, says) in [
        ("55006", Class::Wait, "pg_terminate_backend"),
        ("53300", Class::Wait, "max_connections"),
        ("53400", Class::Wait, "max_replication_slots"),
        ("57P03", Class::Wait, "starts"),
        ("25006", Class::Wait, "target_session_attrs"),
        ("53100", Class::Wait, "disk"),
        ("53200", Class::Wait, "memory"),
        ("42704", Class::Reconcile, ""),
        ("55000", Class::Reconcile, ""),
        ("28P01", Class::Stop, "password"),
        ("28000", Class::Stop, "pg_hba.conf"),
        ("3D000", Class::Stop, "database.url"),
        ("42501", Class::Stop, "tidings setup"),
    ] {
        let (found, mend) = of_code(code).unwrap();
        assert_eq!(found, class, "{code}");
        assert!(mend.contains(says), "{code}: {mend}");
        assert_eq!(mend.is_empty(), class == Class::Reconcile, "{code}");
    }
    for code in ["57P01", "57P02", "08006", "40001", "55P03", "XX000"] {
        assert_eq!(of_code(code), None, "{code} is for who asks to judge");
    }
}

#[test]
fn each_way_not_to_reach_a_server_has_its_class_and_its_mend() {
    let name = Io::other("failed to lookup address information: Name or service not known");
    let certificates = connect::Error::Certificates {
        path: "/no/such/file".into(),
        source: ErrorKind::NotFound.into(),
    };
    let standby = connect::Error::WrongSession {
        host: HOST.to_owned(),
        wanted: connect::SessionAttrs::ReadWrite,
    };
    for (error, class, says) in [
        (
            unreachable(ErrorKind::ConnectionRefused.into()),
            Class::Retry,
            "listens",
        ),
        (
            unreachable(ErrorKind::TimedOut.into()),
            Class::Retry,
            "host and port",
        ),
        (unreachable(name), Class::Retry, "host"),
        (tls(ErrorKind::UnexpectedEof.into()), Class::Retry, ""),
        (tls(ErrorKind::ConnectionReset.into()), Class::Retry, ""),
        (
            tls(Io::new(ErrorKind::InvalidData, "invalid peer certificate")),
            Class::Stop,
            "sslrootcert",
        ),
        (
            tls(Io::other("the server does not offer TLS")),
            Class::Stop,
            "sslmode",
        ),
        (certificates, Class::Stop, "sslcert"),
        (
            connect::Error::Url("no host".to_owned()),
            Class::Stop,
            "database.url",
        ),
        (standby, Class::Wait, "promote"),
    ] {
        let (found, mend) = of_connect(&error);
        assert_eq!(found, class, "{error:?}");
        assert!(mend.contains(says), "{error:?}: {mend}");
        // The same over either kind of connection.
        assert_eq!(of_store(&store::Error::Connect(error)), (found, mend));
    }
}

#[test]
fn each_end_of_a_stream_has_its_class() {
    for (error, class) in [
        (
            wal::Error::Lost(ErrorKind::ConnectionReset.into()),
            Class::Retry,
        ),
        (wal::Error::Closed, Class::Retry),
        (wal::Error::Silent(Duration::from_secs(30)), Class::Retry),
        (
            wal::Error::Authentication("no password".to_owned()),
            Class::Stop,
        ),
        (wal::Error::Unsupported("too old".to_owned()), Class::Stop),
        (
            wal::Error::Connect(unreachable(ErrorKind::ConnectionRefused.into())),
            Class::Retry,
        ),
    ] {
        assert_eq!(of_wal(&error).0, class, "{error:?}");
    }
}

#[test]
fn what_the_sidecar_finds_by_itself_has_its_class() {
    for (error, class) in [
        (store::Error::Fenced(7), Class::Retry),
        (store::Error::TimedOut(10), Class::Retry),
        (store::Error::NotReady("grant it".to_owned()), Class::Stop),
        (store::Error::Unreadable("progress".to_owned()), Class::Stop),
    ] {
        assert_eq!(of_store(&error).0, class, "{error:?}");
    }
    assert!(is_stale("42703") && !is_stale("42501"));
}
