//! Decimal numbers as Postgres' `numeric` and JSON write them, exact.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

/// A decimal number that prints as it was written and compares by its value.
#[derive(Clone)]
pub(crate) struct Decimal {
    text: Box<str>,
    value: Value,
}

/// In the order of Postgres: NaN is the greatest and equals itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    NegativeInfinity,
    /// `digits × 10^exponent`; digits without leading and trailing zeros, empty for zero.
    Finite {
        negative: bool,
        digits: Box<str>,
        exponent: i64,
    },
    Infinity,
    NaN,
}

impl Decimal {
    /// Digits with an optional sign, point and exponent, or `NaN`, `Infinity`, `-Infinity`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = match text {
            "NaN" => Value::NaN,
            "Infinity" | "inf" => Value::Infinity,
            "-Infinity" | "-inf" => Value::NegativeInfinity,
            number => finite(number)?,
        };
        let text = text.into();
        Some(Self { text, value })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Finite, and of an order that Postgres' numeric has a place for by far.
    pub(crate) fn is_moderate(&self) -> bool {
        let Value::Finite {
            digits, exponent, ..
        } = &self.value
        else {
            return false;
        };
        digits.len() <= 1000 && exponent.unsigned_abs() <= 1000
    }

    pub(crate) fn is_zero(&self) -> bool {
        matches!(&self.value, Value::Finite { digits, .. } if digits.is_empty())
    }

    /// The whole part, towards negative infinity, of the number times `10^places`; none where it
    /// is not finite or beyond 128 bits.
    pub(crate) fn scaled(&self, places: u32) -> Option<i128> {
        let (sign, digits, exponent) = self.value.finite()?;
        if sign == 0 {
            return Some(0);
        }
        let exponent = exponent + i64::from(places);
        let whole = digits.len() as i64 + exponent.min(0);
        let kept = digits.get(..usize::try_from(whole).unwrap_or(0))?;
        let magnitude = match kept {
            "" => 0,
            kept => kept.parse::<i128>().ok()?,
        };
        let factor = 10i128.checked_pow(u32::try_from(exponent.max(0)).ok()?)?;
        let magnitude = magnitude.checked_mul(factor)?;
        // The last digit is none of zero, so where digits are cut, a fraction is.
        let below = sign < 0 && exponent < 0;
        magnitude
            .checked_mul(i128::from(sign))?
            .checked_sub(i128::from(below))
    }

    /// The same text for equal numbers.
    pub(crate) fn canonical(&self) -> String {
        match &self.value {
            Value::Finite {
                negative,
                digits,
                exponent,
            } => format!("{}{digits}e{exponent}", if *negative { "-" } else { "" }),
            special => format!("{special:?}"),
        }
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.value.compare(&other.value)
    }
}

fn finite(text: &str) -> Option<Value> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    let exponent = i64::from(exponent) - fraction.len() as i64 + dropped as i64;
    let zero = significant.is_empty();
    Some(Value::Finite {
        negative: negative && !zero,
        digits: significant.into(),
        exponent: if zero { 0 } else { exponent },
    })
}

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Self::NegativeInfinity => 0,
            Self::Finite { .. } => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        }
    }

    /// Negative, zero or positive, then digits and exponent.
    fn finite(&self) -> Option<(i8, &str, i64)> {
        match self {
            Self::Finite { digits, .. } if digits.is_empty() => Some((0, "", 0)),
            Self::Finite {
                negative,
                digits,
                exponent,
            } => Some((if *negative { -1 } else { 1 }, digits, *exponent)),
            _ => None,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let (Some((sign, digits, exponent)), Some((other_sign, other_digits, other_exponent))) =
            (self.finite(), other.finite())
        else {
            return self.rank().cmp(&other.rank());
        };
        // Numbers of one sign: first by the place of their first digit, then digit by digit.
        let magnitude = (digits.len() as i64 + exponent)
            .cmp(&(other_digits.len() as i64 + other_exponent))
            .then_with(|| digits.cmp(other_digits));
        sign.cmp(&other_sign).then(match sign {
            0 => Ordering::Equal,
            -1 => magnitude.reverse(),
            _ => magnitude,
        })
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Object for Decimal {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.is_zero()
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.compare(other.downcast_ref::<Self>()?))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Decimal::parse(&text);
        }

        #[test]
        fn numbers_compare_by_value(a: i64, b: i64, scale in 0usize..6) {
            let (x, y) = (decimal(&format!("{a}.{}", "0".repeat(scale))), decimal(&format!("{b}e0")));
            prop_assert_eq!(x.compare(&y), a.cmp(&b));
            prop_assert_eq!(x.canonical() == y.canonical(), a == b);
        }

        #[test]
        fn scaling_floors(a: i64, places in 0u32..6, cut in 0u32..6) {
            let whole = (i128::from(a) * 10i128.pow(places)).div_euclid(10i128.pow(cut));
            prop_assert_eq!(decimal(&format!("{a}e-{cut}")).scaled(places), Some(whole));
        }

        #[test]
        fn fractions_compare_by_value(a in -99_999i64..99_999, b in -99_999i64..99_999) {
            let (x, y) = (decimal(&format!("{a}e-3")), decimal(&format!("{}e-4", b * 10)));
            prop_assert_eq!(x.compare(&y), a.cmp(&b));
        }
    }

    #[test]
    fn a_number_is_scaled_to_its_whole_part() {
        for (text, places, whole) in [
            ("0.00", 9, Some(0)),
            ("1.5", 0, Some(1)),
            ("1.5", 1, Some(15)),
            ("-1.5", 0, Some(-2)),
            ("-0.001", 0, Some(-1)),
            ("0.001", 2, Some(0)),
            ("12e3", 2, Some(1_200_000)),
            ("-12e-1", 1, Some(-12)),
            ("1e39", 0, None),
            ("1e-400", 0, Some(0)),
            ("NaN", 0, None),
        ] {
            assert_eq!(decimal(text).scaled(places), whole, "{text}");
        }
    }

    #[test]
    fn a_number_prints_exactly_as_it_was_written() {
        for text in [
            "0.000000",
            "-1.10",
            "12345678901234567890.123456789",
            "1e400",
            "NaN",
        ] {
            assert_eq!(decimal(text).as_str(), text);
        }
    }

    #[test]
    fn special_values_order_as_in_postgres() {
        let ascending = [
            "-Infinity",
            "-1e400",
            "-0.1",
            "0",
            "0.1",
            "1e400",
            "Infinity",
            "NaN",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(decimal(pair[0]).compare(&decimal(pair[1])), Ordering::Less);
        }
        assert_eq!(decimal("NaN").compare(&decimal("NaN")), Ordering::Equal);
        assert_eq!(decimal("-0.00").compare(&decimal("0")), Ordering::Equal);
    }

    #[test]
    fn text_that_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.2.3",
            "1e",
            "0x1",
            " 1",
            "1_000",
            "1e99999999999",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text:?}");
        }
    }
}
