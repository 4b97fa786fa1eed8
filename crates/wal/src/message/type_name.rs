use crate::Malformed;
use crate::body::Body;

pub(super) fn check(mut body: Body) -> Result<(), Malformed> {
    body.u32()?;
    body.terminated()?;
    body.terminated()?;
    body.end()
}

#[cfg(test)]
mod tests {
    use crate::message::{Message, sample};

    #[test]
    fn a_types_name_is_understood() {
        let message = sample::decode("59 00004002 7075626c696300 6d6f6f6400");
        assert_eq!(message, Message::Type);
    }
}
