//! Warmth: how much, and how lately. Pure.
//!
//! Something that happened at time t counts 2^(t / half-life) for ever: what happened later counts more, so nothing has to be cooled down
//! and two warmths compare at any time as they would at any other. What is kept is the logarithm, which grows by 1 in a half-life.

use std::time::Duration;

/// After so long something counts half as much as what happens then.
pub const HALF_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The warmth of so many things that happened at a time, in milliseconds since 1970.
pub fn heat(count: u32, time_ms: i64) -> f64 {
    // Exact: milliseconds of the next 285,000 years have less than 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let time = time_ms as f64 / 1_000.0;
    f64::from(count.max(1)).log2() + time / HALF_LIFE.as_secs_f64()
}

/// The warmth of two together. [`learn`](crate) has the same in SQL.
#[must_use]
pub fn sum(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp2().ln_1p() / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000_000;
    const WEEK: i64 = 7 * 24 * 3_600 * 1_000;

    fn about(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    proptest! {
        #[test]
        fn warmth_adds_up_in_any_order(counts in prop::collection::vec((1..1_000_u32, 0..4 * WEEK), 1..20)) {
            let all = |list: &[(u32, i64)]| {
                list.iter().map(|(count, ago)| heat(*count, NOW - ago)).reduce(sum).unwrap_or_default()
            };
            let reversed: Vec<_> = counts.iter().rev().copied().collect();
            prop_assert!(about(all(&counts), all(&reversed)));
            let together: u32 = counts.iter().map(|(count, _)| count).sum();
            let at_once: Vec<_> = counts.iter().map(|(count, _)| (*count, 0)).collect();
            prop_assert!(about(all(&at_once), heat(together, NOW)));
        }

        #[test]
        fn a_week_halves(count in 1..1_000_000_u32) {
            prop_assert!(about(heat(2 * count, NOW - WEEK), heat(count, NOW)));
        }

        #[test]
        fn more_is_warmer_whenever_one_looks(a in 1..1_000_u32, b in 1..1_000_u32, later in 0..100 * WEEK) {
            let (warm, warmer) = (heat(a, NOW), sum(heat(a, NOW), heat(b, NOW + later)));
            prop_assert!(warmer > warm);
        }
    }
}
