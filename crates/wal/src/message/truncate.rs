use crate::Malformed;
use crate::body::Body;

/// CASCADE and RESTART IDENTITY.
const OPTIONS: u8 = 0b11;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truncate {
    pub(crate) relations: Vec<u32>,
}

impl Truncate {
    pub(super) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let count = body.u32()?;
        let options = body.u8()?;
        if options & !OPTIONS != 0 {
            return Err(body.unknown("options", options));
        }
        let mut relations = Vec::new();
        for _ in 0..count {
            relations.push(body.u32()?);
        }
        body.end()?;
        Ok(Self { relations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, sample};

    #[test]
    fn a_truncate_names_every_table() {
        let message = sample::decode("54 00000002 03 00004007 0000400e");
        let relations = vec![16391, 16398];
        assert_eq!(message, Message::Truncate(Truncate { relations }));
    }

    #[test]
    fn a_count_beyond_the_message_allocates_nothing() {
        let refused = sample::refused("54 ffffffff 00 00004007");
        assert_eq!(
            refused,
            Malformed::Truncated {
                message: "Truncate"
            }
        );
    }

    #[test]
    fn unknown_options_are_refused() {
        let refused = sample::refused("54 00000001 04 00004007");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "options",
                value: 4,
                ..
            }
        ));
    }
}
