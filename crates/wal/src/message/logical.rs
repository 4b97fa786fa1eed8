use bytes::Bytes;
use bytestring::ByteString;

use crate::Malformed;
use crate::body::Body;

/// What `pg_logical_emit_message` wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logical {
    /// False for one that was emitted whatever became of the transaction.
    pub(crate) transactional: bool,
    pub(crate) prefix: ByteString,
    pub(crate) content: Bytes,
}

impl Logical {
    pub(super) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let transactional = match body.u8()? {
            0 => false,
            1 => true,
            flags => return Err(body.unknown("flags", flags)),
        };
        body.lsn()?;
        let prefix = body.terminated()?;
        let length = body.u32()?;
        let content = body.bytes(length)?;
        body.end()?;
        Ok(Self {
            transactional,
            prefix,
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, sample};

    #[test]
    fn a_message_carries_its_prefix_and_content() {
        let message = sample::decode("4d 01 000000000192b338 746964696e677300 00000005 68656c6c6f");
        let logical = Logical {
            transactional: true,
            prefix: "tidings".into(),
            content: "hello".into(),
        };
        assert_eq!(message, Message::Logical(logical));
    }

    #[test]
    fn a_message_outside_its_transaction_says_so() {
        let message = sample::decode("4d 00 000000000192b3a8 746964696e677300 00000003 6e6f77");
        assert!(matches!(message, Message::Logical(logical) if !logical.transactional));
    }

    #[test]
    fn unknown_flags_are_refused() {
        let refused = sample::refused("4d 02 000000000192b3a8 7400 00000000");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "flags",
                value: 2,
                ..
            }
        ));
    }
}
