use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use super::refused;
use crate::Error;

/// The longest user and password together, and the longest token, in bytes.
const BYTES_MAX: usize = 4096;

/// The header `authorization` of every request. `Debug` prints its kind alone.
///
/// Read and written as `{"basic": {"user": …, "password": …}}` or `{"bearer": …}`.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "Unchecked", into = "Exposed")]
pub struct Authorization(Kind);

#[derive(Clone)]
enum Kind {
    Basic {
        user: String,
        password: SecretString,
    },
    Bearer(SecretString),
}

impl Authorization {
    /// User and password ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] where the header can not hold them.
    pub fn basic(user: String, password: SecretString) -> Result<Self, Error> {
        let secret = password.expose_secret();
        if user.contains(':') {
            return Err(refused("a basic authorization's user has no colon"));
        }
        if user.chars().chain(secret.chars()).any(char::is_control) {
            return Err(refused(
                "a basic authorization's user and password have no control characters",
            ));
        }
        if user.len() + secret.len() > BYTES_MAX || user.is_empty() && secret.is_empty() {
            return Err(refused(
                "a basic authorization's user and password have 1 to 4096 bytes together",
            ));
        }
        Ok(Self(Kind::Basic { user, password }))
    }

    /// A token ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)), without the word `Bearer`.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] where the header can not hold it.
    pub fn bearer(token: SecretString) -> Result<Self, Error> {
        let text = token.expose_secret();
        if !(1..=BYTES_MAX).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refused(
                "a bearer token has 1 to 4096 visible ASCII characters, no blanks, and no word Bearer \
                 before it",
            ));
        }
        Ok(Self(Kind::Bearer(token)))
    }

    /// `basic` or `bearer`, fit to be shown.
    pub fn kind(&self) -> &'static str {
        match self.0 {
            Kind::Basic { .. } => "basic",
            Kind::Bearer(_) => "bearer",
        }
    }

    pub(crate) fn header(&self) -> HeaderValue {
        let text = Zeroizing::new(match &self.0 {
            Kind::Basic { user, password } => {
                let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
                format!("Basic {}", STANDARD.encode(pair.as_bytes()))
            }
            Kind::Bearer(token) => format!("Bearer {}", token.expose_secret()),
        });
        let mut value =
            HeaderValue::from_str(&text).expect("base64 and checked tokens are visible ASCII");
        value.set_sensitive(true);
        value
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unchecked {
    Basic {
        user: String,
        password: SecretString,
    },
    Bearer(SecretString),
}

impl TryFrom<Unchecked> for Authorization {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        match unchecked {
            Unchecked::Basic { user, password } => Self::basic(user, password),
            Unchecked::Bearer(token) => Self::bearer(token),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Exposed {
    Basic {
        user: String,
        #[serde(serialize_with = "exposed")]
        password: SecretString,
    },
    #[serde(serialize_with = "exposed")]
    Bearer(SecretString),
}

impl From<Authorization> for Exposed {
    fn from(Authorization(kind): Authorization) -> Self {
        match kind {
            Kind::Basic { user, password } => Self::Basic { user, password },
            Kind::Bearer(token) => Self::Bearer(token),
        }
    }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted {}]", self.kind())
    }
}
