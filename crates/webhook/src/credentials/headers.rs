use std::fmt;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// How many custom headers an endpoint may have.
pub const HEADERS_MAX: usize = 20;
/// Their names and values together, in bytes.
pub const HEADERS_BYTES_MAX: usize = 8 << 10;

/// Families of headers that are ours, or the connection's.
const RESERVED_PREFIXES: [&str; 5] = ["webhook-", "content-", "proxy-", "sec-", "x-forwarded-"];

/// What frames a request, belongs to one connection, or tells who sends it.
const RESERVED: [&str; 14] = [
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
    "accept-encoding",
    "user-agent",
    "forwarded",
    "via",
    "x-real-ip",
];

/// Headers of one's own on every request to an endpoint, e.g. the key of a gateway.
///
/// Read and written as an object of names and values. `Debug` prints the names alone.
#[derive(Clone, Default)]
pub struct CustomHeaders(Vec<(HeaderName, SecretString)>);

impl CustomHeaders {
    /// # Errors
    /// [`Error::InvalidCredentials`] names the header at fault, and never repeats a value.
    pub fn new(headers: impl IntoIterator<Item = (String, SecretString)>) -> Result<Self, Error> {
        let mut known: Vec<(HeaderName, SecretString)> = Vec::new();
        let mut bytes = 0;
        for (name, value) in headers {
            let name = checked_name(&name)?;
            check_value(&name, value.expose_secret())?;
            if known.iter().any(|(other, _)| *other == name) {
                return Err(refused(&name, "stands there twice"));
            }
            bytes += name.as_str().len() + value.expose_secret().len();
            if known.len() == HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
                return Err(Error::InvalidCredentials(format!(
                    "an endpoint has at most {HEADERS_MAX} custom headers of {HEADERS_BYTES_MAX} \
                     bytes together"
                )));
            }
            known.push((name, value));
        }
        Ok(Self(known))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In lower case, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.0.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value.expose_secret());
            let mut value = value.expect("values are checked when they are read");
            value.set_sensitive(true);
            (name.clone(), value)
        })
    }
}

fn checked_name(text: &str) -> Result<HeaderName, Error> {
    // The text is not repeated: whoever mixed up name and value wrote a secret there.
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Error::InvalidCredentials(
            "a custom header's name has letters, digits and hyphens, no blanks and no colon"
                .to_owned(),
        )
    })?;
    let lower = name.as_str();
    let ours = RESERVED_PREFIXES
        .iter()
        .any(|prefix| lower.starts_with(prefix));
    if ours || RESERVED.contains(&lower) {
        return Err(refused(
            &name,
            "is set by Tidings or by the connection: leave it out",
        ));
    }
    Ok(name)
}

fn check_value(name: &HeaderName, value: &str) -> Result<(), Error> {
    let printable = value
        .bytes()
        .all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    if value.is_empty() || !printable || value.trim() != value {
        return Err(refused(
            name,
            "needs a value of visible ASCII, without blanks at either end",
        ));
    }
    Ok(())
}

fn refused(name: &HeaderName, why: &str) -> Error {
    Error::InvalidCredentials(format!("the custom header {name} {why}"))
}

impl Serialize for CustomHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter();
        serializer.collect_map(pairs.map(|(name, value)| (name.as_str(), value.expose_secret())))
    }
}

impl<'de> Deserialize<'de> for CustomHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = CustomHeaders;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers as an object of names and values")
            }

            // A map type would drop a name that stands there twice.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CustomHeaders, A::Error> {
                let mut headers = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    headers.push(pair);
                    if headers.len() > HEADERS_MAX {
                        break;
                    }
                }
                CustomHeaders::new(headers).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
