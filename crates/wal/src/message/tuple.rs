use activity::Value;

use crate::Malformed;
use crate::body::Body;

/// The values of a row in the order of its relation's columns.
pub(crate) type Tuple = Vec<Value>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OldTuple {
    Key(Tuple),
    Full(Tuple),
}

pub(super) fn decode(body: &mut Body) -> Result<Tuple, Malformed> {
    let count = usize::from(body.u16()?);
    // A value has at least one byte: a count can not make us allocate more than was received.
    let mut values = Vec::with_capacity(count.min(body.remaining()));
    for column in 0..count {
        values.push(match body.u8()? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b't' => {
                let length = body.u32()?;
                Value::Text(body.text(length)?)
            }
            b'b' => return Err(Malformed::Binary { column }),
            kind => return Err(body.unknown("a value of the kind", kind)),
        });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::sample;

    #[test]
    fn a_large_value_that_did_not_change_is_marked() {
        let row = "55 00004007 4e 0003 74 00000001 61 75 6e";
        let crate::message::Message::Update(update) = sample::decode(row) else {
            panic!("not an update");
        };
        assert_eq!(
            update.new,
            [Value::Text("a".into()), Value::Unchanged, Value::Null]
        );
    }

    #[test]
    fn a_binary_value_is_refused_by_name() {
        let refused = sample::refused("49 00004007 4e 0002 6e 62 00000001 61");
        assert_eq!(refused, Malformed::Binary { column: 1 });
    }

    #[test]
    fn an_unknown_kind_of_value_is_refused_by_name() {
        let refused = sample::refused("49 00004007 4e 0001 7a");
        let kind = "a value of the kind";
        assert!(matches!(refused, Malformed::Unknown { what, value: 0x7A, .. } if what == kind));
    }

    #[test]
    fn a_value_that_is_not_utf8_is_refused() {
        let refused = sample::refused("49 00004007 4e 0001 74 00000001 ff");
        assert_eq!(refused, Malformed::NotUtf8 { message: "Insert" });
    }

    #[test]
    fn a_length_beyond_the_message_allocates_nothing() {
        let refused = sample::refused("49 00004007 4e ffff 74 ffffffff 61");
        assert_eq!(refused, Malformed::Truncated { message: "Insert" });
    }
}
