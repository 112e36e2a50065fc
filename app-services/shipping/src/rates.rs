//! What sending costs: pure.

use serde::{Deserialize, Serialize};
use shop_contracts::{Currency, Money};
use utoipa::ToSchema;

/// The heaviest that is sent.
pub(crate) const MAX_GRAMS: u32 = 30_000;

/// A way of sending.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rate {
    /// Its name, in kebab case.
    pub service: String,
    /// What it costs.
    pub price: Money,
    /// How many days it takes.
    pub days: u32,
}

/// Which countries cost the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Zone {
    Near,
    World,
    Nowhere,
}

fn zone(country: &str) -> Zone {
    const NEAR: [&str; 12] = [
        "AT", "BE", "CA", "DE", "ES", "FR", "IE", "IT", "LU", "NL", "PT", "US",
    ];
    // Nobody lives there.
    const NOWHERE: [&str; 3] = ["AQ", "BV", "HM"];
    match country {
        near if NEAR.contains(&near) => Zone::Near,
        nowhere if NOWHERE.contains(&nowhere) => Zone::Nowhere,
        _ => Zone::World,
    }
}

/// The ways to a country, the cheapest first; none if nothing goes there, for so heavy a parcel, or in this currency.
pub fn rates(country: &str, weight_grams: u32, currency: Currency) -> Vec<Rate> {
    // Name, cents for the parcel, cents for each kilogram begun, days.
    const NEAR: &[(&str, i64, i64, u32)] = &[("standard", 490, 60, 4), ("express", 1_290, 150, 1)];
    const WORLD: &[(&str, i64, i64, u32)] = &[("standard", 1_490, 480, 12), ("express", 3_900, 990, 4)];
    let table = match zone(country) {
        Zone::Near => NEAR,
        Zone::World => WORLD,
        Zone::Nowhere => &[],
    };
    let sendable = weight_grams <= MAX_GRAMS && [Currency::EUR, Currency::USD].contains(&currency);
    let table = if sendable { table } else { &[] };
    let kilograms = i64::from(weight_grams.div_ceil(1_000));
    let rate = |(service, parcel, kilogram, days): &(&str, i64, i64, u32)| Rate {
        service: (*service).to_owned(),
        price: Money::new(parcel + kilogram * kilograms, currency),
        days: *days,
    };
    table.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavier_is_dearer_and_the_cheapest_comes_first() {
        for country in ["PT", "JP"] {
            let mut last = 0;
            for weight in [0, 1, 1_000, 1_001, 30_000] {
                let rates = rates(country, weight, Currency::EUR);
                assert_eq!(rates.len(), 2);
                assert!(rates.is_sorted_by_key(|rate| rate.price.amount_cents));
                assert!(rates[0].price.amount_cents >= last);
                last = rates[0].price.amount_cents;
            }
        }
        assert_eq!(rates("AQ", 1, Currency::EUR), []);
        assert_eq!(rates("PT", MAX_GRAMS + 1, Currency::EUR), []);
    }
}
