use super::tuple::{self, Tuple};
use crate::Malformed;
use crate::body::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Insert {
    pub(crate) relation: u32,
    pub(crate) new: Tuple,
}

impl Insert {
    pub(super) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let relation = body.u32()?;
        let new = match body.u8()? {
            b'N' => tuple::decode(&mut body)?,
            part => return Err(body.unknown("the part", part)),
        };
        body.end()?;
        Ok(Self { relation, new })
    }
}

#[cfg(test)]
mod tests {
    use activity::Value;

    use super::*;
    use crate::message::{Message, sample};

    #[test]
    fn an_insert_carries_the_new_row() {
        let message =
            sample::decode("49 00004007 4e 0004 74 00000001 61 74 00000001 31 6e 74 00000002 6f6b");
        let insert = Insert {
            relation: 16391,
            new: vec![
                Value::Text("a".into()),
                Value::Text("1".into()),
                Value::Null,
                Value::Text("ok".into()),
            ],
        };
        assert_eq!(message, Message::Insert(insert));
    }

    #[test]
    fn an_insert_of_something_else_is_refused() {
        let refused = sample::refused("49 00004007 4b 0000");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "the part",
                ..
            }
        ));
    }
}
