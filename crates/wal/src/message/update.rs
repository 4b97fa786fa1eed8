use super::tuple::{self, OldTuple, Tuple};
use crate::Malformed;
use crate::body::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) relation: u32,
    pub(crate) old: Option<OldTuple>,
    pub(crate) new: Tuple,
}

impl Update {
    pub(super) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let relation = body.u32()?;
        let mut part = body.u8()?;
        let old = match part {
            b'K' => Some(OldTuple::Key(tuple::decode(&mut body)?)),
            b'O' => Some(OldTuple::Full(tuple::decode(&mut body)?)),
            _ => None,
        };
        if old.is_some() {
            part = body.u8()?;
        }
        if part != b'N' {
            return Err(body.unknown("the part", part));
        }
        let new = tuple::decode(&mut body)?;
        body.end()?;
        Ok(Self { relation, old, new })
    }
}

#[cfg(test)]
mod tests {
    use activity::Value;

    use super::*;
    use crate::message::{Message, sample};

    fn decode(hex: &str) -> Update {
        match sample::decode(hex) {
            Message::Update(update) => update,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_update_of_other_columns_carries_no_old_row() {
        let update =
            decode("55 00004007 4e 0004 74 00000001 61 74 00000001 32 6e 74 00000002 6f6b");
        assert_eq!(update.relation, 16391);
        assert_eq!(update.old, None);
        assert_eq!(update.new[1], Value::Text("2".into()));
    }

    #[test]
    fn an_update_of_the_key_carries_the_old_key() {
        let update = decode(
            "55 00004007 4b 0004 74 00000001 61 6e 6e 6e \
             4e 0004 74 00000001 62 74 00000001 32 6e 74 00000002 6f6b",
        );
        let key = vec![
            Value::Text("a".into()),
            Value::Null,
            Value::Null,
            Value::Null,
        ];
        assert_eq!(update.old, Some(OldTuple::Key(key)));
    }

    #[test]
    fn under_full_identity_an_update_carries_the_old_row() {
        let update = decode(
            "55 0000400e 4f 0002 74 00000001 31 74 00000001 78 \
             4e 0002 74 00000001 31 74 00000001 79",
        );
        let row = vec![Value::Text("1".into()), Value::Text("x".into())];
        assert_eq!(update.old, Some(OldTuple::Full(row)));
    }

    #[test]
    fn an_update_without_a_new_row_is_refused() {
        let refused = sample::refused("55 0000400e 4b 0000 4b 0000");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "the part",
                ..
            }
        ));
    }
}
