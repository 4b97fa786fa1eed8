use super::*;
use proptest::prelude::*;

fn target(url: &str) -> Target {
    Target::parse(url).unwrap()
}

fn modes(url: &str) -> Vec<SslMode> {
    let target = target(url);
    let hosts = target.hosts().iter();
    hosts.map(|host| target.ssl_mode(host)).collect()
}

fn refused(url: &str) -> String {
    Target::parse(url).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn any_text_is_a_target_or_an_error(text: String) {
        let _ = Target::parse(&text);
    }

    #[test]
    fn any_text_after_the_scheme_is_a_target_or_an_error(text in "[a-z%0-9@:/?&=,\\[\\]é]{0,60}") {
        let _ = Target::parse(&format!("postgres://{text}"));
    }

    #[test]
    fn a_password_never_prints(password in "[a-zA-Z0-9]{12,20}") {
        let target = target(&format!("postgres://u:{password}@h/d"));
        prop_assert_eq!(target.password(), Some(password.as_bytes()));
        let printed = format!("{target} {target:?}");
        prop_assert!(!printed.contains(&password));
    }
}

#[test]
fn a_target_prints_as_a_url_without_secrets() {
    let target = target("postgres://u:p@h1:1,[::1],%2Ftmp/d?sslmode=prefer");
    assert_eq!(target.to_string(), "u@h1:1,[::1]:5432,/tmp:5432/d");
}

#[test]
fn encryption_is_strict_everywhere_but_on_this_machine() {
    use SslMode::{Disable, Prefer, VerifyFull};
    assert_eq!(
        modes("postgres://u@db,localhost,127.8.8.8,[::1],%2Ftmp,10.0.0.1/d"),
        [VerifyFull, Prefer, Prefer, Prefer, Disable, VerifyFull]
    );
    assert_eq!(modes("postgres://u@db/d?sslmode=disable"), [Disable]);
}

#[test]
fn require_with_roots_verifies_as_libpq_does() {
    let url = "postgres://u@db/d?sslmode=require";
    assert_eq!(modes(url), [SslMode::Require]);
    let url = format!("{url}&sslrootcert=/root.crt");
    assert_eq!(modes(&url), [SslMode::VerifyCa]);
}

#[test]
fn a_socket_may_be_given_in_the_query() {
    let target = target("postgres:///d?host=/run/postgresql&port=5433&user=u");
    let socket = Host {
        address: Address::Unix("/run/postgresql".into()),
        port: 5433,
    };
    assert_eq!(target.hosts(), [socket]);
    assert_eq!((target.user(), target.database()), ("u", "d"));
}

#[test]
fn hostaddr_is_dialled_in_place_of_the_name() {
    let target = target("postgres://u@a,b/d?hostaddr=10.0.0.1,10.0.0.2");
    let dialled: Vec<_> = target
        .hosts()
        .iter()
        .map(|host| host.address.clone())
        .collect();
    let tcp = |name: &str, address: &str| Address::Tcp {
        name: name.to_owned(),
        dial: Some(address.parse().unwrap()),
    };
    assert_eq!(dialled, [tcp("a", "10.0.0.1"), tcp("b", "10.0.0.2")]);
}

#[test]
fn the_database_is_named_after_the_user_unless_it_has_a_name() {
    assert_eq!(target("postgres://u@h").database(), "u");
    assert_eq!(target("postgres://u@h").with_database("d").database(), "d");
}

#[test]
fn what_can_not_be_used_is_refused_with_what_to_write_instead() {
    for (url, hint) in [
        ("host=h user=u", "postgres://USER@HOST/DATABASE"),
        ("", "empty"),
        ("mysql://h", "postgres://"),
        ("postgres://h/d", "names no user"),
        ("postgres:///d?user=u", "names no host"),
        ("postgres://u@h:0/d", "port"),
        ("postgres://u@h:99999/d", "port"),
        ("postgres://u@,h/d", "empty"),
        ("postgres://u@h/d?sslmode=allow", "verify-full"),
        ("postgres://u@h/d?sslcert=/c", "together"),
        ("postgres://u@h/d?target_session_attrs=standby", "read-only"),
        ("postgres://u@h/d?connect_timeout=soon", "connect_timeout"),
        ("postgres://u@h/d?service=x", "service"),
        ("postgres://u@h:1,h:2/d?hostaddr=10.0.0.1", "hostaddr"),
    ] {
        let refused = refused(url);
        assert!(refused.contains(hint), "{url}: {refused}");
    }
}

#[test]
fn timeouts_have_libpqs_units() {
    let url = "postgres://u@h/d?connect_timeout=3&tcp_user_timeout=2500&keepalives_idle=7";
    let target = target(url);
    assert_eq!(target.connect_timeout(), Duration::from_secs(3));
    let parameters = target.parameters();
    assert_eq!(parameters.tcp_user_timeout, Duration::from_millis(2500));
    assert_eq!(parameters.keepalive.unwrap().idle, Duration::from_secs(7));
    let off = super::Target::parse("postgres://u@h/d?keepalives_idle=7&keepalives=0").unwrap();
    assert_eq!(off.parameters().keepalive, None);
}

#[test]
fn where_only_a_primary_will_do_the_one_found_last_is_tried_first() {
    let in_turn = |target: &Target| {
        let hosts = target.hosts_in_turn().into_iter();
        hosts.map(ToString::to_string).collect::<Vec<_>>()
    };
    let primary = target("postgres://u@a,b,c/d?target_session_attrs=read-write");
    assert_eq!(in_turn(&primary), ["a:5432", "b:5432", "c:5432"]);
    primary.clone().found(&primary.hosts()[1]);
    assert_eq!(in_turn(&primary), ["b:5432", "a:5432", "c:5432"]);
    assert_eq!(primary.to_string(), "u@a:5432,b:5432,c:5432/d");
    // Any would do, so a standby would be kept to for ever.
    let any = target("postgres://u@a,b/d");
    any.found(&any.hosts()[1]);
    assert_eq!(in_turn(&any), ["a:5432", "b:5432"]);
    let one: Vec<Target> = primary.each_host().collect();
    assert_eq!(in_turn(&one[2]), ["c:5432"]);
}
