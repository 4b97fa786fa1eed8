//! The messages of pgoutput, protocol version 1 ([logical replication message formats]).
//!
//! [logical replication message formats]: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html

mod begin;
mod commit;
mod delete;
#[cfg(test)]
pub(crate) mod encoder;
mod insert;
mod logical;
mod origin;
mod relation;
#[cfg(test)]
mod sample;
#[cfg(test)]
pub(crate) mod strategy;
mod truncate;
mod tuple;
mod type_name;
mod update;

pub(crate) use commit::Commit;
pub(crate) use delete::Delete;
pub(crate) use insert::Insert;
pub(crate) use logical::Logical;
pub(crate) use truncate::Truncate;
pub(crate) use tuple::{OldTuple, Tuple};
pub(crate) use update::Update;

use activity::{Begin, Relation};
use bytes::Bytes;

use crate::Malformed;
use crate::body::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Begin(Begin),
    Commit(Commit),
    /// Which replication origin the transaction came from; of no use here.
    Origin,
    Relation(Relation),
    /// The name of a type that is not built in; of no use here.
    Type,
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    Truncate(Truncate),
    Logical(Logical),
}

impl Message {
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut body = Body::new(bytes, "a message");
        Ok(match body.u8()? {
            b'B' => Self::Begin(begin::decode(body.named("Begin"))?),
            b'C' => Self::Commit(Commit::decode(body.named("Commit"))?),
            b'O' => {
                origin::check(body.named("Origin"))?;
                Self::Origin
            }
            b'R' => Self::Relation(relation::decode(body.named("Relation"))?),
            b'Y' => {
                type_name::check(body.named("Type"))?;
                Self::Type
            }
            b'I' => Self::Insert(Insert::decode(body.named("Insert"))?),
            b'U' => Self::Update(Update::decode(body.named("Update"))?),
            b'D' => Self::Delete(Delete::decode(body.named("Delete"))?),
            b'T' => Self::Truncate(Truncate::decode(body.named("Truncate"))?),
            b'M' => Self::Logical(Logical::decode(body.named("Message"))?),
            tag => return Err(body.unknown("the tag", tag)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(bytes: Vec<u8>) {
            let _ = Message::decode(bytes.into());
        }

        #[test]
        fn any_bytes_after_a_known_tag_give_a_message_or_an_error(
            tag in prop::sample::select(&b"BCORYIUDTM"[..]), rest: Vec<u8>,
        ) {
            let _ = Message::decode([&[tag], &rest[..]].concat().into());
        }

        #[test]
        fn every_message_reads_back(message in strategy::message()) {
            prop_assert_eq!(Message::decode(encoder::encode(&message)), Ok(message));
        }

        #[test]
        fn every_message_cut_anywhere_or_too_long_is_refused(message in strategy::message()) {
            sample::only_whole(&encoder::encode(&message));
        }
    }

    #[test]
    fn an_unknown_tag_is_refused_by_name() {
        let refused = Malformed::Unknown {
            message: "a message",
            what: "the tag",
            value: u32::from(b'S'),
        };
        assert_eq!(Message::decode(Bytes::from_static(b"Sx")), Err(refused));
    }
}
