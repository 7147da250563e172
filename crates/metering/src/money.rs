use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of a currency, exact to nine decimals: in roubles, a unit is a nano-rouble. Up to some
/// 9.2 billion of the currency.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

/// Nano-units of one unit of a currency.
const ONE: i64 = 1_000_000_000;

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount: give digits with at most nine decimals, such as 100.50")]
pub struct NoAmount(String);

impl Nanos {
    /// Reads `100`, `100.50`, `-0.000000001`.
    ///
    /// # Errors
    /// When it is anything else, or out of range.
    pub fn parse(text: &str) -> Result<Self, NoAmount> {
        let fault = || NoAmount(text.chars().take(40).collect());
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(decimals) || decimals.len() > 9 {
            return Err(fault());
        }
        let whole: i64 = whole.parse().map_err(|_| fault())?;
        let decimals: i64 = format!("{decimals:0<9}").parse().map_err(|_| fault())?;
        let nanos = whole.checked_mul(ONE).and_then(|nanos| nanos.checked_add(decimals));
        let nanos = nanos.ok_or_else(fault)?;
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&format_nanos(i128::from(self.0)))
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A sum of nano-units as a decimal text: two decimals, more where they are not zero.
#[must_use]
pub fn format_nanos(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let (whole, rest) = (size / 1_000_000_000, size % 1_000_000_000);
    let decimals = format!("{rest:09}");
    let significant = decimals.trim_end_matches('0').len().max(2);
    format!("{sign}{whole}.{}", decimals.get(..significant).unwrap_or("00"))
}

/// Divides, halves to even, so that sums of rounded amounts do not drift.
#[must_use]
pub fn divide_half_even(dividend: i128, divisor: i128) -> i128 {
    if divisor == 0 {
        return 0;
    }
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    }
}

/// An amount in a file: a decimal text or a whole number, never a binary fraction.
impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Text(#[serde(borrow)] Cow<'a, str>),
            Whole(i64),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Text(text)) => Self::parse(&text).map_err(de::Error::custom),
            Ok(Form::Whole(whole)) => whole
                .checked_mul(ONE)
                .map(Self)
                .ok_or_else(|| de::Error::custom("the amount is too large")),
            Err(_) => Err(de::Error::custom("give an amount as a text, such as \"0.15\"")),
        }
    }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for Nanos {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An amount as a decimal text with at most nine decimals, or a whole number.",
            "anyOf": [
                {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?$"},
                {"type": "integer"},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, nanos) in [
            ("0", 0),
            ("100.50", 100_500_000_000),
            ("0.000000001", 1),
            ("-1.5", -1_500_000_000),
            ("9223372036.854775807", i64::MAX),
        ] {
            assert_eq!(Nanos::parse(text), Ok(Nanos(nanos)), "{text}");
        }
        for text in ["", ".5", "1.", "1,5", "1e3", "0.0000000001", "9223372037", "--1", "١"] {
            assert!(Nanos::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_are_not_taken_as_binary() {
        assert!(serde_json::from_str::<Nanos>("0.1").is_err());
        assert_eq!(serde_json::from_str::<Nanos>("\"0.1\"").unwrap(), Nanos(100_000_000));
        assert_eq!(serde_json::from_str::<Nanos>("3").unwrap(), Nanos(3_000_000_000));
    }

    #[test]
    fn halves_go_to_even() {
        for (dividend, quotient) in [(5, 0), (15, 2), (25, 2), (35, 4), (-5, 0), (-15, -2)] {
            assert_eq!(divide_half_even(dividend, 10), quotient, "{dividend}");
        }
        assert_eq!(divide_half_even(26, 10), 3);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(nanos in any::<i64>()) {
            prop_assume!(nanos != i64::MIN);
            prop_assert_eq!(Nanos::parse(&Nanos(nanos).to_string()), Ok(Nanos(nanos)));
        }
    }
}
