use crate::Malformed;
use crate::body::Body;

pub(super) fn check(mut body: Body) -> Result<(), Malformed> {
    body.lsn()?;
    body.terminated()?;
    body.end()
}

#[cfg(test)]
mod tests {
    use crate::message::{Message, sample};

    #[test]
    fn an_origin_is_understood() {
        let message = sample::decode("4f 000000000000abcd 656c7365776865726500");
        assert_eq!(message, Message::Origin);
    }
}
