//! URLs: whose they are, without the secrets they carry.
//!
//! Beside URLs, what stands where one is expected: a bare host (`db.internal:5432/app`) and Git's
//! short form (`git@github.com:user/repo`). A text that can't be taken apart is an error, so that
//! no password gets through for being written oddly.

use minijinja::{Environment, Error, Value};
use url::Host;

use crate::difference::argument;
use crate::trouble::Trouble;

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("host", |value: &Value| {
        let Some(text) = text("host", value)? else {
            return Ok(None);
        };
        match Link::parse(text).and_then(|link| link.host()) {
            Some(host) => Ok(host),
            None => Err(unreadable("host")),
        }
    });
    environment.add_filter("without_credentials", |value: &Value| {
        let Some(text) = text("without_credentials", value)? else {
            return Ok(None);
        };
        if !text.contains('@') {
            return Ok(Some(text.to_owned()));
        }
        match Link::parse(text).filter(|link| link.host().is_some()) {
            Some(link) => Ok(Some([link.before, link.hosts, link.after].concat())),
            None => Err(unreadable("without_credentials")),
        }
    });
}

fn text<'a>(filter: &'static str, value: &'a Value) -> Result<Option<&'a str>, Error> {
    match value.as_str() {
        Some(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        None if value.is_none() => Ok(None),
        None => Err(argument(filter, "a URL", value)),
    }
}

fn unreadable(filter: &'static str) -> Error {
    let needs = "a URL";
    Trouble::Text { filter, needs }.into()
}

/// The parts of a URL but for user and password.
struct Link<'a> {
    /// The scheme and its slashes, or nothing.
    before: &'a str,
    /// With ports. Several with commas between them are Postgres' way.
    hosts: &'a str,
    after: &'a str,
}

impl<'a> Link<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        // What browsers drop from a URL could hide where its parts begin.
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let scheme = text.find("://").filter(|end| {
            let scheme = text.get(..*end).unwrap_or("");
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        });
        let (before, rest) = text.split_at_checked(scheme.map_or(0, |end| end + 3))?;
        // A backslash is a slash to browsers.
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at_checked(end)?;
        // What follows may be the rest of a password that has a slash in it.
        if after.contains('@') && authority.contains(['@', ':']) {
            return None;
        }
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
        Some(Self {
            before,
            hosts,
            after,
        })
    }

    /// The first host, without its port; the inner none where the URL has none (`file:///…`), the
    /// outer one where what stands there is no host.
    fn host(&self) -> Option<Option<String>> {
        if self.hosts.is_empty() {
            return (!self.before.is_empty()).then_some(None);
        }
        let mut first = None;
        for part in self.hosts.split(',') {
            let end = match part.starts_with('[') {
                true => part.find(']')? + 1,
                false => part.find(':').unwrap_or(part.len()),
            };
            let (name, port) = part.split_at_checked(end)?;
            let port = port.strip_prefix(':').unwrap_or(port);
            // Without a scheme, Git writes the path where else the port is.
            let is_path = self.before.is_empty() && !port.contains(':');
            if !(is_path || port.bytes().all(|b| b.is_ascii_digit())) {
                return None;
            }
            let host = Host::parse(name).ok()?.to_string();
            first.get_or_insert(host);
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble;
    use proptest::prelude::*;

    fn eval(filter: &str, value: Value) -> Result<String, String> {
        let context = Value::from_pairs([("x", value)]);
        crate::program::environment()
            .render_str(&format!("{{{{ x | {filter} }}}}"), context)
            .map_err(|error| trouble::describe(&error))
    }

    #[test]
    fn a_url_is_told_by_its_host_and_without_its_credentials() {
        for (url, host, clean) in [
            ("https://a.example", "a.example", "https://a.example"),
            (
                "https://u:p@A.Example:8443/x?y=u#z",
                "a.example",
                "https://A.Example:8443/x?y=u#z",
            ),
            (
                "https://a.example/@someone",
                "a.example",
                "https://a.example/@someone",
            ),
            ("https://u@a.example/", "a.example", "https://a.example/"),
            (
                "https://u:p@s@a.example/",
                "a.example",
                "https://a.example/",
            ),
            (
                "postgres://u:p@one:5432,two/app",
                "one",
                "postgres://one:5432,two/app",
            ),
            ("redis://:p@[::1]:6379", "[::1]", "redis://[::1]:6379"),
            ("file:///var/x", "", "file:///var/x"),
            (
                "git@github.com:user/repo.git",
                "github.com",
                "github.com:user/repo.git",
            ),
            (
                "ssh://git@github.com/user/repo.git",
                "github.com",
                "ssh://github.com/user/repo.git",
            ),
            ("app.fly.dev/x", "app.fly.dev", "app.fly.dev/x"),
            ("u:p@db:5432/x", "db", "db:5432/x"),
            (
                "https://bücher.example/",
                "xn--bcher-kva.example",
                "https://bücher.example/",
            ),
            (" https://a.example ", "a.example", "https://a.example"),
            ("", "", ""),
        ] {
            assert_eq!(eval("host", Value::from(url)).as_deref(), Ok(host), "{url}");
            let found = eval("without_credentials", Value::from(url));
            assert_eq!(found.as_deref(), Ok(clean), "{url}");
        }
        assert_eq!(eval("host", Value::from(())).as_deref(), Ok(""));
    }

    #[test]
    fn what_can_not_be_taken_apart_is_an_error_that_holds_nothing_of_it() {
        for url in [
            // A slash in the password ends the authority before the host is reached.
            "postgres://u:secret/x@host/db",
            "postgres://u:/secret@host/db",
            "postgres://u:se@12/cret@host/db",
            "https://u:sec#ret@host/",
            "https://u:sec?ret@host/",
            "https://u:sec ret@host/",
            "https://u:secret\n@host/",
            "/var/secret@host",
        ] {
            for filter in ["host", "without_credentials"] {
                let error = eval(filter, Value::from(url)).unwrap_err();
                assert_eq!(error, format!("the text given to {filter} is not a URL"));
            }
        }
        let error = eval("host", Value::from("/var/secret")).unwrap_err();
        assert_eq!(error, "the text given to host is not a URL");
        let error = eval("host", Value::from(5)).unwrap_err();
        assert_eq!(error, "host needs a URL, not number");
    }

    proptest! {
        #[test]
        fn no_password_gets_through(
            user in "[a-z]{0,5}",
            secret in "[!-~äß]{0,3}SECRET[!-~äß]{0,3}",
            scheme in "(postgres|https|x)://|",
        ) {
            let url = format!("{scheme}{user}:{secret}@host.example:99/path");
            if let Ok(clean) = eval("without_credentials", Value::from(url)) {
                prop_assert!(!clean.contains("SECRET"), "{}", clean);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            for filter in ["host", "without_credentials"] {
                let _ = eval(filter, Value::from(text.as_str()));
            }
        }
    }
}
