//! The body of ErrorResponse and NoticeResponse.

use std::fmt;

use crate::Malformed;
use crate::body::Body;

/// What a server says when it refuses or warns ([error fields]).
///
/// [error fields]: https://www.postgresql.org/docs/current/protocol-error-fields.html
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`…, in English whatever the server's language is.
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl ServerError {
    pub(crate) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let mut error = Self::default();
        loop {
            let field = body.u8()?;
            if field == 0 {
                body.end()?;
                return Ok(error);
            }
            let text = body.terminated()?.to_string();
            match field {
                // Always before V, which is not translated.
                b'S' | b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                // The protocol asks clients to ignore fields that they don't know.
                _ => {}
            }
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn decode(bytes: &'static [u8]) -> Result<ServerError, Malformed> {
        ServerError::decode(Body::new(Bytes::from_static(bytes), "an error"))
    }

    #[test]
    fn the_untranslated_severity_is_kept() {
        let error = decode(
            b"SFATAL\xc2\xa0!\0VFATAL\0C57P03\0Mthe database system is starting up\0Fpostmaster.c\0\0",
        )
        .unwrap();
        assert_eq!(
            error.to_string(),
            "FATAL 57P03: the database system is starting up"
        );
    }

    #[test]
    fn an_error_that_does_not_end_is_refused() {
        for bytes in [&b""[..], b"SFATAL", b"SFATAL\0", b"SFATAL\0\0x"] {
            assert!(decode(bytes).is_err());
        }
    }
}
