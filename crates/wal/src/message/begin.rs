use activity::{Begin, Xid};

use crate::Malformed;
use crate::body::Body;

pub(super) fn decode(mut body: Body) -> Result<Begin, Malformed> {
    let begin = Begin {
        commit_lsn: body.lsn()?,
        commit_time: body.time()?,
        xid: Xid(body.u32()?),
    };
    body.end()?;
    Ok(begin)
}

#[cfg(test)]
mod tests {
    use activity::{Begin, Lsn, Xid};

    use crate::Malformed;
    use crate::message::{Message, sample};

    #[test]
    fn a_begin_carries_the_commits_position_time_and_xid() {
        let message = sample::decode("42 0000000001929990 000303e1b6c290a9 000002da");
        let begin = Begin {
            commit_lsn: Lsn::new(0x192_9990),
            commit_time: "2026-11-22T20:01:38.861225Z".parse().unwrap(),
            xid: Xid(730),
        };
        assert_eq!(message, Message::Begin(begin));
    }

    #[test]
    fn a_time_that_no_calendar_has_is_refused() {
        let refused = sample::refused("42 0000000001929990 7fffffffffffffff 000002da");
        assert_eq!(refused, Malformed::TimeOutOfRange { message: "Begin" });
    }
}
