//! How often something may be done, as people write it.

use store::endpoints::Rate;

/// "10/s", "600/m" or "1000/h": so many attempts in a second, a minute, an hour.
///
/// # Errors
/// What must be written instead.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    let refuse = || {
        "must be attempts in a second, a minute or an hour, such as \"10/s\", \"600/m\" or \"1000/h\""
            .to_owned()
    };
    let (attempts, unit) = text.split_once('/').ok_or_else(refuse)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(refuse()),
    };
    match attempts.trim().parse() {
        Ok(attempts) if attempts > 0 => Ok(Rate { attempts, seconds }),
        Ok(_) | Err(_) => Err(refuse()),
    }
}

/// As it was written.
pub fn rate_text(rate: Rate) -> String {
    let Rate { attempts, seconds } = rate;
    match seconds {
        1 => format!("{attempts}/s"),
        60 => format!("{attempts}/m"),
        3600 => format!("{attempts}/h"),
        seconds => format!("{attempts} in {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_written_the_same() {
        for text in ["10/s", "600/m", "1000/h", "1/s"] {
            assert_eq!(rate_text(parse_rate(text).unwrap()), text);
        }
        let spaced = parse_rate("10 / s").unwrap();
        assert_eq!((spaced.attempts, spaced.seconds), (10, 1));
    }

    #[test]
    fn what_is_no_rate_is_refused_with_examples() {
        for text in [
            "",
            "10",
            "0/s",
            "-1/s",
            "1.5/s",
            "10/d",
            "/s",
            "99999999999/s",
        ] {
            assert!(parse_rate(text).unwrap_err().contains("10/s"), "{text}");
        }
    }
}
