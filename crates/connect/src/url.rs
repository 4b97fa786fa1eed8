//! Splits a Postgres URL into its parts, decoded; what the parts mean is decided elsewhere.
//!
//! `postgres://user:password@host:port,host:port/database?name=value&name=value`, as libpq reads it
//! ([connection URIs]). No error repeats a part of the URL: any part may turn out to be a password.
//!
//! [connection URIs]: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS

use percent_encoding::percent_decode_str;

use crate::Error;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    /// Names (possibly empty) and ports, in order.
    pub(crate) hosts: Vec<(String, Option<String>)>,
    pub(crate) database: Option<String>,
    pub(crate) query: Vec<(String, String)>,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let rest = without_scheme(text)?;
        let (rest, query) = cut(rest, '?');
        let (authority, database) = cut(rest, '/');
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        if credentials.is_some_and(|c| c.contains('@')) || database.is_some_and(|d| d.contains('@'))
        {
            return Err(Error::url(
                "an @, / or ? in the user name or password must be written as %40, %2F or %3F",
            ));
        }
        let (user, password) = credentials.map_or(("", None), |c| cut(c, ':'));
        Ok(Self {
            user: non_empty(decode(user)?),
            password: password.map(|p| percent_decode_str(p).collect()),
            hosts: hosts_of(hosts)?,
            database: database.map(decode).transpose()?.and_then(non_empty),
            query: query_of(query.unwrap_or_default())?,
        })
    }
}

fn without_scheme(text: &str) -> Result<&str, Error> {
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.ok_or_else(|| {
        Error::url(if text.trim().is_empty() {
            "it is empty; write postgres://USER@HOST/DATABASE"
        } else if text.contains("://") {
            "it does not begin with postgres:// or postgresql://"
        } else {
            "this is not a URL; instead of `host=… user=… dbname=…` write \
             postgres://USER@HOST/DATABASE"
        })
    })
}

fn hosts_of(text: &str) -> Result<Vec<(String, Option<String>)>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(host_of).collect()
}

fn host_of(text: &str) -> Result<(String, Option<String>), Error> {
    let (name, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (name, rest) = bracketed
                .split_once(']')
                .ok_or_else(|| Error::url("a host begins with [ and has no ]"))?;
            if !rest.is_empty() && !rest.starts_with(':') {
                return Err(Error::url("after a host in brackets only :PORT may follow"));
            }
            (name, rest.strip_prefix(':'))
        }
        None => cut(text, ':'),
    };
    Ok((decode(name)?, port.map(decode).transpose()?))
}

fn query_of(text: &str) -> Result<Vec<(String, String)>, Error> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::url("a query parameter has no ="))?;
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn decode(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Error::url("a percent-encoded part is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(Error::url("a part holds a null byte"));
    }
    Ok(decoded.into_owned())
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_decoded() {
        let url =
            Url::parse("postgresql://a%40b:p%2Fw%FF@h1:1,[::1]:2,%2Ftmp/d%20b?x=a%26b&y=").unwrap();
        assert_eq!(url.user.as_deref(), Some("a@b"));
        assert_eq!(url.password.as_deref(), Some(&b"p/w\xff"[..]));
        assert_eq!(
            url.hosts,
            [
                ("h1".to_owned(), Some("1".to_owned())),
                ("::1".to_owned(), Some("2".to_owned())),
                ("/tmp".to_owned(), None),
            ]
        );
        assert_eq!(url.database.as_deref(), Some("d b"));
        assert_eq!(
            url.query,
            [
                ("x".to_owned(), "a&b".to_owned()),
                ("y".to_owned(), String::new())
            ]
        );
    }

    #[test]
    fn every_part_may_be_missing() {
        assert_eq!(Url::parse("postgres://").unwrap(), Url::default());
        assert_eq!(Url::parse("postgres:///?").unwrap(), Url::default());
    }

    #[test]
    fn a_query_may_hold_an_at_sign() {
        let url = Url::parse("postgres://h/d?options=a@b").unwrap();
        assert_eq!(url.user, None);
        assert_eq!(url.query, [("options".to_owned(), "a@b".to_owned())]);
    }

    #[test]
    fn an_error_never_repeats_the_url() {
        for text in [
            "postgres://u:s3cret@x@h/d",
            "postgres://u:s3/cret@h/d",
            "postgres://u:%ff@h/%ffs3cret",
            "host=h password=s3cret",
            "mysql://u:s3cret@h/d",
            "postgres://u:s3cret@[h/d",
            "postgres://u:s3?cret@h/d",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("cret") && !error.contains("s3"), "{error}");
        }
    }
}
