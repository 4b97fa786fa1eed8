use super::*;
use crate::Fault;

fn raw(errno: Errno) -> io::Error {
    errno.into()
}

#[test]
fn a_cause_inside_an_io_error_is_found() {
    let tls = io::Error::other(rustls::Error::DecryptError);
    let wrapped = io::Error::other(tls);
    assert!(find::<rustls::Error>(&wrapped).is_some());
    assert!(find::<Refusal>(&wrapped).is_none());
}

#[test]
fn only_what_cannot_be_the_endpoints_is_our_own_networks_when_connecting() {
    for (errno, kind) in [
        (Errno::NETUNREACH, FailureKind::Unreachable),
        (Errno::NETDOWN, FailureKind::Unreachable),
        (Errno::MFILE, FailureKind::Exhausted),
        (Errno::NFILE, FailureKind::Exhausted),
        (Errno::ADDRNOTAVAIL, FailureKind::Exhausted),
        (Errno::NOBUFS, FailureKind::Exhausted),
    ] {
        assert_eq!(
            (of_connecting(errno), kind.fault()),
            (kind, Fault::OwnNetwork)
        );
    }
    for errno in [
        Errno::CONNREFUSED,
        Errno::CONNRESET,
        Errno::TIMEDOUT,
        Errno::HOSTUNREACH,
        Errno::PIPE,
        Errno::ACCESS,
    ] {
        let kind = of_connecting(errno);
        assert_eq!(
            (kind, kind.fault()),
            (FailureKind::Connect, Fault::Endpoint)
        );
    }
}

#[test]
fn only_a_resolver_that_does_not_work_is_our_own_networks_when_looking_up() {
    for (kind, errno, expected) in [
        (LookupErrorKind::Again, None, FailureKind::Resolver),
        (LookupErrorKind::Memory, None, FailureKind::Exhausted),
        (
            LookupErrorKind::System,
            Some(Errno::MFILE),
            FailureKind::Exhausted,
        ),
        (
            LookupErrorKind::System,
            Some(Errno::CONNREFUSED),
            FailureKind::Resolver,
        ),
    ] {
        assert_eq!(of_lookup(kind, errno), expected);
        assert_eq!(expected.fault(), Fault::OwnNetwork);
    }
    for kind in [
        LookupErrorKind::NoName,
        LookupErrorKind::NoData,
        LookupErrorKind::Fail,
        LookupErrorKind::IO,
    ] {
        let kind = of_lookup(kind, None);
        assert_eq!((kind, kind.fault()), (FailureKind::Dns, Fault::Endpoint));
    }
}

#[test]
fn a_lookup_by_the_system_that_finds_nothing_keeps_its_words() {
    let failure = LookupFailure::from(LookupError::from(raw(Errno::MFILE)));
    assert_eq!(failure.to_string(), raw(Errno::MFILE).to_string());
}
