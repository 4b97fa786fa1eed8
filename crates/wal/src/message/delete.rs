use super::tuple::{self, OldTuple};
use crate::Malformed;
use crate::body::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) relation: u32,
    pub(crate) old: OldTuple,
}

impl Delete {
    pub(super) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let relation = body.u32()?;
        let old = match body.u8()? {
            b'K' => OldTuple::Key(tuple::decode(&mut body)?),
            b'O' => OldTuple::Full(tuple::decode(&mut body)?),
            part => return Err(body.unknown("the part", part)),
        };
        body.end()?;
        Ok(Self { relation, old })
    }
}

#[cfg(test)]
mod tests {
    use activity::Value;

    use super::*;
    use crate::message::{Message, sample};

    #[test]
    fn a_delete_carries_the_key_or_the_old_row() {
        let key = vec![
            Value::Text("b".into()),
            Value::Null,
            Value::Null,
            Value::Null,
        ];
        let by_key = Delete {
            relation: 16391,
            old: OldTuple::Key(key),
        };
        let message = sample::decode("44 00004007 4b 0004 74 00000001 62 6e 6e 6e");
        assert_eq!(message, Message::Delete(by_key));
        let row = vec![Value::Text("1".into()), Value::Text("y".into())];
        let full = Delete {
            relation: 16398,
            old: OldTuple::Full(row),
        };
        let message = sample::decode("44 0000400e 4f 0002 74 00000001 31 74 00000001 79");
        assert_eq!(message, Message::Delete(full));
    }

    #[test]
    fn a_delete_of_a_new_row_is_refused() {
        let refused = sample::refused("44 00004007 4e 0000");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "the part",
                ..
            }
        ));
    }
}
