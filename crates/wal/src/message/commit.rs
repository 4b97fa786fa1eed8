use activity::Lsn;

use crate::Malformed;
use crate::body::Body;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Where the commit record begins, as Begin said.
    pub(crate) commit_lsn: Lsn,
    pub(crate) end_lsn: Lsn,
}

impl Commit {
    pub(super) fn decode(mut body: Body) -> Result<Self, Malformed> {
        let flags = body.u8()?;
        if flags != 0 {
            return Err(body.unknown("flags", flags));
        }
        let commit = Self {
            commit_lsn: body.lsn()?,
            end_lsn: body.lsn()?,
        };
        body.time()?;
        body.end()?;
        Ok(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, sample};

    #[test]
    fn a_commit_carries_both_ends_of_its_record() {
        let message = sample::decode("43 00 0000000001929990 00000000019299c0 000303e1b6c290a9");
        let commit = Commit {
            commit_lsn: Lsn::new(0x192_9990),
            end_lsn: Lsn::new(0x192_99C0),
        };
        assert_eq!(message, Message::Commit(commit));
    }

    #[test]
    fn flags_of_the_future_are_refused() {
        let refused = sample::refused("43 01 0000000001929990 00000000019299c0 000303e1b6c290a9");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "flags",
                value: 1,
                ..
            }
        ));
    }
}
