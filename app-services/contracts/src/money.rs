//! Amounts of money.

use crate::Malformed;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A currency, by its three letters in ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Euro.
    pub const EUR: Self = Self(*b"EUR");
    /// US dollar.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    pub fn as_str(&self) -> &str {
        // Only ASCII passes `from_str`.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| Malformed("currency"))?;
        let upper = letters.iter().all(u8::is_ascii_uppercase);
        upper.then_some(Self(letters)).ok_or(Malformed("currency"))
    }
}

impl TryFrom<String> for Currency {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some("^[A-Z]{3}$"))
            .description(Some("ISO 4217"))
            .into()
    }
}

impl ToSchema for Currency {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Currency")
    }
}

/// An amount in the smallest unit of its currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
pub struct Money {
    /// So many of the smallest unit.
    pub amount_cents: i64,
    /// Of this currency.
    pub currency: Currency,
}

impl Money {
    /// An amount.
    pub fn new(amount_cents: i64, currency: Currency) -> Self {
        Self {
            amount_cents,
            currency,
        }
    }

    /// The sum; none of different currencies, or beyond what can be counted.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let amount_cents = self.amount_cents.checked_add(other.amount_cents)?;
        (self.currency == other.currency).then_some(Self { amount_cents, ..self })
    }

    /// The difference; none of different currencies, or beyond what can be counted.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.checked_neg()?)
    }

    /// So many times the amount; none beyond what can be counted.
    #[must_use]
    pub fn checked_mul(self, times: u32) -> Option<Self> {
        let amount_cents = self.amount_cents.checked_mul(times.into())?;
        Some(Self { amount_cents, ..self })
    }

    /// What is owed instead of had; none beyond what can be counted.
    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        let amount_cents = self.amount_cents.checked_neg()?;
        Some(Self { amount_cents, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cents {}", self.amount_cents, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_can_be_taken_apart_and_never_mix_currencies(a: i64, b: i64) {
            let (a, b) = (Money::new(a, Currency::EUR), Money::new(b, Currency::EUR));
            if let Some(sum) = a.checked_add(b) {
                prop_assert_eq!(sum.checked_sub(b).filter(|_| b.amount_cents != i64::MIN), Some(a).filter(|_| b.amount_cents != i64::MIN));
            }
            prop_assert_eq!(a.checked_add(Money::new(0, Currency::USD)), None);
        }

        #[test]
        fn only_three_upper_case_letters_are_a_currency(text in "\\PC{0,4}") {
            let valid = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
            prop_assert_eq!(text.parse::<Currency>().is_ok(), valid);
        }
    }
}
