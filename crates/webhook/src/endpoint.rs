use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

use crate::guard::Passage;
use crate::{Credentials, Error, Filter, Format, Guard};

const URL_BYTES_MAX: usize = 2048;

/// A webhook subscription, as it stands at the moment of an attempt.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: String,
    pub name: String,
    pub url: EndpointUrl,
    pub credentials: Credentials,
    pub filter: Filter,
    pub format: Format,
}

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// Where an endpoint is: http or https, a host, no user, no password, no fragment.
///
/// Whether its addresses may be sent to is another question: the [`Guard`]'s, at each connection.
/// `Debug` leaves out path and query, since they often hold a key.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    url: Url,
    scheme: Scheme,
}

impl EndpointUrl {
    /// The whole URL, path and query included.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn port(&self) -> u16 {
        let known = self.url.port_or_known_default();
        known.expect("http and https have a port by default")
    }

    /// The address, where the URL names one instead of a host.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        }
    }

    /// Whether the host is one of the names that mean this machine everywhere (RFC 6761).
    fn is_localhost(&self) -> bool {
        let domain = self.url.domain().unwrap_or_default();
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        domain == "localhost" || domain.ends_with(".localhost")
    }
}

impl FromStr for EndpointUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > URL_BYTES_MAX {
            return Err(Error::InvalidUrl("is longer than 2048 bytes"));
        }
        // The parser would drop them silently.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::InvalidUrl("contains a blank or a control character"));
        }
        let url = Url::parse(text)
            .map_err(|_| Error::InvalidUrl("is not a URL: write https://host/path"))?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(Error::InvalidUrl("does not start with https:// or http://")),
        };
        if !url.has_host() {
            return Err(Error::InvalidUrl("names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::InvalidUrl(
                "holds a user or a password: give the endpoint a basic authorization instead",
            ));
        }
        if url.fragment().is_some() {
            return Err(Error::InvalidUrl(
                "has a fragment (#…), which is never sent: leave it out",
            ));
        }
        if url.port() == Some(0) {
            return Err(Error::InvalidUrl("has port 0, which nobody can listen on"));
        }
        Ok(Self { url, scheme })
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.url.origin().ascii_serialization())
    }
}

/// Reads a URL and refuses what a guard of these networks would refuse later; see
/// [`Guard::validate`].
///
/// # Errors
/// What is wrong with the URL, or why nothing would be sent to its address.
pub fn validate_url(text: &str, allow_networks: &[IpNet]) -> Result<EndpointUrl, Error> {
    Guard::new(allow_networks).validate(text)
}

impl Guard {
    /// Reads a URL and refuses what the guard would refuse later, as far as that shows without DNS.
    ///
    /// # Errors
    /// What is wrong with the URL, or why nothing would be sent to its address.
    pub fn validate(&self, text: &str) -> Result<EndpointUrl, Error> {
        let url: EndpointUrl = text.parse()?;
        let passage = self.passage(&url)?;
        if url.is_localhost() {
            self.check(passage, Ipv6Addr::LOCALHOST.into())
                .or_else(|_| self.check(passage, Ipv4Addr::LOCALHOST.into()))?;
        } else if url.address().is_none() && self.allows_nothing() {
            match passage {
                Passage::Open => {}
                Passage::PlainHttp => {
                    return Err(Error::InvalidUrl(
                        "is plain http, which reaches only webhooks.allow_networks, and that is empty: \
                     use https, or list the receiver's network there",
                    ));
                }
                Passage::OtherPort => {
                    return Err(Error::InvalidUrl(
                        "has a port that webhooks.ports does not list: list it there, or the receiver's \
                     network in webhooks.allow_networks",
                    ));
                }
            }
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;

    fn nets(networks: &[&str]) -> Vec<IpNet> {
        networks.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn an_https_url_with_a_host_is_taken() {
        for url in [
            "https://hooks.example.com/a/b?key=c",
            "https://hooks.example.com:8443",
            "https://93.184.216.34/",
            "https://[2606:2800:220:1::1]/",
            "https://bücher.example/",
        ] {
            assert!(validate_url(url, &[]).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        let long = format!("https://h.example/{}", "s3cret".repeat(400));
        for (url, says) in [
            ("", "not a URL"),
            ("hooks.example/s3cret", "not a URL"),
            ("https://", "not a URL"),
            ("ftp://h.example/s3cret", "https:// or http://"),
            ("file:///etc/s3cret", "https:// or http://"),
            ("https://u:s3cret@h.example/", "a user or a password"),
            ("https://s3cret@h.example/", "a user or a password"),
            ("https://h.example/#s3cret", "a fragment"),
            ("https://h.example:0/s3cret", "port 0"),
            ("https://h.example/s3cret\r\nx: y", "a blank or a control"),
            (" https://h.example/s3cret", "a blank or a control"),
            (&long, "longer than 2048"),
            ("http://h.example/s3cret", "webhooks.allow_networks"),
        ] {
            let error = validate_url(url, &[]).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_local_address_is_refused_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "%31%32%37.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "localhost",
            "LOCALHOST.",
            "app.localhost",
            "0",
            "10.0.0.1",
            "[fd00::1]",
        ] {
            let error = validate_url(&format!("https://{host}/hook"), &[]).unwrap_err();
            assert!(
                matches!(error, Error::Refused(Refusal::NotGlobal { .. })),
                "{host}: {error}"
            );
            assert!(error.to_string().contains("webhooks.allow_networks"));
        }
    }

    #[test]
    fn an_allowed_network_takes_plain_http_and_nothing_else_does() {
        let local = nets(&["127.0.0.0/8"]);
        for url in [
            "http://127.0.0.1:8080/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost:8080/",
            "http://names.are.checked.later/",
            "https://127.0.0.1/",
        ] {
            assert!(validate_url(url, &local).is_ok(), "{url}");
        }
        let error = validate_url("http://93.184.216.34/", &local).unwrap_err();
        assert!(matches!(error, Error::Refused(Refusal::PlainHttp { .. })));
        assert!(validate_url("http://[::1]/", &local).is_err());
    }

    #[test]
    fn a_port_that_leads_nowhere_is_refused_beforehand() {
        let ports = |networks: &[&str]| Guard::new(nets(networks)).with_ports([443]);
        let error = ports(&[]).validate("https://h.example:25/").unwrap_err();
        assert!(error.to_string().contains("webhooks.ports"), "{error}");
        for url in [
            "https://h.example:25/",
            "https://localhost:25/",
            "https://127.0.0.1:25/",
        ] {
            assert!(ports(&["127.0.0.0/8"]).validate(url).is_ok(), "{url}");
        }
        assert!(
            ports(&["127.0.0.0/8"])
                .validate("https://8.8.8.8:25/")
                .is_err()
        );
        assert!(ports(&[]).validate("https://h.example/").is_ok());
    }

    #[test]
    fn debug_shows_where_an_endpoint_is_but_no_path() {
        let url = validate_url("https://h.example:8443/s3cret?key=s3cret", &[]).unwrap();
        assert_eq!(format!("{url:?}"), "https://h.example:8443/…");
        assert_eq!(url.as_str(), "https://h.example:8443/s3cret?key=s3cret");
    }
}
